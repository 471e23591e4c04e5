//! Each crate: a README that is its documentation, the workspace's lints, and what a registry shows.

use super::Violation;
use crate::cargo::{Metadata, Package};
use crate::source::Source;
use crate::{Result, process};

/// Crates with a lint table of their own, and why.
const OWN_LINTS: &[(&str, &str)] = &[(
    "nebula-credential-memory",
    "locks pages, which takes unsafe calls",
)];

const README_IS_DOC: &str = "#![doc = include_str!(\"../README.md\")]";

pub(super) fn check(metadata: &Metadata) -> Result<Vec<Violation>> {
    let mut found = Vec::new();
    for package in metadata.crates() {
        let manifest = process::read(&package.manifest_path)?;
        let readme = std::fs::read_to_string(package.folder().join("README.md")).ok();
        let lib = std::fs::read_to_string(package.folder().join("src/lib.rs")).ok();
        found.extend(violations(package, &manifest, readme.as_deref(), lib.as_deref()));
    }
    let root = metadata.workspace_root.join("Cargo.toml");
    let manifest: toml::Table = process::read(&root)?.parse()?;
    if !forbids_unsafe(manifest.get("workspace").and_then(|table| table.get("lints"))) {
        found.push(Violation::new(
            root,
            1,
            "the workspace's lints do not forbid unsafe code",
            "write `unsafe_code = \"forbid\"` under [workspace.lints.rust]",
        ));
    }
    Ok(found)
}

fn violations(package: &Package, manifest: &str, readme: Option<&str>, lib: Option<&str>) -> Vec<Violation> {
    let name = package.name.as_str();
    let folder = package.folder();
    let mut found = Vec::new();
    match readme {
        None => found.push(Violation::new(
            folder.join("README.md"),
            1,
            format!("{name} has no README"),
            "write one that begins with `# NAME` and shows a compiled example",
        )),
        Some(readme) => {
            let title = readme.lines().find_map(|line| line.strip_prefix("# "));
            if title.is_none_or(|title| {
                !title
                    .split_whitespace()
                    .any(|word| word.trim_matches('`') == name)
            }) {
                found.push(Violation::new(
                    folder.join("README.md"),
                    1,
                    format!("the title does not name the package {name}"),
                    "begin the README with `# NAME`",
                ));
            }
        }
    }
    // A binary crate has no library to document.
    if let Some(lib) = lib
        && lib.lines().find(|line| !line.trim().is_empty()).map(str::trim) != Some(README_IS_DOC)
    {
        found.push(Violation::new(
            folder.join("src/lib.rs"),
            1,
            "the README is not the crate's documentation",
            "begin the file with `#![doc = include_str!(\"../README.md\")]`",
        ));
    }
    let manifest_path = &package.manifest_path;
    let Ok(table) = manifest.parse::<toml::Table>() else {
        return found;
    };
    let lints = table.get("lints");
    let inherits = lints
        .and_then(|lints| lints.get("workspace"))
        .and_then(toml::Value::as_bool)
        .unwrap_or(false);
    if !inherits && !OWN_LINTS.iter().any(|(own, _why)| *own == name) {
        found.push(Violation::new(
            manifest_path,
            1,
            format!("{name} does not take the workspace's lints"),
            "write `[lints]` with `workspace = true`",
        ));
    }
    if package.is_published() {
        let missing = [
            ("description", package.description.is_none()),
            ("license", package.license.is_none()),
            ("readme", package.readme.is_none()),
        ];
        for (key, _) in missing.into_iter().filter(|(_, is_missing)| *is_missing) {
            found.push(Violation::new(
                manifest_path,
                1,
                format!("{name} is published without `{key}`"),
                "add it to [package] (`.workspace = true` where the workspace has it)",
            ));
        }
    }
    found
}

fn forbids_unsafe(lints: Option<&toml::Value>) -> bool {
    let level = lints
        .and_then(|lints| lints.get("rust"))
        .and_then(|rust| rust.get("unsafe_code"));
    match level {
        Some(toml::Value::String(level)) => level == "forbid",
        Some(toml::Value::Table(table)) => table.get("level").and_then(toml::Value::as_str) == Some("forbid"),
        _ => false,
    }
}

/// Whether `source` may hold unsafe code: only the crate that locks pages may.
pub(super) fn may_be_unsafe(source: &Source) -> bool {
    source
        .path
        .components()
        .any(|part| part.as_os_str() == "credential-memory")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo::fixture::package;

    const MANIFEST: &str = "[package]\nname = \"x\"\n[lints]\nworkspace = true\n";

    fn broken(package: &Package, manifest: &str, readme: Option<&str>, lib: &str) -> Vec<String> {
        violations(package, manifest, readme, Some(lib))
            .into_iter()
            .map(|violation| violation.what)
            .collect()
    }

    #[test]
    fn a_complete_crate_passes() {
        let good = package("nebula-credential-fs", &[]);
        let lib = format!("\n{README_IS_DOC}\n");
        let readme = Some("# `nebula-credential-fs`\n");
        assert_eq!(broken(&good, MANIFEST, readme, &lib), <[String; 0]>::default());
        let memory = package("nebula-credential-memory", &[]);
        let readme = Some("# nebula-credential-memory: locked pages\n");
        assert!(
            !broken(&memory, "[package]\n", Some("# nebula-credential-memory\n"), &lib)
                .iter()
                .any(|what| what.contains("lints"))
        );
        assert_eq!(
            broken(&memory, MANIFEST, readme, &lib).len(),
            1,
            "`name:` is not the name"
        );
    }

    #[test]
    fn everything_that_can_be_missing_is_named() {
        let mut bad = package("nebula-credential-fs", &[]);
        (bad.description, bad.license, bad.readme) = (None, None, None);
        let broken_without = broken(&bad, "[package]\n", None, "//! Docs.\n");
        assert_eq!(
            broken_without,
            [
                "nebula-credential-fs has no README",
                "the README is not the crate's documentation",
                "nebula-credential-fs does not take the workspace's lints",
                "nebula-credential-fs is published without `description`",
                "nebula-credential-fs is published without `license`",
                "nebula-credential-fs is published without `readme`",
            ]
        );
        bad.publish = Some(Vec::new());
        assert_eq!(
            broken(&bad, MANIFEST, Some("# Files\n"), README_IS_DOC),
            ["the title does not name the package nebula-credential-fs"]
        );
    }

    #[test]
    fn unsafe_code_is_forbidden_and_not_only_denied() {
        let lints = |text: &str| text.parse::<toml::Table>().unwrap().remove("lints");
        assert!(forbids_unsafe(
            lints("[lints.rust]\nunsafe_code = \"forbid\"").as_ref()
        ));
        assert!(forbids_unsafe(
            lints("[lints.rust]\nunsafe_code = { level = \"forbid\", priority = 1 }").as_ref()
        ));
        assert!(!forbids_unsafe(
            lints("[lints.rust]\nunsafe_code = \"deny\"").as_ref()
        ));
        assert!(!forbids_unsafe(None));
    }
}
