use chrono::{DateTime, Utc};
use nebula_credential::{
    Clock as _, CredentialError, CredentialMetadata, CredentialName, PendingWrite, Permission, SystemClock,
};
use serde::Serialize;
use zeroize::Zeroizing;

use super::explain;
use super::view::Metadata;
use crate::args::{Named, Purge, Put, Revoke, Rollback, Rotate, Tags, Write};
use crate::exit::{Failure, Outcome};
use crate::output::Output;
use crate::unlock::Session;
use crate::{input, value};

pub(super) async fn put(session: &Session, args: &Put, output: &Output) -> Outcome {
    let info = value::type_named(&args.credential_type)?;
    check_expiry(args.write.expires_at)?;
    let credential = value::read(info)?;
    let mut store = settle(session.manager.store_any(&args.name, &credential), &args.write)?;
    if args.if_absent {
        store = store.if_absent();
    }
    told(session, &args.name, "stored", store.await, output).await
}

pub(super) async fn rotate(session: &Session, args: &Rotate, output: &Output) -> Outcome {
    check_expiry(args.write.expires_at)?;
    // What is replaced is shown to nobody.
    let manager = session.manager.with_permission(Permission::Use);
    let current = match manager.get_raw(&args.name).await {
        Ok(current) => current,
        Err(error) => return Err(explain(session, &args.name, error).await),
    };
    let version = &current.head().version;
    let Some(info) = value::find(&version.credential_type) else {
        return Err(Failure::state(
            format!("{} is of a type that this tool does not know", args.name),
            "rotate it with the program that defines its type",
        ));
    };
    let changed = match &args.field {
        _ if args.generate => Some(generated(info, args, current.expose())?),
        Some(field) => Some(value::read_field(info, field, current.expose())?),
        None => None,
    };
    let (credential, known) = match changed {
        // What stays of the value was read before: someone else's change in between must not be undone.
        Some(json) => (value::decode(info, json.expose())?, Some(version.version)),
        None => (value::read(info)?, None),
    };
    let mut store = settle(session.manager.rotate_any(&args.name, &credential), &args.write)?;
    if let (Some(known), None) = (known, args.write.if_version) {
        store = store.if_version(known);
    }
    told(session, &args.name, "rotated", store.await, output).await
}

/// The current value with a fresh random text in one of its secret fields.
fn generated(
    info: &nebula_credential::types::TypeInfo,
    args: &Rotate,
    current: &[u8],
) -> Outcome<nebula_credential::Plaintext> {
    use nebula_credential::FieldKind;

    let able = || {
        info.fields()
            .iter()
            .filter(|field| field.secret && field.kind == FieldKind::Text)
            .map(|field| field.name)
    };
    let object = value::stored(current)?;
    let candidates: Vec<&str> = able().collect();
    let field = match (&args.field, candidates.as_slice()) {
        (Some(wanted), _) if candidates.contains(&wanted.as_str()) => wanted.as_str(),
        (None, [only]) => only,
        _ => {
            return Err(Failure::usage(
                format!(
                    "it is not clear which field of {} to make a secret for",
                    info.name()
                ),
                match candidates.as_slice() {
                    [] => "give the new value on standard input".to_owned(),
                    names => format!("name one with --field: {}", names.join(", ")),
                },
            ));
        }
    };
    value::with_text(&object, field, &random_text(usize::from(args.length))?)
}

/// `length` letters and digits, each as likely as any other: 5.95 bits apiece.
fn random_text(length: usize) -> Outcome<Zeroizing<String>> {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    /// Of 256 values of a byte, as many as share out evenly.
    const EVEN: u8 = 248;
    let mut text = Zeroizing::new(String::with_capacity(length));
    let mut bytes = Zeroizing::new([0; 64]);
    while text.len() < length {
        getrandom::fill(bytes.as_mut_slice()).map_err(|_| {
            Failure::system(
                "the operating system gave no random bytes",
                "try again, or give the value on standard input",
            )
        })?;
        let letters = bytes
            .iter()
            .filter(|byte| **byte < EVEN)
            .filter_map(|byte| ALPHABET.get(usize::from(byte % 62)));
        for letter in letters.take(length - text.len()) {
            text.push(char::from(*letter));
        }
    }
    Ok(text)
}

pub(super) async fn rollback(session: &Session, args: &Rollback, output: &Output) -> Outcome {
    let rolled = match args.to {
        Some(version) => session.manager.rollback_to(&args.name, version).await,
        None => session.manager.rollback(&args.name).await,
    };
    told(session, &args.name, "rolled back", rolled, output).await
}

pub(super) async fn tags(session: &Session, args: &Tags, output: &Output) -> Outcome {
    let changed = session.manager.set_tags(&args.name, collect(&args.tags)?).await;
    told(session, &args.name, "tagged", changed, output).await
}

pub(super) async fn restore(session: &Session, args: &Named, output: &Output) -> Outcome {
    let restored = session.manager.restore(&args.name).await;
    told(session, &args.name, "restored", restored, output).await
}

/// What is left to say of a credential that is gone.
#[derive(Serialize)]
struct Gone<'a> {
    name: &'a str,
    deleted: bool,
    purged: bool,
}

pub(super) async fn delete(session: &Session, args: &Named, output: &Output) -> Outcome {
    if let Err(error) = session.manager.delete(&args.name).await {
        return Err(explain(session, &args.name, error).await);
    }
    if output.is_json() {
        return output.value(&Gone {
            name: args.name.as_str(),
            deleted: true,
            purged: false,
        });
    }
    output.line(format!(
        "deleted {0}; `ncred restore {0}` brings it back",
        args.name
    ))
}

pub(super) async fn revoke(session: &Session, args: &Revoke, output: &Output) -> Outcome {
    if let Err(error) = session.manager.metadata(&args.name).await {
        return Err(explain(session, &args.name, error).await);
    }
    if !args.yes {
        confirm(
            &args.name,
            "Revoke",
            "a revocation is for good, and nobody is here to confirm it",
        )?;
    }
    let revoked = session.manager.revoke(&args.name).await;
    let is_done = revoked.is_ok();
    told(session, &args.name, "revoked", revoked, output).await?;
    if is_done {
        output.note("whoever issued the secret takes it still: revoke it there, too");
    }
    Ok(())
}

pub(super) async fn purge(session: &Session, args: &Purge, output: &Output) -> Outcome {
    if let Err(error) = session.manager.metadata(&args.name).await {
        return Err(explain(session, &args.name, error).await);
    }
    if !args.yes {
        confirm(
            &args.name,
            "Destroy every version of",
            "a purge destroys every version for good, and nobody is here to confirm it",
        )?;
    }
    if let Err(error) = session.manager.purge(&args.name).await {
        return Err(explain(session, &args.name, error).await);
    }
    if output.is_json() {
        return output.value(&Gone {
            name: args.name.as_str(),
            deleted: true,
            purged: true,
        });
    }
    output.line(format!("purged {}: every version is destroyed", args.name))
}

/// Asks before what cannot be undone; `alone` says so where nobody can be asked.
fn confirm(name: &CredentialName, deed: &str, alone: &str) -> Outcome {
    if !input::is_interactive() {
        return Err(Failure::usage(
            alone,
            "add --yes, or use `ncred delete`, which can be undone",
        ));
    }
    let answer = input::ask(&format!("{deed} {name} for good? Type its name: "))?;
    if answer.as_deref() == Some(name.as_str()) {
        return Ok(());
    }
    Err(Failure::state(
        "not confirmed, nothing was changed",
        "type the name of the credential to confirm",
    ))
}

fn check_expiry(end: Option<DateTime<Utc>>) -> Outcome {
    match end {
        Some(end) if end <= SystemClock.now() => Err(Failure::usage(
            format!("--expires-at {end} is in the past"),
            "give a time to come, or leave it out",
        )),
        _ => Ok(()),
    }
}

/// Adds to a write what its options say.
fn settle<'a>(mut store: PendingWrite<'a>, write: &Write) -> Outcome<PendingWrite<'a>> {
    if let Some(version) = write.if_version {
        store = store.if_version(version);
    }
    if let Some(end) = write.expires_at {
        store = store.expires_at(end);
    }
    if !write.tags.is_empty() {
        store = store.tags(collect(&write.tags)?);
    }
    Ok(store)
}

fn collect(tags: &[(String, String)]) -> Outcome<nebula_credential::Tags> {
    let pairs = tags.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    Ok(nebula_credential::Tags::from_pairs(pairs)?)
}

/// Reports a change, or why it was not made.
pub(super) async fn told(
    session: &Session,
    name: &CredentialName,
    done: &str,
    outcome: Result<CredentialMetadata, CredentialError>,
    output: &Output,
) -> Outcome {
    let known = match outcome {
        Ok(known) => Metadata::from(known),
        Err(error) => return Err(explain(session, name, error).await),
    };
    if output.is_json() {
        return output.value(&known);
    }
    output.line(format!(
        "{done} {} ({}, version {})",
        known.name, known.credential_type, known.version
    ))
}
