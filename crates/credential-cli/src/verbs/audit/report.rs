//! `ncred audit report`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use nebula_credential::audit::Entry;
use serde::Serialize;

use super::super::view::{short, time};
use super::print::{csv_row, plain, subject};
use crate::exit::Outcome;
use crate::output::Output;

/// What each principal did with each credential.
#[derive(Default)]
pub(super) struct History(BTreeMap<(String, Option<String>), Deeds>);

struct Deeds {
    entry: Entry,
    reads: u64,
    changes: u64,
    denied: u64,
    failed: u64,
    first: DateTime<Utc>,
    last: DateTime<Utc>,
}

#[derive(Serialize)]
struct Line<'a> {
    principal: &'a str,
    tenant: Option<&'a str>,
    scope: Option<&'a str>,
    name: Option<&'a str>,
    tag: Option<&'a str>,
    reads: u64,
    changes: u64,
    denied: u64,
    failed: u64,
    first: String,
    last: String,
}

impl History {
    /// Takes an outcome in; of what the log says about itself, and of intents, there is no history.
    pub(super) fn add(&mut self, entry: Entry) {
        let (Some(principal), "outcome") = (entry.principal.clone(), entry.stage.as_str()) else {
            return;
        };
        let (event, is_ok) = (entry.event.clone(), entry.outcome.as_deref() == Some("ok"));
        let is_look = matches!(
            entry.operation.as_deref(),
            Some("get" | "head" | "list" | "versions")
        );
        let at = entry.time;
        let deeds = self
            .0
            .entry((principal, subject(&entry)))
            .or_insert_with(|| Deeds {
                entry,
                reads: 0,
                changes: 0,
                denied: 0,
                failed: 0,
                first: at,
                last: at,
            });
        match event.as_str() {
            "permission_denied" | "scope_violation" => deeds.denied += 1,
            _ if !is_ok => deeds.failed += 1,
            "accessed" | "inspected" => deeds.reads += 1,
            "emergency_access" if is_look => deeds.reads += 1,
            _ => deeds.changes += 1,
        }
        deeds.first = deeds.first.min(at);
        deeds.last = deeds.last.max(at);
    }

    pub(super) fn print(&self, csv: bool, output: &Output) -> Outcome {
        let lines = self.0.iter().map(|((principal, _), deeds)| Line {
            principal,
            tenant: deeds.entry.tenant.as_deref(),
            scope: deeds.entry.scope.as_deref(),
            name: deeds.entry.name.as_deref(),
            tag: deeds.entry.tag.as_deref(),
            reads: deeds.reads,
            changes: deeds.changes,
            denied: deeds.denied,
            failed: deeds.failed,
            first: time(deeds.first),
            last: time(deeds.last),
        });
        if csv {
            return print_csv(lines, output);
        }
        if output.is_json() {
            return output.value(&lines.collect::<Vec<_>>());
        }
        if self.0.is_empty() {
            output.note("nobody did anything that matches");
            return Ok(());
        }
        let rows: Vec<Vec<String>> = self
            .0
            .iter()
            .zip(lines)
            .map(|(((principal, credential), _), line)| {
                vec![
                    plain(principal),
                    credential.clone().unwrap_or_else(|| "-".to_owned()),
                    line.reads.to_string(),
                    line.changes.to_string(),
                    line.denied.to_string(),
                    line.failed.to_string(),
                    short(&line.first),
                    short(&line.last),
                ]
            })
            .collect();
        output.table(
            &[
                "PRINCIPAL",
                "CREDENTIAL",
                "READS",
                "CHANGES",
                "DENIED",
                "FAILED",
                "FIRST",
                "LAST",
            ],
            &rows,
        )
    }
}

fn print_csv<'a>(lines: impl Iterator<Item = Line<'a>>, output: &Output) -> Outcome {
    let own = |text: &str| Some(text.to_owned());
    let mut text = String::new();
    let header = [
        "principal",
        "tenant",
        "scope",
        "name",
        "tag",
        "reads",
        "changes",
        "denied",
        "failed",
        "first",
        "last",
    ];
    csv_row(&mut text, header.into_iter().map(own));
    for line in lines {
        let count = |count: u64| Some(count.to_string());
        let cells = [
            own(line.principal),
            line.tenant.and_then(own),
            line.scope.and_then(own),
            line.name.and_then(own),
            line.tag.and_then(own),
            count(line.reads),
            count(line.changes),
            count(line.denied),
            count(line.failed),
            Some(line.first),
            Some(line.last),
        ];
        csv_row(&mut text, cells.into_iter());
    }
    output.bytes(text.as_bytes())
}
