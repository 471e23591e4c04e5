use std::future::IntoFuture;

use chrono::{DateTime, Utc};
use nebula_credential_core::{
    BoxFuture, CredentialError, CredentialRef, Permission, Phase, Plaintext, Precondition, Tags, Version,
    whole_micros,
};

use crate::{CredentialManager, CredentialMetadata};

/// A value about to be stored: `.await` it, after saying what else should hold.
///
/// Made by [`CredentialManager::store`] and [`CredentialManager::rotate`].
#[must_use = "nothing is stored until this is awaited"]
pub struct PendingWrite<'a> {
    manager: &'a CredentialManager,
    value: Result<Value, CredentialError>,
    write: Write,
}

/// A credential on its way to storage, checked and encoded.
pub(crate) struct Value {
    pub(crate) id: CredentialRef,
    pub(crate) credential_type: std::sync::Arc<str>,
    pub(crate) schema_version: u32,
    pub(crate) expires_at: Option<DateTime<Utc>>,
    pub(crate) payload: Plaintext,
}

/// How it is to be written.
#[derive(Default)]
pub(crate) struct Write {
    pub(crate) precondition: Precondition,
    pub(crate) tags: Option<Tags>,
    pub(crate) must_exist: bool,
    /// The phase it is in afterwards; none is [`Phase::Active`].
    pub(crate) phase: Option<Phase>,
}

impl<'a> PendingWrite<'a> {
    pub(crate) fn new(
        manager: &'a CredentialManager,
        value: Result<Value, CredentialError>,
        must_exist: bool,
    ) -> Self {
        let write = Write {
            must_exist,
            ..Write::default()
        };
        Self {
            manager,
            value,
            write,
        }
    }

    /// Only if there is no such credential, or it is deleted; otherwise
    /// [`AlreadyExists`](CredentialError::AlreadyExists).
    pub fn if_absent(mut self) -> Self {
        self.write.precondition = Precondition::IfAbsent;
        self
    }

    /// Only if `version` is the current one; otherwise
    /// [`VersionConflict`](CredentialError::VersionConflict). What a read-modify-write needs.
    pub fn if_version(mut self, version: Version) -> Self {
        self.write.precondition = Precondition::IfVersion(version);
        self
    }

    /// Expires at `end`, whatever the credential itself says.
    pub fn expires_at(mut self, end: DateTime<Utc>) -> Self {
        if let Ok(value) = &mut self.value {
            value.expires_at = Some(whole_micros(end));
        }
        self
    }

    /// Files it under these tags instead of those it has, but for the [reserved](Tags::is_reserved) ones, which stay. Tags lie
    /// in the clear.
    pub fn tags(mut self, tags: Tags) -> Self {
        self.write.tags = Some(tags);
        self
    }

    pub(crate) fn phase(mut self, phase: Phase) -> Self {
        self.write.phase = Some(phase);
        self
    }
}

impl<'a> IntoFuture for PendingWrite<'a> {
    type Output = Result<CredentialMetadata, CredentialError>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let value = self.value?;
            if self.write.must_exist {
                let rotating = self.manager.with_permission(Permission::Rotate);
                return rotating.write(value, self.write).await;
            }
            self.manager.write(value, self.write).await
        })
    }
}
