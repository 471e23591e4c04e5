//! The facade without features is a library of types: no runtime, no TLS, no SDK.

use super::Violation;
use crate::cargo::Metadata;
use crate::{Result, process};

const FACADE: &str = "nebula-credential";

/// Names, or beginnings of names (those that end in `-` or `_`), that must not be in the tree.
const HEAVY: &[&str] = &[
    "async-std",
    "aws-lc-",
    "aws-sdk-",
    "aws_sdk_",
    "azure_",
    "hyper",
    "kube",
    "kube-",
    "native-tls",
    "openssl",
    "openssl-",
    "reqwest",
    "ring",
    "rusqlite",
    "libsqlite3-sys",
    "rustls",
    "rustls-",
    "smol",
    "tokio",
    "tokio-",
    "vaultrs",
];

pub(super) fn check(metadata: &Metadata) -> Result<Vec<Violation>> {
    let Some(facade) = metadata.crates().find(|package| package.name == FACADE) else {
        return Ok(Vec::new());
    };
    let mut command = process::cargo(&metadata.workspace_root);
    command.args([
        "tree",
        "--package",
        FACADE,
        "--no-default-features",
        "--edges",
        "normal",
    ]);
    command.args(["--prefix", "none", "--format", "{p}", "--quiet"]);
    let tree = process::output(&mut command)?;
    let heavy = heavy(&tree);
    Ok(heavy
        .into_iter()
        .map(|name| {
            Violation::new(
                &facade.manifest_path,
                1,
                format!("`{FACADE}` without features pulls `{name}`"),
                "see `cargo tree -p nebula-credential --no-default-features -e normal -i NAME`; put it behind a feature",
            )
        })
        .collect())
}

/// The heavy packages among the lines `name vX.Y.Z …` of `cargo tree`, each once.
fn heavy(tree: &str) -> Vec<&str> {
    let mut found: Vec<&str> = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| {
            HEAVY.iter().any(|heavy| {
                let is_beginning = heavy.ends_with(['-', '_']);
                name == heavy || is_beginning && name.starts_with(heavy)
            })
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::heavy;

    #[test]
    fn runtimes_tls_and_sdks_are_heavy() {
        let tree = "nebula-credential v0.1.0 (/x)\nserde v1.0.0\ntokio v1.54.0\naws-sdk-kms v1.0.0\ntokio v1.54.0 (*)\nring v0.17.14\nkube-core v1.0.0\n";
        assert_eq!(heavy(tree), ["aws-sdk-kms", "kube-core", "ring", "tokio"]);
    }

    #[test]
    fn names_that_only_look_alike_are_not() {
        assert_eq!(
            heavy("string_cache v1.0.0\ntower-service v0.3.3\nring-buffer v1.0.0\n\n"),
            <[&str; 0]>::default()
        );
    }
}
