//! What holds for this run: options, then the environment, then a profile, then defaults.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use etcetera::BaseStrategy as _;
use nebula_credential::access::AccessLayer;
use nebula_credential::audit::{AuditLogger, Durability, Names};
use nebula_credential::{OpContext, Principal, Scope, SystemClock, TenantId};
use serde::Deserialize;

use crate::access;
use crate::args::{Global, parse};
use crate::exit::{Failure, Outcome};

/// The folder of this product within the user's directories, the same as the library's.
const FOLDER: &str = "nebula-credential";
const CONFIG_FILE: &str = "ncred.toml";
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

/// Everything settled.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) store: PathBuf,
    pub(crate) tenant: TenantId,
    pub(crate) scope: Scope,
    pub(crate) principal: Principal,
    pub(crate) purpose: Option<String>,
    /// Where everything is recorded, if anywhere.
    pub(crate) audit: Option<AuditLogger>,
    /// What decides who may do what, if anything does.
    pub(crate) access: Option<AccessLayer>,
    pub(crate) unlock: Unlock,
    /// The configuration file that was read, if one was.
    pub(crate) config: Option<PathBuf>,
}

/// What unlocks the key ring. Decided as one: the first of options, environment and profile that names any of these
/// names all of them, so that a passphrase of one never meets a key file of another.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Unlock {
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) passphrase: Option<PassphraseFrom>,
    /// Nobody named anything: `key_file` is where the default one lies.
    pub(crate) is_default: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PassphraseFrom {
    File(PathBuf),
    Descriptor(u32),
    Terminal,
}

/// The configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    default_profile: Option<String>,
    #[serde(default)]
    profiles: std::collections::BTreeMap<String, Profile>,
}

/// One profile: where things are, never a secret.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    store: Option<PathBuf>,
    tenant: Option<String>,
    scope: Option<String>,
    key_file: Option<PathBuf>,
    passphrase_file: Option<PathBuf>,
    principal: Option<String>,
    purpose: Option<String>,
    audit_log: Option<PathBuf>,
    audit_names: Option<String>,
    policy: Option<PathBuf>,
}

/// The environment, passed as a value so that tests need not change their own.
pub(crate) type Env<'a> = &'a dyn Fn(&str) -> Option<std::ffi::OsString>;

impl Settings {
    /// Settles what holds.
    pub(crate) fn resolve(global: &Global, env: Env<'_>) -> Outcome<Self> {
        let path = |name| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let (profile, config) = profile(global, env)?;
        let store = match global
            .store
            .clone()
            .or_else(|| path("NCRED_STORE"))
            .or(profile.store)
        {
            Some(store) => store,
            None => base()?.data_dir().join(FOLDER),
        };
        let named = [
            Unlock {
                key_file: global.key_file.clone(),
                passphrase: from_options(global),
                is_default: false,
            },
            Unlock {
                key_file: path("NCRED_KEY_FILE"),
                passphrase: path("NCRED_PASSPHRASE_FILE").map(PassphraseFrom::File),
                is_default: false,
            },
            Unlock {
                key_file: profile.key_file,
                passphrase: profile.passphrase_file.map(PassphraseFrom::File),
                is_default: false,
            },
        ];
        let unlock = match named.into_iter().find(|unlock| *unlock != Unlock::default()) {
            Some(unlock) => unlock,
            None => Unlock {
                key_file: Some(base()?.config_dir().join(FOLDER).join("key")),
                passphrase: None,
                is_default: true,
            },
        };
        let tenant = match &global.tenant {
            Some(tenant) => tenant.clone(),
            None => named_by(text(env, "NCRED_TENANT")?.or(profile.tenant), TenantId::new)?,
        };
        let scope = match &global.scope {
            Some(scope) => scope.clone(),
            None => named_by(text(env, "NCRED_SCOPE")?.or(profile.scope), Scope::new)?,
        };
        let principal = match &global.principal {
            Some(principal) => principal.clone(),
            None => checked(
                "NCRED_PRINCIPAL",
                text(env, "NCRED_PRINCIPAL")?.or(profile.principal),
                parse::principal,
            )?
            .unwrap_or(Principal::Process),
        };
        let purpose = match &global.purpose {
            Some(purpose) => Some(purpose.clone()),
            None => checked(
                "NCRED_PURPOSE",
                text(env, "NCRED_PURPOSE")?.or(profile.purpose),
                parse::purpose,
            )?,
        };
        let audit_names = match global.audit_names {
            Some(names) => Some(names),
            None => checked(
                "NCRED_AUDIT_NAMES",
                text(env, "NCRED_AUDIT_NAMES")?.or(profile.audit_names),
                parse::audit_names,
            )?,
        };
        let audit = global
            .audit_log
            .clone()
            .or_else(|| path("NCRED_AUDIT_LOG"))
            .or(profile.audit_log)
            .map(|path| audit_log(path, audit_names));
        let access = global
            .policy
            .clone()
            .or_else(|| path("NCRED_POLICY"))
            .or(profile.policy)
            .map(|path| access::open(&path))
            .transpose()?;
        Ok(Self {
            store,
            tenant,
            scope,
            principal,
            purpose,
            audit,
            access,
            unlock,
            config,
        })
    }

    /// Who asks, and what for.
    pub(crate) fn context(&self) -> OpContext {
        OpContext {
            purpose: self.purpose.as_deref().map(Arc::from),
            ..OpContext::new(self.principal.clone(), Arc::new(SystemClock))
        }
    }
}

fn from_options(global: &Global) -> Option<PassphraseFrom> {
    if let Some(file) = &global.passphrase_file {
        return Some(PassphraseFrom::File(file.clone()));
    }
    match global.passphrase_fd {
        Some(number) => Some(PassphraseFrom::Descriptor(number)),
        None => global.ask_passphrase.then_some(PassphraseFrom::Terminal),
    }
}

fn named_by<T: Default>(
    text: Option<String>,
    parse: impl Fn(String) -> Result<T, nebula_credential::CredentialError>,
) -> Outcome<T> {
    text.map_or_else(|| Ok(T::default()), |text| Ok(parse(text)?))
}

/// What `of` or a profile says, as `parse` reads it, whose refusal is `what; remedy`.
fn checked<T>(
    of: &str,
    text: Option<String>,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Outcome<Option<T>> {
    text.map(|text| {
        parse(&text).map_err(|refusal| {
            let (what, remedy) = refusal.split_once("; ").unwrap_or((&refusal, "set it again"));
            Failure::usage(format!("{of} or the profile: {what}"), remedy)
        })
    })
    .transpose()
}

/// A run ends sooner than records are synced by themselves: each is on the disk before its value is released.
fn audit_log(path: PathBuf, names: Option<Names>) -> AuditLogger {
    let log = AuditLogger::builder(path).reads(Durability::Synced);
    match names {
        Some(names) => log.names(names),
        None => log,
    }
    .build()
}

fn text(env: Env<'_>, name: &str) -> Outcome<Option<String>> {
    env(name)
        .filter(|value| !value.is_empty())
        .map(|value| {
            value
                .into_string()
                .map_err(|_| Failure::usage(format!("{name} is not UTF-8 text"), "set it again, or unset it"))
        })
        .transpose()
}

/// The profile that holds, and the file it was looked for in if there is one.
fn profile(global: &Global, env: Env<'_>) -> Outcome<(Profile, Option<PathBuf>)> {
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
    fn parse(content: &str, path: &Path) -> Outcome<Self> {
        config(content).map_err(|line| {
            if let Some(key) = unknown_key(content, line) {
                return Failure::usage(
                    format!("the configuration file {}, line {line}: a profile has no setting {key:?}", path.display()),
                    match crate::suggest::nearest(key, SETTINGS.iter().copied()) {
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
    fn choose(self, wanted: Option<String>, path: &Path) -> Outcome<Profile> {
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
                    match crate::suggest::nearest(&name, known.iter().copied()) {
                        Some(near) => format!("did you mean {near:?}?"),
                        None => format!("it has: {}", known.join(", ")),
                    },
                ))
            }
        }
    }
}

/// What the text of a configuration file leads to where the profile `wanted` is asked for, for fuzzing.
///
/// # Errors
/// The message and the remedy of the refusal.
pub fn rehearse(content: &str, wanted: Option<&str>) -> Result<(), String> {
    let path = Path::new(CONFIG_FILE);
    let settled = Config::parse(content, path).and_then(|config| {
        let profile = config.choose(wanted.map(str::to_owned), path)?;
        checked("NCRED_PRINCIPAL", profile.principal, parse::principal)?;
        checked("NCRED_PURPOSE", profile.purpose, parse::purpose)?;
        checked("NCRED_AUDIT_NAMES", profile.audit_names, parse::audit_names)?;
        named_by(profile.tenant, TenantId::new)?;
        named_by(profile.scope, Scope::new).map(drop)
    });
    settled.map_err(|failure| format!("{}; {}", failure.message, failure.help.unwrap_or_default()))
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

fn base() -> Outcome<impl etcetera::BaseStrategy> {
    etcetera::choose_base_strategy().map_err(|_| {
        Failure::usage(
            "this user has no home directory",
            "name the store with --store, and what unlocks it with --key-file or --passphrase-file",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none(_: &str) -> Option<std::ffi::OsString> {
        None
    }

    #[test]
    fn options_come_before_the_environment_and_that_before_a_profile() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ncred.toml");
        std::fs::write(
            &file,
            "[profiles.default]\nstore = \"of-profile\"\nkey_file = \"/k/profile\"\ntenant = \"profile\"\n",
        )
        .unwrap();
        let global = Global {
            config: Some(file),
            ..Global::default()
        };
        let env = |name: &str| match name {
            "NCRED_STORE" => Some("/env".into()),
            "NCRED_PASSPHRASE_FILE" => Some("/p/env".into()),
            _ => None,
        };

        let from_profile = Settings::resolve(&global, &none).unwrap();
        assert_eq!(from_profile.store, dir.path().join("of-profile"));
        assert_eq!(from_profile.unlock.key_file, Some("/k/profile".into()));
        assert_eq!(from_profile.tenant.as_str(), "profile");

        // The passphrase of the environment does not meet the key file of the profile.
        let from_env = Settings::resolve(&global, &env).unwrap();
        assert_eq!(from_env.store, Path::new("/env"));
        assert_eq!(from_env.unlock.key_file, None);
        assert_eq!(
            from_env.unlock.passphrase,
            Some(PassphraseFrom::File("/p/env".into()))
        );

        let global = Global {
            store: Some("/option".into()),
            key_file: Some("/k/option".into()),
            ..global
        };
        let from_options = Settings::resolve(&global, &env).unwrap();
        assert_eq!(from_options.store, Path::new("/option"));
        assert_eq!(from_options.unlock.key_file, Some("/k/option".into()));
        assert_eq!(from_options.unlock.passphrase, None);
    }

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
