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

struct Scan(LeakHunter);

impl Scan {
    fn copies(&self) -> usize {
        self.0.search_memory().unwrap().len()
    }

    /// `action` leaves no copy behind, of which there are `live`. Memory is searched at once: the next allocation may
    /// hide what is left.
    fn leaves<T>(&self, live: usize, what: &str, action: impl FnOnce() -> T) {
        drop(action());
        let found = self.copies();
        assert!(found <= live, "{what}: {live} copies live, {found} found");
    }

    /// No way a value is taken here leaves a copy behind, nor does the value itself.
    fn lives<C: Credential>(&self, what: &str, make: impl Fn() -> C, own: impl Fn(&C)) {
        self.leaves(0, what, &make);
        let credential = make();
        let live = self.copies();
        assert!(live > 0, "{what}: the search finds a live one");
        self.leaves(live, what, || credential.validate().unwrap());
        self.leaves(live, what, || (credential.expires_at(), credential.redact()));
        self.leaves(live, what, || {
            encode_credential(&credential, limits::SECRET_BYTES_MAX).unwrap()
        });
        self.leaves(live, what, || {
            C::from_value(credential.to_value().unwrap()).map(drop).unwrap();
        });
        self.leaves(live, what, || own(&credential));
        let stored = encode_credential(&credential, limits::SECRET_BYTES_MAX).unwrap();
        drop(credential);
        let live = self.copies();
        self.leaves(live, what, || {
            decode_credential::<C>(&stored, C::schema_version()).unwrap()
        });
        self.leaves(0, what, || stored);
    }
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

/// A PKCS#8 block whose body is one SEQUENCE of three canaries: small buffers are soon written over.
fn private_key(canary: &Canary) -> SecretString {
    use base64::Engine as _;
    let canary = Zeroizing::new(canary.secret_bytes());
    let content = Zeroizing::new(canary.repeat(3));
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
    // One for each canary: a search takes as long as there are canaries.
    let text = Scan(LeakHunter::new().hunt("plain", &plain));
    let odd = Scan(LeakHunter::new().hunt("hostile", &hostile));
    let key = Scan(LeakHunter::new().hunt("bytes", &bytes));
    let both = Scan(LeakHunter::new().hunt("hostile", &hostile).hunt("bytes", &bytes));

    // The controls: each form this crate makes is found while it lives.
    let header = BasicCredential::new("", secret(&plain).as_str()).authorization();
    assert!(text.copies() > 0, "the base64 of a header");
    drop(header);
    let url = postgres(&hostile).connection_string();
    assert!(odd.copies() > 0, "a percent-encoded URL");
    drop(url);

    let api_key = || ApiKeyCredential {
        api_key: plain.secret(),
        endpoint: "https://api.example.com/?a=b".to_owned(),
    };
    text.lives("an API key", api_key, |key| {
        drop((key.bearer(), key.clone()));
    });
    let basic = || BasicCredential::new("alice", secret(&plain).as_str());
    text.lives("a user name and password", basic, |basic| {
        drop(basic.authorization());
    });
    let bearer = || BearerCredential::new(secret(&plain).as_str());
    text.lives("a bearer token", bearer, |bearer| {
        drop(bearer.authorization());
    });
    odd.lives(
        "a text",
        || SecretTextCredential::new(secret(&hostile).as_str()),
        |_| {},
    );
    let values = || {
        KeyValueCredential::new()
            .with("a", secret(&hostile).as_str())
            .with("b", secret(&plain).as_str())
    };
    odd.lives("key and value", values, |_| {});

    // {"alg":"ES256"} . {"exp":2000000000} . the canary
    let jwt = || {
        JwtCredential::new(join(&[
            "eyJhbGciOiJFUzI1NiJ9.eyJleHAiOjIwMDAwMDAwMDB9.",
            &secret(&plain),
        ]))
    };
    text.lives("a JWT", jwt, |jwt| {
        drop(jwt.authorization());
    });

    let url = || {
        let (password, token) = (secret(&plain), secret(&plain));
        ConnectionStringCredential::new(join(&["amqp://u:", &password, "@mq/?token=", &token]))
    };
    text.lives("a connection string", url, |url| {
        assert!(url.redacted().ends_with("token=[REDACTED]"));
    });

    odd.lives(
        "PostgreSQL",
        || postgres(&hostile),
        |postgres| drop(postgres.connection_string()),
    );
    odd.leaves(0, "a PostgreSQL URL that is refused late", || {
        let mut url = postgres(&hostile).connection_string();
        // The buffer has room for more than this, so it is not moved.
        let mode = url.find("?sslmode").unwrap();
        url.truncate(mode);
        url.push_str("?sslmode=open");
        let refused = PostgresCredential::from_connection_string(&url).map(drop);
        assert!(matches!(refused, Err(CredentialError::Parse(_))));
    });

    let aws = || AwsCredential {
        access_key_id: plain.secret(),
        secret_access_key: plain.secret(),
        session_token: Some(plain.secret()),
        region: "eu-central-1".to_owned(),
        role_arn: None,
        external_id: Some(plain.secret()),
        expires_at: None,
    };
    text.lives("AWS", aws, |_| {});

    key.lives(
        "an SSH key",
        || SshKeyCredential::new(private_key(&bytes)),
        |_| {},
    );
    let certificate = || CertificateCredential::new(include_str!("types/data/leaf.pem"), private_key(&bytes));
    key.lives("a certificate", certificate, |_| {});

    let composite = || {
        let inner = CompositeCredential::new().add("key", SshKeyCredential::new(private_key(&bytes)));
        CompositeCredential::new()
            .add("db", postgres(&hostile))
            .add("inner", inner)
    };
    both.lives("a composite", composite, |composite| {
        let stored = encode_credential(composite, limits::SECRET_BYTES_MAX).unwrap();
        let read: CompositeCredential = decode_credential(&stored, 1).unwrap();
        read.get::<PostgresCredential>("db").map(drop).unwrap();
        read.get::<CompositeCredential>("inner")
            .unwrap()
            .get::<SshKeyCredential>("key")
            .map(drop)
            .unwrap();
    });
}
