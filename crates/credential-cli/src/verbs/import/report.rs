//! What an import says it did.

use nebula_credential::crypto::Bundle;
use serde::Serialize;

use crate::exit::Outcome;
use crate::import::{self, Action, Plan};
use crate::output::Output;
use crate::verbs::view;

/// Where a bundle comes from.
#[derive(Serialize)]
pub(super) struct Origin {
    tenant: String,
    scope: String,
    exported_at: String,
}

impl Origin {
    pub(super) fn of(bundle: &Bundle) -> Self {
        Self {
            tenant: bundle.tenant().to_string(),
            scope: bundle.scope().to_string(),
            exported_at: view::time(bundle.exported_at()),
        }
    }
}

#[derive(Serialize)]
struct Report<'a> {
    /// Only of a bundle.
    #[serde(skip_serializing_if = "Option::is_none")]
    bundle: Option<&'a Origin>,
    dry_run: bool,
    complete: bool,
    created: usize,
    replaced: usize,
    skipped: usize,
    credentials: Vec<ReportedItem<'a>>,
    ignored: Vec<ReportedKey<'a>>,
}

#[derive(Serialize)]
struct ReportedItem<'a> {
    name: &'a str,
    r#type: &'a str,
    action: &'static str,
    /// The version that was written; none in a dry run.
    version: Option<u32>,
    lines: Vec<usize>,
}

#[derive(Serialize)]
struct ReportedKey<'a> {
    line: usize,
    key: Option<&'a str>,
    reason: &'static str,
}

/// Says what was done, or of a dry run what would be.
pub(super) fn report(
    plan: &Plan,
    bundle: Option<&Origin>,
    dry_run: bool,
    complete: bool,
    output: &Output,
) -> Outcome {
    // Of a dry run, what would be done; else, what was.
    let count = |action| {
        let items = plan.items.iter().filter(|item| item.action == action);
        items
            .filter(|item| dry_run || action == Action::Skip || item.written.is_some())
            .count()
    };
    let (created, replaced, skipped) = (count(Action::Create), count(Action::Replace), count(Action::Skip));
    if output.is_json() {
        return output.value(&Report {
            bundle,
            dry_run,
            complete,
            created,
            replaced,
            skipped,
            credentials: plan
                .items
                .iter()
                .map(|item| ReportedItem {
                    name: item.name.as_str(),
                    r#type: item.type_name(),
                    action: item.action.word(),
                    version: item.written.map(Into::into),
                    lines: item.from.iter().map(|at| at.line).collect(),
                })
                .collect(),
            ignored: plan
                .ignored
                .iter()
                .map(|ignored| ReportedKey {
                    line: ignored.at.line,
                    key: ignored.key(),
                    reason: ignored.why.word(),
                })
                .collect(),
        });
    }
    if dry_run && !plan.items.is_empty() {
        // A bundle has no lines.
        let columns = if bundle.is_some() { 3 } else { 4 };
        let row = |item: &import::Item| {
            let lines: Vec<String> = item.from.iter().map(|at| at.line.to_string()).collect();
            let mut row = vec![
                item.action.word().to_owned(),
                item.name.as_str().to_owned(),
                item.type_name().to_owned(),
                lines.join(","),
            ];
            row.truncate(columns);
            row
        };
        let rows: Vec<Vec<String>> = plan.items.iter().map(row).collect();
        let header = ["ACTION", "NAME", "TYPE", "LINE"];
        output.table(header.get(..columns).unwrap_or(&header), &rows)?;
    }
    if !complete {
        for item in plan.items.iter().filter(|item| item.written.is_some()) {
            output.line(format!("written: {}", item.name))?;
        }
    }
    for ignored in &plan.ignored {
        output.note(format!("{ignored}; ignored"));
    }
    let would = if dry_run { "would be " } else { "" };
    let done = format!("{would}created {created}, replaced {replaced}, skipped {skipped}");
    if bundle.is_some() {
        return output.line(done);
    }
    output.line(format!("{done}; {} keys ignored", plan.ignored.len()))
}
