//! What the README says is what is there.

const README: &str = include_str!("../README.md");
const QUICKSTART: &str = include_str!("../examples/quickstart.rs");

#[test]
fn the_readme_shows_the_quickstart_as_it_is() {
    let (_, block) = README.split_once("```rust\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    assert_eq!(block, QUICKSTART);
    assert!(QUICKSTART.lines().count() <= 60);
}

#[test]
fn every_file_that_the_readme_links_to_exists() {
    let links = README.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let mut files = 0;
    for link in links.filter(|link| !link.starts_with("http") && !link.starts_with('#')) {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(link);
        assert!(path.exists(), "{link} is missing");
        files += 1;
    }
    assert!(files > 3);
}
