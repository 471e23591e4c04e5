//! Bytes written by an earlier build, read by this one and by the second reader: the format does not drift.
//!
//! A golden file is made once, from fixed random bytes, when there is none of its name; it is then never changed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nebula_credential_core::Version;
use nebula_credential_crypto::{KeyFile, KeyRing, PassphraseAndKeyFile, Protector, Sealer, Suite};

use crate::common::{
    Row, SUITES, change, counted, envelope, hex, id, key_file, passphrase, plain, time, unhex,
};
use crate::reader::{self, Context, DEK_WRAP, Key, PAYLOAD};

const PASSPHRASE: &str = "correct horse battery staple";
const SHORT: &[u8] = b"hunter2";

/// Where the second reader finds the first of [`rows`].
const GITHUB_TOKEN: Context<'_> = Context {
    names: ["default", "global", "github_token", "api_key"],
    schema: 1,
    version: 1,
    created: 1_767_225_601_123_456,
    expires: None,
};

fn long() -> Vec<u8> {
    (0..=255).chain(0..=43).collect()
}

fn rows() -> [Row; 2] {
    let mut long = Row::new("db");
    long.id = id("acme", "workflow/billing", "postgres-main");
    long.version.version = Version::new(7).unwrap();
    long.version.credential_type = "postgres".into();
    long.version.schema_version = 3;
    long.version.expires_at = Some(time(86_400));
    [Row::new("github_token"), long]
}

fn both() -> PassphraseAndKeyFile {
    PassphraseAndKeyFile::new(passphrase(PASSPHRASE), key_file(0x33))
}

fn path(suite: Suite) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/suite-{}.txt", suite.id()))
}

fn make(suite: Suite) -> String {
    let ring = KeyRing::create_with(counted(suite), &key_file(0x11), time(0)).unwrap();
    change(&ring, |draft| {
        draft.add_slot(&passphrase(PASSPHRASE), time(1))?;
        draft.add_slot(&both(), time(2))
    })
    .unwrap();
    let sealer = Sealer::new(ring.clone());
    let [short, long_row] = rows();
    let first = sealer.seal(short.place(), &plain(SHORT)).unwrap();
    change(&ring, |draft| draft.rotate(time(3))).unwrap();
    let second = sealer.seal(long_row.place(), &plain(&long())).unwrap();
    let rewrapped = sealer.rewrap(short.place(), &first).unwrap().unwrap();
    change(&ring, |_| Ok(())).unwrap();
    let mut text = String::new();
    for (name, bytes) in [
        ("ring", ring.to_bytes()),
        ("epoch-1", first.as_envelope().unwrap().to_vec()),
        ("epoch-2", second.as_envelope().unwrap().to_vec()),
        ("rewrapped", rewrapped.as_envelope().unwrap().to_vec()),
    ] {
        text += &format!("{name} {}\n", hex(&bytes));
    }
    text
}

fn golden(suite: Suite) -> BTreeMap<String, Vec<u8>> {
    let path = path(suite);
    if !path.exists() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, make(suite)).unwrap();
        panic!("there was no golden file; {path:?} is made: look at it, and commit it");
    }
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(name, bytes)| (name.to_owned(), unhex(bytes)))
        .collect()
}

#[test]
fn golden_rings_and_envelopes_open_for_ever() {
    for suite in SUITES {
        let golden = golden(suite);
        let protectors: [&dyn Protector; 3] = [&key_file(0x11), &passphrase(PASSPHRASE), &both()];
        for protector in protectors {
            let ring = KeyRing::unlock(&golden["ring"], protector).unwrap();
            assert_eq!(ring.suite(), suite);
            let sealer = Sealer::new(ring);
            let [short, long_row] = rows();
            let open = |name: &str, row: &Row| {
                let sealed = envelope(&golden[name]).unwrap();
                let epoch = sealer.epoch_of(&sealed).unwrap().unwrap().get();
                (
                    epoch,
                    sealer.open(row.place(), &sealed).unwrap().expose().to_vec(),
                )
            };
            assert_eq!(open("epoch-1", &short), (1, SHORT.to_vec()));
            assert_eq!(open("epoch-2", &long_row), (2, long()));
            assert_eq!(open("rewrapped", &short), (2, SHORT.to_vec()));
        }
    }
}

#[test]
fn a_reader_written_from_the_document_reads_the_same() {
    for suite in SUITES {
        let golden = golden(suite);
        let keys = [
            Key::File([0x11; 32]),
            Key::Passphrase(PASSPHRASE),
            Key::Both(PASSPHRASE, [0x33; 32]),
        ];
        for key in keys {
            let ring = reader::unlock(&golden["ring"], &key);
            assert_eq!(ring.keys.len(), 2);
            let long_context = Context {
                names: ["acme", "workflow/billing", "postgres-main", "postgres"],
                schema: 3,
                version: 7,
                created: 1_767_225_601_123_456,
                expires: Some(1_767_312_000_123_456),
            };
            assert_eq!(reader::read(&golden["epoch-1"], &ring, &GITHUB_TOKEN), SHORT);
            assert_eq!(reader::read(&golden["epoch-2"], &ring, &long_context), long());
            assert_eq!(reader::read(&golden["rewrapped"], &ring, &GITHUB_TOKEN), SHORT);
        }
    }
}

/// The second reader also reads what this build writes, with the operating system's random bytes.
#[test]
fn a_reader_written_from_the_document_reads_what_is_written_today() {
    for suite in SUITES {
        let ring = crate::common::ring(suite);
        let row = Row::new("github_token");
        let sealed = Sealer::new(ring.clone())
            .seal(row.place(), &plain(SHORT))
            .unwrap();
        let ring = reader::unlock(&ring.to_bytes(), &Key::File([1; 32]));
        assert_eq!(
            reader::read(sealed.as_envelope().unwrap(), &ring, &GITHUB_TOKEN),
            SHORT
        );
    }
}

#[test]
fn a_golden_key_file_opens_for_ever() {
    let file = "894e42460d0a1a0a01\
                1111111111111111111111111111111111111111111111111111111111111111";
    let mut bytes = unhex(file);
    bytes.extend_from_slice(&unhex(KEY_FILE_CHECK));
    assert_eq!(hex(&blake3::hash(&unhex(file)).as_bytes()[..8]), KEY_FILE_CHECK);
    let key = KeyFile::from_bytes(&bytes).unwrap();
    assert!(KeyRing::unlock(&golden(Suite::default())["ring"], &key).is_ok());
}

const KEY_FILE_CHECK: &str = "2910ee18e529910f";

/// Each step of the worked example stands in the document as it is.
#[test]
fn the_worked_example_of_the_document_is_true() {
    let golden = golden(Suite::Blake3Aes256Gcm);
    let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/FORMAT.md")).unwrap();
    let document: String = document.chars().filter(|c| !c.is_whitespace()).collect();
    let ring = reader::unlock(&golden["ring"], &Key::File([0x11; 32]));
    let context = Context {
        names: ["default", "global", "github_token", "api_key"],
        schema: 1,
        version: 1,
        created: 1_767_225_601_123_456,
        expires: None,
    };
    let bytes = &golden["epoch-1"];
    let bound = context.bind(&bytes[..13], &bytes[45..49]);
    let extra = [&bytes[13..45], &bound].concat();
    let dek = reader::open_box(
        1,
        DEK_WRAP,
        &ring.keys[&1],
        &bytes[106..218],
        &bytes[83..104],
        &extra,
    )
    .unwrap();
    let (key, nonce, commitment) = reader::derive(1, PAYLOAD, &dek, &bytes[13..45], &bound);
    for (what, step) in [
        ("ring", golden["ring"].as_slice()),
        ("root", &ring.root),
        ("KEK", &ring.keys[&1]),
        ("envelope", bytes),
        ("context", &bound),
        ("DEK", &dek),
        ("key", &key),
        ("nonce", &nonce),
        ("commitment", &commitment),
        ("secret", b"hunter2"),
    ] {
        assert!(document.contains(&hex(step)), "{what}: {}", hex(step));
    }
}
