//! Protectors: what opens a key ring. Each wraps the ring's root key into one slot.

mod key_file;
mod passphrase;
mod provider;

use nebula_credential_core::{CredentialError, DataKey, KEY_REFERENCE_BYTES, WRAPPED_KEY_BYTES};

pub use key_file::KeyFile;
pub use passphrase::{Passphrase, PassphraseAndKeyFile};
pub use provider::ProviderProtector;

use crate::primitive::{Aad, KEY_LEN, Label, SALT_LEN};
use crate::wrap::{unwrap_key, wrap_key};
use crate::{Entropy, Suite};

/// What a slot of a key ring is opened with.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SlotKind {
    /// A passphrase, through Argon2id.
    Passphrase,
    /// A file of 32 random bytes.
    KeyFile,
    /// A passphrase and a key file, both.
    PassphraseAndKeyFile,
    /// A [`KeyProvider`](nebula_credential_core::KeyProvider): an HSM, a cloud KMS, an OS keyring.
    Provider,
}

impl SlotKind {
    pub(crate) const fn id(self) -> u8 {
        match self {
            Self::Passphrase => 1,
            Self::KeyFile => 2,
            Self::PassphraseAndKeyFile => 3,
            Self::Provider => 4,
        }
    }

    pub(crate) const fn from_id(id: u8) -> Option<Self> {
        match id {
            1 => Some(Self::Passphrase),
            2 => Some(Self::KeyFile),
            3 => Some(Self::PassphraseAndKeyFile),
            4 => Some(Self::Provider),
            _ => None,
        }
    }

    /// The stable name, in words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passphrase => "passphrase",
            Self::KeyFile => "key file",
            Self::PassphraseAndKeyFile => "passphrase and key file",
            Self::Provider => "key provider",
        }
    }
}

/// Something that opens a key ring: [`Passphrase`], [`KeyFile`], [`PassphraseAndKeyFile`], or any
/// [`KeyProvider`](nebula_credential_core::KeyProvider) inside a [`ProviderProtector`].
///
/// Opening blocks: Argon2id takes a third of a second and 64 MiB by default, a provider may ask a device or a
/// network. Call it on a thread that may block, such as one of `tokio::task::spawn_blocking`.
pub trait Protector: Send + Sync + private::Wrap {
    /// The kind of slot it makes and opens.
    fn kind(&self) -> SlotKind;
}

/// The seal on [`Protector`]: a new kind of slot is a change of format, a new key provider is not.
pub(crate) mod private {
    use super::{CredentialError, DataKey, Entropy, SlotContext, WrappedRoot};

    pub trait Wrap {
        /// Wraps the root key.
        fn wrap(
            &self,
            root: &DataKey,
            context: &SlotContext,
            entropy: &dyn Entropy,
        ) -> Result<WrappedRoot, CredentialError>;

        /// Unwraps it. [`CredentialError::Tampered`] means that this protector did not wrap it, or that it is damaged.
        fn unwrap(&self, wrapped: &WrappedRoot, context: &SlotContext) -> Result<DataKey, CredentialError>;
    }

    impl<T: Wrap + ?Sized> Wrap for Box<T> {
        fn wrap(
            &self,
            root: &DataKey,
            context: &SlotContext,
            entropy: &dyn Entropy,
        ) -> Result<WrappedRoot, CredentialError> {
            (**self).wrap(root, context, entropy)
        }

        fn unwrap(&self, wrapped: &WrappedRoot, context: &SlotContext) -> Result<DataKey, CredentialError> {
            (**self).unwrap(wrapped, context)
        }
    }
}

impl<T: Protector + ?Sized> Protector for Box<T> {
    fn kind(&self) -> SlotKind {
        (**self).kind()
    }
}

/// What a slot is bound to: the ring, its number, kind and age. Or what the key of a bundle is bound to.
pub struct SlotContext {
    pub(crate) suite: Suite,
    /// Of fixed length, so that the parameters of a slot may follow it.
    pub(crate) bytes: Vec<u8>,
}

/// The wrapped root key and what its protector needs to unwrap it. Both lie in the clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedRoot {
    /// Argon2 parameters and salt, or the key reference of a provider.
    pub(crate) params: Vec<u8>,
    /// The wrapped root key.
    pub(crate) bytes: Vec<u8>,
}

impl WrappedRoot {
    /// Whether it fits a slot.
    ///
    /// # Errors
    /// [`CredentialError::LimitExceeded`] for what a key provider made too long.
    pub(crate) fn check_lengths(&self) -> Result<(), CredentialError> {
        for (what, limit, found) in [
            ("key reference bytes", KEY_REFERENCE_BYTES, self.params.len()),
            ("wrapped key bytes", WRAPPED_KEY_BYTES, self.bytes.len()),
        ] {
            if found > limit {
                return Err(CredentialError::limit(what, limit, found));
            }
        }
        Ok(())
    }
}

/// Checks what a slot says about its protector, before anything is derived from it.
///
/// # Errors
/// [`CredentialError::Tampered`] for another layout; those of the Argon2 bounds.
pub(crate) fn check_params(kind: SlotKind, params: &[u8]) -> Result<(), CredentialError> {
    match kind {
        SlotKind::Passphrase | SlotKind::PassphraseAndKeyFile => passphrase::Stored::decode(params).map(drop),
        SlotKind::KeyFile if params.is_empty() => Ok(()),
        SlotKind::KeyFile => Err(CredentialError::Tampered),
        SlotKind::Provider => Ok(()),
    }
}

/// Seals the root key under the key a protector came to.
fn seal_root(
    key: &[u8; KEY_LEN],
    root: &DataKey,
    context: &SlotContext,
    params: Vec<u8>,
    entropy: &dyn Entropy,
) -> Result<WrappedRoot, CredentialError> {
    let mut salt = [0; SALT_LEN];
    entropy.fill(&mut salt)?;
    let bound = [context.bytes.as_slice(), &params].concat();
    let bytes = wrap_key(
        context.suite,
        Label::SlotWrap,
        key,
        &salt,
        &Aad::new(&bound),
        root.expose(),
    )?
    .to_vec();
    Ok(WrappedRoot { params, bytes })
}

/// Opens what [`seal_root`] made.
fn open_root(
    key: &[u8; KEY_LEN],
    wrapped: &WrappedRoot,
    context: &SlotContext,
) -> Result<DataKey, CredentialError> {
    let bound = [context.bytes.as_slice(), &wrapped.params].concat();
    let mut root = [0; KEY_LEN];
    unwrap_key(
        context.suite,
        Label::SlotWrap,
        key,
        &wrapped.bytes,
        &Aad::new(&bound),
        &mut root,
    )?;
    Ok(DataKey::take(&mut root))
}
