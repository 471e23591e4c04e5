//! Tools that are not part of the toolchain: one pinned version each, installed once into a cache.

use std::path::{Path, PathBuf};

use crate::{Result, process};

/// A cargo subcommand and the version every machine uses.
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// More arguments of `cargo install`.
    pub(crate) flags: &'static [&'static str],
}

/// Bans, licences, sources and advisories.
pub(crate) const DENY: Tool = Tool {
    name: "cargo-deny",
    version: "0.20.2",
    flags: &[],
};

/// Coverage-guided fuzzing with libFuzzer.
pub(crate) const FUZZ: Tool = Tool {
    name: "cargo-fuzz",
    version: "0.13.2",
    flags: &[],
};

/// The book, without the parts of mdBook that serve and watch it.
pub(crate) const MDBOOK: Tool = Tool {
    name: "mdbook",
    version: "0.5.4",
    flags: &["--no-default-features", "--features", "search"],
};

/// The folder for what outlives a clone: `$XDG_CACHE_HOME/nebula-credential`, by default below
/// `~/.cache`.
pub(crate) fn cache() -> Result<PathBuf> {
    let base = match (std::env::var_os("XDG_CACHE_HOME"), std::env::home_dir()) {
        (Some(cache), _) if Path::new(&cache).is_absolute() => PathBuf::from(cache),
        (_, Some(home)) => home.join(".cache"),
        _ => return Err("no home directory: set XDG_CACHE_HOME to a folder for tools".into()),
    };
    Ok(base.join("nebula-credential"))
}

impl Tool {
    /// The tool's program, compiled on the first call on a machine (minutes) and found on later ones.
    pub(crate) fn program(&self, root: &Path) -> Result<PathBuf> {
        let Self { name, version, flags } = self;
        let folder = cache()?.join("tools").join(format!("{name}-{version}"));
        let program = folder
            .join("bin")
            .join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
        if !program.is_file() {
            println!("installing {name} {version} into {} (once)", folder.display());
            let mut install = process::cargo(root);
            install.args(["install", "--locked", "--root"]).arg(&folder);
            install.args(*flags).arg(format!("{name}@{version}"));
            if !process::status(&mut install)? {
                return Err(format!(
                    "cannot install {name} {version}; `cargo install {name}@{version} --locked --root {}` shows why",
                    folder.display()
                )
                .into());
            }
        }
        Ok(program)
    }
}
