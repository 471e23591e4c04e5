//! What `#[derive(Redact)]` writes, and what becomes of secrets on the way.
#![allow(clippy::unwrap_used, reason = "helpers outside of test functions")]

use std::cell::Cell;

use nebula_credential_core::{
    Credential, CredentialError, CredentialValue, ExposeSecret as _, Redact, SecretField, SecretString,
    encode_credential, limits,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroize as _;

thread_local! {
    static WIPED: Cell<usize> = const { Cell::new(0) };
}

/// How many [`Counted`] were wiped on this thread since the last call.
fn wiped() -> usize {
    WIPED.replace(0)
}

/// A secret that counts how often it was wiped with something in it.
#[derive(Debug, Clone, Default, PartialEq)]
struct Counted(String);

impl SecretField for Counted {
    fn wipe(&mut self) {
        if !self.0.is_empty() {
            WIPED.set(WIPED.get() + 1);
        }
        self.0.wipe();
    }
    fn redacted(&self) -> Self {
        Self(self.0.redacted())
    }
    fn is_redacted(&self) -> bool {
        self.0.is_redacted()
    }
    fn store<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.store(serializer)
    }
    fn load<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::load(deserializer).map(Self)
    }
}

#[derive(Credential)]
struct Pair {
    #[secret]
    first: Counted,
    #[secret]
    #[serde(deserialize_with = "Counted::load", default = "seven")]
    second: Counted,
    port: u16,
}

fn seven() -> Counted {
    Counted("7".into())
}

#[test]
fn secrets_are_wiped_when_dropped_and_on_demand() {
    wiped();
    let mut pair = Pair {
        first: Counted("1".into()),
        second: seven(),
        port: 1,
    };
    pair.zeroize();
    assert_eq!((wiped(), pair.port), (2, 1));
    assert!(pair.first.0.is_empty() && pair.second.0.is_empty());
    drop(pair);
    assert_eq!(wiped(), 0);

    drop(Pair {
        first: Counted("1".into()),
        second: seven(),
        port: 1,
    });
    assert_eq!(wiped(), 2);
}

#[test]
fn secrets_read_before_an_error_are_wiped() {
    for (damaged, expected) in [
        (r#"{"first":"1","second":"2","port":"no"}"#, 2),
        (r#"{"first":"1","second":"2"}"#, 2),
        (r#"{"first":"1","second":"2","port":1,"first":"3"}"#, 2),
        (r#"{"first":"1","second":2,"port":1}"#, 1),
        (r#"{"first":"1""#, 1),
        (r#"{"second":"1"}"#, 1),
        (r#"{"first":1}"#, 0),
    ] {
        wiped();
        Pair::decode(damaged.as_bytes(), 1).unwrap_err();
        assert_eq!(wiped(), expected, "{damaged}");
    }
    let whole = Pair::decode(br#"{"first":"1","port":1}"#, 1).unwrap();
    assert_eq!((wiped(), &whole.second), (0, &seven()));
}

#[derive(Redact, Serialize, Deserialize, Clone)]
struct Postgres {
    host: String,
    #[secret]
    username: String,
    #[secret]
    password: String,
    ssl_mode: SslMode,
}

#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
enum SslMode {
    Disable,
    Require,
}

impl Credential for Postgres {
    nebula_credential_core::serde_codec!();

    fn credential_type() -> &'static str {
        "postgres"
    }
    fn redact(&self) -> Self {
        self.redacted()
    }
    fn to_value(&self) -> Result<CredentialValue, CredentialError> {
        Err(CredentialError::unsupported("test"))
    }
    fn from_value(_: CredentialValue) -> Result<Self, CredentialError> {
        Err(CredentialError::unsupported("test"))
    }
}

fn postgres() -> Postgres {
    Postgres {
        host: "db".into(),
        username: "app".into(),
        password: "hunter2".into(),
        ssl_mode: SslMode::Require,
    }
}

#[test]
fn it_goes_with_serde_clone_and_a_hand_written_credential() {
    let shown = "Postgres { host: \"db\", username: [REDACTED], password: [REDACTED], ssl_mode: Require }";
    assert_eq!(format!("{:?}", postgres().clone()), shown);
    assert_eq!(format!("{:?}", postgres().redact()), shown);
    let bytes = encode_credential(&postgres(), limits::SECRET_BYTES_DEFAULT).unwrap();
    let back = Postgres::decode(bytes.expose(), 1).unwrap();
    assert_eq!(back.password, "hunter2");
    let redacted = back.redact();
    assert!(redacted.is_redacted() && !back.is_redacted());
    assert_eq!(
        (redacted.host.as_str(), redacted.ssl_mode),
        ("db", SslMode::Require)
    );
}

/// Hand-written and not `Serialize`.
#[derive(Redact)]
struct Login {
    #[secret]
    password: Counted,
    port: u16,
}

impl Credential for Login {
    nebula_credential_core::redact_codec!();

    fn credential_type() -> &'static str {
        "login"
    }
    fn redact(&self) -> Self {
        self.redacted()
    }
    fn to_value(&self) -> Result<CredentialValue, CredentialError> {
        Ok(CredentialValue::Text(self.password.0.as_str().into()))
    }
    fn from_value(_: CredentialValue) -> Result<Self, CredentialError> {
        Err(CredentialError::unsupported("test"))
    }
}

#[test]
fn a_hand_written_credential_may_use_its_codec() {
    let login = Login {
        password: Counted("p".into()),
        port: 1,
    };
    let bytes = encode_credential(&login, limits::SECRET_BYTES_DEFAULT).unwrap();
    assert_eq!(bytes.expose(), br#"{"password":"p","port":1}"#);
    assert_eq!(Login::decode(bytes.expose(), 1).unwrap().password.0, "p");
    let error = encode_credential(&login.redact(), limits::SECRET_BYTES_DEFAULT).unwrap_err();
    assert!(matches!(error, CredentialError::Validation(_)), "{error:?}");
    assert!(matches!(
        Login::decode(bytes.expose(), 2),
        Err(CredentialError::UnsupportedFormat(_))
    ));
    wiped();
    assert!(Login::decode(br#"{"password":"p","port":""}"#, 1).is_err());
    assert_eq!(wiped(), 1);
}

#[derive(Credential)]
struct Cluster {
    #[secret]
    primary: Postgres,
    #[secret]
    replicas: Vec<Postgres>,
    #[secret]
    fallback: Option<Postgres>,
}

#[test]
fn a_redacted_struct_can_be_a_secret_field() {
    let cluster = Cluster {
        primary: postgres(),
        replicas: vec![postgres()],
        fallback: None,
    };
    assert_eq!(
        format!("{cluster:?}"),
        "Cluster { primary: [REDACTED], replicas: [REDACTED], fallback: [REDACTED] }"
    );
    let bytes = encode_credential(&cluster, limits::SECRET_BYTES_DEFAULT).unwrap();
    let one = r#"{"host":"db","username":"app","password":"hunter2","ssl_mode":"Require"}"#;
    let expected = format!(r#"{{"primary":{one},"replicas":[{one}],"fallback":null}}"#);
    assert_eq!(std::str::from_utf8(bytes.expose()), Ok(expected.as_str()));

    let mut back = Cluster::decode(bytes.expose(), 1).unwrap();
    assert_eq!(back.replicas[0].password, "hunter2");
    assert!(back.fallback.is_none());

    back.primary = back.primary.redact();
    let error = encode_credential(&back, limits::SECRET_BYTES_DEFAULT).unwrap_err();
    assert!(error.to_string().contains("`primary`"), "{error}");

    let unknown = format!(r#"{{"primary":{{"more":1}},"replicas":[{one}]}}"#);
    assert!(Cluster::decode(unknown.as_bytes(), 1).is_err());
}

#[derive(Redact)]
struct Movable {
    #[secret]
    token: SecretString,
    #[secret]
    others: Option<Vec<SecretString>>,
    name: String,
}

#[test]
fn without_a_drop_fields_can_be_moved_out() {
    let movable = Movable {
        token: "t".into(),
        others: None,
        name: "n".into(),
    };
    let Movable { token, others, name } = movable;
    assert_eq!(
        (token.expose_secret(), others.is_none(), name.as_str()),
        ("t", true, "n")
    );
}

#[derive(Redact)]
struct NothingToHide {
    #[public]
    key: String,
}

#[test]
fn a_struct_may_say_that_it_has_no_secret() {
    assert_eq!(
        format!("{:?}", NothingToHide { key: "k".into() }),
        "NothingToHide { key: \"k\" }"
    );
}

macro_rules! credential {
    ($name:ident, $field:ident: $secret:ty, $port:ty) => {
        #[derive(Credential)]
        struct $name {
            #[secret]
            $field: $secret,
            port: $port,
            expires_at: Option<chrono::DateTime<chrono::Utc>>,
        }
    };
}

credential!(Made, password: Option<String>, u16);

#[test]
fn it_works_inside_a_macro_and_inside_a_function() {
    let made = Made {
        password: Some("s".into()),
        port: 1,
        expires_at: None,
    };
    let bytes = encode_credential(&made, limits::SECRET_BYTES_DEFAULT).unwrap();
    let back = Made::decode(bytes.expose(), 1).unwrap();
    assert_eq!(
        (back.password.as_deref(), back.port, back.expires_at),
        (Some("s"), 1, None)
    );
    assert!(Made::decode(br#"{"port":1}"#, 1).unwrap().password.is_none());

    #[derive(Clone, Debug, Serialize, Deserialize)]
    struct Local(u8);
    #[derive(Credential)]
    #[credential(crate = "nebula_credential_core")]
    struct Inner {
        #[secret]
        token: String,
        local: Local,
    }
    let inner = Inner {
        token: "t".into(),
        local: Local(1),
    };
    assert_eq!(inner.redact().local.0, 1);
    assert_eq!(
        format!("{inner:?}"),
        "Inner { token: [REDACTED], local: Local(1) }"
    );
}

/// Nothing the generated code says may be taken from the names around it.
mod hostile {
    #![allow(dead_code, reason = "the names are there to be in the way")]

    pub(super) enum Option {}
    pub(super) enum Result {}
    pub(super) enum Some {}
    pub(super) enum String {}
    pub(super) enum Ok {}
    pub(super) mod core {}
    pub(super) mod std {}
    pub(super) mod serde {}
    pub(super) trait Clone {}
    pub(super) trait Debug {}
    pub(super) trait Drop {}
    pub(super) trait SecretField {}

    #[derive(nebula_credential_core::Credential)]
    pub(super) struct Shadowed {
        #[secret]
        pub(super) password: ::std::option::Option<::std::string::String>,
        pub(super) port: u16,
    }
}

#[test]
fn names_around_the_struct_do_not_matter() {
    let shadowed = hostile::Shadowed {
        password: None,
        port: 1,
    };
    assert_eq!(
        format!("{shadowed:?}"),
        "Shadowed { password: [REDACTED], port: 1 }"
    );
}
