//! Bundles: what goes in comes out for the one key it was sealed for, and nothing else opens.

use std::path::PathBuf;

use nebula_credential_core::{
    CredentialError, CredentialName, ErrorKind, Phase, Scope, Tags, TenantId, Version, VersionHead,
};
use nebula_credential_crypto::{
    BUNDLE_BYTES_MAX, Bundle, BundledCredential, KeyRing, Passphrase, PassphraseAndKeyFile, Protector, Suite,
    hazmat,
};

use crate::common::{
    Constant, Counted, SUITES, hex, key_file, mutations, passphrase, plain, ring, time, unhex,
};
use crate::reader::{self, BUNDLE, Bundled, Key, SLOT_WRAP};

const PASSPHRASE: &str = "correct horse battery staple";

fn credential(name: &str, secret: &[u8]) -> BundledCredential {
    BundledCredential {
        name: CredentialName::new(name).unwrap(),
        version: VersionHead {
            version: Version::FIRST,
            credential_type: "api_key".into(),
            schema_version: 1,
            created_at: time(1),
            expires_at: None,
        },
        phase: Phase::Active,
        tags: Tags::new(),
        payload: plain(secret),
    }
}

/// Every field takes another value than in [`credential`].
fn other() -> BundledCredential {
    let mut other = credential("prod/db", b"hunter2-hunter2");
    other.version = VersionHead {
        version: Version::new(7).unwrap(),
        credential_type: "postgres".into(),
        schema_version: 3,
        created_at: time(2),
        expires_at: Some(time(86_400)),
    };
    other.phase = Phase::Revoked;
    other.tags = Tags::from_pairs([("team", "web"), ("env", "prod \u{e4}")]).unwrap();
    other
}

fn bundle() -> Bundle {
    let mut bundle = Bundle::new(
        TenantId::new("acme").unwrap(),
        Scope::new("workflow/billing").unwrap(),
        time(3),
    );
    // Not in order: the bundle puts them so.
    bundle.add(other()).unwrap();
    bundle.add(credential("github_token", b"hunter2")).unwrap();
    bundle
}

fn both() -> PassphraseAndKeyFile {
    PassphraseAndKeyFile::new(passphrase(PASSPHRASE), key_file(0x33))
}

fn seal(suite: Suite) -> Vec<u8> {
    bundle()
        .seal_with(suite, &Counted::default(), &key_file(0x11))
        .unwrap()
}

/// What it holds, as the second reader says it.
fn described() -> Vec<Bundled> {
    vec![
        Bundled {
            names: ["github_token", "api_key"].map(str::to_owned),
            schema: 1,
            version: 1,
            created: 1_767_225_601_123_456,
            expires: None,
            phase: 4,
            tags: vec![],
            secret: b"hunter2".to_vec(),
        },
        Bundled {
            names: ["prod/db", "postgres"].map(str::to_owned),
            schema: 3,
            version: 7,
            created: 1_767_225_602_123_456,
            expires: Some(1_767_312_000_123_456),
            phase: 10,
            tags: vec![
                ("env".into(), "prod \u{e4}".into()),
                ("team".into(), "web".into()),
            ],
            secret: b"hunter2-hunter2".to_vec(),
        },
    ]
}

fn check(opened: &Bundle) {
    assert_eq!(opened.tenant().as_str(), "acme");
    assert_eq!(opened.scope().as_str(), "workflow/billing");
    assert_eq!(opened.exported_at(), time(3));
    let expected = [credential("github_token", b"hunter2"), other()];
    assert_eq!(opened.credentials().len(), expected.len());
    for (found, expected) in opened.credentials().iter().zip(&expected) {
        assert_eq!(found.name, expected.name);
        assert_eq!(found.version, expected.version);
        assert_eq!(found.phase, expected.phase);
        assert_eq!(found.tags, expected.tags);
        assert_eq!(found.payload.expose(), expected.payload.expose());
    }
}

#[test]
fn each_kind_of_key_opens_what_was_sealed_for_it_and_no_other_does() {
    let protectors: [Box<dyn Protector>; 6] = [
        Box::new(key_file(0x11)),
        Box::new(key_file(0x12)),
        Box::new(passphrase(PASSPHRASE)),
        Box::new(passphrase("correct horse battery stable")),
        Box::new(both()),
        Box::new(PassphraseAndKeyFile::new(passphrase(PASSPHRASE), key_file(0x34))),
    ];
    for (sealer, protector) in protectors.iter().enumerate() {
        let sealed = bundle().seal(protector).unwrap();
        assert_eq!(Bundle::opened_by(&sealed).unwrap(), protector.kind());
        for (opener, key) in protectors.iter().enumerate() {
            match Bundle::open(&sealed, key) {
                Ok(opened) if sealer == opener => check(&opened),
                Ok(_) => panic!("{opener} opens what was sealed for {sealer}"),
                Err(error) => {
                    assert_ne!(sealer, opener, "{error}");
                    assert!(matches!(error, CredentialError::Unlock(_)), "{error}");
                    assert!(error.to_string().contains("export"), "{error}");
                }
            }
        }
    }
}

#[test]
fn nothing_of_names_and_values_shows_and_the_length_tells_little() {
    let sealed = bundle().seal(&key_file(0x11)).unwrap();
    for hidden in [
        "acme", "billing", "github", "api_key", "hunter2", "prod", "team", "postgres",
    ] {
        assert!(
            !sealed.windows(hidden.len()).any(|part| part == hidden.as_bytes()),
            "{hidden}"
        );
    }
    let empty = Bundle::new(TenantId::default(), Scope::default(), time(0));
    assert_eq!(empty.seal(&key_file(0x11)).unwrap().len(), sealed.len());
    assert!(
        Bundle::open(&empty.seal(&key_file(1)).unwrap(), &key_file(1))
            .unwrap()
            .credentials()
            .is_empty()
    );
    let shown = format!("{:?} {:?}", bundle(), bundle().credentials());
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn every_flip_cut_and_extension_is_refused() {
    let mut refused = 0_u64;
    for suite in SUITES {
        let sealed = seal(suite);
        check(&Bundle::open(&sealed, &key_file(0x11)).unwrap());
        let check_at = sealed.len() - 32;
        for changed in mutations(&sealed) {
            let error = Bundle::open(&changed, &key_file(0x11)).unwrap_err();
            let expected = [ErrorKind::Tampered, ErrorKind::UnsupportedFormat];
            assert!(expected.contains(&error.kind()), "{error}");
            refused += 1;
        }
        // And with the checksum that whoever means it puts right.
        for changed in mutations(&sealed[..check_at]) {
            let forged = [&changed[..], blake3::hash(&changed).as_bytes()].concat();
            Bundle::open(&forged, &key_file(0x11)).unwrap_err();
            refused += 1;
        }
    }
    println!("{refused} changed bundles refused");
    assert!(refused > 150_000);
}

#[test]
fn what_a_passphrase_bundle_asks_of_argon2_is_bounded_before_it_is_run() {
    let sealed = bundle()
        .seal_with(Suite::default(), &Counted::default(), &passphrase(PASSPHRASE))
        .unwrap();
    // Header 14, length 2: memory, passes and lanes.
    let hostile: [(usize, u32, ErrorKind); 5] = [
        (16, 8, ErrorKind::InvalidInput),
        (16, u32::MAX, ErrorKind::LimitExceeded),
        (20, 0, ErrorKind::InvalidInput),
        (20, 17, ErrorKind::LimitExceeded),
        (24, 9, ErrorKind::LimitExceeded),
    ];
    for (at, number, kind) in hostile {
        let mut body = sealed[..sealed.len() - 32].to_vec();
        body[at..at + 4].copy_from_slice(&number.to_be_bytes());
        let forged = [&body[..], blake3::hash(&body).as_bytes()].concat();
        let error = Bundle::open(&forged, &passphrase(PASSPHRASE)).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
    // Costs within the bounds that are not those it was made with: another key.
    let mut body = sealed[..sealed.len() - 32].to_vec();
    body[23] += 1;
    let forged = [&body[..], blake3::hash(&body).as_bytes()].concat();
    let error = Bundle::open(&forged, &passphrase(PASSPHRASE)).unwrap_err();
    assert!(matches!(error, CredentialError::Unlock(_)), "{error}");
}

/// A bundle with these contents, made by the second reader's rules: what only the holder of the key can make.
fn forge(contents: &[u8]) -> Vec<u8> {
    let (suite, bundle_key, slot_key) = (Suite::default(), [5; 32], [0x11; 32]);
    let sealed_box = |label, key: &[u8; 32], context: &[u8], plain: &[u8]| {
        let (salt, mut buffer) = ([6; 32], plain.to_vec());
        let aad = hazmat::Aad::new(context);
        let backend = nebula_credential_crypto::Backend::default();
        let sealed = hazmat::seal(backend, suite, label, key, &salt, &aad, &mut buffer).unwrap();
        [&salt[..], &sealed.commitment, &buffer, &sealed.tag].concat()
    };
    let header = [&b"\x89NBX\r\n\x1a\n"[..], &[1, 0, 1, 0, 0, 2]].concat();
    let wrapped = sealed_box(hazmat::Label::SlotWrap, &slot_key, &header, &bundle_key);
    let length = (contents.len() as u32).to_be_bytes();
    let bound = [&header[..], &[0, 0, 0, 112], &wrapped, &length].concat();
    let body = [
        &bound[..],
        &sealed_box(hazmat::Label::Bundle, &bundle_key, &bound, contents),
    ]
    .concat();
    [&body[..], blake3::hash(&body).as_bytes()].concat()
}

/// The contents of [`bundle`], deciphered.
fn contents() -> Vec<u8> {
    let sealed = seal(Suite::default());
    let key = reader::open_box(1, SLOT_WRAP, &[0x11; 32], &sealed[18..130], &sealed[..14], &[]).unwrap();
    reader::open_box(
        1,
        BUNDLE,
        &key,
        &sealed[134..sealed.len() - 32],
        &sealed[..134],
        &[],
    )
    .unwrap()
}

#[test]
fn contents_are_written_in_one_way_only() {
    let good = contents();
    check(&Bundle::open(&forge(&good), &key_file(0x11)).unwrap());
    let used = good.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let at = |text: &[u8]| good.windows(text.len()).position(|part| part == text).unwrap();
    let with = |at: usize, new: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + new.len()].copy_from_slice(new);
        bytes
    };
    let count = at(b"billing") + 7 + 8;
    let (first, second) = (at(b"github_token"), at(b"prod/db"));
    let schema = first + "github_token".len() + 1 + "api_key".len();
    let env = at(b"env");
    let expected: &[(&str, Vec<u8>)] = &[
        ("one more bucket", [&good[..], &[0; 4096]].concat()),
        ("padding that is not zero", with(good.len() - 1, &[1])),
        ("padding that is not zero at its start", with(used, &[1])),
        ("a credential less than the number", with(count, &[0, 0, 0, 3])),
        ("a credential more than the number", with(count, &[0, 0, 0, 1])),
        ("more than may be", with(count, &[0xff; 4])),
        ("a name that is not lawful", with(first, b"G")),
        ("a tenant that is not lawful", with(1, b"A")),
        ("names out of order", with(first, b"z")),
        ("a type that is no text", with(first + 13, &[0xff])),
        ("a type with a control character", with(first + 13, &[0x1b])),
        ("version 0", with(schema + 4, &[0; 4])),
        ("a time after the year 9999", with(schema + 8, &[0x7f])),
        ("neither expiring nor not", with(schema + 16, &[2])),
        ("an expiry of what does not expire", with(schema + 24, &[1])),
        ("phase 0", with(schema + 25, &[0])),
        ("phase 12", with(schema + 25, &[12])),
        ("a secret that is cut", with(schema + 27, &[0, 1])),
        ("a secret beyond the limit", with(schema + 27, &[0xff; 4])),
        ("tags out of order", with(env, b"zzz")),
        ("a tag key that is not lawful", with(env, b"E")),
        ("a tag value with an escape", with(env + 5, &[0x1b])),
        ("a tag value that is no text", with(env + 5, &[0xff])),
        ("a second name that is the first", {
            let mut bytes = good.clone();
            bytes.splice(second..second + 7, *b"github_token");
            bytes[second - 1] = 12;
            bytes.truncate(4096);
            bytes
        }),
    ];
    for (what, bytes) in expected {
        assert_ne!(*bytes, good, "{what}");
        let error = Bundle::open(&forge(bytes), &key_file(0x11)).expect_err(what);
        assert!(
            matches!(error, CredentialError::DecryptionFailed(_)),
            "{what}: {error}"
        );
    }
    // No change of one bit is read as the same contents.
    let mut alike = 0;
    for bit in 0..used * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(opened) = Bundle::open(&forge(&bytes), &key_file(0x11)) {
            let again = opened
                .seal_with(Suite::default(), &Counted::default(), &key_file(0x11))
                .unwrap();
            assert_ne!(again, seal(Suite::default()), "bit {bit}");
            alike += 1;
        }
    }
    println!(
        "{} changed bits of the contents, {alike} of them lawful",
        used * 8
    );
}

#[test]
fn limits_are_told_before_anything_is_sealed() {
    let mut bundle = Bundle::new(TenantId::default(), Scope::default(), time(0));
    assert!(bundle.add(credential("long", &vec![1; 1024 * 1024])).is_ok());
    let refused =
        |bundle: &mut Bundle, credential: BundledCredential| bundle.add(credential).unwrap_err().kind();
    let long = credential("longer", &vec![1; 1024 * 1024 + 1]);
    assert_eq!(refused(&mut bundle, long), ErrorKind::LimitExceeded);
    assert_eq!(
        refused(&mut bundle, credential("long", b"again")),
        ErrorKind::InvalidInput
    );
    let mut kind = credential("kind", b"");
    kind.version.credential_type = "\u{1b}[2J".into();
    assert_eq!(refused(&mut bundle, kind), ErrorKind::InvalidInput);
    let mut kind = credential("kind", b"");
    kind.version.credential_type = "x".repeat(256).into();
    assert_eq!(refused(&mut bundle, kind), ErrorKind::LimitExceeded);
    let mut late = credential("late", b"");
    late.version.expires_at = Some(chrono::DateTime::<chrono::Utc>::MAX_UTC);
    assert_eq!(refused(&mut bundle, late), ErrorKind::InvalidInput);

    for number in 0..64 {
        bundle
            .add(credential(&format!("n{number}"), &vec![1; 1024 * 1024]))
            .unwrap();
    }
    // A passphrase without text is refused by the protector, but the length is looked at first.
    let error = bundle.seal(&Passphrase::new("")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    let mut long = seal(Suite::default());
    long.resize(BUNDLE_BYTES_MAX + 1, 0);
    assert_eq!(
        Bundle::open(&long, &key_file(0x11)).unwrap_err().kind(),
        ErrorKind::LimitExceeded
    );
}

#[test]
fn what_is_no_bundle_is_told_apart_from_a_damaged_one() {
    let kind = |bytes: &[u8]| Bundle::open(bytes, &key_file(0x11)).unwrap_err().kind();
    assert_eq!(kind(b""), ErrorKind::UnsupportedFormat);
    assert_eq!(kind(b"API_TOKEN=x"), ErrorKind::UnsupportedFormat);
    assert_eq!(
        kind(&ring(Suite::default()).to_bytes()),
        ErrorKind::UnsupportedFormat
    );
    assert_eq!(kind(&seal(Suite::default())[..100]), ErrorKind::Tampered);
    assert!(Bundle::is_sealed(&seal(Suite::default())) && !Bundle::is_sealed(b"NBX"));
    // A transfer as text changes line ends: that is damage, and no reason to look for another file.
    let as_text = |from: &[u8], to: &[u8]| {
        let sealed = seal(Suite::default());
        let at = sealed.windows(from.len()).position(|part| part == from).unwrap();
        let bytes = [&sealed[..at], to, &sealed[at + from.len()..]].concat();
        assert!(Bundle::is_sealed(&bytes));
        kind(&bytes)
    };
    assert_eq!(as_text(b"\r\n", b"\n"), ErrorKind::Tampered);
    assert_eq!(as_text(b"\n\x1a\n", b"\n"), ErrorKind::Tampered);
    // Nor is a bundle a key ring.
    let error = KeyRing::unlock(&seal(Suite::default()), &key_file(0x11)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedFormat);
    for (at, new) in [(8, 2), (9, 0x7f)] {
        let mut body = seal(Suite::default());
        body.truncate(body.len() - 32);
        body[at] = new;
        let newer = [&body[..], blake3::hash(&body).as_bytes()].concat();
        assert_eq!(kind(&newer), ErrorKind::UnsupportedFormat);
    }
}

/// A source that always gives the same bytes: two bundles must not share the key stream of their contents.
#[test]
fn a_constant_random_source_gives_other_contents_another_salt() {
    let salt = |secret: &[u8]| {
        let mut bundle = Bundle::new(TenantId::default(), Scope::default(), time(0));
        bundle.add(credential("a", secret)).unwrap();
        let sealed = bundle
            .seal_with(Suite::default(), &Constant(7), &key_file(1))
            .unwrap();
        sealed[134..166].to_vec()
    };
    assert_eq!(salt(b"one"), salt(b"one"));
    assert_ne!(salt(b"one"), salt(b"two"));
}

fn golden(suite: Suite) -> Vec<(String, Vec<u8>)> {
    let name = format!("tests/golden/bundles-{}.txt", suite.id());
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name);
    if !path.exists() {
        let entropy = Counted::default();
        let protectors: [(&str, &dyn Protector); 3] = [
            ("key-file", &key_file(0x11)),
            ("passphrase", &passphrase(PASSPHRASE)),
            ("both", &both()),
        ];
        let line = |(name, protector): (&str, &dyn Protector)| {
            format!(
                "{name} {}\n",
                hex(&bundle().seal_with(suite, &entropy, protector).unwrap())
            )
        };
        std::fs::write(&path, protectors.map(line).concat()).unwrap();
        panic!("there was no golden file; {path:?} is made: look at it, and commit it");
    }
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|line| line.split_once(' ').unwrap());
    lines
        .map(|(name, bytes)| (name.to_owned(), unhex(bytes)))
        .collect()
}

#[test]
fn golden_bundles_open_for_ever_and_the_second_reader_reads_them_alike() {
    for suite in SUITES {
        let golden = golden(suite);
        assert_eq!(golden.len(), 3);
        for (name, sealed) in golden {
            let (protector, key): (Box<dyn Protector>, Key<'_>) = match name.as_str() {
                "key-file" => (Box::new(key_file(0x11)), Key::File([0x11; 32])),
                "passphrase" => (Box::new(passphrase(PASSPHRASE)), Key::Passphrase(PASSPHRASE)),
                _ => (Box::new(both()), Key::Both(PASSPHRASE, [0x33; 32])),
            };
            check(&Bundle::open(&sealed, &protector).unwrap());
            // What this build writes from the same random bytes, and from the system's.
            let today = bundle()
                .seal_with(suite, &nebula_credential_crypto::OsEntropy, &protector)
                .unwrap();
            for bytes in [sealed, today] {
                let read = reader::open_bundle(&bytes, &key);
                assert_eq!(read.source, ["acme", "workflow/billing"]);
                assert_eq!(read.exported, 1_767_225_603_123_456);
                assert_eq!(read.credentials, described());
            }
        }
    }
}
