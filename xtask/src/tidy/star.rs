//! The star: a leaf crate depends on the base crates and on its own SDK, never on another leaf.

use super::Violation;
use crate::cargo::{Metadata, Package};

const CORE: &str = "nebula-credential-core";
const DERIVE: &str = "nebula-credential-derive";
const BASE: &[&str] = &[CORE, DERIVE, "nebula-credential-fs", "nebula-credential-memory"];

/// The crates whose work is to join the others.
const JOINING: &[&str] = &[
    "nebula-credential",
    "nebula-credential-cli",
    "nebula-credential-manager",
    "nebula-credential-testkit",
];

const REMEDY: &str = "move what both need into core, or join the two crates in the manager or the facade";

pub(super) fn check(metadata: &Metadata) -> Vec<Violation> {
    let packages: Vec<&Package> = metadata.crates().collect();
    violations(&packages)
}

fn violations(packages: &[&Package]) -> Vec<Violation> {
    let mut found = Vec::new();
    for package in packages {
        let name = package.name.as_str();
        if JOINING.contains(&name) {
            continue;
        }
        for dependency in &package.dependencies {
            let on = dependency.name.as_str();
            let is_member = packages.iter().any(|other| other.name == on);
            if !is_member || dependency.is_dev() || may_depend(name, on, dependency.optional) {
                continue;
            }
            let what = format!("{name} depends on {on}, which breaks the star");
            found.push(Violation::new(&package.manifest_path, 1, what, REMEDY));
        }
    }
    found
}

fn may_depend(name: &str, on: &str, optional: bool) -> bool {
    match name {
        CORE => on == DERIVE && optional,
        DERIVE => false,
        base if BASE.contains(&base) => on == CORE,
        _leaf => BASE.contains(&on),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo::fixture::package;

    fn broken(packages: &[Package]) -> Vec<String> {
        let packages: Vec<&Package> = packages.iter().collect();
        violations(&packages)
            .into_iter()
            .map(|violation| violation.what)
            .collect()
    }

    #[test]
    fn the_star_holds() {
        let packages = [
            package(
                CORE,
                &[
                    "serde",
                    "nebula-credential-derive?",
                    "dev:nebula-credential-testkit",
                ],
            ),
            package(DERIVE, &["syn", "dev:nebula-credential-core"]),
            package("nebula-credential-fs", &[CORE]),
            package("nebula-credential-memory", &[]),
            package(
                "nebula-credential-crypto",
                &[CORE, "nebula-credential-fs", "dev:nebula-credential-testkit"],
            ),
            package("nebula-credential-types", &[CORE, DERIVE, "url"]),
            package("nebula-credential-testkit", &[CORE]),
            package("nebula-credential-manager", &[CORE, "nebula-credential-crypto"]),
            package(
                "nebula-credential",
                &["nebula-credential-manager", "nebula-credential-types?"],
            ),
        ];
        assert_eq!(broken(&packages), <[String; 0]>::default());
    }

    #[test]
    fn every_way_to_break_it_is_seen() {
        let packages = [
            package(CORE, &[DERIVE, "nebula-credential-fs?"]),
            package(DERIVE, &[CORE]),
            package("nebula-credential-fs", &["nebula-credential-memory"]),
            package("nebula-credential-memory", &[]),
            package(
                "nebula-credential-crypto",
                &["nebula-credential-types", "nebula-credential-testkit"],
            ),
            package("nebula-credential-types", &["nebula-credential-manager?"]),
            package("nebula-credential-testkit", &[]),
            package("nebula-credential-manager", &[]),
        ];
        assert_eq!(
            broken(&packages),
            [
                "nebula-credential-core depends on nebula-credential-derive, which breaks the star",
                "nebula-credential-core depends on nebula-credential-fs, which breaks the star",
                "nebula-credential-derive depends on nebula-credential-core, which breaks the star",
                "nebula-credential-fs depends on nebula-credential-memory, which breaks the star",
                "nebula-credential-crypto depends on nebula-credential-types, which breaks the star",
                "nebula-credential-crypto depends on nebula-credential-testkit, which breaks the star",
                "nebula-credential-types depends on nebula-credential-manager, which breaks the star",
            ]
        );
    }
}
