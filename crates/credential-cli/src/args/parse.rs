//! Parsers of what options take. Their refusals say what is expected and never what was given: a secret may have been.

use chrono::{DateTime, TimeDelta, Utc};
use nebula_credential::audit::Names;
use nebula_credential::limits::PURPOSE_BYTES;
use nebula_credential::{CredentialName, Permission, Principal, Scope, TenantId, Version};

type Parsed<T> = Result<T, String>;

const NAME_RULE: &str = "use 1-128 lower-case ASCII letters, digits, '.', '_', '-' and '/', starting and ending \
                         with a letter or digit, without '..' or '//'";

pub(crate) fn name(text: &str) -> Parsed<CredentialName> {
    CredentialName::new(text).map_err(|_| format!("this is no name of a credential; {NAME_RULE}"))
}

pub(crate) fn tenant(text: &str) -> Parsed<TenantId> {
    TenantId::new(text).map_err(|_| format!("this is no name of a tenant; {NAME_RULE}"))
}

pub(crate) fn scope(text: &str) -> Parsed<Scope> {
    Scope::new(text).map_err(|_| format!("this is no name of a scope; {NAME_RULE}"))
}

pub(crate) fn principal(text: &str) -> Parsed<Principal> {
    text.parse().map_err(|_| {
        format!("a principal is user:NAME, service:NAME, workflow:NAME, action:NAME or process; {NAME_RULE}")
    })
}

pub(crate) fn permission(text: &str) -> Parsed<Permission> {
    let found = Permission::ALL.into_iter().find(|known| known.as_str() == text);
    found.ok_or_else(|| {
        let names: Vec<&str> = Permission::ALL.iter().map(|known| known.as_str()).collect();
        format!("there is no such permission; write one of: {}", names.join(", "))
    })
}

pub(crate) fn purpose(text: &str) -> Parsed<String> {
    match text.len() {
        1..=PURPOSE_BYTES => Ok(text.to_owned()),
        _ => Err(format!(
            "a purpose has 1 to {PURPOSE_BYTES} bytes; write what it is for in a few words"
        )),
    }
}

/// How an audit log names credentials.
pub(crate) fn audit_names(text: &str) -> Parsed<Names> {
    match text {
        "clear" => Ok(Names::Clear),
        "tagged" => Ok(Names::Tagged),
        _ => Err(
            "an audit log names credentials clear or tagged; write one of the two, or leave it out"
                .to_owned(),
        ),
    }
}

/// A moment, or how long ago it was.
pub(crate) fn moment(text: &str) -> Parsed<DateTime<Utc>> {
    use nebula_credential::Clock as _;

    let ago = |ago| nebula_credential::SystemClock.now().checked_sub_signed(ago);
    match duration(text) {
        Ok(delta) => ago(delta),
        Err(_) => time(text).ok(),
    }
    .ok_or_else(|| {
        "a moment is a time as in RFC 3339 or how long ago it was; write it like 2030-12-31T23:59:59Z or 24h"
            .to_owned()
    })
}

pub(crate) fn version(text: &str) -> Parsed<Version> {
    text.parse()
        .ok()
        .and_then(Version::new)
        .ok_or_else(|| "a version is a whole number from 1; `ncred versions NAME` shows them".to_owned())
}

pub(crate) fn time(text: &str) -> Parsed<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.to_utc())
        .map_err(|_| "a time is written as in RFC 3339; write it like 2030-12-31T23:59:59Z".to_owned())
}

pub(crate) fn tag(text: &str) -> Parsed<(String, String)> {
    let Some((key, value)) = text.split_once('=') else {
        return Err("a tag is a key and a value; write KEY=VALUE".to_owned());
    };
    if holds_a_secret(key) {
        return Err(
            "this tag is named like a secret, and tags are not encrypted; give secrets on standard input"
                .to_owned(),
        );
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// The number of a descriptor that is open now, before anything else is: a free number would become that of a file of the
/// store, which must not be read and closed behind the back of SQLite.
pub(crate) fn descriptor(text: &str) -> Parsed<u32> {
    let number: u32 = text.parse().map_err(|_| {
        "a file descriptor is a number; write it like --passphrase-fd 3, and 3< FILE at the end".to_owned()
    })?;
    match std::fs::symlink_metadata(format!("/dev/fd/{number}")) {
        Ok(_) => Ok(number),
        Err(_) => Err(
            "this file descriptor is not open; open it for this command, such as `3< passphrase.txt`"
                .to_owned(),
        ),
    }
}

pub(crate) fn duration(text: &str) -> Parsed<TimeDelta> {
    let refused = || "a duration is a number and a unit (s, m, h, d or w); write it like 30d".to_owned();
    let unit = text.chars().next_back().ok_or_else(refused)?;
    let number = text.strip_suffix(unit).unwrap_or_default();
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        'w' => 7 * 24 * 3600,
        _ => return Err(refused()),
    };
    number
        .parse::<u32>()
        .ok()
        .and_then(|count| TimeDelta::try_seconds(i64::from(count) * seconds))
        .ok_or_else(refused)
}

/// Words for what must not stand in an argument.
const SECRETS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "key",
    "apikey",
    "pass",
    "pwd",
    "pw",
    "value",
];

/// Whether an option is named like a secret.
pub(crate) fn names_a_secret(option: &str) -> bool {
    words(option).any(|word| SECRETS.contains(&word.as_str()))
}

/// Whether the value of a tag would be a secret: `api-key` is, and `token-type` is not.
fn holds_a_secret(key: &str) -> bool {
    words(key)
        .last()
        .is_some_and(|word| SECRETS.contains(&word.as_str()))
}

fn words(text: &str) -> impl Iterator<Item = String> {
    let parts = text.split(|c: char| !c.is_ascii_alphanumeric());
    parts.filter(|part| !part.is_empty()).map(str::to_ascii_lowercase)
}
