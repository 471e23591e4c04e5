use std::collections::BTreeMap;

use nebula_credential_core::{Credential, CredentialError, CredentialValue, SecretString};

/// Named secret texts, such as the variables of an environment or the headers of an API.
#[derive(Clone, Default, Credential)]
#[credential(type = "key_value", validate = Self::check, to_value = Self::as_map, from_value = Self::from_map)]
pub struct KeyValueCredential {
    /// From 1 to [`ENTRIES`](Self::ENTRIES) texts. A key is 1-253 ASCII letters, digits, `-`, `_` and `.`: what both
    /// an environment and a Kubernetes Secret take.
    #[secret]
    pub values: BTreeMap<String, SecretString>,
}

impl KeyValueCredential {
    /// Most entries of one credential: at the default limit of a secret, 256 bytes for each.
    pub const ENTRIES: usize = 256;

    /// Longest key, in bytes; the limit of Kubernetes for a key of a Secret.
    pub const KEY_BYTES: usize = 253;

    /// No entries; [`with`](Self::with) adds them.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry, or replaces one.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<SecretString>) -> Self {
        self.values.insert(key.into(), value.into());
        self
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&SecretString> {
        self.values.get(key)
    }

    fn check(&self) -> Result<(), CredentialError> {
        if self.values.is_empty() {
            return Err(CredentialError::validation(
                "values cannot be empty; add at least one entry",
            ));
        }
        if self.values.len() > Self::ENTRIES {
            return Err(CredentialError::limit(
                "key-value entries",
                Self::ENTRIES,
                self.values.len(),
            ));
        }
        for key in self.values.keys() {
            if key.len() > Self::KEY_BYTES {
                return Err(CredentialError::limit("key bytes", Self::KEY_BYTES, key.len()));
            }
            if key.is_empty()
                || !key
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
            {
                // A key may be a misplaced secret, so it is not shown.
                return Err(CredentialError::validation(
                    "values has a key that is empty or not made of ASCII letters, digits, '-', '_' and '.'; rename it",
                ));
            }
        }
        Ok(())
    }

    fn as_map(&self) -> Result<CredentialValue, CredentialError> {
        Ok(CredentialValue::KeyValue(self.values.clone()))
    }

    fn from_map(value: CredentialValue) -> Result<Self, CredentialError> {
        match value {
            CredentialValue::KeyValue(values) => Ok(Self { values }),
            _ => Err(CredentialError::type_mismatch(
                "a key-value credential is made from a value of named texts",
            )),
        }
    }
}
