//! The mistakes of operators as Markdown, read from the tests that make them.

use std::fmt::Write as _;

const HEAD: &str = "\
<!-- Written by `cargo xtask docs --write` from the tests that make these mistakes. -->

# Mistakes and remedies

What people get wrong with `ncred`, and what they are told. Every row is a test: the exit code, the kind that `--json` shows,
and these words are what it looks for, and that nothing was changed. [Common errors](common-errors.md) lists what the library
itself can answer.

| Mistake | Such as | Exit code | Kind | It says, among others |
|---|---|---|---|---|
";

const MORE: &str = "
These need more than a command line:

| Mistake | Exit code |
|---|---|
";

/// The files with tables of mistakes.
const TABLES: [&str; 2] = ["ncred/mistakes/asked.rs", "ncred/mistakes/given.rs"];

/// What is wrong, the exit code, and the file and name of the test that makes it.
const OTHERS: &[(&str, i32, &str, &str)] = &[
    (
        "no key is named, and there is none in its place",
        5,
        "ncred/mistakes/open.rs",
        "no_key_named_and_none_in_its_place",
    ),
    (
        "the wrong passphrase, or the key file of another store",
        5,
        "ncred/mistakes/open.rs",
        "a_wrong_passphrase_or_key_does_not_open",
    ),
    (
        "a passphrase file that others can read",
        4,
        "ncred/mistakes/open.rs",
        "a_passphrase_file_open_to_others_is_refused",
    ),
    (
        "a store that others can read",
        4,
        "ncred/mistakes/open.rs",
        "a_store_open_to_others_is_refused",
    ),
    (
        "the store of another user",
        4,
        "ncred/mistakes/open.rs",
        "the_store_of_another_user_is_refused",
    ),
    (
        "the seed of another audit log, or a log that was changed",
        6,
        "ncred/mistakes/damage.rs",
        "the_seed_of_another_audit_log_and_a_log_that_was_changed_are_told",
    ),
    (
        "an audit log that was moved away",
        8,
        "ncred/audit/recorded.rs",
        "without_a_record_nothing_is_released_and_nothing_changed",
    ),
    (
        "a configuration that others may change",
        4,
        "ncred/mistakes/open.rs",
        "a_configuration_that_others_may_change_is_refused",
    ),
    (
        "an access policy that others may change",
        4,
        "ncred/mistakes/open.rs",
        "an_access_policy_that_others_may_change_is_refused",
    ),
    (
        "a slip in the configuration, or in the name of one of two profiles",
        2,
        "ncred/mistakes/open.rs",
        "a_flaw_of_the_configuration_is_named_by_its_line",
    ),
    (
        "a read-only store, or a full disk",
        1,
        "ncred/mistakes/damage.rs",
        "a_read_only_store_and_a_full_disk_change_nothing",
    ),
    (
        "a lost key ring",
        5,
        "ncred/mistakes/damage.rs",
        "a_lost_key_ring_is_not_replaced",
    ),
    (
        "a damaged database",
        6,
        "ncred/mistakes/damage.rs",
        "a_damaged_database_is_damaged_and_nothing_else",
    ),
    (
        "an import of names that are taken",
        7,
        "import/policy.rs",
        "fail_looks_at_every_name_before_it_writes_the_first",
    ),
    (
        "a bundle that was damaged or altered",
        6,
        "import/bundle.rs",
        "a_damaged_bundle_is_damaged_and_nothing_else",
    ),
];

pub(crate) fn page() -> String {
    let tests = super::repository().join("crates/credential-cli/tests");
    let mut page = HEAD.to_owned();
    for file in TABLES {
        let source = super::read(&tests.join(file));
        let table = source.split_once("&[Mistake] = &[").unwrap().1;
        rows(table.split_once("\n];").unwrap().0, &mut page);
    }
    page.push_str(MORE);
    for (what, code, file, test) in OTHERS {
        let source = super::read(&tests.join(file));
        let body = source
            .split_once(&format!("fn {test}() {{"))
            .map(|(_, rest)| rest);
        let body = body.unwrap_or_else(|| panic!("{file} has no test {test}"));
        let body = body.split_once("\n}\n").unwrap().0;
        // As `assert_eq!(told.code, 4, ..)` or `ran.refused(7, ..)`.
        let body: String = body.split_whitespace().collect();
        let is_looked_for = [format!("code,{code},"), format!("refused({code},")];
        assert!(
            is_looked_for.iter().any(|check| body.contains(check)),
            "{test} does not look for exit code {code}"
        );
        writeln!(page, "| {what} | {code} |").unwrap();
    }
    page
}

/// The mistakes of one table.
fn rows(table: &str, page: &mut String) {
    for mistake in table.split("Mistake {").skip(1) {
        let what = strings(field(mistake, "what")).join("");
        let args: Vec<String> = strings(field(mistake, "args"))
            .into_iter()
            .map(|arg| {
                if arg.contains(' ') {
                    format!("'{arg}'")
                } else {
                    arg
                }
            })
            .collect();
        let args = code_span(&format!("ncred {}", args.join(" ")));
        let kind = strings(field(mistake, "kind")).join("");
        let says: Vec<String> = strings(field(mistake, "says"))
            .iter()
            .map(|text| code_span(text.trim()))
            .collect();
        let says = says.join(" … ");
        let code = field(mistake, "code").trim();
        writeln!(page, "| {what} | {args} | {code} | `{kind}` | {says} |").unwrap();
    }
}

/// `text` as code, which may itself hold backticks.
fn code_span(text: &str) -> String {
    if text.contains('`') {
        format!("`` {text} ``")
    } else {
        format!("`{text}`")
    }
}

/// What stands behind `name: `, up to the next field.
fn field<'a>(mistake: &'a str, name: &str) -> &'a str {
    let rest = mistake.split_once(&format!("        {name}: ")).unwrap().1;
    rest.split_once(",\n        ")
        .filter(|(value, _)| !value.starts_with("&[\n"))
        .or_else(|| rest.split_once("],\n"))
        .or_else(|| rest.split_once(",\n"))
        .unwrap()
        .0
}

/// The string literals in a piece of source; their escapes are those of JSON.
fn strings(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(begin) = rest.find('"') {
        rest = &rest[begin..];
        let mut literals = serde_json::Deserializer::from_str(rest).into_iter::<String>();
        found.push(literals.next().unwrap().unwrap());
        rest = &rest[literals.byte_offset()..];
    }
    found
}
