//! Direct mode: no ring; a key provider wraps every data key.

use nebula_credential_core::{
    CredentialError, DataKey, KEY_REFERENCE_BYTES, KeyProvider, Plaintext, Sealed, WrappedKey,
};
use nebula_credential_memory::{LockedKey, scrub_stack};

use crate::Suite;
use crate::envelope::{Bound, Envelope, Place, Seal, padded_len};
use crate::primitive::SALT_LEN;
use crate::random::{Fresh, HedgeKey, PooledEntropy};
use crate::sealer::REFERENCE_PROVIDER;

/// Seals and opens payloads with a key provider, which is asked once for each.
pub(crate) struct DirectSealer<K> {
    provider: K,
    suite: Suite,
    /// There is no root key to derive it from: random, for the life of the process.
    hedge: HedgeKey,
}

impl<K: KeyProvider> DirectSealer<K> {
    pub(crate) fn new(provider: K, suite: Suite) -> Result<Self, CredentialError> {
        Ok(Self {
            provider,
            suite,
            hedge: HedgeKey::derive(LockedKey::generate()?.expose())?,
        })
    }

    pub(crate) async fn seal(&self, place: Place<'_>, secret: Plaintext) -> Result<Sealed, CredentialError> {
        let padded = padded_len(secret.len())?;
        let (dek, bound, salt) = self.draw(place, padded, secret.expose())?;
        let wrapped = self.provider.wrap(&dek, &context(&bound)).await?;
        if wrapped.reference.len() >= KEY_REFERENCE_BYTES {
            return Err(CredentialError::limit(
                "key reference bytes",
                KEY_REFERENCE_BYTES - 1,
                wrapped.reference.len(),
            ));
        }
        let mut reference = Vec::with_capacity(1 + wrapped.reference.len());
        reference.push(REFERENCE_PROVIDER);
        reference.extend_from_slice(&wrapped.reference);
        let sealed = Seal {
            suite: self.suite,
            bound: &bound,
            padded,
            dek: dek.expose(),
            salt: &salt,
            reference: &reference,
            wrapped: &wrapped.bytes,
        }
        .write(secret.expose());
        scrub_stack();
        sealed
    }

    /// A fresh data key and salt, bound to `place`.
    fn draw(
        &self,
        place: Place<'_>,
        padded: u32,
        secret: &[u8],
    ) -> Result<(DataKey, Bound, [u8; SALT_LEN]), CredentialError> {
        let mut bound = Bound::empty();
        bound.fill(self.suite, place, padded)?;
        let mut fresh = Fresh::empty();
        self.hedge
            .draw(&PooledEntropy, bound.context(), secret, &mut fresh)?;
        bound.set_salt(&fresh.salt);
        Ok((DataKey::take(&mut fresh.dek), bound, fresh.salt))
    }

    pub(crate) async fn open(&self, place: Place<'_>, sealed: &Sealed) -> Result<Plaintext, CredentialError> {
        let envelope = Envelope::parse(sealed.require_envelope()?)?;
        let reference = match envelope.reference.split_first() {
            Some((&REFERENCE_PROVIDER, reference)) => reference,
            Some(_) => {
                return Err(CredentialError::key_not_found(
                    "the record was sealed under a key ring, not by a key provider; open the store with that key ring",
                ));
            }
            None => return Err(CredentialError::Tampered),
        };
        if envelope.suite.id() < self.suite.id() {
            return Err(CredentialError::unsupported_format(format!(
                "the record was sealed with suite {}, and this store accepts {} and above",
                envelope.suite.id(),
                self.suite.id()
            )));
        }
        let mut bound = Bound::empty();
        envelope.bind(place, &mut bound)?;
        let wrapped = WrappedKey {
            reference: reference.to_vec(),
            bytes: envelope.wrapped.to_vec(),
        };
        let dek = self.provider.unwrap(&wrapped, &context(&bound)).await?;
        let secret = envelope.open(dek.expose(), &bound);
        scrub_stack();
        secret
    }
}

/// What the provider binds the data key to: a hash that stands for salt, header and context, and tells the provider's
/// own log nothing.
fn context(bound: &Bound) -> [u8; 32] {
    blake3::derive_key(
        "nebula-credential 2026-11 envelope context to key provider context v1",
        bound.with_its_salt(),
    )
}
