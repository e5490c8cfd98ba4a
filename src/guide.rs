//! The documents of the repository. Their examples are compiled and run as tests.

macro_rules! documents {
    ($($(#[$condition:meta])* $name:ident $path:literal;)*) => {
        $(
            #[doc = include_str!(concat!("../", $path))]
            $(#[$condition])*
            pub mod $name {}
        )*
    };
}

documents! {
    #[cfg(any(not(doctest), all(feature = "burn", feature = "local")))] readme "README.md";
    #[cfg(any(not(doctest), all(feature = "local", feature = "report")))]
    quickstart "docs/quickstart.md";
    schedulers "docs/schedulers.md";
    #[cfg(any(not(doctest), feature = "sim"))] simulator "docs/simulator.md";
    #[cfg(any(not(doctest), all(feature = "lambda", feature = "function")))] lambda "docs/lambda.md";
    experiments "docs/experiments.md";
    benchmarks "docs/benchmarks.md";
    files "docs/files.md";
    architecture "docs/architecture.md";
    design "docs/design.md";
    #[cfg(any(not(doctest), all(feature = "conformance", feature = "local")))]
    extending "docs/extending.md";
}
