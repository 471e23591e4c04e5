//! The configuration file, and the profile of it that holds.

use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;
use serde::Deserialize;

use super::{Env, FOLDER, base, text};
use crate::args::Global;
use crate::exit::{Failure, Outcome};
use crate::suggest;

pub(super) const CONFIG_FILE: &str = "ncred.toml";
/// The profile that holds when none is named.
const DEFAULT_PROFILE: &str = "default";
/// What a profile says.
const SETTINGS: [&str; 10] = [
    "store",
    "tenant",
    "scope",
    "key_file",
    "passphrase_file",
    "principal",
    "purpose",
    "audit_log",
    "audit_names",
    "policy",
];
/// Longest key that is repeated, in bytes: none that is known is half as long.
const KEY_BYTES: usize = 32;
/// Longest configuration file, in bytes.
const CONFIG_BYTES: u64 = 64 * 1024;

/// The configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    #[serde(default)]
    default_profile: Option<String>,
    #[serde(default)]
    profiles: std::collections::BTreeMap<String, Profile>,
}

/// One profile: where things are, never a secret.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Profile {
    pub(super) store: Option<PathBuf>,
    pub(super) tenant: Option<String>,
    pub(super) scope: Option<String>,
    pub(super) key_file: Option<PathBuf>,
    pub(super) passphrase_file: Option<PathBuf>,
    pub(super) principal: Option<String>,
    pub(super) purpose: Option<String>,
    pub(super) audit_log: Option<PathBuf>,
    pub(super) audit_names: Option<String>,
    pub(super) policy: Option<PathBuf>,
}

/// The profile that holds, and the file it was looked for in if there is one.
pub(super) fn profile(global: &Global, env: Env<'_>) -> Outcome<(Profile, Option<PathBuf>)> {
    let wanted = match &global.profile {
        Some(profile) => Some(profile.clone()),
        None => text(env, "NCRED_PROFILE")?,
    };
    let named = global.config.clone().or_else(|| {
        env("NCRED_CONFIG")
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    });
    let (path, must_exist) = match named {
        Some(path) => (path, true),
        None => match base() {
            Ok(base) => (base.config_dir().join(FOLDER).join(CONFIG_FILE), wanted.is_some()),
            // Without a home there is no file to read; whoever needs a home is told later.
            Err(_) => return Ok((Profile::default(), None)),
        },
    };
    let Some(config) = read_config(&path, must_exist)? else {
        return Ok((Profile::default(), None));
    };
    Ok((config.choose(wanted, &path)?, Some(path)))
}

impl Config {
    /// Reads the text of the file at `path`.
    pub(super) fn parse(content: &str, path: &Path) -> Outcome<Self> {
        config(content).map_err(|line| {
            if let Some(key) = unknown_key(content, line) {
                return Failure::usage(
                    format!("the configuration file {}, line {line}: a profile has no setting {key:?}", path.display()),
                    match suggest::nearest(key, SETTINGS.iter().copied()) {
                        Some(near) => format!("did you mean {near:?}?"),
                        None => format!("it has: {}", SETTINGS.join(", ")),
                    },
                );
            }
            Failure::usage(
                format!(
                    "the configuration file {} is not well formed at line {line}",
                    path.display()
                ),
                "a profile is a table [profiles.NAME] with store, tenant, scope, key_file, passphrase_file, principal, \
                 purpose, audit_log, audit_names and policy",
            )
        })
    }

    /// The profile that holds where `wanted` is asked for.
    pub(super) fn choose(self, wanted: Option<String>, path: &Path) -> Outcome<Profile> {
        let is_named = wanted.is_some() || self.default_profile.is_some();
        let name = wanted
            .or(self.default_profile)
            .unwrap_or_else(|| DEFAULT_PROFILE.to_owned());
        match self.profiles.get(&name) {
            Some(profile) => Ok(profile.clone().beside(path)),
            None if !is_named => Ok(Profile::default()),
            None => {
                let known: Vec<&str> = self.profiles.keys().map(String::as_str).collect();
                Err(Failure::usage(
                    format!("{} has no such profile", path.display()),
                    match suggest::nearest(&name, known.iter().copied()) {
                        Some(near) => format!("did you mean {near:?}?"),
                        None => format!("it has: {}", known.join(", ")),
                    },
                ))
            }
        }
    }
}

impl Profile {
    /// Relative paths of a profile are meant from the directory of its file.
    fn beside(mut self, file: &Path) -> Self {
        if let Some(directory) = file.parent() {
            for path in [
                &mut self.store,
                &mut self.key_file,
                &mut self.passphrase_file,
                &mut self.audit_log,
                &mut self.policy,
            ] {
                *path = path.take().map(|path| directory.join(path));
            }
        }
        self
    }
}

fn read_config(path: &Path, must_exist: bool) -> Outcome<Option<Config>> {
    use std::io::Read as _;
    use std::os::unix::fs::MetadataExt as _;

    let unreadable = || {
        Failure::usage(
            format!("the configuration file {} cannot be read", path.display()),
            "check the path and its permissions, or name another with --config",
        )
    };
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(flaw) if flaw.kind() == std::io::ErrorKind::NotFound && !must_exist => return Ok(None),
        Err(_) => return Err(unreadable()),
    };
    let metadata = file.metadata().map_err(|_| unreadable())?;
    // It says which key and which store are used: whoever may change it may read what is stored next.
    if metadata.mode() & 0o022 != 0 {
        return Err(Failure::insecure(
            format!("others may change the configuration file {}", path.display()),
            format!("chmod go-w {}", path.display()),
        ));
    }
    let mut content = String::new();
    if metadata.len() > CONFIG_BYTES
        || file
            .by_ref()
            .take(CONFIG_BYTES)
            .read_to_string(&mut content)
            .is_err()
    {
        return Err(unreadable());
    }
    Config::parse(&content, path).map(Some)
}

/// The key in `line`, if it is one that no profile has. Only what can be no value is repeated.
fn unknown_key(content: &str, line: usize) -> Option<&str> {
    let (key, _) = content.lines().nth(line.checked_sub(1)?)?.split_once('=')?;
    let key = key.trim();
    let is_word = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    (is_word && key.len() <= KEY_BYTES && key != "default_profile" && !SETTINGS.contains(&key)).then_some(key)
}

/// Reads a configuration; on a flaw, the line it is in.
fn config(content: &str) -> Result<Config, usize> {
    toml::from_str(content).map_err(|flaw| {
        let at = flaw.span().map_or(0, |span| span.start);
        content.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flaw_is_reported_by_its_line() {
        assert_eq!(config("[profiles.a]\nstore = \"x\"\nstor = 1\n").unwrap_err(), 3);
        assert_eq!(unknown_key("[profiles.a]\nstor = 1\n", 2), Some("stor"));
        for line in ["store = 1", "sk-live-1 = 2", "c2VjcmV0==", "= 1", "nothing"] {
            assert_eq!(unknown_key(line, 1), None, "{line}");
        }
        assert!(config("").unwrap().profiles.is_empty());
    }
}
