//! Secret fields: stored whole, decoded like serde_json would, wiped, never quoted.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, HashMap};

use nebula_credential_core::{
    ExposeSecret as _, Plaintext, REDACTED, SecretField, SecretSlice, SecretString, SecretWriter, limits,
};
use proptest::prelude::*;
use serde_json::value::RawValue;

struct Stored<'a, T>(&'a T);

impl<T: SecretField> serde::Serialize for Stored<'_, T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.store(serializer)
    }
}

fn store<T: SecretField>(value: &T) -> String {
    serde_json::to_string(&Stored(value)).unwrap()
}

fn load<T: SecretField>(json: &str) -> Result<T, serde_json::Error> {
    T::load(&mut serde_json::Deserializer::from_str(json))
}

fn round_trip<T: SecretField>(value: &T) -> T {
    load(&store(value)).unwrap()
}

proptest! {
    #[test]
    fn any_text_comes_back(text in any::<String>()) {
        prop_assert_eq!(&round_trip(&text), &text);
        let secret = round_trip(&SecretString::from(text.as_str()));
        prop_assert_eq!(secret.expose_secret(), text.as_str());
    }

    #[test]
    fn any_bytes_come_back(bytes in any::<Vec<u8>>()) {
        prop_assert_eq!(&round_trip(&bytes), &bytes);
        let slice = SecretSlice::from(bytes.clone());
        let slice = round_trip(&slice);
        prop_assert_eq!(slice.expose_secret(), bytes.as_slice());
    }

    #[test]
    fn literals_decode_as_serde_json_decodes_them(literal in r#""([a-z\u{e9}\u{1f600}]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4}|\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}){0,12}""#) {
        let theirs = serde_json::from_str::<String>(&literal).ok();
        prop_assert_eq!(load::<String>(&literal).ok(), theirs);
    }

    #[test]
    fn anything_at_all_is_decoded_alike_or_refused_alike(json in ".{0,40}") {
        let theirs = serde_json::from_str::<String>(&json).ok();
        // serde_json checks what follows the string; here only whole values reach the field.
        let ours = serde_json::from_str::<&RawValue>(&json).ok().and_then(|raw| String::load(raw).ok());
        prop_assert_eq!(ours, theirs);
    }
}

#[test]
fn optional_and_nested_fields_come_back() {
    assert_eq!(round_trip(&Some("x".to_owned())), Some("x".to_owned()));
    assert_eq!(round_trip(&None::<String>), None);
    let list = vec!["a".to_owned(), "b\"\\\u{1f600}".to_owned()];
    assert_eq!(round_trip(&list), list);
    let map = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
    assert_eq!(round_trip(&map), map);
    let map = HashMap::<String, String>::from([("k".to_owned(), "v".to_owned())]);
    assert_eq!(round_trip(&map), map);
}

#[test]
fn what_is_wrong_is_not_quoted() {
    for json in [
        "7",
        "null",
        r#"{"hunter2":1}"#,
        r#"["hunter2"]"#,
        r#""\ud800hunter2""#,
    ] {
        let error = load::<String>(json).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
    for json in [r#"{"hunter2":1}"#, r#""hunter2""#] {
        let error = load::<Option<Vec<u8>>>(json).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn redaction_keeps_the_shape_and_is_recognised() {
    fn check<T: SecretField>(value: T) {
        assert!(!value.is_redacted());
        let redacted = value.redacted();
        assert!(redacted.is_redacted());
        assert!(!store(&redacted).contains("hunter2"));
    }
    check("hunter2".to_owned());
    check(SecretString::from("hunter2"));
    check(b"hunter2".to_vec());
    check(SecretSlice::from(b"hunter2".to_vec()));
    check(Some("hunter2".to_owned()));
    check(vec!["hunter2".to_owned()]);
    check(BTreeMap::from([("k".to_owned(), "hunter2".to_owned())]));
    assert_eq!(None::<String>.redacted(), None);
    assert_eq!("x".to_owned().redacted(), REDACTED);
}

#[test]
fn wiping_leaves_nothing() {
    let mut text = "hunter2".to_owned();
    text.wipe();
    assert!(text.is_empty());
    let mut secret = SecretString::from("hunter2");
    secret.wipe();
    assert!(secret.expose_secret().is_empty());
    let mut map = BTreeMap::from([("k".to_owned(), "hunter2".to_owned())]);
    map.wipe();
    assert_eq!(map.get("k").map(String::as_str), Some(""));
}

#[test]
fn the_writer_stops_at_its_limit_and_keeps_what_it_has() {
    for limit in [0, 1, 511, 512, 513, limits::SECRET_BYTES_MAX] {
        let mut writer = SecretWriter::with_limit(limit);
        assert!(writer.put(&vec![7; limit]).is_ok());
        let error = writer.put(&[7]).unwrap_err();
        assert!(error.to_string().contains(&limit.to_string()), "{error}");
        assert_eq!(writer.finish().len(), limit);
    }
    let mut writer = SecretWriter::with_limit(usize::MAX);
    assert!(writer.put(&vec![0; limits::SECRET_BYTES_MAX + 1]).is_err());
}

#[test]
fn debug_shows_a_length_and_nothing_else() {
    let plaintext = Plaintext::new(b"hunter2".to_vec());
    assert_eq!(format!("{plaintext:?}"), "[REDACTED 7 bytes]");
}
