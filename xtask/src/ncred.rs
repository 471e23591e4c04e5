//! Real `ncred` processes on a store of their own, and what a store holds as its operator sees it.
//!
//! `crash` and `faults` drive the program and not the library: what they show holds for what is shipped. The program
//! is built once and copied, so that a build in between does not change what a run is about.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::cargo::Metadata;
use crate::{Result, process};

/// A directory for one run, open to nobody else, that is removed at the end.
pub(crate) struct Workshop {
    root: PathBuf,
    program: PathBuf,
}

impl Workshop {
    /// Builds `ncred` and makes the directory.
    pub(crate) fn open(metadata: &Metadata, name: &str) -> Result<Self> {
        let mut build = process::cargo(&metadata.workspace_root);
        build.env("CARGO_TARGET_DIR", &metadata.target_directory);
        build.args([
            "build",
            "--quiet",
            "--package=nebula-credential-cli",
            "--bin=ncred",
        ]);
        if !process::status(&mut build)? {
            return Err("ncred does not build; see above".into());
        }
        let name = format!("{name}-{}", std::process::id());
        let root = metadata.target_directory.join("xtask").join(name);
        private_directory(&root)?;
        let workshop = Self {
            program: root.join("ncred"),
            root,
        };
        fs::copy(metadata.target_directory.join("debug/ncred"), &workshop.program)?;
        Ok(workshop)
    }

    /// A place with nothing in it.
    pub(crate) fn place(&self, name: &str) -> Result<Place> {
        let root = self.root.join(name);
        if root.exists() {
            fs::remove_dir_all(&root)?;
        }
        private_directory(&root)?;
        Ok(Place {
            root,
            program: self.program.clone(),
        })
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        // What is left behind lies in the target directory.
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn private_directory(path: &Path) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    Ok(fs::DirBuilder::new().mode(0o700).create(path)?)
}

/// A directory with a key file and a store.
pub(crate) struct Place {
    pub(crate) root: PathBuf,
    program: PathBuf,
}

/// One call of the program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) arguments: &'a [&'a str],
    pub(crate) stdin: &'a str,
}

impl Place {
    pub(crate) fn store(&self) -> PathBuf {
        self.root.join("store")
    }

    /// The program, to be started as an argument of `wrapper`: of a tracer, or of nothing.
    pub(crate) fn command(&self, wrapper: &[String], arguments: &[&str]) -> Command {
        let mut words = wrapper
            .iter()
            .map(AsRef::as_ref)
            .chain([self.program.as_os_str()]);
        let mut command = Command::new(words.next().unwrap_or(self.program.as_os_str()));
        command.args(words).args(arguments).current_dir(&self.root);
        command.env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", &self.root);
        command.env("NCRED_STORE", self.store());
        command.env("NCRED_KEY_FILE", self.root.join("key"));
        command.env("EDITOR", "sed -i s/first/edited/");
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the program to its end, however that comes.
    pub(crate) fn run(&self, wrapper: &[String], call: Call<'_>) -> Result<Output> {
        let mut child = self.command(wrapper, call.arguments).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that ends before it reads is judged by how it ended.
            let _ = stdin.write_all(call.stdin.as_bytes());
        }
        Ok(child.wait_with_output()?)
    }

    /// Runs the program; anything but success is an error.
    pub(crate) fn must(&self, arguments: &[&str], stdin: &str) -> Result<String> {
        let output = self.run(&[], Call { arguments, stdin })?;
        if !output.status.success() {
            return Err(format!(
                "`ncred {}` ended with {}: {}",
                arguments.join(" "),
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            )
            .into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    fn json(&self, arguments: &[&str]) -> Result<Value> {
        let arguments = [arguments, &["--json"]].concat();
        Ok(serde_json::from_str(&self.must(&arguments, "")?)?)
    }

    /// Makes a copy of it that no process has open.
    pub(crate) fn copy(&self, workshop: &Workshop, name: &str) -> Result<Self> {
        let copy = workshop.place(name)?;
        copy_files(&self.root, &copy.root)?;
        Ok(copy)
    }

    /// One version: its type, its value, and whether it is handed out to who does not insist.
    fn version(&self, name: &str, number: &str) -> Result<Value> {
        let get = ["get", name, "--version", number, "--reveal", "--json"];
        let call = Call {
            arguments: &get,
            stdin: "",
        };
        let given = self.run(&[], call)?;
        let is_served = given.status.success();
        let shown: Value = if is_served {
            serde_json::from_slice(&given.stdout)?
        } else {
            serde_json::from_str(&self.must(&[&get[..], &["--allow-expired"]].concat(), "")?)?
        };
        Ok(serde_json::json!([
            shown.get("type"),
            shown.get("fields"),
            is_served
        ]))
    }

    /// Everything it holds. A record or version that cannot be read is an error. Deleted records are restored for it
    /// and deleted again.
    pub(crate) fn state(&self) -> Result<State> {
        let mut state = State::default();
        for record in items(&self.json(&["list", "--deleted"])?) {
            let name = text(record, "name");
            let deleted = record.get("deleted_at").is_some_and(|time| !time.is_null());
            if deleted {
                self.must(&["restore", &name], "")?;
            }
            let mut versions = BTreeMap::new();
            for version in items(&self.json(&["versions", &name])?) {
                let number = text(version, "version");
                versions.insert(number.clone(), self.version(&name, &number)?);
            }
            if deleted {
                self.must(&["delete", &name], "")?;
            }
            let record = serde_json::json!({
                "deleted": deleted,
                "tags": record.get("tags"),
                "latest": record.get("version"),
                "versions": versions,
            });
            state.0.insert(format!("record {name}"), record);
        }
        let ring = self.json(&["key", "status"])?;
        for slot in ring.get("slots").map(items).unwrap_or_default() {
            let kind = slot.get("kind").cloned().unwrap_or_default();
            state.0.insert(format!("slot {}", text(slot, "slot")), kind);
        }
        for key in ring.get("keys").map(items).unwrap_or_default() {
            let at = key.get("state").cloned().unwrap_or_default();
            // A destroyed key is as good as none.
            if at != "destroyed" {
                state.0.insert(format!("key {}", text(key, "key")), at);
            }
        }
        Ok(state)
    }
}

/// What a store holds: each record, slot and key by itself, without times.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State(pub(crate) BTreeMap<String, Value>);

impl State {
    /// Whether each piece is as it is in `old` or in `new`.
    pub(crate) fn is_between(&self, old: &Self, new: &Self) -> bool {
        let names = self.0.keys().chain(old.0.keys()).chain(new.0.keys());
        names.into_iter().all(|name| {
            let found = self.0.get(name);
            found == old.0.get(name) || found == new.0.get(name)
        })
    }

    /// The pieces that differ from `other`, by name.
    pub(crate) fn differences(&self, other: &Self) -> String {
        let names: std::collections::BTreeSet<_> = self.0.keys().chain(other.0.keys()).collect();
        let differ = names
            .into_iter()
            .filter(|name| self.0.get(*name) != other.0.get(*name));
        differ.cloned().collect::<Vec<_>>().join(", ")
    }
}

fn items(value: &Value) -> Vec<&Value> {
    value.as_array().into_iter().flatten().collect()
}

/// A member that is text or a number.
fn text(value: &Value, member: &str) -> String {
    match value.get(member) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

fn copy_files(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            private_directory(&target)?;
            copy_files(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::State;

    fn state(pieces: &[(&str, u32)]) -> State {
        let pieces = pieces
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).into()));
        State(pieces.collect())
    }

    #[test]
    fn each_piece_is_old_or_new() {
        let old = state(&[("a", 1), ("b", 1)]);
        let new = state(&[("a", 2), ("c", 1)]);
        for between in [
            &old,
            &new,
            &state(&[("a", 1), ("b", 1), ("c", 1)]),
            &state(&[("a", 2)]),
        ] {
            assert!(between.is_between(&old, &new), "{between:?}");
        }
        for beside in [
            state(&[("b", 1)]),
            state(&[("a", 3)]),
            state(&[("a", 1), ("d", 1)]),
            state(&[("a", 1), ("c", 2)]),
        ] {
            assert!(!beside.is_between(&old, &new), "{beside:?}");
        }
        assert_eq!(old.differences(&new), "a, b, c");
    }
}
