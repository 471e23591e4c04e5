//! Library source: no unsafe code outside the one crate for it, no file too long to hold in mind.

use super::manifests::may_be_unsafe;
use super::{Library, Violation};
use crate::Result;
use crate::cargo::Metadata;
use crate::source::Source;

/// Lines, tests included. Files are meant to be around 400.
const LONGEST: usize = 600;

pub(super) fn check(metadata: &Metadata, libraries: &[Library]) -> Result<Vec<Violation>> {
    let mut found = Vec::new();
    for source in libraries.iter().flat_map(|library| &library.sources) {
        found.extend(too_long(source));
    }
    for folder in ["crates", "benches", "examples", "fuzz", "xtask"] {
        for path in crate::process::files(&metadata.workspace_root.join(folder), "rs")? {
            if !path.components().any(|part| part.as_os_str() == "target") {
                found.extend(unsafe_code(&Source::read(&path)?));
            }
        }
    }
    Ok(found)
}

fn too_long(source: &Source) -> Option<Violation> {
    let lines = source.raw.lines().count();
    (lines > LONGEST).then(|| {
        Violation::new(
            &source.path,
            LONGEST + 1,
            format!("{lines} lines, of at most {LONGEST}"),
            "split it: one idea a file",
        )
    })
}

fn unsafe_code(source: &Source) -> Vec<Violation> {
    if may_be_unsafe(source) {
        return Vec::new();
    }
    source
        .words("unsafe")
        .map(|offset| {
            Violation::new(
                &source.path,
                source.line(offset),
                "unsafe code outside nebula-credential-memory",
                "use a safe call (rustix has most), or move it into nebula-credential-memory",
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source::new(path.into(), text.to_owned())
    }

    #[test]
    fn only_the_memory_crate_may_be_unsafe() {
        let text = "fn f() {\n    // unsafe\n    unsafe { g() }\n}\n";
        let found = unsafe_code(&source("crates/credential-core/src/a.rs", text));
        assert_eq!(
            found.iter().map(|violation| violation.line).collect::<Vec<_>>(),
            [3]
        );
        assert!(unsafe_code(&source("crates/credential-memory/src/a.rs", text)).is_empty());
        assert!(unsafe_code(&source("a.rs", "#![forbid(unsafe_code)] let a = \"unsafe\";")).is_empty());
    }

    #[test]
    fn the_longest_file_is_allowed_and_one_line_more_is_not() {
        assert!(too_long(&source("a.rs", &"//\n".repeat(LONGEST))).is_none());
        let found = too_long(&source("a.rs", &"//\n".repeat(LONGEST + 1))).unwrap();
        assert_eq!(found.what, "601 lines, of at most 600");
    }
}
