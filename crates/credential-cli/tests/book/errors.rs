//! The error type as Markdown: every variant of the enum, with what the library says of it and what to do.

// What decides the exit code, as `ncred` itself compiles it.
#[allow(dead_code, unreachable_pub, reason = "only the exit code is wanted here")]
#[path = "../../src/exit.rs"]
mod exit;

use std::fmt::Write as _;
use std::time::Duration;

use nebula_credential::{
    CredentialError, CredentialName, CredentialRef, Retryability, Scope, TenantId, Version,
};

const HEAD: &str = "\
<!-- Written by `cargo xtask docs --write` from the error type itself. -->

# Common errors

There is one error type, `CredentialError`. Its text is `what went wrong; what to do`, and holds names, numbers and the
library's own words, never a value: it is safe to log. `ncred` prints the two halves as `error:` and `help:`, and with
`--json` as `message` and `help` beside `kind` and `exit_code`.

Match on `kind()`, which is stable, rather than on the text. `retryability()` says whether asking again can help;
*out of time* means that the deadline has passed: only a caller with a new one may ask again.

```rust
use nebula_credential::{CredentialError, ErrorKind, Retryability};

fn describe(error: &CredentialError) -> &'static str {
    match (error.kind(), error.retryability()) {
        (ErrorKind::NotFound, _) => \"create it\",
        (ErrorKind::Conflict, _) => \"read it again, decide again\",
        (ErrorKind::OutcomeUnknown, _) => \"read before writing again\",
        (_, Retryability::Transient { .. }) => \"try again later\",
        _ => \"show it to someone\",
    }
}

let error = CredentialError::not_found(\"default:global:db\");
assert_eq!(describe(&error), \"create it\");
assert_eq!(error.to_string(), \"credential not found: default:global:db; `list` shows the names that exist\");
```

| Variant | It means | `kind` | Again? | Exit code |
|---|---|---|---|---|
";

const MIDDLE: &str = "
## What to do

";

const TAIL: &str = "
## Exit codes

A failed write changed nothing, whatever the code, unless `kind` is `outcome_unknown`: then read before writing again.
`ncred run` ends with the code of its command; 126 and 127 mean that the command cannot be run or found, and
129, 130 and 143 that a signal ended `ncred`, as in shells.

```console
$ ncred init
$ ncred get db   # exit 3
error: credential not found: default:global:db
$ ncred get db --json   # exit 3
{\"error\":{\"kind\":\"not_found\",…\"exit_code\":3}}
$ ncred put db --type basic hunter2   # exit 2
error: an argument too many, not shown here as it may be a secret
$ echo '{\"username\": \"app\"}' | ncred put db --type basic   # exit 2
error: field \"password\" is missing
$ ncred list --store elsewhere   # exit 3
error: there is no credential store in elsewhere
```
";

/// One error of each variant, and what to do about it.
fn catalogue() -> Vec<(&'static str, CredentialError, &'static str)> {
    use CredentialError as E;
    let id = CredentialRef::new(
        TenantId::default(),
        Scope::default(),
        CredentialName::new("db").unwrap(),
    );
    let conflict = E::VersionConflict {
        name: id.to_string(),
        expected: Some(Version::FIRST),
        found: None,
    };
    vec![
        (
            "Validation",
            E::validation("x"),
            "The message names the field and what is wrong with it. `ncred types TYPE` shows the fields of a type.",
        ),
        (
            "InvalidName",
            E::invalid_name("x"),
            "Names, tenants and scopes are 1-128 lower-case ASCII letters, digits, `.`, `_`, `-` and `/`.",
        ),
        (
            "LimitExceeded",
            E::limit("x", 1, 2),
            "Split the value, or raise the limit where it is a setting (`ManagerBuilder::secret_limit`).",
        ),
        (
            "NotFound",
            E::not_found("x"),
            "Check name, tenant and scope: `ncred list`. A deleted credential comes back with `restore`.",
        ),
        (
            "VersionNotFound",
            E::version_not_found(&id, Version::FIRST),
            "`ncred versions NAME` shows the versions that are kept; older ones are dropped beyond the retention.",
        ),
        (
            "AlreadyExists",
            E::already_exists("x"),
            "Rotate it, or store without the if-absent condition.",
        ),
        (
            "VersionConflict",
            conflict,
            "Somebody else was first. Read the credential again and decide again.",
        ),
        (
            "Expired",
            E::expired("x"),
            "Rotate it with a new value and a new expiry. `get_raw`, and `ncred get --reveal --allow-expired`, still read it.",
        ),
        (
            "TypeMismatch",
            E::type_mismatch("x"),
            "Ask for the type it was stored as (`ncred list` shows it), or use another name: a name keeps its type.",
        ),
        (
            "InvalidState",
            E::invalid_state("x"),
            "The message says which state it is in and what leads out of it.",
        ),
        (
            "AccessDenied",
            E::access_denied("x"),
            "Of an action: declare the credential among its own, `CredentialContext::allow`. Otherwise a policy denies it: `ncred policy explain` says why.",
        ),
        (
            "RefreshNotSupported",
            E::RefreshNotSupported,
            "Store a new value instead.",
        ),
        (
            "RefreshFailed",
            E::refresh_failed("x"),
            "Whoever wrote the type's refresh says why; store a new value if it was refused.",
        ),
        (
            "Parse",
            E::parse_error("x"),
            "Correct the text; the message says what was expected.",
        ),
        (
            "SerializationFailed",
            E::serialization_failed("x"),
            "A field cannot be written as JSON, or the value was redacted; store the original.",
        ),
        (
            "DeserializationFailed",
            E::deserialization_failed("x"),
            "The stored form does not fit the type: it changed without a new `version` and a `migrate` function. See [Custom types](custom-types.md#a-new-shape).",
        ),
        (
            "EncryptionFailed",
            E::encryption_failed("x"),
            "The system gave no random bytes or no memory; nothing was stored.",
        ),
        (
            "Tampered",
            E::Tampered,
            "See [Decryption failures](decryption-failures.md).",
        ),
        (
            "DecryptionFailed",
            E::decryption_failed("x"),
            "See [Decryption failures](decryption-failures.md).",
        ),
        (
            "UnsupportedFormat",
            E::unsupported_format("x"),
            "Upgrade: it was written by a newer version. Or it is another program's file; check the path.",
        ),
        (
            "Unlock",
            E::unlock_failed("x"),
            "Check the passphrase or key file; `ncred key list` (with one that works) shows what opens the key ring.",
        ),
        (
            "KeyNotFound",
            E::key_not_found("x"),
            "Name the key file or passphrase file, or put the key ring back from a backup. See [Key management](key-management.md#backups).",
        ),
        (
            "Hsm",
            E::hsm_error("x"),
            "Check the key provider that the program was given; the built-in protectors do not return this.",
        ),
        (
            "InsecureStorage",
            E::insecure_storage("x"),
            "The message holds the command, such as `chmod 600 FILE`. Replace secrets that others may have read.",
        ),
        (
            "Storage",
            E::storage("x"),
            "Nothing was changed. Check free space, permissions and the disk.",
        ),
        (
            "Unavailable",
            E::unavailable("x"),
            "Try again later; wait as long as `retry_after` says.",
        ),
        (
            "ConnectionFailed",
            E::connection_failed("x"),
            "Check address, name service and network. The local store does not return this.",
        ),
        (
            "CircuitBreakerOpen",
            E::circuit_breaker_open("x"),
            "The backend was not asked, as it failed before; try again later.",
        ),
        (
            "DeadlineExceeded",
            E::deadline_exceeded("x"),
            "Give more time, or find out what was slow.",
        ),
        (
            "OutcomeUnknown",
            E::outcome_unknown("x"),
            "Read the credential: the write happened or it did not. Never repeat it blindly.",
        ),
        (
            "AuditUnavailable",
            E::audit_unavailable("x"),
            "Put the audit log right: make room, put its files back, or find who holds its lock. No value was released; read a credential that was to be changed.",
        ),
        (
            "Unsupported",
            E::unsupported("x"),
            "This store, type or key provider has no such ability.",
        ),
        (
            "Internal",
            E::internal("x"),
            "A bug in the library; please report it.",
        ),
    ]
}

pub(crate) fn page() -> String {
    let catalogue = catalogue();
    let variants = variants();
    let names: Vec<&str> = catalogue.iter().map(|(name, ..)| *name).collect();
    let declared: Vec<&str> = variants.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names, declared,
        "the catalogue lists the variants of the enum, in their order"
    );

    let mut page = HEAD.to_owned();
    for ((name, error, _), (_, meaning)) in catalogue.iter().zip(&variants) {
        assert!(
            format!("{error:?}").starts_with(name),
            "{name} has the sample {error:?}"
        );
        let again = match error.retryability() {
            Retryability::Transient { .. } => "yes",
            Retryability::Exhausted => "out of time",
            _ => "no",
        };
        let kind = error.kind().as_str();
        let code = exit::Failure::from(error.clone()).exit.code();
        writeln!(page, "| `{name}` | {meaning} | `{kind}` | {again} | {code} |").unwrap();
    }
    page.push_str(MIDDLE);
    for (name, _, remedy) in &catalogue {
        writeln!(page, "- **{name}**: {remedy}").unwrap();
    }
    page.push_str(TAIL);
    page
}

/// The variants as the source declares them, each with the first line of its documentation.
fn variants() -> Vec<(String, String)> {
    let path = super::repository().join("crates/credential-core/src/error.rs");
    let source = super::read(&path);
    let body = source.split_once("pub enum CredentialError {\n").unwrap().1;
    let body = body.split_once("\n}\n").unwrap().0;
    let mut meaning = None;
    let mut found = Vec::new();
    for line in body.lines() {
        // Four spaces: what belongs to the enum itself, not to the fields of a variant.
        let Some(line) = line.strip_prefix("    ").filter(|line| !line.starts_with(' ')) else {
            continue;
        };
        if let Some(text) = line.strip_prefix("/// ") {
            meaning.get_or_insert_with(|| without_links(text));
        } else if line.starts_with(|first: char| first.is_ascii_uppercase()) {
            let name: String = line.chars().take_while(char::is_ascii_alphanumeric).collect();
            found.push((name, meaning.take().unwrap()));
        }
    }
    found
}

/// `[text](target)` as `text`.
fn without_links(text: &str) -> String {
    match (text.split_once('['), text.split_once("](")) {
        (Some((before, _)), Some((linked, after))) => {
            let linked = linked.rsplit_once('[').unwrap().1;
            format!("{before}{linked}{}", after.split_once(')').unwrap().1)
        }
        _ => text.to_owned(),
    }
}

#[test]
fn a_backend_that_says_when_to_come_back_may_be_asked_again() {
    let error = CredentialError::Unavailable {
        message: "x".into(),
        retry_after: Some(Duration::from_secs(1)),
    };
    assert!(matches!(
        error.retryability(),
        Retryability::Transient { after: Some(_) }
    ));
}
