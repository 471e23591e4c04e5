#![doc = include_str!("../README.md")]

// The derive macros name this crate by its own path.
extern crate self as nebula_credential_core;

mod access;
mod any;
mod capability;
mod change;
mod clock;
mod codec;
mod context;
mod credential;
mod derived;
mod error;
mod field;
mod key;
pub mod lifecycle;
pub mod limits;
mod metrics;
mod name;
mod provider;
mod record;
mod request;
mod secret;
mod store;
mod value;
mod version;

pub use access::{Circumstances, Decision, Permission, Report, Source};
pub use any::AnyCredential;
pub use capability::Capability;
pub use change::{ChangeCounters, PolicyEpoch};
pub use clock::{Clock, SystemClock, whole_micros};
pub use codec::{decode_credential, encode_credential};
pub use context::{OpContext, Principal};
pub use credential::Credential;
pub use error::{CredentialError, ErrorKind, Message, Retryability};
pub use field::{FieldInfo, FieldKind};
pub use key::{DataKey, KEY_REFERENCE_BYTES, KeyProvider, WRAPPED_KEY_BYTES, WrappedKey};
pub use lifecycle::{CredentialState, Phase};
pub use metrics::{Labels, MetricsEmitter, NoMetrics};
pub use name::{CredentialName, CredentialRef, Scope, TenantId};
#[cfg(feature = "derive")]
pub use nebula_credential_derive::{Credential, Redact};
pub use provider::CredentialProvider;
pub use record::{ENVELOPE_MAGIC, Record, RecordHead, Sealed, Tags, VersionHead};
pub use request::{
    Cursor, Delete, DeleteMode, Get, IdempotencyToken, List, Op, Page, Precondition, Put, Request, Response,
    Restore, Rewrite, Scan, ScanCursor, ScanPage, Selector, Update,
};
pub use secrecy::{ExposeSecret, SecretBox, SecretSlice, SecretString};
pub use secret::{Plaintext, REDACTED, SecretField, SecretWriter};
pub use store::{BoxFuture, SecretStore, StoreHandle};
pub use value::{CredentialValue, CustomValue};
pub use version::Version;

/// For the code the macros write; no part of the API.
#[doc(hidden)]
pub mod __private {
    pub use chrono;
    pub use serde;
    pub use serde_json;
    pub use zeroize;

    pub use crate::codec::{check_schema, decode, encode};
    pub use crate::credential::Credential;
    pub use crate::derived::{Expiry, decode_secret, encode_secret, from_custom, migrate, to_custom};
    pub use crate::error::CredentialError;
    pub use crate::field::{FieldInfo, FieldKind};
    pub use crate::secret::{Guarded, REDACTED, SecretField, SecretWriter};
    pub use crate::value::{CredentialValue, CustomValue};
}
