//! Sealing and opening under a key ring: plain functions, no waiting.

use chrono::TimeDelta;
use nebula_credential_core::{CredentialError, Plaintext, Sealed};
use nebula_credential_memory::scrub_stack_to;
use zeroize::Zeroize;

use crate::bytes::{Malformed, Reader, Writer};
use crate::envelope::{Bound, Envelope, Place, Seal, padded_len};
use crate::primitive::{Aad, KEY_LEN, Label, SALT_LEN, STACK_REACH};
use crate::random::Fresh;
use crate::ring::{Epoch, GRACE, KeyRing, RingId, State};
use crate::wrap::{WRAP_LEN, unwrap_key, wrap_key};
use crate::{Entropy, Suite};

/// The first byte of a key reference: what follows names a ring and an epoch.
pub(crate) const REFERENCE_RING: u8 = 1;
/// The first byte of a key reference: what follows is a key provider's own.
pub(crate) const REFERENCE_PROVIDER: u8 = 2;

const REFERENCE_LEN: usize = 1 + 16 + 4;

/// Seals and opens payloads under a key ring.
#[derive(Debug, Clone)]
pub struct Sealer {
    ring: KeyRing,
}

impl Sealer {
    /// Seals under `ring`.
    pub fn new(ring: KeyRing) -> Self {
        Self { ring }
    }

    /// The ring.
    pub fn ring(&self) -> &KeyRing {
        &self.ring
    }

    /// Seals `secret` for `place`, under a fresh data key that the ring's primary key wraps.
    ///
    /// For a ring in a file, the file is looked at first: a rotation by another process is followed.
    ///
    /// # Errors
    /// [`CredentialError::LimitExceeded`] beyond
    /// [`SECRET_BYTES_MAX`](nebula_credential_core::limits::SECRET_BYTES_MAX);
    /// [`CredentialError::InvalidState`] when the primary key is worn out; those of [`KeyRing::refresh`].
    pub fn seal(&self, place: Place<'_>, secret: &Plaintext) -> Result<Sealed, CredentialError> {
        let padded = padded_len(secret.len())?;
        self.ring.refresh()?;
        let sealed = seal(
            &self.ring.state(),
            self.ring.sealing_entropy(),
            place,
            padded,
            secret.expose(),
        );
        scrub_stack_to::<STACK_REACH>();
        sealed
    }

    /// Opens what was sealed for `place`.
    ///
    /// # Errors
    /// [`CredentialError::Tampered`] when it is damaged, was sealed for another place, or not under this key;
    /// [`CredentialError::KeyNotFound`] when this ring does not have the key;
    /// [`CredentialError::UnsupportedFormat`] for a newer format;
    /// [`CredentialError::Unsupported`] for a provider-managed value.
    pub fn open(&self, place: Place<'_>, sealed: &Sealed) -> Result<Plaintext, CredentialError> {
        let envelope = Envelope::parse(sealed.require_envelope()?)?;
        let mut bound = Bound::empty();
        envelope.bind(place, &mut bound)?;
        let secret = self
            .unwrap(&envelope, &bound)
            .and_then(|dek| envelope.open(&dek.0, &bound));
        scrub_stack_to::<STACK_REACH>();
        secret
    }

    /// The same payload with its data key wrapped by the primary key; `None` if it is already. The payload is neither
    /// opened nor changed.
    ///
    /// # Errors
    /// Those of [`open`](Self::open) and [`seal`](Self::seal).
    pub fn rewrap(&self, place: Place<'_>, sealed: &Sealed) -> Result<Option<Sealed>, CredentialError> {
        let envelope = Envelope::parse(sealed.require_envelope()?)?;
        let (ring, epoch) = ring_reference(envelope.reference)?;
        // As before a seal: nothing may be wrapped under a key that another process is about to destroy.
        self.ring.refresh()?;
        let state = self.ring.state();
        if ring == state.id() && state.primary()?.epoch == epoch {
            return Ok(None);
        }
        let mut bound = Bound::empty();
        envelope.bind(place, &mut bound)?;
        let rewrapped = self.unwrap(&envelope, &bound).and_then(|dek| {
            let mut fresh = Fresh::empty();
            state
                .hedge()
                .draw(self.ring.sealing_entropy(), bound.context(), &dek.0, &mut fresh)?;
            let (reference, wrapped) = wrap(&state, envelope.suite, place, &bound, &dek.0, &fresh.wrap_salt)?;
            envelope.rewrapped(&reference, &wrapped)
        });
        scrub_stack_to::<STACK_REACH>();
        rewrapped.map(Some)
    }

    /// The epoch whose key wraps the data key of `sealed`, as the envelope says; `None` if another ring's or a key
    /// provider does.
    ///
    /// # Errors
    /// [`CredentialError::Tampered`], [`CredentialError::UnsupportedFormat`] or [`CredentialError::Unsupported`] for what
    /// is no envelope.
    pub fn epoch_of(&self, sealed: &Sealed) -> Result<Option<Epoch>, CredentialError> {
        let envelope = Envelope::parse(sealed.require_envelope()?)?;
        match envelope.reference.first() {
            Some(&REFERENCE_PROVIDER) => Ok(None),
            _ => {
                let (ring, epoch) = ring_reference(envelope.reference)?;
                Ok((ring == self.ring.id()).then_some(epoch))
            }
        }
    }

    /// After a write of `sealed` that took `waited`: whether its key is still there. One that took longer than a retired
    /// key is kept may have come after the scan that found nothing under it.
    ///
    /// # Errors
    /// [`CredentialError::OutcomeUnknown`]; those of [`KeyRing::refresh`].
    pub(crate) fn check_written(&self, sealed: &Sealed, waited: TimeDelta) -> Result<(), CredentialError> {
        if waited < GRACE {
            return Ok(());
        }
        self.ring.refresh()?;
        let state = self.ring.state();
        let epoch = self.epoch_of(sealed)?;
        if epoch
            .and_then(|epoch| state.epoch(epoch))
            .is_some_and(|key| key.kek.is_some())
        {
            return Ok(());
        }
        Err(CredentialError::outcome_unknown(
            "the write waited so long that the key it was sealed under was destroyed meanwhile",
        ))
    }

    /// The data key of an envelope. Follows the ring's file once if the key is unknown.
    fn unwrap(&self, envelope: &Envelope<'_>, bound: &Bound) -> Result<Dek, CredentialError> {
        let (ring, epoch) = ring_reference(envelope.reference)?;
        let mut state = self.ring.state();
        if ring != state.id() {
            return Err(CredentialError::key_not_found(format!(
                "the record was sealed under key ring {ring} and this is {}; open the store with that key ring",
                state.id()
            )));
        }
        if envelope.suite.id() < state.suite().id() {
            return Err(CredentialError::unsupported_format(format!(
                "the record was sealed with suite {}, and the key ring accepts {} and above",
                envelope.suite.id(),
                state.suite().id()
            )));
        }
        if state.epoch(epoch).is_none() && self.ring.refresh()? {
            state = self.ring.state();
        }
        let Some(key) = state.epoch(epoch) else {
            return Err(CredentialError::key_not_found(format!(
                "the record was sealed under key {epoch}, which the key ring does not have; put the newest copy of \
                 the key ring back"
            )));
        };
        unwrap(envelope, key.unwrapping()?.expose(), bound)
    }
}

/// An unwrapped data key.
struct Dek([u8; KEY_LEN]);

impl Drop for Dek {
    fn drop(&mut self) {
        // As a slice: an array is wiped byte by byte.
        self.0.as_mut_slice().zeroize();
    }
}

fn seal(
    state: &State,
    entropy: &dyn Entropy,
    place: Place<'_>,
    padded: u32,
    secret: &[u8],
) -> Result<Sealed, CredentialError> {
    let suite = state.suite();
    let mut bound = Bound::empty();
    bound.fill(suite, place, padded)?;
    let mut fresh = Fresh::empty();
    state.hedge().draw(entropy, bound.context(), secret, &mut fresh)?;
    bound.set_salt(&fresh.salt);
    let (reference, wrapped) = wrap(state, suite, place, &bound, &fresh.dek, &fresh.wrap_salt)?;
    Seal {
        suite,
        bound: &bound,
        padded,
        dek: &fresh.dek,
        salt: &fresh.salt,
        reference: &reference,
        wrapped: &wrapped,
    }
    .write(secret)
}

/// Wraps a data key under the primary key. The age of that key is measured at the time the version was made.
fn wrap(
    state: &State,
    suite: Suite,
    place: Place<'_>,
    bound: &Bound,
    dek: &[u8; KEY_LEN],
    wrap_salt: &[u8; SALT_LEN],
) -> Result<([u8; REFERENCE_LEN], [u8; WRAP_LEN]), CredentialError> {
    let primary = state.primary()?;
    let kek = primary.wrapping(place.version.created_at)?;

    let reference = write_reference(state.id(), primary.epoch).map_err(misfit)?;
    let wrapped = wrap_key(
        suite,
        Label::DekWrap,
        kek.expose(),
        wrap_salt,
        &Aad::with_extra(&reference, bound.with_its_salt()),
        dek,
    )?;
    Ok((reference, wrapped))
}

fn unwrap(envelope: &Envelope<'_>, kek: &[u8; KEY_LEN], bound: &Bound) -> Result<Dek, CredentialError> {
    let mut dek = Dek([0; KEY_LEN]);
    unwrap_key(
        envelope.suite,
        Label::DekWrap,
        kek,
        envelope.wrapped,
        &Aad::with_extra(envelope.reference, bound.with_its_salt()),
        &mut dek.0,
    )?;
    Ok(dek)
}

fn write_reference(ring: RingId, epoch: Epoch) -> Result<[u8; REFERENCE_LEN], Malformed> {
    let mut reference = [0; REFERENCE_LEN];
    let mut writer = Writer::new(&mut reference);
    writer.array(&[REFERENCE_RING])?;
    writer.array(ring.as_bytes())?;
    writer.array(&epoch.get().to_be_bytes())?;
    Ok(reference)
}

fn misfit(_: Malformed) -> CredentialError {
    CredentialError::internal("a key reference did not fit the buffer made for it")
}

/// The ring and epoch a key reference names.
fn ring_reference(reference: &[u8]) -> Result<(RingId, Epoch), CredentialError> {
    if reference.first() == Some(&REFERENCE_PROVIDER) {
        return Err(CredentialError::key_not_found(
            "the record was sealed by a key provider, not under a key ring; open the store with that provider",
        ));
    }
    let mut reader = Reader::new(reference);
    let mut fields = || -> Result<_, Malformed> {
        let fields = (reader.u8()?, RingId(*reader.array()?), Epoch(reader.u32()?));
        reader.finish().map(|()| fields)
    };
    match fields() {
        Ok((REFERENCE_RING, ring, epoch)) => Ok((ring, epoch)),
        _ => Err(CredentialError::Tampered),
    }
}
