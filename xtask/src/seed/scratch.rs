//! One crate of all blocks that compile, a module each, and what the compiler says about them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::ledger::{Class, Entry};
use super::markdown::Block;
use crate::{Result, process};

/// Where a block's text goes in its preamble; alone on a line.
const BLOCK: &str = "//@ block";

/// Where the text of another block goes, by the name of its entry; alone on a line.
const INCLUDE: &str = "//@ include ";

/// Where the text of another preamble goes, which holds no block; alone on a line.
const PREAMBLE: &str = "//@ preamble ";

/// Shows the shape of code, not its use: half of it is never called.
const HEADER: &str = "\
//! Written by `cargo xtask seed`; changes here are lost.
#![allow(dead_code, unused, missing_docs, unreachable_pub, clippy::all)]

";

/// The modules to compile: their names and texts.
pub(super) fn modules(folder: &Path, joined: &[(&Block, &Entry)]) -> Result<BTreeMap<String, String>> {
    let mut texts = BTreeMap::new();
    for (block, entry) in joined {
        texts.insert(entry.name.as_str(), entry.annotate(&block.text)?);
    }
    let preambles = preambles(&folder.join("preamble"))?;
    let parts = Parts {
        blocks: texts,
        preambles,
    };
    let mut modules = BTreeMap::new();
    for (_, entry) in joined {
        let name = entry.name.as_str();
        let text = match (entry.class, entry.preamble.as_deref()) {
            (Class::Later, _) => continue,
            (Class::Changed, _) => {
                let file = folder.join("changed").join(format!("{name}.rs"));
                parts.compose(&process::read(&file)?, None)
            }
            (_, preamble) => {
                let preamble = preamble.unwrap_or_default();
                let surrounding = parts.preambles.get(preamble);
                let surrounding = surrounding.ok_or_else(|| no_preamble(preamble))?;
                parts.compose(surrounding, parts.blocks.get(name).map(String::as_str))
            }
        };
        modules.insert(
            name.to_owned(),
            text.map_err(|problem| format!("{name}: {problem}"))?,
        );
    }
    Ok(modules)
}

fn preambles(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut preambles = BTreeMap::new();
    for path in process::files(folder, "rs")? {
        if let Some(name) = path.file_stem().and_then(|name| name.to_str()) {
            preambles.insert(name.to_owned(), process::read(&path)?);
        }
    }
    Ok(preambles)
}

fn no_preamble(name: &str) -> String {
    format!("there is no preamble `{name}`")
}

/// What a module may be put together from, by name.
struct Parts<'a> {
    blocks: BTreeMap<&'a str, String>,
    preambles: BTreeMap<String, String>,
}

impl Parts<'_> {
    /// `surrounding` with its markers replaced: the block itself exactly once (never where there is
    /// none), other blocks and preambles by name.
    fn compose(&self, surrounding: &str, block: Option<&str>) -> std::result::Result<String, String> {
        let mut text = String::new();
        let mut placed = 0;
        for line in surrounding.lines() {
            let marker = line.trim();
            if marker == BLOCK {
                placed += 1;
                text.push_str(block.unwrap_or_default());
            } else if let Some(name) = marker.strip_prefix(INCLUDE) {
                let other = self.blocks.get(name);
                text.push_str(other.ok_or_else(|| format!("there is no block `{name}`"))?);
            } else if let Some(name) = marker.strip_prefix(PREAMBLE) {
                text.push_str(self.preambles.get(name).ok_or_else(|| no_preamble(name))?);
            } else {
                text.push_str(line);
                text.push('\n');
            }
        }
        let expected = usize::from(block.is_some());
        if placed == expected {
            Ok(text)
        } else {
            Err(format!("`{BLOCK}` occurs {placed} times, not {expected}"))
        }
    }
}

/// A crate in the target directory.
pub(super) struct Scratch {
    pub(super) folder: PathBuf,
    pub(super) target_directory: PathBuf,
}

impl Scratch {
    /// Writes the crate: a manifest with the workspace's profiles, its lock file, and the modules.
    pub(super) fn write(
        &self,
        root: &Path,
        dependencies: &toml::Table,
        modules: &BTreeMap<String, String>,
    ) -> Result<()> {
        let workspace: toml::Table = process::read(&root.join("Cargo.toml"))?.parse()?;
        process::write(
            &self.folder.join("Cargo.toml"),
            &manifest(root, dependencies, &workspace)?,
        )?;
        // The versions everything else is tested with; cargo takes out what is not needed.
        process::write(
            &self.folder.join("Cargo.lock"),
            &process::read(&root.join("Cargo.lock"))?,
        )?;
        let source = self.folder.join("src");
        let mut lib = HEADER.to_owned();
        for (name, text) in modules {
            lib.push_str(&format!("mod {name};\n"));
            process::write(&source.join(format!("{name}.rs")), text)?;
        }
        process::write(&source.join("lib.rs"), &lib)
    }

    /// Compiles the crate. Returns the errors of each module, those without a place under `""`.
    pub(super) fn check(&self) -> Result<BTreeMap<String, Vec<String>>> {
        let mut command = process::cargo(&self.folder);
        command.args(["check", "--quiet", "--message-format=json"]);
        command.env("CARGO_TARGET_DIR", &self.target_directory);
        let output = command.stdin(std::process::Stdio::null()).output()?;
        let mut errors: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            if let Some((module, text)) = diagnosis(line) {
                errors.entry(module).or_default().push(text);
            }
        }
        if !output.status.success() && errors.is_empty() {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            errors.entry(String::new()).or_default().push(text);
        }
        Ok(errors)
    }
}

fn manifest(root: &Path, dependencies: &toml::Table, workspace: &toml::Table) -> Result<String> {
    let mut dependencies = dependencies.clone();
    for (_, dependency) in dependencies.iter_mut() {
        if let Some(path) = dependency.get_mut("path")
            && let Some(relative) = path.as_str()
        {
            let absolute = root.join(relative);
            *path = absolute
                .to_str()
                .ok_or("the path of the workspace is not UTF-8")?
                .into();
        }
    }
    let mut manifest: toml::Table =
        "[package]\nname = \"seed\"\nedition = \"2024\"\npublish = false\n[workspace]\n".parse()?;
    manifest.insert("dependencies".to_owned(), dependencies.into());
    if let Some(profile) = workspace.get("profile") {
        manifest.insert("profile".to_owned(), profile.clone());
    }
    Ok(toml::to_string(&manifest)?)
}

#[derive(Deserialize)]
struct Message {
    message: Option<Diagnostic>,
}

#[derive(Deserialize)]
struct Diagnostic {
    level: String,
    rendered: Option<String>,
    spans: Vec<Span>,
}

#[derive(Deserialize)]
struct Span {
    file_name: String,
    is_primary: bool,
}

/// The module and the text of an error, if `line` is cargo's message of one.
fn diagnosis(line: &str) -> Option<(String, String)> {
    let diagnostic = serde_json::from_str::<Message>(line).ok()?.message?;
    if diagnostic.level != "error" {
        return None;
    }
    // Relative to the scratch crate; an error in a dependency has no place among the blocks.
    let module = diagnostic
        .spans
        .iter()
        .filter(|span| span.is_primary)
        .filter_map(|span| Path::new(&span.file_name).strip_prefix("src").ok()?.file_stem())
        .map(|stem| stem.to_string_lossy().into_owned())
        .next();
    Some((
        module.unwrap_or_default(),
        diagnostic.rendered.unwrap_or_default(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preamble_holds_its_block_once_and_others_by_name() {
        let parts = Parts {
            blocks: BTreeMap::from([("other", "struct Other;\n".to_owned())]),
            preambles: BTreeMap::from([("common".to_owned(), "type Common = ();\n".to_owned())]),
        };
        let surrounding = "a\n  //@ include other\n//@ preamble common\nfn f() {\n    //@ block\n}\n";
        let text = parts.compose(surrounding, Some("body();\n")).unwrap();
        assert_eq!(
            text,
            "a\nstruct Other;\ntype Common = ();\nfn f() {\nbody();\n}\n"
        );
        for (surrounding, block, problem) in [
            ("no marker\n", Some("x\n"), "0 times, not 1"),
            ("//@ block\n", None, "1 times, not 0"),
            ("//@ include gone\n", None, "no block `gone`"),
            ("//@ preamble gone\n", None, "no preamble `gone`"),
        ] {
            assert!(parts.compose(surrounding, block).unwrap_err().contains(problem));
        }
    }

    #[test]
    fn the_manifest_takes_profiles_and_absolute_paths() {
        let dependencies = "a = { path = \"crates/a\", features = [\"x\"] }\nserde = \"1\""
            .parse()
            .unwrap();
        let workspace = "[profile.dev]\ndebug = false".parse().unwrap();
        let text = manifest(Path::new("/repo"), &dependencies, &workspace).unwrap();
        let table: toml::Table = text.parse().unwrap();
        assert_eq!(
            table["dependencies"]["a"]["path"].as_str(),
            Some("/repo/crates/a")
        );
        assert_eq!(table["dependencies"]["serde"].as_str(), Some("1"));
        assert_eq!(table["profile"]["dev"]["debug"].as_bool(), Some(false));
    }

    #[test]
    fn an_error_is_laid_to_its_module_and_a_warning_to_none() {
        let line = |level: &str, file: &str| {
            format!(
                "{{\"reason\":\"compiler-message\",\"message\":{{\"level\":\"{level}\",\"rendered\":\"text\",\"spans\":[{{\"file_name\":\"{file}\",\"is_primary\":true}}]}}}}"
            )
        };
        assert_eq!(
            diagnosis(&line("error", "src/a.rs")),
            Some(("a".to_owned(), "text".to_owned()))
        );
        let elsewhere = diagnosis(&line("error", "/repo/crates/x/src/a.rs"));
        assert_eq!(elsewhere, Some((String::new(), "text".to_owned())));
        assert_eq!(diagnosis(&line("warning", "src/a.rs")), None);
        assert_eq!(
            diagnosis("{\"reason\":\"build-finished\",\"success\":true}"),
            None
        );
        assert_eq!(diagnosis("not json"), None);
    }
}
