//! Printing by programs whose output may be cut short, as by `| head`.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

/// Prints a line to standard output, as `println!` does. Ends the program without a message when
/// the reader has closed the pipe: save everything before you print.
#[macro_export]
macro_rules! print_line {
    () => {
        $crate::output::line(format_args!(""))
    };
    ($($text:tt)*) => {
        $crate::output::line(format_args!($($text)*))
    };
}

/// Prints a line to standard error, as `eprintln!` does. The line is dropped when the reader has
/// closed the pipe, and the program continues.
#[macro_export]
macro_rules! print_note {
    ($($text:tt)*) => {
        $crate::output::note(format_args!($($text)*))
    };
}

/// Prints a line: see [`print_line!`](crate::print_line).
pub fn line(text: Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            note(format_args!("error: cannot write to standard output: {error}"));
            std::process::exit(1);
        }
    }
}

/// Prints a line to standard error: see [`print_note!`](crate::print_note).
pub fn note(text: Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
