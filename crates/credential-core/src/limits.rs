//! Limits that every layer and store honours, checked before anything is allocated.
//!
//! A store may allow less (see [`Capability`](crate::Capability)), never more. HashiCorp Vault limits an
//! entry to 512 KiB-1 MiB and entity metadata to 64 pairs of 128 and 512 bytes; these follow it.

/// Longest tenant, scope or credential name, in bytes.
pub const NAME_BYTES: usize = 128;

/// Longest encoded secret a manager accepts unless told otherwise, in bytes.
pub const SECRET_BYTES_DEFAULT: usize = 64 * 1024;

/// Longest encoded secret anything accepts, in bytes.
pub const SECRET_BYTES_MAX: usize = 1024 * 1024;

/// Longest sealed payload, in bytes: the longest secret, with room for an envelope around it.
pub const SEALED_BYTES_MAX: usize = SECRET_BYTES_MAX + 16 * 1024;

/// Most tags on one credential.
pub const TAGS: usize = 64;

/// Longest tag key, in bytes.
pub const TAG_KEY_BYTES: usize = 128;

/// Longest tag value, in bytes.
pub const TAG_VALUE_BYTES: usize = 512;

/// Longest sum of all tag keys and values of one credential, in bytes.
pub const TAGS_BYTES: usize = 16 * 1024;

/// Longest purpose that is recorded, in bytes: a sentence, or the number of a ticket.
pub const PURPOSE_BYTES: usize = 1024;

/// Longest name of an environment that is recorded, in bytes.
pub const ENVIRONMENT_BYTES: usize = 128;

/// Versions kept of a credential unless told otherwise (OpenBao's KV default).
pub const VERSIONS_DEFAULT: u32 = 10;

/// Most versions kept of a credential.
pub const VERSIONS_MAX: u32 = 100;

/// Most entries of one page of a list.
pub const PAGE: usize = 1000;
