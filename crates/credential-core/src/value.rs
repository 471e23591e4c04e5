use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use secrecy::SecretString;

use crate::{Credential, CredentialError, SecretWriter, limits};

/// The interchange form of a credential: what other tools and types understand.
///
/// It may lose what it has no room for; storage uses the type's own complete codec instead. Every secret in it is
/// wiped on drop, and its `Debug` shows none.
#[non_exhaustive]
#[derive(Debug, Clone)]
pub enum CredentialValue {
    /// One secret text: an API key, a bearer token, a passphrase.
    Text(SecretString),
    /// Named secret texts.
    KeyValue(BTreeMap<String, SecretString>),
    /// A user name and a password.
    Basic {
        /// Who signs in.
        username: String,
        /// The password.
        password: SecretString,
    },
    /// OAuth 2.0 tokens (RFC 6749).
    OAuth2 {
        /// Presented to the resource server.
        access_token: SecretString,
        /// Presented to the token endpoint for a new access token.
        refresh_token: SecretString,
        /// How the access token is presented, such as `Bearer`.
        token_type: String,
        /// What it grants.
        scope: Vec<String>,
        /// When the access token expires.
        expires_at: DateTime<Utc>,
    },
    /// A database and how to reach it.
    Database {
        /// A URL that may hold a password.
        connection_string: SecretString,
        /// The kind of database, such as `postgres`.
        driver: String,
    },
    /// AWS access keys.
    Aws {
        /// The access key id.
        access_key_id: SecretString,
        /// The secret access key.
        secret_access_key: SecretString,
        /// The session token of temporary credentials.
        session_token: Option<SecretString>,
        /// The region, such as `eu-central-1`.
        region: String,
    },
    /// A key pair: an X.509 certificate or an SSH public key, and its private key.
    KeyPair {
        /// The public part, PEM or OpenSSH text.
        public: String,
        /// The private key, PEM or OpenSSH text.
        private: SecretString,
        /// What protects the private key.
        passphrase: Option<SecretString>,
    },
    /// The complete stored form of one type; only that type can read it.
    Custom(CustomValue),
}

/// The complete stored form of a credential of one type.
#[derive(Clone)]
pub struct CustomValue {
    credential_type: String,
    schema_version: u32,
    json: SecretString,
}

impl CustomValue {
    /// The stored form of `credential`.
    ///
    /// # Errors
    /// Those of the type's codec.
    pub fn new<C: Credential>(credential: &C) -> Result<Self, CredentialError> {
        let mut out = SecretWriter::with_limit(limits::SECRET_BYTES_MAX);
        credential.encode(&mut out)?;
        let plaintext = out.finish();
        let json = std::str::from_utf8(plaintext.expose())
            .map_err(|_| CredentialError::serialization_failed("the stored form is not UTF-8 text"))?;
        Ok(Self {
            credential_type: C::credential_type().to_owned(),
            schema_version: C::schema_version(),
            json: Box::<str>::from(json).into(),
        })
    }

    /// The credential this is the stored form of.
    ///
    /// # Errors
    /// [`CredentialError::TypeMismatch`] if `C` is another type; those of its codec.
    pub fn decode<C: Credential>(&self) -> Result<C, CredentialError> {
        use secrecy::ExposeSecret as _;
        if self.credential_type != C::credential_type() {
            return Err(CredentialError::type_mismatch(format!(
                "expected {}, found {}",
                C::credential_type(),
                self.credential_type
            )));
        }
        C::decode(self.json.expose_secret().as_bytes(), self.schema_version)
    }

    /// The name of the type.
    pub fn credential_type(&self) -> &str {
        &self.credential_type
    }
}

impl fmt::Debug for CustomValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CustomValue({})", self.credential_type)
    }
}
