//! The facade: one feature for each optional crate, re-exports, and nothing else.

use super::{Library, Violation};
use crate::cargo::{Metadata, Package};
use crate::{Result, process};

const FACADE: &str = "nebula-credential";

pub(super) fn check_facade(metadata: &Metadata, libraries: &[Library]) -> Result<Vec<Violation>> {
    let mut found = Vec::new();
    if let Some(facade) = metadata.crates().find(|package| package.name == FACADE) {
        let manifest = process::read(&facade.manifest_path)?;
        found.extend(features(facade, &manifest));
    }
    for library in libraries.iter().filter(|library| library.package == FACADE) {
        for source in &library.sources {
            for word in ["fn", "impl", "unsafe"] {
                for offset in source.words(word) {
                    found.push(Violation::new(
                        &source.path,
                        source.line(offset),
                        format!("the facade has an `{word}`"),
                        "move the code into the crate it belongs to and re-export it",
                    ));
                }
            }
        }
    }
    Ok(found)
}

/// Optional dependency and feature are one to one; a feature without a dependency of its own
/// forwards to one (`x/y`, `x?/y`) and says in a comment what it is for.
fn features(facade: &Package, manifest: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut violation = |line, what, remedy| {
        found.push(Violation::new(&facade.manifest_path, line, what, remedy));
    };
    for dependency in facade
        .dependencies
        .iter()
        .filter(|dependency| dependency.optional)
    {
        let key = dependency.key();
        let feature = feature_name(key);
        let enables = format!("dep:{key}");
        let enabled = facade
            .features
            .get(feature)
            .is_some_and(|list| list.contains(&enables));
        if !enabled {
            let what = format!("no feature `{feature}` enables the optional dependency `{key}`");
            violation(
                line_of(manifest, key),
                what,
                "add `FEATURE = [\"dep:…\"]` under that name",
            );
        }
    }
    for (feature, enables) in &facade.features {
        if feature == "default" {
            continue;
        }
        let line = line_of(manifest, feature);
        let own: Vec<&str> = enables
            .iter()
            .filter_map(|item| item.strip_prefix("dep:"))
            .collect();
        match own.as_slice() {
            [one] if feature_name(one) == feature => {}
            [] if !enables.is_empty() && enables.iter().all(|item| forwards(facade, item)) => {
                if !is_explained(manifest, line) {
                    violation(
                        line,
                        format!("feature `{feature}` only forwards and no comment says what for"),
                        "write the reason in a comment on the line above it",
                    );
                }
            }
            [one] => violation(
                line,
                format!(
                    "feature `{feature}` enables `{one}`, whose feature is `{}`",
                    feature_name(one)
                ),
                "name the feature after its crate",
            ),
            _ => violation(
                line,
                format!("feature `{feature}` enables {} dependencies", own.len()),
                "one feature for each optional dependency; group them in `default` only",
            ),
        }
    }
    found
}

/// To a feature of a dependency, or to another of the facade, which that needs.
fn forwards(facade: &Package, item: &str) -> bool {
    item.contains('/') || facade.features.contains_key(item)
}

/// `nebula-credential-provider-local` is the feature `local`, `moka` is `moka`.
fn feature_name(dependency: &str) -> &str {
    let name = dependency
        .strip_prefix("nebula-credential-")
        .unwrap_or(dependency);
    name.strip_prefix("provider-").unwrap_or(name)
}

/// The line, from 1, that defines `key`; 1 if none does.
fn line_of(manifest: &str, key: &str) -> usize {
    manifest
        .lines()
        .position(|line| {
            line.strip_prefix(key)
                .is_some_and(|rest| rest.trim_start().starts_with('=') || rest.starts_with('.'))
        })
        .map_or(1, |index| index + 1)
}

fn is_explained(manifest: &str, line: usize) -> bool {
    manifest
        .lines()
        .nth(line.wrapping_sub(2))
        .is_some_and(|above| above.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo::fixture::package;

    fn facade(dependencies: &[&str], features: &[(&str, &[&str])]) -> Package {
        let mut facade = package(FACADE, dependencies);
        for (name, list) in features {
            let list = list.iter().map(|item| (*item).to_owned()).collect();
            facade.features.insert((*name).to_owned(), list);
        }
        facade
    }

    fn broken(facade: &Package, manifest: &str) -> Vec<String> {
        features(facade, manifest)
            .into_iter()
            .map(|violation| violation.to_string())
            .collect()
    }

    #[test]
    fn one_feature_for_each_optional_dependency() {
        let good = facade(
            &[
                "nebula-credential-core",
                "nebula-credential-crypto?",
                "nebula-credential-provider-local?",
            ],
            &[
                ("default", &["crypto", "local"]),
                (
                    "crypto",
                    &[
                        "dep:nebula-credential-crypto",
                        "nebula-credential-manager?/crypto",
                    ],
                ),
                ("local", &["dep:nebula-credential-provider-local"]),
                ("derive", &["nebula-credential-core/derive"]),
            ],
        );
        let manifest = "[features]\n# The derive macros live in a crate that core re-exports.\nderive = [\"nebula-credential-core/derive\"]\n";
        assert_eq!(broken(&good, manifest), <[String; 0]>::default());
    }

    #[test]
    fn every_way_to_break_it_is_seen() {
        let bad = facade(
            &["nebula-credential-crypto?", "nebula-credential-types?", "moka?"],
            &[
                ("crypto", &["dep:nebula-credential-crypto", "dep:moka"]),
                ("cache", &["dep:moka"]),
                ("derive", &["nebula-credential-core/derive"]),
                ("nothing", &[]),
            ],
        );
        let manifest = "[features]\ncache = [\"dep:moka\"]\n\nderive = []\n";
        let broken = broken(&bad, manifest).join("\n");
        for expected in [
            "no feature `types` enables the optional dependency `nebula-credential-types`",
            "no feature `moka` enables",
            "feature `crypto` enables 2 dependencies",
            "Cargo.toml:2: feature `cache` enables `moka`",
            "Cargo.toml:4: feature `derive` only forwards",
            "feature `nothing` enables 0 dependencies",
        ] {
            assert!(broken.contains(expected), "{expected} is not in\n{broken}");
        }
        assert_eq!(broken.matches("remedy").count(), 6);
    }
}
