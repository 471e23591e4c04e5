//! Any bytes as a bundle, and as what a bundle holds: only what was sealed opens, and it is written in one way.

use nebula_credential_core::ErrorKind;
use nebula_credential_crypto::hazmat::{self, Aad, Label};
use nebula_credential_crypto::{
    Argon2Params, BUNDLE_BYTES_MAX, Backend, Bundle, OsEntropy, Passphrase, SlotKind, Suite,
};

use crate::golden::{BUNDLES, key_file};

/// Opens `data` as it stands, once more with the checksum an attacker would put right, and as the contents of a bundle
/// that whoever holds the key sealed.
pub fn import_bundle(data: &[u8]) {
    open(data);
    if let Some((body, _)) = data.split_last_chunk::<32>() {
        open(&summed(body));
    }
    open_contents(data);
}

fn summed(body: &[u8]) -> Vec<u8> {
    [body, blake3::hash(body).as_bytes()].concat()
}

fn open(bytes: &[u8]) {
    let golden = BUNDLES.contains(&bytes);
    let kind = Bundle::opened_by(bytes);
    match Bundle::open(bytes, &key_file()) {
        Ok(bundle) => {
            assert!(golden, "only what was sealed opens");
            assert_eq!(kind, Ok(SlotKind::KeyFile));
            assert!(!bundle.credentials().is_empty());
        }
        Err(error) => {
            assert!(
                !golden || kind != Ok(SlotKind::KeyFile),
                "a golden bundle does not open: {error}"
            );
            assert!(refuses(error.kind()), "{error}");
            assert!(bytes.len() <= BUNDLE_BYTES_MAX || error.kind() == ErrorKind::LimitExceeded);
        }
    }
    assert!(Bundle::is_sealed(bytes) || kind.is_err());
    // Argon2 that runs all the same takes more memory than the run allows for one allocation.
    if asks_too_much(bytes) {
        let error = Bundle::open(bytes, &Passphrase::new("correct horse")).expect_err("a hostile cost");
        assert!(refuses(error.kind()) && error.kind() != ErrorKind::Key, "{error}");
        assert!(kind.is_err());
    }
}

fn refuses(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Tampered
            | ErrorKind::UnsupportedFormat
            | ErrorKind::Key
            | ErrorKind::LimitExceeded
            | ErrorKind::InvalidInput
    )
}

/// Whether it asks for an Argon2 cost out of bounds, by a second reader of the header.
fn asks_too_much(bytes: &[u8]) -> bool {
    // Magic, version, suite, flags and kind; then the length of the parameters.
    let (Some(1 | 3), Some(length)) = (bytes.get(13), bytes.get(14..16)) else {
        return false;
    };
    let number = |at: usize| {
        let bytes = bytes.get(16 + at..20 + at)?.first_chunk()?;
        Some(u32::from_be_bytes(*bytes))
    };
    match (number(0), number(4), number(8)) {
        (Some(memory), Some(passes), Some(lanes)) => {
            length != [0, 44] || Argon2Params::new(memory, passes, lanes).is_err()
        }
        _ => true,
    }
}

/// Magic, version, suite 1, flags, and the kind of a key file.
const HEADER: &[u8; 14] = b"\x89NBX\r\n\x1a\n\x01\x00\x01\x00\x00\x02";
/// The key of [`key_file`], and one for the bundle.
const SLOT_KEY: &[u8; 32] = &[1; 32];
const BUNDLE_KEY: &[u8; 32] = &[5; 32];
const BUCKET: usize = 4096;

/// Seals `data` as contents, by a second writer of the format: what opens is written again as it was.
fn open_contents(data: &[u8]) {
    let mut contents = data.to_vec();
    contents.resize(data.len().max(1).next_multiple_of(BUCKET), 0);
    match Bundle::open(&forge(&contents), &key_file()) {
        Ok(bundle) => {
            let again = bundle
                .seal_with(Suite::default(), &OsEntropy, &key_file())
                .expect("what was read is sealed");
            assert!(
                decipher(&again) == contents,
                "there are two ways to write {bundle:?}"
            );
            for credential in bundle.credentials() {
                assert!(!credential.version.credential_type.contains(char::is_control));
            }
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::Tampered, "{error}"),
    }
}

fn forge(contents: &[u8]) -> Vec<u8> {
    let wrapped = seal(Label::SlotWrap, SLOT_KEY, HEADER, BUNDLE_KEY);
    let length = u32::try_from(contents.len())
        .expect("inputs are short")
        .to_be_bytes();
    let bound = [&HEADER[..], &[0, 0, 0, 112], &wrapped, &length].concat();
    summed(&[&bound[..], &seal(Label::Bundle, BUNDLE_KEY, &bound, contents)].concat())
}

/// Salt, commitment, ciphertext and tag.
fn seal(label: Label, key: &[u8; 32], context: &[u8], plain: &[u8]) -> Vec<u8> {
    let (salt, mut buffer) = ([6; 32], plain.to_vec());
    let aad = Aad::new(context);
    let sealed = hazmat::seal(
        Backend::default(),
        Suite::default(),
        label,
        key,
        &salt,
        &aad,
        &mut buffer,
    );
    let sealed = sealed.expect("short enough");
    [&salt[..], &sealed.commitment, &buffer, &sealed.tag].concat()
}

/// The contents of a bundle for [`key_file`], by a second reader of the format.
pub fn decipher(sealed: &[u8]) -> Vec<u8> {
    let bundle_key = unseal(Label::SlotWrap, SLOT_KEY, &sealed[..14], &sealed[18..130]);
    let bundle_key = bundle_key.try_into().expect("32 bytes");
    unseal(
        Label::Bundle,
        &bundle_key,
        &sealed[..134],
        &sealed[134..sealed.len() - 32],
    )
}

fn unseal(label: Label, key: &[u8; 32], context: &[u8], sealed: &[u8]) -> Vec<u8> {
    let (salt, rest) = sealed.split_first_chunk().expect("a salt");
    let (commitment, rest) = rest.split_first_chunk().expect("a commitment");
    let (ciphertext, tag) = rest.split_last_chunk().expect("a tag");
    let mut plain = ciphertext.to_vec();
    let (backend, aad) = (Backend::default(), Aad::new(context));
    hazmat::open(
        backend,
        Suite::default(),
        label,
        key,
        salt,
        commitment,
        &aad,
        &mut plain,
        tag,
    )
    .expect("what was sealed with this key");
    plain
}
