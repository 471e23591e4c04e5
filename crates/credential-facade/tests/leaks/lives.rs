//! One type through its life, and all types through theirs.

use std::collections::BTreeMap;
use std::fmt::Debug;

use nebula_credential::prelude::*;
use nebula_credential::{Plaintext, decode_credential, encode_credential};
use nebula_credential_testkit::{Canary, panic_text};
use serde_json::{Value, json};

use crate::{Ground, Hunt};

/// A type of the program's own, with a secret of each shape.
#[derive(Credential)]
struct EveryShape {
    #[secret]
    text: String,
    #[secret]
    boxed: SecretString,
    #[secret]
    bytes: Vec<u8>,
    #[secret]
    maybe: Option<String>,
    #[secret]
    list: Vec<String>,
    #[secret]
    map: BTreeMap<String, SecretString>,
    #[secret]
    nested: Nested,
    public: String,
}

#[derive(Redact)]
struct Nested {
    #[secret]
    pin: String,
    user: String,
}

#[derive(Credential)]
#[credential(type = "nobody")]
struct Nobody {
    #[secret]
    nothing: String,
}

impl Hunt {
    /// One type through its life; `json` is its stored form, `secrets` the number of canaries in it.
    pub(crate) async fn life<C: Credential + Debug>(&mut self, name: &str, json: &Value) {
        let decode = |json: &Value| {
            decode_credential::<C>(
                &Plaintext::new(json.to_string().into_bytes()),
                C::schema_version(),
            )
        };
        let cred = decode(json).unwrap_or_else(|error| panic!("{name}: {error}"));
        let stored = encode_credential(&cred, usize::MAX).unwrap();
        assert!(
            !self.hunter.search(stored.expose()).is_empty(),
            "{name} holds a canary"
        );
        self.debug(name, &cred);
        self.debug(name, &stored);
        self.debug(name, &cred.redact());
        self.hunter.check(
            name,
            format!("{:?}", encode_credential(&cred.redact(), usize::MAX).map(drop)),
        );
        if let Ok(value) = cred.to_value() {
            self.debug(name, &value);
            if let Err(error) = C::from_value(value) {
                self.error(name, &error);
            }
        }
        self.debug(name, &AnyCredential::new(decode(json).unwrap()));
        let shown = panic_text(|| panic!("{cred:?} {:?}", cred.validate())).unwrap();
        self.hunter.check(name, shown);

        let metadata = self
            .manager
            .store(name, cred)
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        self.debug(name, &metadata);
        let read: C = self.manager.get(name).await.unwrap();
        self.debug(name, &read);
        self.manager.rotate(name, read).await.unwrap();
        self.manager.rollback(name).await.unwrap();
        let raw = self.manager.get_raw(name).await.unwrap();
        self.debug(name, &raw);
        self.manager.re_encrypt(name, &raw).await.unwrap();
        self.debug(name, &self.manager.versions(name).await.unwrap());
        self.debug(name, &self.manager.metadata(name).await.unwrap());
        let wrong = self.manager.get::<Nobody>(name).await.map(drop).unwrap_err();
        self.error(name, &wrong);
        self.traced(name);
        self.mistakes::<C>(name, json);
        self.manager.delete(name).await.unwrap();
        self.manager.restore(name).await.unwrap();
        self.debug(name, &self.manager.revoke(name).await.unwrap());
        let revoked = self.manager.get::<C>(name).await.map(drop).unwrap_err();
        self.error(name, &revoked);
        self.traced(name);
    }

    /// Each field in turn missing, doubled into a list, and as text where it is not; and the whole cut short.
    fn mistakes<C: Credential + Debug>(&mut self, name: &str, json: &Value) {
        let mut texts = vec![
            json.to_string().replace('}', ""),
            format!("[{json}]"),
            format!("{json}{json}"),
        ];
        for key in json.as_object().unwrap().keys() {
            let change = |value: Option<Value>| {
                let mut json = json.clone();
                let object = json.as_object_mut().unwrap();
                object.remove(key);
                object.extend(value.map(|value| (key.clone(), value)));
                json.to_string()
            };
            let canary = json.to_string();
            texts.extend([
                change(None),
                change(Some(json!([json[key], json[key]]))),
                change(Some(json!({ canary.clone(): 1 }))),
                change(Some(Value::String(canary))),
            ]);
        }
        for text in texts {
            let decoded = decode_credential::<C>(&Plaintext::new(text.into_bytes()), C::schema_version());
            match decoded {
                Err(error) => self.error(name, &error),
                // It may stand in a public field now; an error about it still quotes nothing.
                Ok(cred) => {
                    if let Err(error) = cred.validate() {
                        self.error(name, &error);
                    }
                }
            }
        }
    }
}

fn pem(label: &str, canary: &Canary) -> String {
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        canary.secret()
    )
}

/// Every type there is through its life.
pub(crate) async fn all(hunt: &mut Hunt, ground: &Ground) {
    let (a, b) = (ground.plain.secret(), ground.hostile.secret());
    hunt.life::<EveryShape>(
        "every_shape",
        &json!({
            "text": a, "boxed": b, "bytes": "aHVudGVyMg==", "maybe": b, "list": [a, b], "map": { "k": b },
            "nested": { "pin": a, "user": "u" }, "public": "p"
        }),
    )
    .await;
    hunt.life::<ApiKeyCredential>(
        "api_key",
        &json!({ "api_key": a, "endpoint": "https://api.example.com" }),
    )
    .await;
    hunt.life::<BasicCredential>("basic", &json!({ "username": "u", "password": b }))
        .await;
    hunt.life::<BearerCredential>("bearer", &json!({ "token": a }))
        .await;
    hunt.life::<SecretTextCredential>("secret_text", &json!({ "text": b }))
        .await;
    hunt.life::<KeyValueCredential>("key_value", &json!({ "values": { "A": a, "B": b } }))
        .await;
    hunt.life::<ConnectionStringCredential>(
        "connection_string",
        &json!({ "url": format!("redis://user:{a}@cache:6379/0?password={a}") }),
    )
    .await;
    hunt.life::<PostgresCredential>(
        "postgres",
        &json!({
            "host": "db.example.com", "port": 5432, "database": "d", "username": a, "password": b,
            "ssl_mode": "verify-full", "max_connections": 10, "min_connections": 1, "connection_timeout": 30
        }),
    )
    .await;
    hunt.life::<AwsCredential>(
        "aws",
        &json!({
            "access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": a, "session_token": a,
            "region": "eu-central-1", "external_id": a
        }),
    )
    .await;
    composite(hunt, &ground.plain).await;
}

/// Private keys and tokens whose body is a canary: refused, without a word of it.
pub(crate) fn refused(hunt: &mut Hunt, ground: &Ground) {
    let (a, b) = (ground.plain.secret(), ground.hostile.secret());
    let keys = [
        pem("PRIVATE KEY", &ground.plain),
        pem("OPENSSH PRIVATE KEY", &ground.plain),
        a.clone(),
        b.clone(),
    ];
    for key in keys {
        let ssh = SshKeyCredential {
            username: None,
            private_key: key.clone().into(),
            passphrase: Some(a.clone().into()),
            public_key: None,
        };
        hunt.debug("ssh_key", &ssh);
        hunt.error("ssh_key", &ssh.validate().unwrap_err());
        let certificate = CertificateCredential {
            certificate: "x".into(),
            private_key: key.into(),
            passphrase: Some(b.clone().into()),
            ca: None,
        };
        hunt.debug("certificate", &certificate);
        hunt.error("certificate", &certificate.validate().unwrap_err());
    }
    for token in [format!("{a}.{a}.{a}"), a.clone(), b.clone()] {
        let jwt = JwtCredential::new(token);
        hunt.debug("jwt", &jwt);
        hunt.error("jwt", &jwt.validate().unwrap_err());
    }
}

async fn composite(hunt: &mut Hunt, canary: &Canary) {
    let inner = || BearerCredential::new(canary.secret());
    let composite = CompositeCredential::new().add("one", inner()).add("two", inner());
    hunt.debug("composite", &composite);
    hunt.manager.store("composite", composite).await.unwrap();
    let read: CompositeCredential = hunt.manager.get("composite").await.unwrap();
    hunt.debug("composite", &read);
    let error = read.get::<BasicCredential>("one").map(drop).unwrap_err();
    hunt.error("composite", &error);
    let error = read.get::<BasicCredential>("three").map(drop).unwrap_err();
    hunt.error("composite", &error);
    hunt.debug("composite", read.get::<BearerCredential>("one").unwrap());
    hunt.debug("composite", &read.redact());
}
