//! Any bytes as the stored form of a credential: nothing of them gets into an error, and what is read is kept whole.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::LazyLock;

use nebula_credential_core::{
    Credential, CredentialError, ErrorKind, decode_credential, encode_credential, limits,
};
use nebula_credential_types::{
    ApiKeyCredential, AwsCredential, BasicCredential, BearerCredential, CertificateCredential,
    CompositeCredential, ConnectionStringCredential, JwtCredential, KeyValueCredential, PostgresCredential,
    SecretTextCredential, SshKeyCredential,
};
use serde_json::Value;

use crate::golden::plain;
use crate::mirror::{self, AccountCredential};

/// Takes the first byte for a choice of [`KINDS`], and the rest for the stored form of that type.
pub fn credential_decode(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else {
        return;
    };
    let Some(kind) = KINDS.get(usize::from(*choice) % (KINDS.len() + 1)) else {
        return std::str::from_utf8(data).map_or((), read_url);
    };
    let mut errors = Vec::new();
    (kind.round_trip)(data, &mut errors);
    for text in &errors {
        assert!(
            WORDS.contains(&without_position(text)),
            "says something new: {text}"
        );
    }
    if (kind.name)() == AccountCredential::credential_type() {
        mirror::compare(data);
    }
    if let Ok(Value::Object(fields)) = serde_json::from_slice(data) {
        hunt(kind, Value::Object(fields), data.len());
    }
}

/// What is tried with each type.
struct Kind {
    name: fn() -> &'static str,
    round_trip: fn(&[u8], &mut Vec<String>),
    every_error: fn(&[u8], &mut Vec<String>),
    member_error: fn(&CompositeCredential, &str, &mut Vec<String>),
}

const fn kind<C: Credential + Debug>() -> Kind {
    Kind {
        name: C::credential_type,
        round_trip: round_trip::<C>,
        every_error: every_error::<C>,
        member_error: |composite, name, texts| note(texts, composite.get::<C>(name)),
    }
}

/// In an order that inputs of the corpus count on: a new one goes to the end. One choice past it is a URL.
const KINDS: &[Kind] = &[
    kind::<AccountCredential>(),
    kind::<ApiKeyCredential>(),
    kind::<AwsCredential>(),
    kind::<BasicCredential>(),
    kind::<BearerCredential>(),
    kind::<CertificateCredential>(),
    kind::<CompositeCredential>(),
    kind::<ConnectionStringCredential>(),
    kind::<JwtCredential>(),
    kind::<KeyValueCredential>(),
    kind::<PostgresCredential>(),
    kind::<SecretTextCredential>(),
    kind::<SshKeyCredential>(),
];

fn decode<C: Credential>(bytes: &[u8]) -> Result<C, CredentialError> {
    decode_credential(&plain(bytes), C::schema_version())
}

/// What decodes is encoded into what decodes into the same, and shows of itself what its redacted self shows. For
/// what does not decode, notes the error.
fn round_trip<C: Credential + Debug>(bytes: &[u8], errors: &mut Vec<String>) {
    let value = match decode::<C>(bytes) {
        Ok(value) => value,
        failed => return note(errors, failed),
    };
    assert_eq!(format!("{value:?}"), format!("{:?}", value.redact()));
    let _ = value.is_expired();
    if value.validate().is_ok()
        && let Ok(form) = value.to_value()
    {
        // It may lose something, or belong to a type that is not made from it; it does not panic.
        let _ = C::from_value(form);
    }
    match encode_credential(&value, limits::SECRET_BYTES_MAX) {
        Ok(first) => {
            let again: C = decode(first.expose()).expect("what was encoded decodes");
            let second = encode_credential(&again, limits::SECRET_BYTES_MAX).expect("and is encoded again");
            assert_eq!(first.expose(), second.expose());
        }
        // A redacted value may be read where one lies, and is not written.
        Err(error) => assert!(
            matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::LimitExceeded),
            "{error}"
        ),
    }
    assert!(
        encode_credential(&value.redact(), limits::SECRET_BYTES_MAX).is_err() || is_without_secrets(&value)
    );
}

/// Whether there is nothing to redact, such as in a list of no entries.
fn is_without_secrets<C: Credential>(value: &C) -> bool {
    let encode = |value: &C| encode_credential(value, limits::SECRET_BYTES_MAX).ok();
    let (plain, redacted) = (encode(value), encode(&value.redact()));
    plain.is_some() && plain.map(|text| text.expose().to_vec()) == redacted.map(|text| text.expose().to_vec())
}

fn note<T>(texts: &mut Vec<String>, result: Result<T, CredentialError>) {
    match result {
        // Numbers and a name from this library.
        Ok(_) | Err(CredentialError::LimitExceeded { .. }) => {}
        Err(error) => texts.extend([error.to_string(), format!("{error:?}")]),
    }
}

/// What a type says of `bytes` while it decodes, checks and converts them.
fn every_error<C: Credential>(bytes: &[u8], texts: &mut Vec<String>) {
    let value = match decode::<C>(bytes) {
        Ok(value) => value,
        failed => return note(texts, failed),
    };
    note(texts, value.validate());
    note(texts, encode_credential(&value, limits::SECRET_BYTES_MAX));
    match value.to_value() {
        Ok(form) => note(texts, C::from_value(form)),
        failed => note(texts, failed),
    }
}

/// All that a decoding error may say, but for the place in the input: found with inputs that hold no value.
static WORDS: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let mut texts = Vec::new();
    for probe in ["", "{}", "[", r#"{"members":{}}"#] {
        for kind in KINDS {
            (kind.round_trip)(probe.as_bytes(), &mut texts);
        }
    }
    texts.iter().map(|text| without_position(text)).collect()
});

/// `text` without the numbers in `line N, column N`.
fn without_position(text: &str) -> String {
    let mut parts = text.splitn(2, "(line ");
    let before = parts.next().unwrap_or_default();
    let Some(after) = parts.next() else {
        return text.to_owned();
    };
    let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
    let after = after
        .trim_start_matches(", column ")
        .trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{before}(line{after}")
}

/// Sixteen letters that no message holds.
const CANARY: &str = "kqZ7vXw2Lp0TgB4m";

/// Puts a canary into one text of the input, and listens whether any error repeats half of it.
fn hunt(kind: &Kind, mut json: Value, choice: usize) {
    if sings(&json.to_string()) {
        return;
    }
    let mut texts = 0;
    each_text(&mut json, &mut |_| texts += 1);
    let Some(chosen) = choice.checked_rem(texts) else {
        return;
    };
    let mut at = 0;
    each_text(&mut json, &mut |text| {
        if at == chosen {
            *text = match choice % 3 {
                0 => CANARY.to_owned(),
                1 => format!("{CANARY}{text}"),
                _ => format!("{text}{CANARY}"),
            };
        }
        at += 1;
    });
    let bytes = json.to_string();
    let mut errors = Vec::new();
    (kind.every_error)(bytes.as_bytes(), &mut errors);
    if (kind.name)() == CompositeCredential::credential_type()
        && let Ok(composite) = decode::<CompositeCredential>(bytes.as_bytes())
    {
        for name in composite.names() {
            let kind = KINDS
                .iter()
                .find(|kind| Some((kind.name)()) == composite.type_of(name));
            if let Some(kind) = kind {
                (kind.member_error)(&composite, name, &mut errors);
            }
        }
    }
    for text in errors {
        assert!(!sings(&text), "an error repeats the input: {text}");
    }
}

fn sings(text: &str) -> bool {
    (0..=8).any(|at| CANARY.get(at..at + 8).is_some_and(|run| text.contains(run)))
}

/// Every text but the names of fields.
fn each_text(json: &mut Value, see: &mut dyn FnMut(&mut String)) {
    match json {
        Value::String(text) => see(text),
        Value::Array(items) => items.iter_mut().for_each(|item| each_text(item, see)),
        Value::Object(fields) => fields.values_mut().for_each(|field| each_text(field, see)),
        _ => {}
    }
}

/// A PostgreSQL URL that is read is written into one that is read alike.
fn read_url(text: &str) {
    let Ok(database) = PostgresCredential::from_connection_string(text) else {
        return;
    };
    let url = database.connection_string();
    let again = PostgresCredential::from_connection_string(&url).expect("what was written is read");
    let encode = |credential| {
        let encoded = encode_credential(credential, limits::SECRET_BYTES_MAX);
        encoded.map(|encoded| encoded.expose().to_vec())
    };
    assert_eq!(encode(&database), encode(&again));
    assert!(again.validate().is_ok());
}

#[cfg(test)]
mod tests {
    use nebula_credential_core::{CredentialValue, SecretWriter};

    use super::*;

    /// Repeats what it was given, as careless code does.
    #[derive(Debug)]
    struct Careless;

    impl Credential for Careless {
        fn credential_type() -> &'static str {
            "careless"
        }

        fn redact(&self) -> Self {
            Self
        }

        fn to_value(&self) -> Result<CredentialValue, CredentialError> {
            Ok(CredentialValue::Text("x".into()))
        }

        fn from_value(_: CredentialValue) -> Result<Self, CredentialError> {
            Ok(Self)
        }

        fn encode(&self, _: &mut SecretWriter) -> Result<(), CredentialError> {
            Ok(())
        }

        fn decode(bytes: &[u8], _: u32) -> Result<Self, CredentialError> {
            let text = String::from_utf8_lossy(bytes);
            Err(CredentialError::deserialization_failed(format!(
                "cannot read {text}"
            )))
        }
    }

    #[test]
    #[should_panic(expected = "an error repeats the input")]
    fn a_type_that_repeats_its_input_is_caught() {
        hunt(&kind::<Careless>(), serde_json::json!({"pin": "1234"}), 1);
    }

    #[test]
    fn what_a_decoding_error_says_is_known_but_for_the_place() {
        let at = |text| without_position(&format!("not valid JSON ({text}); see"));
        assert_eq!(at("line 1, column 2"), at("line 34, column 567"));
        assert_ne!(at("line 1, column 2"), at("line 1, column x"));
        assert!(!WORDS.contains("cannot read 1234"));
        assert!(WORDS.len() > 2, "{WORDS:?}");
    }
}
