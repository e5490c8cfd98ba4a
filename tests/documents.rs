//! Checks that the documents agree with the code.

use std::path::Path;

const README: &str = include_str!("../README.md");
const QUICKSTART: &str = include_str!("../docs/quickstart.md");
const PROGRAM: &str = include_str!("../examples/quickstart.rs");

#[test]
fn the_quick_start_shows_its_program_as_it_is() {
    let (_, block) = QUICKSTART.split_once("```rust\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    assert_eq!(block, PROGRAM);
    assert!(PROGRAM.lines().count() <= 60);
}

#[test]
fn the_readme_is_short() {
    assert!(README.lines().count() <= 150, "{} lines", README.lines().count());
    assert!(README.len() <= 9_500, "{} bytes", README.len());
}

/// The anchors of a document's headings, as GitHub generates them.
fn anchors(text: &str) -> Vec<String> {
    let mut code = false;
    let mut anchors = Vec::new();
    for line in text.lines() {
        code ^= line.starts_with("```");
        if !code && line.starts_with('#') {
            let heading = line.trim_start_matches('#').trim().to_lowercase();
            let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            anchors.push(kept.map(|c| if c == ' ' { '-' } else { c }).collect());
        }
    }
    anchors
}

#[test]
fn every_link_between_the_documents_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let documents = docs
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .chain(["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root.join(name)));
    let mut links = 0;
    for document in documents {
        let text = std::fs::read_to_string(&document).unwrap();
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.starts_with("http")) {
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = match path {
                "" => document.clone(),
                path => document.parent().unwrap().join(path),
            };
            assert!(path.exists(), "{} links to {target}, which is missing", document.display());
            if !anchor.is_empty() {
                let found = anchors(&std::fs::read_to_string(&path).unwrap());
                assert!(
                    found.iter().any(|found| found == anchor),
                    "{} links to {target}, and there is no such heading",
                    document.display()
                );
            }
            links += 1;
        }
    }
    assert!(links > 30, "{links} links");
}

/// All source files, as paths from the root.
fn sources(folder: &Path, root: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            sources(&path, root, found);
        } else if name.ends_with(".rs") {
            found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
        }
    }
}

/// A reference is `path.rs` or `path.rs:item`; its path may be the end of a longer one.
#[test]
fn every_source_that_the_documents_name_exists_and_has_the_items_that_they_name() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(root, root, &mut files);
    let mut references = 0;
    for name in ["architecture.md", "design.md", "extending.md"] {
        let text = std::fs::read_to_string(root.join("docs").join(name)).unwrap();
        for code in text.split('`').skip(1).step_by(2) {
            let (path, items) = match code.split_once(".rs:") {
                Some((path, items)) => (format!("{path}.rs"), items),
                None if code.ends_with(".rs") && !code.contains(['*', ' ', '{']) => {
                    (code.to_owned(), "")
                }
                None => continue,
            };
            let ends = format!("/{path}");
            let candidates: Vec<&String> =
                files.iter().filter(|file| **file == path || file.ends_with(&ends)).collect();
            assert!(!candidates.is_empty(), "docs/{name} names {path}, which is missing");
            for item in items.split("::").filter(|item| !item.is_empty()) {
                let item = item.trim();
                let has = |file: &&String| {
                    std::fs::read_to_string(root.join(file)).unwrap().contains(item)
                };
                assert!(candidates.iter().any(has), "docs/{name} names {code}: no {item} there");
            }
            references += 1;
        }
    }
    assert!(references > 40, "{references} references");
}
