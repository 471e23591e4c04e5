//! `audit`: what the workspace takes from others, checked against `deny.toml` and the advisories,
//! and how much unsafe code it has of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo::Metadata;
use crate::source::Source;
use crate::{Result, process, tools};

/// More unsafe code than this and the claim "no unsafe outside one small crate" is no longer true.
const UNSAFE_LIMIT: usize = 30;

/// The database cargo-deny asks for when `deny.toml` names none.
const PUBLIC_DATABASE: &str = "https://github.com/RustSec/advisory-db";

pub(crate) fn run(advisories: Option<&Path>) -> Result<bool> {
    let metadata = Metadata::load()?;
    let root = &metadata.workspace_root;
    // Given relative to where the caller stands; the tools run in the root of the workspace.
    let advisories = advisories.map(|directory| {
        directory
            .canonicalize()
            .map_err(|error| format!("cannot read the advisories in {}: {error}", directory.display()))
    });
    let advisories = advisories.transpose()?;
    let deny = tools::DENY.program(root)?;

    let mut holds = true;
    let mut supply = deny_check(&deny, root, &root.join("deny.toml"));
    supply.args(["bans", "licenses", "sources"]);
    holds &= report("bans, licences, sources", process::status(&mut supply)?);

    let mut known = match &advisories {
        None => deny_check(&deny, root, &root.join("deny.toml")),
        Some(directory) => {
            let snapshot = Snapshot::take(directory, tools::cache()?.join("advisories"))?;
            println!(
                "audit: {} advisories from {}",
                snapshot.advisories,
                directory.display()
            );
            let mut command = deny_check(&deny, root, &snapshot.config(root)?);
            snapshot.redirect(&mut command);
            command
        }
    };
    known.arg("advisories");
    holds &= report("advisories", process::status(&mut known)?);

    holds &= unsafe_code(&metadata)?;
    Ok(holds)
}

fn report(what: &str, holds: bool) -> bool {
    println!("audit: {what}: {}", if holds { "ok" } else { "FAILED" });
    holds
}

fn deny_check(deny: &Path, root: &Path, config: &Path) -> Command {
    let mut command = process::clean(deny, root);
    command
        .args(["--all-features", "--locked", "--config"])
        .arg(config);
    command.args(["check", "--hide-inclusion-graph"]);
    command
}

/// A plain directory of advisories, offered to cargo-deny as the git repository it insists on.
///
/// cargo-deny clones its database with the `git` program from an address that must have a host
/// name. So the directory is committed, untouched, to a repository in the cache, and git is told
/// to go there when asked for the public one. No network is used, and nothing is taken on trust
/// from an earlier fetch: the clone has a folder of its own.
struct Snapshot {
    folder: PathBuf,
    advisories: usize,
}

impl Snapshot {
    fn take(directory: &Path, folder: PathBuf) -> Result<Self> {
        let advisories = process::files(&directory.join("crates"), "md")?.len();
        if advisories == 0 {
            return Err(format!(
                "{} holds no advisories: give the root of a copy of the RustSec advisory-db, the folder above `crates`",
                directory.display()
            )
            .into());
        }
        let snapshot = Self { folder, advisories };
        let repository = snapshot.repository();
        if !repository.join("HEAD").is_file() {
            std::fs::create_dir_all(&repository)?;
            let mut init = process::clean("git", &repository);
            init.args(["init", "--quiet", "--bare", "--initial-branch=main", "."]);
            if !process::status(&mut init)? {
                return Err("git could not make a repository for the advisories".into());
            }
        }
        for arguments in [
            ["add", "--all", "--force", "."].as_slice(),
            &[
                "commit",
                "--quiet",
                "--allow-empty",
                "--no-verify",
                "--message=snapshot",
            ],
        ] {
            let mut git = process::clean("git", directory);
            git.args(["-c", "user.name=xtask", "-c", "user.email=xtask@localhost"]);
            git.args(["-c", "commit.gpgSign=false", "-c", "core.bare=false"]);
            git.arg("--git-dir")
                .arg(&repository)
                .arg("--work-tree")
                .arg(directory);
            if !process::status(git.args(arguments))? {
                return Err("git could not commit the advisories to the cache".into());
            }
        }
        Ok(snapshot)
    }

    fn repository(&self) -> PathBuf {
        self.folder.join("snapshot.git")
    }

    /// `deny.toml` with the database in the cache instead of cargo's home.
    fn config(&self, root: &Path) -> Result<PathBuf> {
        let mut config: toml::Table = process::read(&root.join("deny.toml"))?.parse()?;
        let advisories = config
            .entry("advisories")
            .or_insert_with(|| toml::Value::Table(toml::Table::new()))
            .as_table_mut()
            .ok_or("`advisories` in deny.toml is not a table")?;
        let path = self.folder.join("clone");
        let path = path.to_str().ok_or("the path of the cache is not UTF-8")?;
        advisories.insert("db-path".to_owned(), path.into());
        advisories.insert("db-urls".to_owned(), vec![PUBLIC_DATABASE].into());
        let config_path = self.folder.join("deny.toml");
        process::write(&config_path, &toml::to_string(&config)?)?;
        Ok(config_path)
    }

    /// Sends git to the snapshot for the public database, in this command only.
    fn redirect(&self, command: &mut Command) {
        let mut key = std::ffi::OsString::from("url.file://");
        key.push(self.repository());
        key.push(".insteadOf");
        command.env("GIT_CONFIG_COUNT", "1");
        command.env("GIT_CONFIG_KEY_0", key);
        command.env("GIT_CONFIG_VALUE_0", PUBLIC_DATABASE);
    }
}

/// Counts the word `unsafe` in the code of every member: blocks, functions, impls and traits.
fn unsafe_code(metadata: &Metadata) -> Result<bool> {
    let mut total = 0;
    for package in &metadata.packages {
        let mut count = 0;
        for path in process::files(package.folder(), "rs")? {
            count += Source::read(&path)?.words("unsafe").count();
        }
        if count > 0 {
            println!("audit: unsafe in {}: {count}", package.name);
        }
        total += count;
    }
    println!("audit: unsafe in the workspace: {total} (at most {UNSAFE_LIMIT})");
    Ok(report("unsafe code", total <= UNSAFE_LIMIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = Metadata::load()
            .unwrap()
            .target_directory
            .join("xtask")
            .join(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn a_directory_is_served_as_the_public_database_without_a_change_to_it() {
        let folder = folder("audit-snapshot");
        let directory = folder.join("copy");
        process::write(&directory.join("crates/a/RUSTSEC-2020-0001.md"), "one").unwrap();
        let cache = folder.join("cache");
        assert_eq!(Snapshot::take(&directory, cache.clone()).unwrap().advisories, 1);
        process::write(&directory.join("crates/b/RUSTSEC-2020-0002.md"), "two").unwrap();
        let snapshot = Snapshot::take(&directory, cache).unwrap();
        assert_eq!(snapshot.advisories, 2);
        assert!(!directory.join(".git").exists());

        let mut clone = process::clean("git", &folder);
        snapshot.redirect(&mut clone);
        clone.args([
            "clone",
            "--quiet",
            "--depth=1",
            "--branch=main",
            PUBLIC_DATABASE,
            "clone",
        ]);
        assert!(process::status(&mut clone).unwrap());
        let found = process::files(&folder.join("clone/crates"), "md").unwrap();
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn a_directory_without_advisories_is_refused() {
        let folder = folder("audit-empty");
        let error = Snapshot::take(&folder, folder.join("cache")).err().unwrap();
        assert!(error.to_string().contains("holds no advisories"));
    }

    #[test]
    fn only_the_place_of_the_database_differs_in_the_config() {
        let folder = folder("audit-config");
        process::write(
            &folder.join("deny.toml"),
            "[advisories]\nyanked = \"deny\"\n[bans]\nskip = []\n",
        )
        .unwrap();
        let snapshot = Snapshot {
            folder: folder.join("cache"),
            advisories: 1,
        };
        let written = snapshot.config(&folder).unwrap();
        let config: toml::Table = process::read(&written).unwrap().parse().unwrap();
        assert_eq!(config["advisories"]["yanked"].as_str(), Some("deny"));
        assert!(
            config["advisories"]["db-path"]
                .as_str()
                .unwrap()
                .ends_with("clone")
        );
        assert!(config.contains_key("bans"));
    }
}
