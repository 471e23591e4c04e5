use std::io::{self, IsTerminal as _};

use chrono::{DateTime, Utc};
use nebula_credential::{Clock as _, Permission, Phase, RecordHead, SystemClock, Tags, VersionHead};
use serde::Serialize;
use zeroize::Zeroizing;

use super::view::{Metadata, Version, short, standing, time};
use super::{explain, suggest};
use crate::args::{Get, List, Named};
use crate::exit::{Failure, Outcome};
use crate::output::{Output, Table};
use crate::unlock::{Register, Session};
use crate::value::{Shown, Visible};

#[derive(Serialize)]
struct Whole<'a> {
    #[serde(flatten)]
    metadata: &'a Metadata,
    fields: Shown<'a>,
}

#[derive(Serialize)]
struct OneField<'a> {
    name: &'a str,
    version: u32,
    field: &'a str,
    value: Visible<'a>,
}

pub(super) async fn get(session: &Session, args: &Get, output: &Output) -> Outcome {
    // Also without --reveal: the fields that are no secret are shown.
    let manager = session.manager.with_permission(Permission::Read);
    let found = match args.version {
        Some(version) => manager.get_raw_version(&args.name, version).await,
        None => manager.get_raw(&args.name).await,
    };
    let raw = match found {
        Ok(raw) => raw,
        Err(error) => return Err(explain(session, &args.name, error).await),
    };
    let now = SystemClock.now();
    if args.reveal && !args.allow_expired {
        usable(raw.head(), now)?;
    }
    let metadata = Metadata::of_head(raw.head(), now);
    let shown = Shown::new(&metadata.credential_type, raw.expose(), args.reveal)?;
    if let Some(field) = &args.field {
        let value = shown.field(field)?;
        // Whoever asks for one field passes on what is printed: nothing may stand in for it.
        if matches!(value, Visible::Redacted) {
            return Err(Failure::usage(
                format!("field {field:?} is secret"),
                "add --reveal to print it",
            ));
        }
        return one(&metadata, field, value, output);
    }
    if output.is_json() {
        return output.value(&Whole {
            metadata: &metadata,
            fields: shown,
        });
    }
    let mut head = format!(
        "{}, version {}, {}",
        metadata.credential_type,
        metadata.version,
        standing(raw.head(), now)
    );
    if let Some(end) = &metadata.expires_at {
        let verb = if metadata.phase == "expired" {
            "expired"
        } else {
            "expires"
        };
        head.push_str(&format!(", {verb} {}", short(end)));
    }
    output.line(format!("{} ({head})", output.strong(&metadata.name)))?;
    let width = shown
        .iter()
        .map(|(key, _)| key.chars().count())
        .max()
        .unwrap_or(0);
    for (key, visible) in shown.iter() {
        let value = visible.line();
        let padding = " ".repeat(width - key.chars().count());
        output.line(Zeroizing::new(format!("{key}{padding}  {}", value.as_str())).as_str())?;
    }
    Ok(())
}

fn one(metadata: &Metadata, field: &str, value: Visible<'_>, output: &Output) -> Outcome {
    if output.is_json() {
        return output.value(&OneField {
            name: &metadata.name,
            version: metadata.version,
            field,
            value,
        });
    }
    let plain = value.plain();
    // A program gets the value and nothing else; a person's prompt begins on a line of its own.
    if io::stdout().is_terminal() {
        output.line(plain.as_str())
    } else {
        output.bytes(plain.as_bytes())
    }
}

/// Refuses to hand out what must not be used any more.
pub(super) fn usable(head: &RecordHead, now: DateTime<Utc>) -> Outcome {
    let name = head.id.name();
    if let Some(end) = head.version.expires_at.filter(|end| *end <= now) {
        return Err(Failure::from(nebula_credential::CredentialError::expired(
            format!("{name} expired at {end}; rotate it, or see it with --allow-expired"),
        )));
    }
    if head.phase == Phase::Revoked {
        return Err(Failure::state(
            format!("{name} is revoked"),
            format!(
                "that is final: delete it first to store another value as {name}, or see the old one with --allow-expired"
            ),
        ));
    }
    if !head.phase.is_usable() && head.phase != Phase::Expired {
        return Err(Failure::state(
            format!("{name} is {}", head.phase.as_str()),
            "store a new value, or see the old one with --allow-expired",
        ));
    }
    Ok(())
}

pub(super) async fn list(register: &Register, args: &List, output: &Output) -> Outcome {
    let now = SystemClock.now();
    let mut query = register.query();
    query.prefix.clone_from(&args.prefix);
    query.tags = Tags::from_pairs(
        args.tags
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str())),
    )?;
    query.include_deleted = args.deleted;
    query.expires_before = args.expiring.and_then(|within| now.checked_add_signed(within));
    let found = register.list(query).await?;
    if output.is_json() {
        return output.value(&Each(&found, now));
    }
    if found.is_empty() {
        output.note("nothing matches; `ncred put NAME --type TYPE` stores a credential");
        return Ok(());
    }
    let mut table = Table::new(&["NAME", "TYPE", "VERSION", "STATE", "EXPIRES", "TAGS"]);
    for head in &found {
        table.cell(head.id.name());
        table.cell(&head.version.credential_type);
        table.cell(head.version.version);
        table.cell(standing(head, now));
        match head.version.expires_at {
            Some(end) => table.cell(short(&time(end))),
            None => table.cell("-"),
        }
        let tags: Vec<String> = head
            .tags
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        table.cell(tags.join(" "));
    }
    output.print(&table)
}

/// Credentials as JSON, one after another: of many, only what is printed is kept.
struct Each<'a>(&'a [RecordHead], DateTime<Utc>);

impl Serialize for Each<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(heads, now) = self;
        serializer.collect_seq(heads.iter().map(|head| Metadata::of_head(head, *now)))
    }
}

pub(super) async fn versions(register: &Register, args: &Named, output: &Output) -> Outcome {
    let now = SystemClock.now();
    let found = match register.versions(&args.name).await {
        Ok(found) => found,
        Err(error) => return Err(suggest(register, &args.name, error).await),
    };
    let phase = register.head(&args.name).await?.phase;
    // The first is the current one.
    let describe =
        |(at, version): (usize, &VersionHead)| Version::new(version, (at == 0).then_some(phase), now);
    let found: Vec<Version> = found.iter().enumerate().map(describe).collect();
    if output.is_json() {
        return output.value(&found);
    }
    let row = |known: &Version| {
        vec![
            known.version.to_string(),
            if known.current { "current" } else { "kept" }.to_owned(),
            known.phase.unwrap_or("superseded").to_owned(),
            short(&known.created_at),
            known.expires_at.as_deref().map_or_else(|| "-".to_owned(), short),
        ]
    };
    let rows: Vec<Vec<String>> = found.iter().map(row).collect();
    output.table(&["VERSION", "", "PHASE", "STORED", "EXPIRES"], &rows)
}
