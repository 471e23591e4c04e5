//! The workspace as `cargo metadata` describes it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::{Result, process};

/// What `cargo metadata --no-deps` says: the members and where things are.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    pub(crate) workspace_root: PathBuf,
    pub(crate) target_directory: PathBuf,
}

/// One member of the workspace.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) manifest_path: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) features: BTreeMap<String, Vec<String>>,
    pub(crate) description: Option<String>,
    pub(crate) license: Option<String>,
    pub(crate) readme: Option<PathBuf>,
    /// `None` is "anywhere", an empty list is `publish = false`.
    pub(crate) publish: Option<Vec<String>>,
}

/// One entry of a dependency table.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) rename: Option<String>,
    pub(crate) kind: Option<String>,
    #[serde(default)]
    pub(crate) optional: bool,
}

impl Metadata {
    /// Asks cargo about the workspace this program was built from, or the one the caller stands in.
    pub(crate) fn load() -> Result<Self> {
        let here = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from("."), PathBuf::from);
        let text =
            process::output(process::cargo(&here).args(["metadata", "--format-version=1", "--no-deps"]))?;
        Ok(serde_json::from_str(&text)?)
    }

    /// The packages under `crates/`: those that users see.
    pub(crate) fn crates(&self) -> impl Iterator<Item = &Package> {
        let folder = self.workspace_root.join("crates");
        self.packages
            .iter()
            .filter(move |package| package.manifest_path.starts_with(&folder))
    }

    /// `path` relative to the root of the workspace, for messages.
    pub(crate) fn relative<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.workspace_root).unwrap_or(path)
    }
}

impl Package {
    pub(crate) fn folder(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(Path::new("."))
    }

    pub(crate) fn is_published(&self) -> bool {
        self.publish
            .as_ref()
            .is_none_or(|registries| !registries.is_empty())
    }
}

impl Dependency {
    /// The name under which the manifest lists it.
    pub(crate) fn key(&self) -> &str {
        self.rename.as_deref().unwrap_or(&self.name)
    }

    pub(crate) fn is_dev(&self) -> bool {
        self.kind.as_deref() == Some("dev")
    }
}

#[cfg(test)]
pub(crate) mod fixture {
    use super::{BTreeMap, Dependency, Package};

    /// A package at `crates/<folder>`; dependencies are `name`, `name?` (optional) or `dev:name`.
    pub(crate) fn package(name: &str, dependencies: &[&str]) -> Package {
        let folder = name.replacen("nebula-credential-", "credential-", 1);
        Package {
            name: name.to_owned(),
            manifest_path: format!("/repo/crates/{folder}/Cargo.toml").into(),
            dependencies: dependencies.iter().map(|text| dependency(text)).collect(),
            features: BTreeMap::new(),
            description: Some("d".to_owned()),
            license: Some("MIT".to_owned()),
            readme: Some("README.md".into()),
            publish: None,
        }
    }

    fn dependency(text: &str) -> Dependency {
        let (kind, name) = match text.strip_prefix("dev:") {
            Some(name) => (Some("dev".to_owned()), name),
            None => (None, text),
        };
        let optional = name.ends_with('?');
        let name = name.trim_end_matches('?').to_owned();
        Dependency {
            name,
            rename: None,
            kind,
            optional,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_workspace_describes_itself() {
        let metadata = Metadata::load().unwrap();
        assert!(
            metadata
                .crates()
                .any(|package| package.name == "nebula-credential-core")
        );
        assert!(metadata.crates().all(|package| package.name != "xtask"));
        let own = metadata
            .packages
            .iter()
            .find(|package| package.name == "xtask")
            .unwrap();
        assert!(!own.is_published());
        assert_eq!(metadata.relative(own.folder()), Path::new("xtask"));
    }
}
