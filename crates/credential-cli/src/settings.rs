//! What holds for this run: options, then the environment, then a profile, then defaults.

mod file;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use etcetera::BaseStrategy as _;
use nebula_credential::access::AccessLayer;
use nebula_credential::audit::{AuditLogger, Durability, Names};
use nebula_credential::{OpContext, Principal, Scope, SystemClock, TenantId};

use self::file::{CONFIG_FILE, Config, profile};
use crate::access;
use crate::args::{Global, parse};
use crate::exit::{Failure, Outcome};

/// The folder of this product within the user's directories, the same as the library's.
const FOLDER: &str = "nebula-credential";

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
}
