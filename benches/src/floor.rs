//! The least work the envelope's format allows: what no implementation of it can leave out, and nothing else.
//!
//! Two key derivations, two AES-256-GCM messages under fresh key schedules, and on opening two commitments compared; on
//! inputs of the lengths of a real envelope, into buffers that are reused. No randomness, no parsing, no allocation,
//! nothing wiped. What [`Sealer`](nebula_credential_crypto::Sealer) takes beyond this is the implementation's; this is
//! the design's.

use nebula_credential_core::{CredentialRef, VersionHead};

use crate::aead::Library;
use crate::{Error, Result};

const SALT_LEN: usize = 32;
/// Label of a payload, and of a wrapped data key.
const PAYLOAD: u8 = 1;
const DEK_WRAP: u8 = 2;
/// A byte, the ring and the epoch.
const REFERENCE_LEN: usize = 21;
/// Header without salt; a length byte for each of four texts; schema version, version and times.
const FIXED_LEN: usize = 17 + 4 + 25;
/// Secrets are padded to multiples of this, their length of 4 bytes included.
const BUCKET: usize = 256;

/// One credential's keys and buffers.
#[derive(Debug)]
pub struct Floor {
    library: Library,
    kek: [u8; 32],
    dek: [u8; 32],
    wrap: Message,
    payload: Message,
}

/// One message of the committing AEAD.
#[derive(Debug, Clone)]
struct Message {
    /// `salt ‖ label ‖ context`, as the derivation takes it.
    input: Vec<u8>,
    extra: Vec<u8>,
    commitment: [u8; 32],
    ciphertext: Vec<u8>,
    tag: [u8; 16],
    /// Where it is worked on.
    buffer: Vec<u8>,
}

impl Floor {
    /// A credential at `id`, sealed by `library`.
    pub fn new(library: Library, id: &CredentialRef, version: &VersionHead) -> Self {
        let texts = [
            id.tenant().as_str(),
            id.scope().as_str(),
            id.name().as_str(),
            &*version.credential_type,
        ];
        let context = FIXED_LEN + texts.map(str::len).iter().sum::<usize>();
        Self {
            library,
            kek: std::hint::black_box([0x6b; 32]),
            dek: std::hint::black_box([0x64; 32]),
            wrap: Message::new(DEK_WRAP, REFERENCE_LEN, SALT_LEN + context),
            payload: Message::new(PAYLOAD, context, 0),
        }
    }

    /// Seals `secret`; the answer stays inside.
    ///
    /// # Errors
    /// Never, below 64 GiB.
    pub fn seal(&mut self, secret: &[u8]) -> Result<&[u8]> {
        let wrap = &mut self.wrap.buffer;
        wrap.clear();
        wrap.extend_from_slice(&self.dek);
        self.wrap.seal(self.library, &self.kek)?;

        let padded = &mut self.payload.buffer;
        padded.clear();
        padded.extend_from_slice(secret);
        padded.resize((secret.len() + 4).next_multiple_of(BUCKET) - 4, 0);
        padded.extend_from_slice(&u32::try_from(secret.len())?.to_be_bytes());
        self.payload.seal(self.library, &self.dek)?;
        Ok(&self.payload.buffer)
    }

    /// Keeps what [`seal`](Self::seal) made last, to be opened.
    pub fn keep(&mut self) {
        for message in [&mut self.wrap, &mut self.payload] {
            message.ciphertext.clone_from(&message.buffer);
        }
    }

    /// Opens what was kept; the padded secret.
    ///
    /// # Errors
    /// When nothing was.
    pub fn open(&mut self) -> Result<&[u8]> {
        self.wrap.open(self.library, &self.kek)?;
        let dek = self.wrap.buffer.first_chunk().ok_or("no data key")?;
        self.payload.open(self.library, dek)?;
        Ok(&self.payload.buffer)
    }
}

impl Message {
    fn new(label: u8, context: usize, extra: usize) -> Self {
        let mut input = vec![0x73; SALT_LEN];
        input.push(label);
        input.resize(SALT_LEN + 1 + context, 0x63);
        Self {
            input,
            extra: vec![0x65; extra],
            commitment: [0; 32],
            ciphertext: Vec::new(),
            tag: [0; 16],
            buffer: Vec::new(),
        }
    }

    fn seal(&mut self, library: Library, key: &[u8; 32]) -> Result<()> {
        let mut okm = [0; 128];
        let (key, nonce, commitment) = derive(key, &self.input, &mut okm)?;
        self.commitment = *commitment;
        self.tag = library.seal(key, nonce, &self.extra, &mut self.buffer)?;
        Ok(())
    }

    fn open(&mut self, library: Library, key: &[u8; 32]) -> Result<()> {
        let mut okm = [0; 128];
        let (key, nonce, commitment) = derive(key, &self.input, &mut okm)?;
        if *commitment != self.commitment {
            return Err(Error::from("another commitment"));
        }
        self.buffer.clear();
        self.buffer.extend_from_slice(&self.ciphertext);
        library.open(key, nonce, &self.extra, &mut self.buffer, &self.tag)
    }
}

type Parts<'a> = (&'a [u8; 32], &'a [u8; 12], &'a [u8; 32]);

/// `key ‖ nonce ‖ commitment`, by keyed BLAKE3. The rest of `okm` is there because two whole blocks take less time than
/// one and a part.
fn derive<'a>(key: &[u8; 32], input: &[u8], okm: &'a mut [u8; 128]) -> Result<Parts<'a>> {
    blake3::Hasher::new_keyed(key)
        .update(input)
        .finalize_xof()
        .fill(okm);
    let (key, rest) = okm.split_first_chunk().ok_or("no key")?;
    let (nonce, rest) = rest.split_first_chunk().ok_or("no nonce")?;
    let (commitment, _) = rest.split_first_chunk().ok_or("no commitment")?;
    Ok((key, nonce, commitment))
}

#[cfg(test)]
mod tests {
    use nebula_credential_core::Plaintext;
    use nebula_credential_crypto::hazmat::{Aad, Label, open};
    use nebula_credential_crypto::{Backend, KeyRing, Place, Sealer, Suite};

    use super::*;
    use crate::fixture;

    /// What this library's own primitive makes of it, and how long it is.
    #[test]
    fn the_floor_is_what_an_envelope_is_made_of() {
        let (id, version) = (fixture::address(42).unwrap(), fixture::version(1).unwrap());
        for library in Library::ALL {
            let mut floor = Floor::new(library, &id, &version);
            let secret = [7; 300];
            floor.seal(&secret).unwrap();
            floor.keep();
            assert_eq!(floor.open().unwrap()[..300], secret);
            let mut dek = [0; 32];
            for (message, label, key) in [
                (&floor.wrap, Label::DekWrap, floor.kek),
                (&floor.payload, Label::Payload, floor.dek),
            ] {
                let mut opened = message.ciphertext.clone();
                open(
                    Backend::default(),
                    Suite::Blake3Aes256Gcm,
                    label,
                    &key,
                    message.input.first_chunk().unwrap(),
                    &message.commitment,
                    &Aad::with_extra(&message.input[SALT_LEN + 1..], &message.extra),
                    &mut opened,
                    &message.tag,
                )
                .unwrap();
                if label == Label::DekWrap {
                    dek.copy_from_slice(&opened);
                }
            }
            assert_eq!(dek, floor.dek);

            let home = tempfile::tempdir().unwrap();
            let key = fixture::key_file(home.path()).unwrap();
            let sealer = Sealer::new(KeyRing::create(&key, version.created_at).unwrap());
            let place = Place {
                id: &id,
                version: &version,
            };
            let sealed = sealer.seal(place, &Plaintext::new(secret.to_vec())).unwrap();
            let head = SALT_LEN + 17 + 32 + 2 + REFERENCE_LEN + 2 + SALT_LEN + 32;
            let ciphertexts = floor.wrap.ciphertext.len() + 16 + floor.payload.ciphertext.len() + 16;
            assert_eq!(sealed.as_envelope().unwrap().len(), head + ciphertexts);
        }
    }
}
