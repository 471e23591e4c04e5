//! Configuration files: any text is read as TOML is, or is refused by its line, and no refusal repeats what stands there.

use nebula_credential_cli::rehearse_config;

/// What a profile may say; all of it text.
const PROFILE: &[&str] = &[
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

/// Of these, what is checked beyond that it is text.
const CHECKED: [&str; 5] = ["tenant", "scope", "principal", "purpose", "audit_names"];

/// Reads `data` as a configuration file; before the first NUL may stand the name of the wanted profile.
pub fn config_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (wanted, text) = match text.split_once('\0') {
        Some((wanted, text)) => (Some(wanted), text),
        None => (None, text),
    };
    let table = toml::from_str::<toml::Table>(text).ok();
    let found = table.as_ref().and_then(read);
    let outcome = rehearse_config(text, wanted);
    let Some(config) = found else {
        let refusal = outcome.expect_err("what is no configuration is refused");
        let (line, key) = refused_at(&refusal).expect("a refusal has one of two forms");
        let lines = text.bytes().filter(|byte| *byte == b'\n').count() + 1;
        assert!((1..=lines).contains(&line), "{refusal}");
        // The number is all that may be of the file, and a key that can be no secret.
        let harmless =
            |key: &str| key.len() <= 32 && key.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'_'));
        return assert!(
            key.is_none_or(|key| harmless(key) && !PROFILE.contains(&key)),
            "{refusal}"
        );
    };
    let name = wanted.or(config.default.as_deref());
    let profile = config.profiles.get(name.unwrap_or("default"));
    match outcome {
        Ok(()) => assert!(profile.is_some() || name.is_none()),
        // What is no name, principal or purpose, or a profile that is not there.
        Err(refusal) => match profile {
            Some(profile) => {
                let is_named = |key: &str| profile.get(key).and_then(toml::Value::as_str);
                assert!(
                    CHECKED.into_iter().any(|key| is_named(key).is_some()),
                    "{refusal}"
                );
                assert!(
                    ["name", "principal", "purpose"]
                        .iter()
                        .any(|word| refusal.contains(word)),
                    "{refusal}"
                );
            }
            None => assert!(name.is_some() && refusal.contains("no such profile"), "{refusal}"),
        },
    }
}

/// The line that a refusal tells, and the key it names, if it does.
fn refused_at(refusal: &str) -> Option<(usize, Option<&str>)> {
    let rest = refusal.strip_prefix("the configuration file ncred.toml")?;
    if let Some(rest) = rest.strip_prefix(" is not well formed at line ") {
        let (line, _) = rest.split_once("; a profile is a table [profiles.NAME] with ")?;
        return Some((line.parse().ok()?, None));
    }
    let (line, rest) = rest
        .strip_prefix(", line ")?
        .split_once(": a profile has no setting \"")?;
    let (key, _) = rest.split_once('"')?;
    Some((line.parse().ok()?, Some(key)))
}

struct Config<'a> {
    default: Option<String>,
    profiles: std::collections::BTreeMap<&'a str, &'a toml::Table>,
}

/// A second reader of what a configuration may say.
fn read(table: &toml::Table) -> Option<Config<'_>> {
    let mut config = Config {
        default: None,
        profiles: Default::default(),
    };
    for (key, value) in table {
        match (key.as_str(), value) {
            ("default_profile", toml::Value::String(name)) => config.default = Some(name.clone()),
            ("profiles", toml::Value::Table(profiles)) => {
                for (name, profile) in profiles {
                    let profile = profile.as_table()?;
                    let is_known = |(key, value): (&String, &toml::Value)| {
                        PROFILE.contains(&key.as_str()) && value.is_str()
                    };
                    if !profile.iter().all(is_known) {
                        return None;
                    }
                    config.profiles.insert(name, profile);
                }
            }
            _ => return None,
        }
    }
    Some(config)
}
