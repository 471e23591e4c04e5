//! The seeds of the corpus with a name: what each is, and how it was made.
//!
//! `NEBULA_SEEDS=write cargo test --test seeds` writes those that are missing. Golden files are made once, with real
//! randomness, and never again: they show that what an older program wrote still opens. Run it twice after adding
//! one, for other seeds are made of them.

use std::fs;
use std::path::Path;

use chrono::{DateTime, Utc};
use nebula_credential_core::{CredentialError, CredentialName, Phase, Tags, VersionHead};
use nebula_credential_crypto::{
    Argon2Params, Bundle, BundledCredential, CredentialEncryption, KeyFile, KeyRing, OsEntropy, Passphrase,
    PassphraseAndKeyFile, Protector, RingDraft, RingSettings, Sealer, Suite,
};
use nebula_credential_fuzz::bundle::decipher;
use nebula_credential_fuzz::golden::{self, CREATED_AT, Row, SHORT, plain};
use nebula_credential_types::SecretTextCredential;
use serde_json::{Value, json};

type Seed = (&'static str, &'static str, Vec<u8>);

#[test]
fn every_seed_is_as_it_was_made() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let writes = std::env::var_os("NEBULA_SEEDS").is_some_and(|value| value == "write");
    if writes {
        for (target, name, bytes) in goldens() {
            let path = corpus.join(target).join(name);
            if fs::read(&path).map_or(true, |found| found.is_empty()) {
                fs::write(path, bytes).unwrap();
            }
        }
    }
    for (target, name, bytes) in seeds() {
        let path = corpus.join(target).join(name);
        if writes {
            fs::write(&path, &bytes).unwrap();
        }
        let found = fs::read(&path).unwrap_or_else(|error| panic!("{target}/{name}: {error}"));
        assert!(
            found == bytes,
            "{target}/{name} is not what it is named; see how to write it at the top of this file"
        );
    }
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(CREATED_AT).unwrap()
}

fn key_file(byte: u8) -> KeyFile {
    KeyFile::from_key(&mut [byte; 32]).unwrap()
}

fn ring(suite: Suite) -> KeyRing {
    let settings = RingSettings {
        suite,
        ..RingSettings::default()
    };
    KeyRing::create_with(settings, &golden::key_file(), now()).unwrap()
}

fn changed(
    ring: &KeyRing,
    change: impl FnOnce(&mut RingDraft<'_>) -> Result<(), CredentialError>,
) -> Vec<u8> {
    ring.update(change, |_| Ok(())).unwrap();
    ring.to_bytes()
}

fn goldens() -> Vec<Seed> {
    let (one, hkdf) = (ring(Suite::Blake3Aes256Gcm), ring(Suite::HkdfSha512Aes256Gcm));
    let rings = [
        ("golden-one-slot", one.to_bytes()),
        ("golden-hkdf-sha512", hkdf.to_bytes()),
    ];
    let sealer = Sealer::new(one.clone());
    let seal = |sealer: &Sealer, secret: &[u8]| {
        let sealed = sealer.seal(Row::golden().place(), &plain(secret)).unwrap();
        sealed.as_envelope().unwrap().to_vec()
    };
    let encrypt = |suite| {
        let encryption = CredentialEncryption::new(&[2; 32]).with_suite(suite);
        encryption.encrypt(SHORT).unwrap()
    };
    let envelopes = [
        ("golden-empty-secret", seal(&sealer, b"")),
        ("golden-short", seal(&sealer, SHORT)),
        ("golden-full-bucket", seal(&sealer, &[b'x'; 252])),
        ("golden-two-buckets", seal(&sealer, &[b'x'; 253])),
        ("golden-hkdf-sha512", seal(&Sealer::new(hkdf), SHORT)),
        ("golden-message", encrypt(Suite::Blake3Aes256Gcm)),
        ("golden-message-hkdf-sha512", encrypt(Suite::HkdfSha512Aes256Gcm)),
    ];
    let text = SecretTextCredential::new(std::str::from_utf8(SHORT).unwrap());
    let text = CredentialEncryption::new(&[2; 32])
        .encrypt_credential(&text)
        .unwrap();
    let passphrase = || Passphrase::new("correct horse").with_params(Argon2Params::FLOOR);
    let others = [
        (
            "golden-rotated",
            changed(&one, |draft| draft.rotate(now()).map(drop)),
        ),
        (
            "golden-eight-slots",
            changed(&ring(Suite::Blake3Aes256Gcm), |draft| {
                (2..9).try_for_each(|byte| draft.add_slot(&key_file(byte), now()).map(drop))
            }),
        ),
        (
            "golden-every-slot-kind",
            changed(&ring(Suite::Blake3Aes256Gcm), |draft| {
                draft.add_slot(&passphrase(), now())?;
                let both = PassphraseAndKeyFile::new(passphrase(), key_file(3));
                draft.add_slot(&both, now()).map(drop)
            }),
        ),
        (
            "golden-disabled-epoch",
            changed(&ring(Suite::Blake3Aes256Gcm), |draft| {
                let second = draft.rotate(now())?;
                draft.rotate(now())?;
                draft.disable_epoch(second)
            }),
        ),
    ];
    let bundles: [(&str, Suite, &dyn Protector); 4] = [
        ("golden-key-file", Suite::Blake3Aes256Gcm, &golden::key_file()),
        (
            "golden-hkdf-sha512",
            Suite::HkdfSha512Aes256Gcm,
            &golden::key_file(),
        ),
        ("golden-passphrase", Suite::Blake3Aes256Gcm, &passphrase()),
        (
            "golden-both",
            Suite::Blake3Aes256Gcm,
            &PassphraseAndKeyFile::new(passphrase(), golden::key_file()),
        ),
    ];
    let bundles = bundles.map(|(name, suite, protector)| {
        let sealed = bundle().seal_with(suite, &OsEntropy, protector).unwrap();
        ("import_bundle", name, sealed)
    });
    let rings = rings.into_iter().chain(others);
    let rings = rings.map(|(name, bytes)| ("keyring_decode", name, bytes));
    let envelopes = envelopes
        .into_iter()
        .chain([("golden-credential", text.into_bytes())])
        .map(|(name, bytes)| ("envelope_decode", name, bytes));
    rings.chain(envelopes).chain(bundles).collect()
}

fn bundle() -> Bundle {
    let row = Row::golden();
    let mut bundle = Bundle::new(row.id.tenant().clone(), row.id.scope().clone(), now());
    for (name, expires_at, tags) in [
        (
            "db",
            Some(now()),
            Tags::from_pairs([("env", "prod"), ("team", "web")]).unwrap(),
        ),
        ("prod/api", None, Tags::new()),
    ] {
        bundle
            .add(BundledCredential {
                name: CredentialName::new(name).unwrap(),
                version: VersionHead {
                    expires_at,
                    ..row.version.clone()
                },
                phase: Phase::Active,
                tags,
                payload: plain(SHORT),
            })
            .unwrap();
    }
    bundle
}

fn seeds() -> Vec<Seed> {
    let named = |target: &'static str, seeds: Vec<(&'static str, Vec<u8>)>| {
        seeds.into_iter().map(move |(name, bytes)| (target, name, bytes))
    };
    named("envelope_decode", envelopes())
        .chain(named("keyring_decode", rings()))
        .chain(named("decrypt_tampered", programs()))
        .chain(named("credential_decode", stored_forms()))
        .chain(named("import_bundle", bundles()))
        .chain(named("config_file", configurations()))
        .chain(named("policy_parse", policies()))
        .collect()
}

/// `bytes` with `new` at `at`.
fn with(bytes: &[u8], at: usize, new: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + new.len()].copy_from_slice(new);
    bytes
}

fn envelopes() -> Vec<(&'static str, Vec<u8>)> {
    // Magic 8, version 1, suite 2, flags 2, salt 32, padded length 4, commitment 32, reference 2 + 21, wrap 2 + 112.
    let envelope = golden::ENVELOPES[1].0;
    let message = golden::MESSAGES[0].0;
    vec![
        ("bad-flags", with(envelope, 11, &[0, 1])),
        ("bad-tag", with(envelope, envelope.len() - 1, &[0])),
        (
            "credential-cut",
            golden::CREDENTIAL[..golden::CREDENTIAL.len() - 4].to_vec(),
        ),
        ("credential-line-break", [golden::CREDENTIAL, b"\n"].concat()),
        ("credential-url-safe", b"iU5CTQ0KGgoBAAECAAAAAQ-_".to_vec()),
        ("cut-in-header", envelope[..30].to_vec()),
        ("cut-in-ciphertext", envelope[..envelope.len() - 100].to_vec()),
        ("extended", [envelope, &[0; 64]].concat()),
        ("magic-alone", envelope[..8].to_vec()),
        ("message-of-a-credential", with(message, 11, &[2])),
        ("message-newer", with(message, 8, &[9])),
        ("newer-version", with(envelope, 8, &[2])),
        ("not-an-envelope", b"-----BEGIN PGP MESSAGE-----".to_vec()),
        ("other-epoch", with(envelope, 81 + 2 + 17, &[0, 0, 0, 2])),
        ("other-ring", with(envelope, 81 + 2 + 1, &[0xaa; 16])),
        ("padded-length-4-gib", with(envelope, 45, &[0xff; 4])),
        ("padded-length-longest", with(envelope, 45, &[0, 0x10, 1, 0])),
        ("provider-reference", with(envelope, 81 + 2, &[2])),
        ("reference-64-kib", with(envelope, 81, &[0xff; 2])),
        ("unknown-suite", with(envelope, 9, &[0x7f, 0xff])),
        ("weaker-suite", with(golden::ENVELOPES[4].0, 9, &[0, 1])),
    ]
}

fn rings() -> Vec<(&'static str, Vec<u8>)> {
    let one = golden::RINGS[0];
    let kinds = golden::RINGS[4];
    // Header 37, count 1; a slot is number 1, kind 1, time 8, parameters 2 + n, wrap 2 + 112.
    let passphrase = 38 + (10 + 2 + 2 + 112) + 10 + 2;
    let key = [&b"\x89NBF\r\n\x1a\n\x01"[..], &[1; 32]].concat();
    let key = [&key[..], &blake3::hash(&key).as_bytes()[..8]].concat();
    vec![
        (
            "argon2-below-floor",
            with(kinds, passphrase, &8_u32.to_be_bytes()),
        ),
        ("argon2-memory-4-tib", with(kinds, passphrase, &[0xff; 4])),
        (
            "argon2-passes-17",
            with(kinds, passphrase + 4, &17_u32.to_be_bytes()),
        ),
        ("bad-checksum", with(one, one.len() - 1, &[0])),
        ("cut", one[..one.len() / 2].to_vec()),
        ("generation-0", with(one, 29, &[0; 8])),
        ("key-file", key.clone()),
        ("key-file-damaged", with(&key, 20, &[0])),
        ("key-file-newer", with(&key, 8, &[2])),
        ("magic-alone", one[..8].to_vec()),
        ("newer-version", with(one, 8, &[2])),
        ("no-slots", with(one, 37, &[0])),
        ("not-a-ring", b"-----BEGIN PGP MESSAGE-----".to_vec()),
        ("slot-kind-unknown", with(one, 39, &[9])),
        ("slot-provider", with(one, 39, &[4])),
        ("slots-255", with(one, 37, &[255])),
        ("slots-out-of-order", with(kinds, 38, &[9])),
        ("unknown-suite", with(one, 9, &[0x7f, 0xff])),
    ]
}

fn bundles() -> Vec<(&'static str, Vec<u8>)> {
    // Header 14, length 2; of a passphrase, parameters 44 of three numbers and a salt.
    let (file, phrase) = (golden::BUNDLE, golden::BUNDLES[2]);
    let summed = |mut bytes: Vec<u8>| {
        let body = bytes.len() - 32;
        let check = *blake3::hash(&bytes[..body]).as_bytes();
        bytes[body..].copy_from_slice(&check);
        bytes
    };
    let contents = decipher(file);
    let used = contents.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    // Tenant, scope and time; then the number of credentials.
    let count = 1 + 7 + 1 + 6 + 8;
    vec![
        (
            "argon2-below-floor",
            summed(with(phrase, 16, &8_u32.to_be_bytes())),
        ),
        ("argon2-memory-4-tib", summed(with(phrase, 16, &[0xff; 4]))),
        (
            "argon2-passes-17",
            summed(with(phrase, 20, &17_u32.to_be_bytes())),
        ),
        ("bad-checksum", with(file, file.len() - 1, &[0])),
        ("contents", contents[..used].to_vec()),
        ("contents-4-gib", with(file, 130, &[0xff; 4])),
        ("contents-cut", contents[..used - 10].to_vec()),
        ("contents-empty", contents[..count].to_vec()),
        (
            "contents-more-than-counted",
            with(&contents[..used], count, &[0, 0, 0, 1]),
        ),
        ("contents-4-billion", with(&contents[..used], count, &[0xff; 4])),
        ("contents-padded-twice", [&contents[..used], &[0; 4096]].concat()),
        ("cut", file[..file.len() / 2].to_vec()),
        ("kind-provider", summed(with(file, 13, &[4]))),
        ("kind-unknown", summed(with(file, 13, &[9]))),
        ("magic-alone", file[..8].to_vec()),
        ("newer-version", summed(with(file, 8, &[2]))),
        ("not-a-bundle", b"-----BEGIN PGP MESSAGE-----".to_vec()),
        ("parameters-64-kib", summed(with(file, 14, &[0xff; 2]))),
        ("unknown-suite", summed(with(file, 9, &[0x7f, 0xff]))),
    ]
}

fn configurations() -> Vec<(&'static str, Vec<u8>)> {
    let texts: [(&'static str, &str); 14] = [
        ("empty", ""),
        (
            "full",
            "# where things are\ndefault_profile = \"work\"\n\n[profiles.work]\nstore = \"/srv/work\"\n\
             tenant = \"acme\"\nscope = \"workflow/billing\"\nkey_file = 'keys/work'\n\
             passphrase_file = \"\"\"\nmany\nlines\"\"\"\n\n[profiles.home]\n",
        ),
        ("wanted", "home\0[profiles.home]\nstore = \"x\"\n"),
        ("wanted-slip", "hom\0[profiles.home]\nstore = \"x\"\n"),
        (
            "wanted-nothing-like-it",
            "work\0[profiles.home]\n[profiles.\"a b\"]\n",
        ),
        ("default-not-there", "default_profile = \"work\"\n"),
        ("default-is-taken", "[profiles.default]\ntenant = \"acme\"\n"),
        ("inline", "profiles = { default = { store = \"x\" } }\n"),
        (
            "secret-that-strayed",
            "[profiles.work]\npassphrase = \"hunter2\"\n",
        ),
        ("wrong-kind", "[profiles.work]\nstore = [\"hunter2\"]\n"),
        ("tenant-not-lawful", "[profiles.default]\ntenant = \"Acme Inc\"\n"),
        ("twice", "[profiles.work]\n[profiles.work]\n"),
        ("cut", "[profiles.work]\nstore = \"hunter"),
        (
            "byte-order-mark-crlf",
            "\u{feff}default_profile = \"a\"\r\n[profiles.a]\r\n",
        ),
    ];
    texts
        .map(|(name, text)| (name, text.as_bytes().to_vec()))
        .to_vec()
}

fn policies() -> Vec<(&'static str, Vec<u8>)> {
    let rule = |effect: &str, who: &str, more: &str| {
        format!(
            "[[rules]]\nid = \"{effect}-{}\"\neffect = \"{effect}\"\nprincipals = [\"{who}\"]\n\
             permissions = [\"use\", \"admin\"]\ntenants = [\"acme\"]\n{more}\n",
            who.replace([':', '*'], "")
        )
    };
    let policy = |rules: &[String]| format!("version = 1\n{}", rules.concat());
    let texts = [
        ("empty", String::new()),
        ("nothing", policy(&[])),
        (
            "groups-and-roles",
            "version = 1\n[groups]\npay = [\"user:alice\", \"workflow:*\", \"process\"]\n[roles]\n\
             dev = [\"read\", \"*\"]\n[[rules]]\nid = \"dev\"\neffect = \"allow\"\nprincipals = [\"group:pay\"]\n\
             roles = [\"dev\"]\ntenants = [\"*\"]\nnames = [\"stripe/*\"]\n"
                .to_owned(),
        ),
        (
            "owner-granted-everyone",
            policy(&[
                rule("allow", "owner", ""),
                rule("allow", "granted", ""),
                rule("deny", "*", "when = { until = 1970-01-01T00:00:00.25Z }"),
            ]),
        ),
        (
            "places-and-tags",
            policy(&[
                rule(
                    "allow",
                    "workflow:bill*",
                    "scopes = [\"workflow/{workflow}\", \"user/{principal}\"]",
                ),
                rule("deny", "user:alice", "tags = { team = \"pay*\", \"a/b\" = \"{user}\" }"),
            ]),
        ),
        (
            "every-condition",
            policy(&[rule(
                "allow",
                "user:*",
                "when = { environments = [\"prod*\"], networks = [\"10.0.0.0/8\", \"2001:db8::/32\"], mfa = true, \
                 purposes = [\"*\"], workflows = [\"billing\"], users = [\"{principal}\"], hours = \"22:00-06:00\", \
                 days = [\"thu\"], from = 1969-12-31T23:00:00-01:00, until = 2100-01-01T00:00:00Z }\n\
                 unless = { nodes = [\"x\"] }",
            )]),
        ),
        ("emergency", policy(&[rule("allow", "user:alice", "emergency = true")])),
        ("emergency-denies", policy(&[rule("deny", "user:alice", "emergency = true")])),
        ("unknown-key", policy(&[rule("deny", "user:alice", "hunter2 = 1")])),
        ("unknown-group", policy(&[rule("deny", "group:hunter2", "")])),
        ("newer-version", "version = 2\n".to_owned()),
        ("cut", "version = 1\n[[rules]]\nid = \"a".to_owned()),
        ("inline", "version=1\nrules=[{id=\"a\",effect=\"deny\",principals=[\"*\"],permissions=[\"*\"],tenants=[\"*\"]}]".to_owned()),
        ("nested", format!("version = 1\nrules = {}{}", "[".repeat(300), "]".repeat(300))),
        ("long-quote", policy(&[rule("deny", &"\\u0001".repeat(200), "")])),
    ];
    texts.map(|(name, text)| (name, text.into_bytes())).to_vec()
}

/// Suite; then twice: changes of the place, length of the secret, its pattern of 16 bytes; then the changes.
fn programs() -> Vec<(&'static str, Vec<u8>)> {
    let plain = |length: u16| [&[0][..], &length.to_be_bytes(), b"open sesame 1234"].concat();
    let program = |suite: u8, changes: &[u8]| [&[suite][..], &plain(15), &plain(300), changes].concat();
    let placed = |place: &[u8], changes: &[u8]| {
        let one = [&[1][..], place, &[0, 9], b"open sesame 1234"].concat();
        [&[0][..], &one, &plain(9), changes].concat()
    };
    let name = |part: u8, letters: &[u8]| [&[part, letters.len() as u8 - 1][..], letters].concat();
    vec![
        ("unchanged", program(0, &[])),
        ("unchanged-hkdf-sha512", program(1, &[])),
        ("unchanged-elsewhere", placed(&name(0, &[0, 1, 2]), &[])),
        ("flip-version", program(0, &[0, 0, 8, 1])),
        ("flip-salt", program(0, &[0, 0, 20, 7])),
        ("flip-epoch", program(0, &[0, 0, 103, 0])),
        ("flip-payload", program(1, &[0, 0, 230, 3])),
        ("flip-twice", program(0, &[0, 0, 230, 3, 0, 0, 230, 3])),
        ("truncate", program(0, &[1, 1, 0])),
        ("extend", program(0, &[2, 4, 0, 0, 0, 0])),
        ("delete-byte", program(0, &[3, 0, 60, 0, 1])),
        ("insert-byte", program(0, &[4, 0, 60, 1, 0xff])),
        ("overwrite-commitment", program(0, &[5, 0, 49, 0, 4, 1, 2, 3, 4])),
        (
            "splice-wrap-of-another-record",
            program(0, &[6, 0, 6, 0, 104, 0, 114, 1]),
        ),
        (
            "splice-payload-of-golden",
            program(0, &[6, 0, 1, 0, 218, 1, 16, 1]),
        ),
        (
            "splice-elsewhere",
            program(0, &[7, 0, 6, 0, 13, 0, 32, 0, 0, 104]),
        ),
        ("rotate-payload", program(0, &[8, 0, 218, 0, 200, 0, 16])),
        ("another-record-of-the-same-place", program(0, &[9, 0, 6])),
        (
            "another-record-elsewhere",
            placed(&name(0, &[0, 1, 2]), &[9, 0, 6]),
        ),
        (
            "another-record-and-its-place",
            placed(&name(0, &[0, 1, 2]), &[9, 0, 6, 10, 0, 6]),
        ),
        ("another-record-of-another-ring", program(0, &[9, 0, 4, 10, 0, 4])),
        (
            "moved-tenant",
            program(0, &[&[11][..], &name(0, &[0, 1])].concat()),
        ),
        (
            "moved-scope",
            program(0, &[&[11][..], &name(1, &[0, 1])].concat()),
        ),
        ("moved-name", program(0, &[&[11][..], &name(2, &[0, 1])].concat())),
        ("moved-type", program(0, &[11, 3, 1, b'j', b'w', 0])),
        ("moved-schema", program(0, &[11, 4, 0, 0, 0, 2])),
        ("moved-version", program(1, &[11, 5, 0, 0, 0, 2])),
        ("moved-creation", program(0, &[11, 6, 0, 0, 0, 1])),
        ("moved-expiry", program(0, &[11, 7, 0, 0, 0, 0, 1])),
        (
            "moved-and-back",
            placed(&[5, 0, 0, 0, 2], &[11, 5, 0, 0, 0, 1, 11, 5, 0, 0, 0, 2]),
        ),
        (
            "type-too-long",
            placed(&[&[3, 100][..], &[b'x'; 200], &[3]].concat(), &[]),
        ),
    ]
}

/// The types of the target in its order; the name of a seed begins with one of them.
const KINDS: &[&str] = &[
    "account",
    "api-key",
    "aws",
    "basic",
    "bearer",
    "certificate",
    "composite",
    "connection-string",
    "jwt",
    "key-value",
    "postgres",
    "secret-text",
    "ssh-key",
    "url",
];

fn stored_forms() -> Vec<(&'static str, Vec<u8>)> {
    let api_key = json!({"api_key": "sk_live_51H8xX2eZvKYlo2C", "endpoint": "https://api.example.com/v1"});
    let basic = json!({"username": "alice", "password": "open sesame"});
    let bearer = json!({"token": "mF_9.B5f-4.1JqM", "expires_at": "2026-12-31T23:59:59.123456Z"});
    let account = json!({
        "password": "p\u{e4}ss\u{1f511}", "spare": "hunter2-hunter2", "key_material": ["AQID", ""],
        "answers": {"pet": "rex", "city": "Ulm"}, "username": "alice", "kind": "robot", "port": 5432,
        "expires_at": "2026-01-01T00:00:00Z",
    });
    let member = |kind: &str, data: &Value| json!({"type": kind, "schema_version": 1, "data": data});
    let composite = json!({"members": {
        "api": member("api_key", &api_key), "proxy": member("basic", &basic), "token": member("bearer", &bearer),
        "more": member("composite", &json!({"members": {"proxy": member("basic", &basic)}})),
        "later": {"type": "acme.unknown", "schema_version": 9, "expires_at": "2026-01-01T00:00:00Z", "data": [1]},
    }});
    let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjE3OTg3NjE2MDB9.c2lnbmF0dXJl";
    let mut seeds: Vec<(&'static str, Value)> = vec![
        (
            "account-least",
            json!({"password": "x", "key_material": [], "username": "bob"}),
        ),
        (
            "account-redacted",
            json!({"password": "[REDACTED]", "key_material": [], "username": "bob"}),
        ),
        (
            "account-unknown-field",
            json!({"password": "x", "key_material": [], "username": "bob", "q": 1}),
        ),
        (
            "account-wrong-type",
            json!({"password": {"hunter2": "hunter2"}, "key_material": "AQID", "username": 7}),
        ),
        (
            "api-key-url-with-secret",
            json!({"api_key": "sk 1", "endpoint": "https://a:b@example.com?token=x"}),
        ),
        (
            "aws",
            json!({
                "access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                "session_token": "t", "region": "eu-central-1", "role_arn": "arn:aws:iam::123456789012:role/deploy",
                "external_id": "acme-7", "expires_at": "2026-01-01T00:00:00Z",
            }),
        ),
        (
            "bearer-year-10000",
            json!({"token": "t", "expires_at": "+10000-01-01T00:00:00Z"}),
        ),
        ("composite-empty", json!({"members": {}})),
        (
            "composite-wrong-member",
            json!({"members": {"api": member("basic", &api_key)}}),
        ),
        (
            "connection-string",
            json!({"url": "mongodb+srv://u:p%40ss@a.example.com,b.example.com:27017/db?w=1"}),
        ),
        ("jwt", json!({"token": jwt})),
        ("jwt-unsigned", json!({"token": "eyJhbGciOiJub25lIn0.e30."})),
        (
            "key-value",
            json!({"values": {"API_KEY": "k", "db.password": "p"}}),
        ),
        (
            "postgres",
            json!({
                "host": "db.example.com", "port": 5432, "database": "app", "username": "svc", "password": "p@ss/w?rd#",
                "ssl_mode": "verify-full", "max_connections": 10, "min_connections": 1, "connection_timeout": 30,
            }),
        ),
        (
            "postgres-unknown-ssl-mode",
            json!({
                "host": "::1", "port": 0, "database": "..", "username": "", "password": "\u{0}",
                "ssl_mode": "hunter2-hunter2", "max_connections": 0, "min_connections": 1, "connection_timeout": 30,
            }),
        ),
        ("secret-text", json!({"text": "correct horse battery staple"})),
        (
            "ssh-key-garbage",
            json!({
                "username": null, "private_key": "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
                "passphrase": null, "public_key": "ssh-ed25519 AAAA alice@example.com",
            }),
        ),
        (
            "ssh-key",
            json!({
                "username": "git", "private_key": SSH_PRIVATE, "passphrase": null, "public_key": SSH_PUBLIC,
            }),
        ),
        (
            "certificate",
            json!({
                "certificate": CERTIFICATE, "private_key": CERTIFICATE_KEY, "passphrase": null, "ca": CERTIFICATE,
            }),
        ),
        (
            "certificate-swapped",
            json!({
                "certificate": CERTIFICATE_KEY, "private_key": CERTIFICATE, "passphrase": "x", "ca": "",
            }),
        ),
    ];
    seeds.extend([
        ("account", account),
        ("api-key", api_key),
        ("basic", basic),
        ("bearer", bearer),
        ("composite", composite),
    ]);
    let texts: [(&'static str, &str); 9] = [
        ("account-empty", ""),
        ("account-cut", r#"{"password":"hunter2-hunter2","key_mat"#),
        (
            "account-escapes",
            r#"{"password":"\u0068\"\\\/\b\f\n\r\t\ud83d\udd11","key_material":["AQ=="],"username":"b"}"#,
        ),
        (
            "account-lone-surrogate",
            r#"{"password":"\ud83dx","key_material":[],"username":"b"}"#,
        ),
        (
            "account-twice-a-field",
            r#"{"password":"a","password":"b","key_material":[],"username":"b"}"#,
        ),
        (
            "account-twice-an-answer",
            r#"{"password":"a","key_material":[],"username":"b","answers":{"a":"1","a":"2"}}"#,
        ),
        (
            "account-deep",
            r#"{"password":[[[[[[[[[[[[[[[[{"a":1e999}]]]]]]]]]]]]]]]],"key_material":[],"username":"b"}"#,
        ),
        (
            "url",
            "postgresql://svc:p%40ss@[::1]:6432/app?sslmode=require&connect_timeout=5",
        ),
        (
            "url-twice-a-parameter",
            "postgres://u@h/d?sslmode=require&sslmode=disable",
        ),
    ];
    let json = seeds.into_iter().map(|(name, value)| (name, value.to_string()));
    let texts = texts.into_iter().map(|(name, text)| (name, text.to_owned()));
    let choose = |(name, text): (&'static str, String)| {
        let kind = KINDS.iter().position(|kind| name.starts_with(kind)).unwrap();
        (name, [&[u8::try_from(kind).unwrap()], text.as_bytes()].concat())
    };
    json.chain(texts).map(choose).collect()
}

/// Made for tests; it opens nothing.
const SSH_PRIVATE: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\n\
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n\
QyNTUxOQAAACAOHxV58aoKsa1ac2SkfAMkSPeFrZpcrdEVDxlkwdQOXgAAAJADOalwAzmp\n\
cAAAAAtzc2gtZWQyNTUxOQAAACAOHxV58aoKsa1ac2SkfAMkSPeFrZpcrdEVDxlkwdQOXg\n\
AAAEAJk8Jg3RqROjZMRp/GuRD7XW5989QUbePQSnE+ZmJkSw4fFXnxqgqxrVpzZKR8AyRI\n\
94Wtmlyt0RUPGWTB1A5eAAAAB2ZpeHR1cmUBAgMEBQY=\n\
-----END OPENSSH PRIVATE KEY-----\n";
/// Its public key.
const SSH_PUBLIC: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA4fFXnxqgqxrVpzZKR8AyRI94Wtmlyt0RUPGWTB1A5e fixture\n";
/// Made for tests, as is its key.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\n\
MIIBgjCCASegAwIBAgICXxMwCgYIKoZIzj0EAwIwHzEdMBsGA1UEAwwURml4dHVy\n\
ZSBpbnRlcm1lZGlhdGUwIBcNMjYxMTIzMTQ1MzA0WhgPMjEwOTAxMTIxNDUzMDRa\n\
MBkxFzAVBgNVBAMMDmZpeHR1cmUgY2xpZW50MFkwEwYHKoZIzj0CAQYIKoZIzj0D\n\
AQcDQgAE7T8Rf7aQ0vNU6dz2/eOEUHNLuume2/i0sTlWYfPxyNV8LJQQxHHa3/Rd\n\
cGrLMqbpjDqkAaUUIWbn4iI1BXPrh6NXMFUwEwYDVR0lBAwwCgYIKwYBBQUHAwIw\n\
HQYDVR0OBBYEFJ6KHoMOiq/p7saelaS96Se7nAT/MB8GA1UdIwQYMBaAFCRRQ3FS\n\
mtZiqzlcjO7nypJZC1gJMAoGCCqGSM49BAMCA0kAMEYCIQCjKpVVGke0oI5s+llq\n\
onjiKm66YHdKGZjygGb4Ea2E+AIhAPw2kt2FNyA4C9z0bMXVcj0k3KKG4msXxJK9\n\
NdRSlMtC\n\
-----END CERTIFICATE-----\n";
const CERTIFICATE_KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgYXHVIzHJSeSQEkHL\n\
nmEEfpcClkC82ocX6H4oIyOsmgWhRANCAATtPxF/tpDS81Tp3Pb944RQc0u66Z7b\n\
+LSxOVZh8/HI1XwslBDEcdrf9F1wassypumMOqQBpRQhZufiIjUFc+uH\n\
-----END PRIVATE KEY-----\n";
