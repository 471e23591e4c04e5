//! A second reader of the formats, written from `FORMAT.md` alone: it shares no code with the library. It believes
//! what it reads less politely: anything wrong is a panic.

use std::collections::BTreeMap;

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};

pub const PAYLOAD: u8 = 1;
pub const DEK_WRAP: u8 = 2;
pub const SLOT_WRAP: u8 = 3;
const RING_SEAL: u8 = 4;
const CANARY: u8 = 6;
const SLOT_TABLE: u8 = 8;
pub const BUNDLE: u8 = 9;

/// Key, nonce and commitment of one message.
pub fn derive(
    suite: u16,
    label: u8,
    key: &[u8],
    salt: &[u8],
    context: &[u8],
) -> ([u8; 32], [u8; 12], [u8; 32]) {
    let mut okm = [0; 76];
    if suite == 1 {
        let input = [salt, &[label], context].concat();
        let key = key.try_into().unwrap();
        blake3::Hasher::new_keyed(key)
            .update(&input)
            .finalize_xof()
            .fill(&mut okm);
    } else {
        let info = [b"nebula-credential message key v1".as_slice(), &[label], context].concat();
        hkdf::Hkdf::<sha2::Sha512>::new(Some(salt), key)
            .expand(&info, &mut okm)
            .unwrap();
    }
    (
        okm[..32].try_into().unwrap(),
        okm[32..44].try_into().unwrap(),
        okm[44..].try_into().unwrap(),
    )
}

/// Opens salt, commitment, ciphertext and tag, one behind the other.
pub fn open_box(
    suite: u16,
    label: u8,
    key: &[u8],
    sealed: &[u8],
    context: &[u8],
    extra: &[u8],
) -> Option<Vec<u8>> {
    let (salt, rest) = sealed.split_at(32);
    let (commitment, rest) = rest.split_at(32);
    let (ciphertext, tag) = rest.split_at(rest.len() - 16);
    open(
        suite, label, key, salt, commitment, ciphertext, tag, context, extra,
    )
}

#[expect(
    clippy::too_many_arguments,
    reason = "the fields, as they stand in the format"
)]
fn open(
    suite: u16,
    label: u8,
    key: &[u8],
    salt: &[u8],
    commitment: &[u8],
    ciphertext: &[u8],
    tag: &[u8],
    context: &[u8],
    extra: &[u8],
) -> Option<Vec<u8>> {
    let (key, nonce, expected) = derive(suite, label, key, salt, context);
    if commitment != expected {
        return None;
    }
    gcm(&key, &nonce, extra, ciphertext, tag)
}

pub fn gcm(key: &[u8; 32], nonce: &[u8; 12], aad: &[u8], ciphertext: &[u8], tag: &[u8]) -> Option<Vec<u8>> {
    let mut buffer = ciphertext.to_vec();
    Aes256Gcm::new(key.into())
        .decrypt_inout_detached(
            nonce.into(),
            aad,
            InOutBuf::from(buffer.as_mut_slice()),
            tag.try_into().unwrap(),
        )
        .ok()?;
    Some(buffer)
}

fn subkey(suite: u16, root: &[u8], context: &'static str) -> [u8; 32] {
    if suite == 1 {
        return blake3::derive_key(context, root);
    }
    let mut out = [0; 32];
    hkdf::Hkdf::<sha2::Sha512>::new(None, root)
        .expand(context.as_bytes(), &mut out)
        .unwrap();
    out
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> &'a [u8] {
        let (field, rest) = self.0.split_at(length);
        self.0 = rest;
        field
    }

    fn number(&mut self, length: usize) -> u64 {
        self.take(length)
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }

    fn block(&mut self) -> &'a [u8] {
        let length = self.number(2) as usize;
        self.take(length)
    }
}

/// What opens a slot.
pub enum Key<'a> {
    File([u8; 32]),
    Passphrase(&'a str),
    Both(&'a str, [u8; 32]),
}

impl Key<'_> {
    fn kind(&self) -> u64 {
        match self {
            Self::Passphrase(_) => 1,
            Self::File(_) => 2,
            Self::Both(..) => 3,
        }
    }

    fn derive(&self, params: &[u8]) -> [u8; 32] {
        match self {
            Self::File(key) => *key,
            Self::Passphrase(text) => argon2id(text, params),
            Self::Both(text, key) => blake3::derive_key(
                "nebula-credential 2026-11 passphrase and key file to slot key v1",
                &[argon2id(text, params), *key].concat(),
            ),
        }
    }
}

fn argon2id(text: &str, params: &[u8]) -> [u8; 32] {
    let mut params = Cursor(params);
    let [memory, passes, lanes] = [params.number(4), params.number(4), params.number(4)].map(|n| n as u32);
    let mut out = [0; 32];
    argon2::Argon2::new(
        argon2::Algorithm::Argon2id,
        argon2::Version::V0x13,
        argon2::Params::new(memory, passes, lanes, Some(32)).unwrap(),
    )
    .hash_password_into(text.as_bytes(), params.take(32), &mut out)
    .unwrap();
    out
}

/// An opened ring.
pub struct Ring {
    pub id: Vec<u8>,
    pub root: Vec<u8>,
    pub keys: BTreeMap<u32, [u8; 32]>,
}

pub fn unlock(bytes: &[u8], key: &Key<'_>) -> Ring {
    let (body, check) = bytes.split_at(bytes.len() - 32);
    assert_eq!(blake3::hash(body).as_bytes(), check);
    let mut cursor = Cursor(body);
    assert_eq!(cursor.take(8), b"\x89NBK\r\n\x1a\n");
    assert_eq!(cursor.number(1), 1);
    let suite = cursor.number(2) as u16;
    assert_eq!(cursor.number(2), 0);
    let id = cursor.take(16).to_vec();
    let identity = &body[..29];
    cursor.number(8);
    let mut root = None;
    for _ in 0..cursor.number(1) {
        let [number, kind] = [cursor.take(1), cursor.take(1)];
        let created = cursor.take(8);
        let (params, wrapped) = (cursor.block(), cursor.block());
        if u64::from(kind[0]) == key.kind() && root.is_none() {
            let context = [identity, number, kind, created, params].concat();
            root = open_box(suite, SLOT_WRAP, &key.derive(params), wrapped, &context, &[]);
        }
    }
    let root = root.expect("a slot that this key opens");
    let slots_end = body.len() - cursor.0.len();
    let derived = |which: &'static str| subkey(suite, &root, which);

    let canary = derived("nebula-credential 2026-11 root key to canary key v1");
    assert!(
        open_box(suite, CANARY, &canary, cursor.take(80), identity, &[])
            .unwrap()
            .is_empty()
    );
    let table = derived("nebula-credential 2026-11 root key to slot table key v1");
    let opened = open_box(
        suite,
        SLOT_TABLE,
        &table,
        cursor.take(80),
        &body[..slots_end],
        &[],
    );
    assert!(opened.unwrap().is_empty());
    let before = &body[..body.len() - cursor.0.len()];
    let length = cursor.number(4) as usize;
    let ring = derived("nebula-credential 2026-11 root key to ring key v1");
    let epochs = open_box(suite, RING_SEAL, &ring, cursor.take(80 + length), before, &[]).unwrap();
    assert!(cursor.0.is_empty());

    let mut keys = BTreeMap::new();
    for entry in epochs.chunks(69) {
        let mut entry = Cursor(entry);
        let number = entry.number(4) as u32;
        entry.take(1 + 3 * 8 + 8);
        keys.insert(number, entry.take(32).try_into().unwrap());
    }
    Ring { id, root, keys }
}

/// Where an envelope belongs, in the words of the format.
pub struct Context<'a> {
    pub names: [&'a str; 4],
    pub schema: u32,
    pub version: u32,
    pub created: i64,
    pub expires: Option<i64>,
}

impl Context<'_> {
    /// Header without salt, and context.
    pub fn bind(&self, head: &[u8], padded: &[u8]) -> Vec<u8> {
        let mut out = [head, padded].concat();
        for name in self.names {
            out.push(name.len() as u8);
            out.extend_from_slice(name.as_bytes());
        }
        out.extend_from_slice(&self.schema.to_be_bytes());
        out.extend_from_slice(&self.version.to_be_bytes());
        out.extend_from_slice(&self.created.to_be_bytes());
        out.push(u8::from(self.expires.is_some()));
        out.extend_from_slice(&self.expires.unwrap_or(0).to_be_bytes());
        out
    }
}

pub fn read(envelope: &[u8], ring: &Ring, context: &Context<'_>) -> Vec<u8> {
    let mut cursor = Cursor(envelope);
    assert_eq!(cursor.take(8), b"\x89NBC\r\n\x1a\n");
    assert_eq!(cursor.number(1), 1);
    let suite = cursor.number(2) as u16;
    assert_eq!(cursor.number(2), 0);
    let salt = cursor.take(32);
    let padded = cursor.take(4);
    let bound = context.bind(&envelope[..13], padded);
    let commitment = cursor.take(32);
    let (reference, wrapped) = (cursor.block(), cursor.block());
    let length = Cursor(padded).number(4) as usize;
    assert_eq!(length % 256, 0);
    let (ciphertext, tag) = (cursor.take(length), cursor.take(16));
    assert!(cursor.0.is_empty());

    assert_eq!((reference[0], &reference[1..17]), (1, ring.id.as_slice()));
    let epoch = Cursor(&reference[17..]).number(4) as u32;
    let extra = [salt, &bound].concat();
    let dek = open_box(suite, DEK_WRAP, &ring.keys[&epoch], wrapped, reference, &extra).unwrap();
    let secret = open(
        suite,
        PAYLOAD,
        &dek,
        salt,
        commitment,
        ciphertext,
        tag,
        &bound,
        &[],
    )
    .unwrap();
    let (rest, true_length) = secret.split_at(length - 4);
    let true_length = Cursor(true_length).number(4) as usize;
    assert!(rest[true_length..].iter().all(|byte| *byte == 0));
    assert_eq!((true_length + 4).next_multiple_of(256), length);
    rest[..true_length].to_vec()
}

/// An opened bundle, in the words of the format.
pub struct Bundle {
    pub source: [String; 2],
    pub exported: i64,
    pub credentials: Vec<Bundled>,
}

#[derive(Debug, PartialEq)]
pub struct Bundled {
    /// Name and type.
    pub names: [String; 2],
    pub schema: u32,
    pub version: u32,
    pub created: i64,
    pub expires: Option<i64>,
    pub phase: u8,
    pub tags: Vec<(String, String)>,
    pub secret: Vec<u8>,
}

pub fn open_bundle(bytes: &[u8], key: &Key<'_>) -> Bundle {
    let (body, check) = bytes.split_at(bytes.len() - 32);
    assert_eq!(blake3::hash(body).as_bytes(), check);
    let mut cursor = Cursor(body);
    assert_eq!(cursor.take(8), b"\x89NBX\r\n\x1a\n");
    assert_eq!(cursor.number(1), 1);
    let suite = cursor.number(2) as u16;
    assert_eq!(cursor.number(2), 0);
    assert_eq!(cursor.number(1), key.kind());
    let (params, wrapped) = (cursor.block(), cursor.block());
    let context = [&body[..14], params].concat();
    let bundle_key = open_box(suite, SLOT_WRAP, &key.derive(params), wrapped, &context, &[]).unwrap();
    let length = cursor.number(4) as usize;
    let before = &body[..body.len() - cursor.0.len()];
    let contents = open_box(suite, BUNDLE, &bundle_key, cursor.take(80 + length), before, &[]).unwrap();
    assert!(cursor.0.is_empty());

    let mut cursor = Cursor(&contents);
    let source = [cursor.text(1), cursor.text(1)];
    let exported = cursor.number(8) as i64;
    let count = cursor.number(4);
    let credentials = (0..count).map(|_| cursor.bundled()).collect();
    assert!(cursor.0.iter().all(|byte| *byte == 0));
    let used = contents.len() - cursor.0.len();
    assert_eq!(used.next_multiple_of(4096), length);
    Bundle {
        source,
        exported,
        credentials,
    }
}

impl Cursor<'_> {
    fn text(&mut self, length: usize) -> String {
        let length = self.number(length) as usize;
        String::from_utf8(self.take(length).to_vec()).unwrap()
    }

    fn bundled(&mut self) -> Bundled {
        Bundled {
            names: [self.text(1), self.text(1)],
            schema: self.number(4) as u32,
            version: self.number(4) as u32,
            created: self.number(8) as i64,
            expires: match (self.number(1), self.number(8)) {
                (0, 0) => None,
                (known, at) => {
                    assert_eq!(known, 1);
                    Some(at as i64)
                }
            },
            phase: self.number(1) as u8,
            tags: (0..self.number(1))
                .map(|_| (self.text(1), self.text(2)))
                .collect(),
            secret: {
                let length = self.number(4) as usize;
                self.take(length).to_vec()
            },
        }
    }
}
