#![doc = include_str!("../README.md")]

// The derive macros name this crate by its own path.
extern crate self as nebula_credential;

#[cfg(feature = "access")]
#[doc(inline)]
pub use nebula_credential_access as access;
#[cfg(feature = "audit")]
#[doc(inline)]
pub use nebula_credential_audit as audit;
#[cfg(feature = "cache")]
#[doc(inline)]
pub use nebula_credential_cache as cache;
#[doc(inline)]
pub use nebula_credential_core::*;
#[cfg(feature = "crypto")]
#[doc(inline)]
pub use nebula_credential_crypto as crypto;
#[cfg(feature = "manager")]
#[doc(inline)]
pub use nebula_credential_manager::{
    CredentialContext, CredentialManager, CredentialMetadata, CredentialVersion, HealthReport, HealthStatus,
    KeyHealth, Keys, ManagerBuilder, ManagerProvider, PendingWrite, RawCredential,
};
#[cfg(feature = "local")]
#[doc(inline)]
pub use nebula_credential_provider_local::LocalStorage;
#[cfg(feature = "resilience")]
#[doc(inline)]
pub use nebula_credential_resilience as resilience;
#[cfg(feature = "telemetry")]
#[doc(inline)]
pub use nebula_credential_telemetry as telemetry;
#[cfg(feature = "types")]
#[doc(inline)]
pub use nebula_credential_types as types;

#[doc(hidden)]
pub use nebula_credential_core::__private;

/// What most programs need, for `use nebula_credential::prelude::*`.
pub mod prelude {
    pub use chrono::{DateTime, Utc};
    #[cfg(feature = "derive")]
    pub use nebula_credential_core::Redact;
    pub use nebula_credential_core::{
        AnyCredential, Credential, CredentialError, CredentialName, CredentialProvider, CredentialState,
        CredentialValue, ErrorKind, ExposeSecret, Principal, Scope, SecretString, Tags, TenantId, Version,
    };
    pub use serde::{Deserialize, Serialize};

    #[cfg(feature = "local")]
    pub use crate::LocalStorage;
    #[cfg(feature = "audit")]
    pub use crate::audit::AuditLogger;
    #[cfg(feature = "cache")]
    pub use crate::cache::{CachedCredentialProvider, CredentialHandle};
    #[cfg(feature = "resilience")]
    pub use crate::resilience::{CircuitBreakerCredentialProvider, CredentialChain};
    #[cfg(feature = "types")]
    pub use crate::types::*;
    #[cfg(feature = "manager")]
    pub use crate::{CredentialContext, CredentialManager, CredentialMetadata, Keys};
}

#[cfg(all(doctest, feature = "local"))]
#[doc = include_str!("../../../README.md")]
struct RepositoryReadme;

#[cfg(all(doctest, feature = "local"))]
mod book;
