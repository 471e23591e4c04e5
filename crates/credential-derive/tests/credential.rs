//! What `#[derive(Credential)]` writes, seen from outside.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers outside of test functions"
)]

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use nebula_credential_core::{
    Credential, CredentialError, CredentialValue, ExposeSecret as _, SecretSlice, SecretString,
    decode_credential, encode_credential, limits,
};
use zeroize::Zeroizing;

fn json<C: Credential>(credential: &C) -> String {
    let bytes = encode_credential(credential, limits::SECRET_BYTES_DEFAULT).unwrap();
    String::from_utf8(bytes.expose().to_vec()).unwrap()
}

fn read<C: Credential>(json: &str, schema_version: u32) -> Result<C, CredentialError> {
    C::decode(json.as_bytes(), schema_version)
}

/// The output of a future that waits for nothing.
fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("the future waits"),
    }
}

fn time(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

#[derive(Credential)]
struct MyCredential {
    #[secret]
    password: String,

    username: String,
}

fn mine() -> MyCredential {
    MyCredential {
        password: "hunter2\u{7}\"".into(),
        username: "alice".into(),
    }
}

#[test]
fn debug_shows_no_secret() {
    assert_eq!(
        format!("{:?}", mine()),
        r#"MyCredential { password: [REDACTED], username: "alice" }"#
    );
    assert_eq!(
        format!("{:#?}", mine()),
        "MyCredential {\n    password: [REDACTED],\n    username: \"alice\",\n}"
    );
}

#[test]
fn a_stored_value_reads_back() {
    let bytes = encode_credential(&mine(), limits::SECRET_BYTES_DEFAULT).unwrap();
    let back: MyCredential = decode_credential(&bytes, 1).unwrap();
    assert_eq!(
        (back.password.as_str(), back.username.as_str()),
        ("hunter2\u{7}\"", "alice")
    );
    assert_eq!(
        json(&mine()),
        r#"{"password":"hunter2\u0007\"","username":"alice"}"#
    );
}

#[test]
fn a_redacted_value_cannot_be_stored() {
    let redacted = mine().redact();
    assert_eq!(
        (redacted.password.as_str(), redacted.username.as_str()),
        ("[REDACTED]", "alice")
    );
    let error = encode_credential(&redacted, limits::SECRET_BYTES_DEFAULT).unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid credential: `password` holds the redaction marker; store the real value"
    );
}

#[test]
fn damage_is_an_error_that_quotes_nothing() {
    for (damaged, expected) in [
        (r#"{"username":"alice"}"#, "a field is missing"),
        (r#"{"password":17171717,"username":"alice"}"#, "wrong type"),
        (r#"{"password":"s3cr3t","username":["s3cr3t"]}"#, "wrong type"),
        (
            r#"{"password":"s3cr3t","username":"alice","s3cr3t":1}"#,
            "unknown",
        ),
        (r#"{"password":"s3cr3t","username":"s3cr3t""#, "not valid JSON"),
        (r#""s3cr3t""#, "wrong type"),
        ("", "not valid JSON"),
    ] {
        let error = read::<MyCredential>(damaged, 1).unwrap_err();
        assert!(
            matches!(error, CredentialError::DeserializationFailed(_)),
            "{damaged}: {error:?}"
        );
        let text = format!("{error} {error:?}");
        assert!(text.contains(expected), "{damaged}: {text}");
        assert!(!text.contains("s3cr3t") && !text.contains("17171717"), "{text}");
    }
}

#[test]
fn another_schema_is_refused() {
    for found in [0, 2, u32::MAX] {
        let error = read::<MyCredential>(&json(&mine()), found).unwrap_err();
        assert!(
            matches!(error, CredentialError::UnsupportedFormat(_)),
            "{error:?}"
        );
    }
}

#[test]
fn the_interchange_form_is_the_stored_form() {
    let value = mine().to_value().unwrap();
    assert_eq!(format!("{value:?}"), "Custom(CustomValue(my))");
    let back = MyCredential::from_value(value.clone()).unwrap();
    assert_eq!(back.password, mine().password);

    let other = Attributes::from_value(value).unwrap_err();
    assert!(matches!(other, CredentialError::TypeMismatch(_)), "{other:?}");
    let text = MyCredential::from_value(CredentialValue::Text("s3cr3t".into())).unwrap_err();
    assert!(text.to_string().contains("from_value"), "{text}");
}

#[derive(Credential)]
struct EveryKind {
    #[secret]
    a: String,
    #[secret]
    b: SecretString,
    #[secret]
    c: Zeroizing<String>,
    #[secret]
    d: Vec<u8>,
    #[secret]
    e: SecretSlice<u8>,
    #[secret]
    f: Option<Vec<SecretString>>,
    #[secret]
    g: HashMap<u8, Option<String>>,
    h: String,
}

#[test]
fn every_kind_of_secret_takes_every_text() {
    let chars: Vec<char> = (char::MIN..=char::MAX).collect();
    for text in chars.chunks(4001).map(|chunk| chunk.iter().collect::<String>()) {
        let all = EveryKind {
            a: text.clone(),
            b: text.as_str().into(),
            c: Zeroizing::new(text.clone()),
            d: text.as_bytes().to_vec(),
            e: SecretSlice::new(text.as_bytes().into()),
            f: Some(vec![text.as_str().into()]),
            g: [(7, Some(text.clone()))].into(),
            h: text.clone(),
        };
        let bytes = encode_credential(&all, limits::SECRET_BYTES_MAX).unwrap();
        let back: EveryKind = decode_credential(&bytes, 1).unwrap();
        assert!(back.a == text && back.b.expose_secret() == text && *back.c == text && back.h == text);
        assert!(back.d == text.as_bytes() && back.e.expose_secret() == text.as_bytes());
        assert_eq!(back.f.as_ref().unwrap()[0].expose_secret(), text);
        assert_eq!(back.g[&7].as_deref(), Some(text.as_str()));
    }
}

#[derive(Credential, serde::Serialize, serde::Deserialize)]
struct GitHubCredential {
    #[secret]
    personal_access_token: String,

    username: String,
}

#[test]
fn serde_may_be_derived_beside_it() {
    let credential = GitHubCredential {
        personal_access_token: "ghp_1".into(),
        username: "octocat".into(),
    };
    assert_eq!(GitHubCredential::credential_type(), "github");
    assert_eq!(serde_json::to_string(&credential).unwrap(), json(&credential));
}

mod text {
    use nebula_credential_core::SecretField as _;

    pub(crate) fn reversed() -> String {
        "tluafed".chars().rev().collect()
    }

    pub(crate) fn serialize<S: serde::Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&text.chars().rev().collect::<String>())
    }

    pub(crate) fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        let text = String::load(deserializer)?;
        Ok(text.chars().rev().collect())
    }
}

#[derive(Credential, Default)]
#[credential(type = "acme.attributes")]
#[serde(rename_all = "camelCase")]
struct Attributes {
    #[secret]
    #[serde(rename = "id")]
    renamed_token: String,
    #[secret]
    #[serde(skip_serializing_if = "Option::is_none", alias = "old")]
    session_token: Option<String>,
    #[secret]
    #[serde(skip)]
    cached_token: String,
    #[secret]
    #[serde(default = "text::reversed")]
    with_default: String,
    #[secret]
    #[serde(default)]
    many: BTreeMap<String, SecretString>,
    #[secret]
    #[serde(with = "text", default)]
    backwards: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    role_arn: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    scope: Vec<String>,
    #[secret]
    r#type: Option<SecretString>,
    r#use: u8,
}

#[test]
fn serde_attributes_of_fields_shape_what_is_stored() {
    let mut credential = Attributes::default();
    credential.renamed_token = "a".into();
    credential.backwards = "abc".into();
    credential.cached_token = "not stored".into();
    assert_eq!(
        json(&credential),
        r#"{"id":"a","withDefault":"","many":{},"backwards":"cba","type":null,"use":0}"#
    );

    credential.session_token = Some("s".into());
    credential.scope.push("repo".into());
    credential.many.insert("k".into(), "v".into());
    let stored = json(&credential);
    assert_eq!(
        stored,
        r#"{"id":"a","sessionToken":"s","withDefault":"","many":{"k":"v"},"backwards":"cba","scope":["repo"],"type":null,"use":0}"#
    );
    let back: Attributes = read(&stored, 1).unwrap();
    assert_eq!(back.backwards, "abc");
    assert_eq!(back.cached_token, "");
    assert_eq!(back.many["k"].expose_secret(), "v");
    assert_eq!(json(&back), stored);

    let sparse: Attributes = read(r#"{"id":"a","old":"s","use":7}"#, 1).unwrap();
    assert_eq!(sparse.with_default, "default");
    assert_eq!(sparse.session_token.as_deref(), Some("s"));
    assert!(sparse.role_arn.is_none() && sparse.r#type.is_none() && sparse.scope.is_empty());
    assert!(format!("{sparse:?}").ends_with("type: [REDACTED], use: 7 }"));
}

#[derive(Credential)]
struct Open {
    #[secret]
    pin: String,
    #[serde(flatten)]
    more: BTreeMap<String, u8>,
}

#[test]
fn flattened_fields_take_what_is_unknown() {
    let open = Open {
        pin: "1".into(),
        more: [("a".to_owned(), 1)].into(),
    };
    assert_eq!(json(&open), r#"{"pin":"1","a":1}"#);
    let back: Open = read(r#"{"b":2,"pin":"1"}"#, 1).unwrap();
    assert_eq!((back.pin.as_str(), back.more["b"]), ("1", 2));
}

#[derive(Credential)]
struct OAuth2Credential {
    #[secret]
    access_token: String,

    #[secret]
    refresh_token: String,

    expires_at: DateTime<Utc>,
}

#[derive(Credential)]
struct Leased {
    #[secret]
    token: SecretString,
    expires_at: String,
    #[credential(expires_at)]
    lease_end: Option<DateTime<Utc>>,
}

#[test]
fn expiry_comes_from_the_field_of_that_name_or_the_marked_one() {
    let mut tokens = OAuth2Credential {
        access_token: "a".into(),
        refresh_token: "r".into(),
        expires_at: time(1000),
    };
    assert_eq!(OAuth2Credential::credential_type(), "oauth2");
    assert_eq!(tokens.expires_at(), Some(time(1000)));
    assert!(tokens.is_expired_at(time(1000)) && !tokens.is_expired_at(time(999)));
    tokens.expires_at = time(2000);
    assert!(tokens.validate().is_ok() && !tokens.is_expired_at(time(1000)));

    let mut leased = Leased {
        token: "t".into(),
        expires_at: "soon".into(),
        lease_end: None,
    };
    assert_eq!(leased.expires_at(), None);
    leased.lease_end = Some(time(5));
    assert_eq!(leased.expires_at(), Some(time(5)));
    // All its secrets wipe themselves, so it has no Drop and its fields can be moved out.
    let Leased {
        token, expires_at, ..
    } = leased;
    assert_eq!((token.expose_secret(), expires_at.as_str()), ("t", "soon"));
    assert_eq!(mine().expires_at(), None);
}

#[derive(Credential)]
#[credential(
    type = "pin",
    version = 3,
    migrate = Pin::migrate,
    validate = Self::check,
    refresh = "Pin::renew",
    to_value = Self::to_text,
    from_value = Self::from_text
)]
struct Pin {
    #[secret]
    digits: String,
}

impl Pin {
    fn migrate(from: u32, mut value: serde_json::Value) -> Result<serde_json::Value, CredentialError> {
        let field = match from {
            1 => "number",
            2 => "code",
            _ => return Err(CredentialError::unsupported("no such schema")),
        };
        let object = value
            .as_object_mut()
            .ok_or_else(|| CredentialError::unsupported("expected an object"))?;
        let digits = object.remove(field).unwrap_or_default();
        object.insert("digits".into(), digits);
        Ok(value)
    }

    fn check(&self) -> Result<(), CredentialError> {
        if self.digits.len() == 4 {
            return Ok(());
        }
        Err(CredentialError::validation("`digits` needs 4"))
    }

    async fn renew(&mut self) -> Result<(), CredentialError> {
        std::future::ready(()).await;
        self.digits = "0000".into();
        Ok(())
    }

    fn to_text(&self) -> Result<CredentialValue, CredentialError> {
        Ok(CredentialValue::Text(self.digits.as_str().into()))
    }

    fn from_text(value: CredentialValue) -> Result<Self, CredentialError> {
        match value {
            CredentialValue::Text(text) => Ok(Self {
                digits: text.expose_secret().into(),
            }),
            _ => Err(CredentialError::type_mismatch("expected text")),
        }
    }
}

#[test]
fn older_schemas_are_migrated_and_newer_ones_refused() {
    assert_eq!(Pin::schema_version(), 3);
    assert_eq!(read::<Pin>(r#"{"number":"1234"}"#, 1).unwrap().digits, "1234");
    assert_eq!(read::<Pin>(r#"{"code":"12\u00334"}"#, 2).unwrap().digits, "1234");
    assert_eq!(read::<Pin>(r#"{"digits":"1234"}"#, 3).unwrap().digits, "1234");
    assert!(matches!(
        read::<Pin>(r#"{"digits":"1234"}"#, 4),
        Err(CredentialError::UnsupportedFormat(_))
    ));
    assert!(matches!(
        read::<Pin>(r#"{"digits":"1234"}"#, 0),
        Err(CredentialError::Unsupported(_))
    ));
    assert!(matches!(
        read::<Pin>(r#"{"code":1234}"#, 2),
        Err(CredentialError::DeserializationFailed(_))
    ));
    assert!(matches!(
        read::<Pin>(r#"{"code":"1234""#, 2),
        Err(CredentialError::DeserializationFailed(_))
    ));
}

#[test]
fn functions_of_the_author_are_called() {
    let mut pin = Pin { digits: "12".into() };
    assert_eq!(
        pin.validate().unwrap_err().to_string(),
        "invalid credential: `digits` needs 4"
    );
    assert_eq!(ready(pin.refresh()), Ok(()));
    assert!(pin.validate().is_ok());
    let value = pin.to_value().unwrap();
    assert!(matches!(&value, CredentialValue::Text(text) if text.expose_secret() == "0000"));
    assert_eq!(Pin::from_value(value).unwrap().digits, "0000");
}

#[test]
fn without_a_function_refresh_is_not_supported() {
    let mut credential = mine();
    assert_eq!(
        ready(credential.refresh()),
        Err(CredentialError::RefreshNotSupported)
    );
}

#[test]
fn the_fields_are_known_without_a_value() {
    use nebula_credential_core::{FieldInfo, FieldKind};

    #[derive(Credential)]
    struct Described {
        #[secret]
        #[serde(rename = "apiKey")]
        api_key: String,
        #[secret]
        backup: Option<Vec<u8>>,
        port: u16,
        #[serde(default)]
        verbose: bool,
        #[serde(skip)]
        cached: String,
    }

    let expected = [
        FieldInfo::new("apiKey", FieldKind::Text, true, true),
        FieldInfo::new("backup", FieldKind::Bytes, true, false),
        FieldInfo::new("port", FieldKind::Number, false, true),
        FieldInfo::new("verbose", FieldKind::Boolean, false, false),
    ];
    assert_eq!(Described::fields(), expected);
}

#[test]
fn the_described_names_are_those_that_are_stored() {
    macro_rules! check {
        ($($rule:literal)*) => {$({
            #[derive(Credential)]
            #[serde(rename_all = $rule)]
            struct Renamed {
                #[secret]
                a_long_name: String,
                b: String,
            }
            let value = Renamed { a_long_name: "x".into(), b: "y".into() };
            let json = nebula_credential_core::encode_credential(&value, 1024).unwrap();
            let json: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(json.expose()).unwrap();
            for field in Renamed::fields() {
                assert!(json.contains_key(field.name), "{}: {}", $rule, field.name);
            }
        })*};
    }
    check!("lowercase" "UPPERCASE" "PascalCase" "camelCase" "snake_case" "SCREAMING_SNAKE_CASE" "kebab-case"
        "SCREAMING-KEBAB-CASE");
}
