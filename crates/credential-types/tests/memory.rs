//! What the checks, headers and URLs of this crate leave in the memory of the process once dropped: nothing.
//!
//! One test in this binary, so that nothing else runs while memory is read.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use nebula_credential_core::{
    Credential, CredentialError, SecretString, decode_credential, encode_credential, limits,
};
use nebula_credential_testkit::{Canary, LeakHunter};
use nebula_credential_types::{
    ApiKeyCredential, AwsCredential, BasicCredential, BearerCredential, CertificateCredential,
    CompositeCredential, ConnectionStringCredential, JwtCredential, KeyValueCredential, PostgresCredential,
    SecretTextCredential, SshKeyCredential, SslMode,
};
use zeroize::Zeroizing;

/// `parts` one after another, without a buffer that grows.
fn join(parts: &[&str]) -> SecretString {
    let mut text = Zeroizing::new(String::with_capacity(parts.iter().map(|part| part.len()).sum()));
    parts.iter().for_each(|part| text.push_str(part));
    Box::<str>::from(text.as_str()).into()
}

fn secret(canary: &Canary) -> Zeroizing<String> {
    Zeroizing::new(canary.secret())
}

/// Every way a value is taken here.
fn live<C: Credential>(credential: &C) {
    credential.validate().unwrap();
    let _ = (credential.expires_at(), credential.redact());
    let stored = encode_credential(credential, limits::SECRET_BYTES_MAX).unwrap();
    decode_credential::<C>(&stored, C::schema_version())
        .unwrap()
        .validate()
        .unwrap();
    C::from_value(credential.to_value().unwrap()).map(drop).unwrap();
}

fn postgres(canary: &Canary) -> PostgresCredential {
    PostgresCredential {
        host: "db.example.com".to_owned(),
        port: 5432,
        database: "orders".to_owned(),
        username: canary.secret(),
        password: canary.secret(),
        ssl_mode: SslMode::VerifyFull,
        max_connections: 10,
        min_connections: 1,
        connection_timeout: 31,
    }
}

/// A PKCS#8 block whose body is one SEQUENCE with the canary in it.
fn private_key(canary: &Canary) -> SecretString {
    use base64::Engine as _;
    let content = Zeroizing::new(canary.secret_bytes());
    let mut der = Zeroizing::new(Vec::with_capacity(2 + content.len()));
    der.extend_from_slice(&[0x30, u8::try_from(content.len()).unwrap()]);
    der.extend_from_slice(&content);
    let mut body = Zeroizing::new(String::with_capacity(der.len() * 2));
    base64::engine::general_purpose::STANDARD.encode_string(der.as_slice(), &mut body);
    join(&[
        "-----BEGIN PRIVATE KEY-----\n",
        &body,
        "\n-----END PRIVATE KEY-----\n",
    ])
}

#[test]
fn nothing_is_left() {
    let (plain, hostile, bytes) = (Canary::text(), Canary::hostile(), Canary::bytes());
    let hunter = LeakHunter::new()
        .hunt("plain", &plain)
        .hunt("hostile", &hostile)
        .hunt("bytes", &bytes);
    let search = || hunter.search_memory().unwrap();
    let finds_nothing = |after: &str| {
        let found = search();
        assert!(found.is_empty(), "after {after}: {found:?}");
    };

    // The controls: each form this crate makes is found while it lives.
    let header = BasicCredential::new("", secret(&plain).as_str()).authorization();
    assert!(!search().is_empty(), "the base64 of a header");
    drop(header);
    let url = postgres(&hostile).connection_string();
    assert!(!search().is_empty(), "a percent-encoded URL");
    drop(url);
    let key = private_key(&bytes);
    assert!(!search().is_empty(), "a key in PEM");
    drop(key);
    finds_nothing("the controls");

    let key = ApiKeyCredential {
        api_key: plain.secret(),
        endpoint: "https://api.example.com/?a=b".to_owned(),
    };
    live(&key);
    drop((key.bearer(), key.clone(), key));
    finds_nothing("an API key");

    let basic = BasicCredential::new("alice", secret(&plain).as_str());
    live(&basic);
    drop((basic.authorization(), basic));
    let bearer = BearerCredential::new(secret(&plain).as_str());
    live(&bearer);
    drop((bearer.authorization(), bearer));
    finds_nothing("a user name with a password, and a bearer token");

    live(&SecretTextCredential::new(secret(&hostile).as_str()));
    live(
        &KeyValueCredential::new()
            .with("a", secret(&hostile).as_str())
            .with("b", secret(&plain).as_str()),
    );
    finds_nothing("texts");

    // {"alg":"ES256"} . {"exp":2000000000} . the canary
    let jwt = JwtCredential::new(join(&[
        "eyJhbGciOiJFUzI1NiJ9.eyJleHAiOjIwMDAwMDAwMDB9.",
        &secret(&plain),
    ]));
    live(&jwt);
    drop((jwt.authorization(), jwt));
    finds_nothing("a JWT");

    let url = ConnectionStringCredential::new(join(&[
        "amqp://u:",
        &secret(&plain),
        "@mq/?token=",
        &secret(&plain),
    ]));
    live(&url);
    assert!(url.redacted().ends_with("token=[REDACTED]"));
    drop(url);
    finds_nothing("a connection string");

    live(&postgres(&hostile));
    finds_nothing("PostgreSQL");
    {
        let mut url = postgres(&hostile).connection_string();
        // The buffer has room for more than this, so it is not moved.
        let mode = url.find("?sslmode").unwrap();
        url.truncate(mode);
        url.push_str("?sslmode=open");
        let refused = PostgresCredential::from_connection_string(&url).map(drop);
        assert!(matches!(refused, Err(CredentialError::Parse(_))));
    }
    finds_nothing("a PostgreSQL URL that was refused late");

    live(&AwsCredential {
        access_key_id: plain.secret(),
        secret_access_key: plain.secret(),
        session_token: Some(plain.secret()),
        region: "eu-central-1".to_owned(),
        role_arn: None,
        external_id: Some(plain.secret()),
        expires_at: None,
    });
    finds_nothing("AWS");

    live(&SshKeyCredential::new(private_key(&bytes)));
    live(&CertificateCredential::new(
        include_str!("types/data/leaf.pem"),
        private_key(&bytes),
    ));
    finds_nothing("private keys");

    let composite = CompositeCredential::new().add("db", postgres(&hostile)).add(
        "inner",
        CompositeCredential::new().add("key", SshKeyCredential::new(private_key(&bytes))),
    );
    live(&composite);
    let stored = encode_credential(&composite, limits::SECRET_BYTES_MAX).unwrap();
    let read: CompositeCredential = decode_credential(&stored, 1).unwrap();
    read.get::<PostgresCredential>("db").map(drop).unwrap();
    read.get::<CompositeCredential>("inner")
        .unwrap()
        .get::<SshKeyCredential>("key")
        .map(drop)
        .unwrap();
    drop((composite, stored, read));
    finds_nothing("a composite");
}
