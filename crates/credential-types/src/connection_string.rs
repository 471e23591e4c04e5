use nebula_credential_core::{
    Credential, CredentialError, CredentialValue, ExposeSecret, REDACTED, SecretString,
};

use crate::text::secret;
use crate::uri::{self, Parts};

/// A URL by which a driver reaches a service: `scheme://[user[:password]@]hosts[/path][?parameters]`.
///
/// Several hosts may stand behind commas, as MongoDB and libpq take them. What must be percent-encoded, is: a raw `@`,
/// `/`, `?` or `#` in a password makes two drivers read two different hosts, so it is refused.
#[derive(Clone, Credential)]
#[credential(
    type = "connection_string",
    validate = Self::check,
    to_value = Self::as_database,
    from_value = Self::from_database
)]
pub struct ConnectionStringCredential {
    /// The URL.
    #[secret]
    pub url: SecretString,
}

impl ConnectionStringCredential {
    /// The credential of `url`.
    pub fn new(url: impl Into<SecretString>) -> Self {
        Self { url: url.into() }
    }

    /// The scheme, which names the driver: `postgres`, `mongodb+srv`. `None` if the URL is not valid.
    pub fn driver(&self) -> Option<&str> {
        self.parts().ok().map(|parts| parts.scheme)
    }

    /// The URL with the user name, the password and the parameters that look secret replaced by `[REDACTED]`;
    /// nothing but that word if the URL is not valid.
    ///
    /// The path is shown: a URL whose path is a secret belongs in a
    /// [`SecretTextCredential`](crate::SecretTextCredential).
    pub fn redacted(&self) -> String {
        let Ok(parts) = self.parts() else {
            return REDACTED.to_owned();
        };
        let mut shown = format!("{}://", parts.scheme);
        if parts.userinfo.is_some() {
            shown.push_str(REDACTED);
            shown.push('@');
        }
        shown.push_str(parts.hosts);
        shown.push_str(parts.path);
        let mut before = '?';
        for pair in parts.query.into_iter().flat_map(|query| query.split('&')) {
            shown.push(before);
            before = '&';
            match pair.split_once('=') {
                // A second '=' may begin a parameter of its own, behind a separator of some dialect.
                Some((name, value)) if !uri::names_a_secret(name) && !value.contains('=') => {
                    shown.push_str(name);
                    shown.push('=');
                    shown.push_str(value);
                }
                Some((name, _)) => {
                    shown.push_str(name);
                    shown.push('=');
                    shown.push_str(REDACTED);
                }
                // A parameter without a value may be anything.
                None if pair.is_empty() => {}
                None => shown.push_str(REDACTED),
            }
        }
        shown
    }

    fn parts(&self) -> Result<Parts<'_>, &'static str> {
        let parts = uri::split(self.url.expose_secret())?;
        if parts.hosts.is_empty() && parts.path.len() <= 1 {
            return Err("names neither a host nor a path; add one");
        }
        if !parts.hosts.is_empty() {
            for host in parts.hosts.split(',') {
                if uri::split_host(host)?.0.is_empty() {
                    return Err("has an empty host; name it, or remove the comma or port");
                }
            }
        }
        Ok(parts)
    }

    fn check(&self) -> Result<(), CredentialError> {
        match self.parts() {
            Ok(_) => Ok(()),
            Err(flaw) => Err(CredentialError::validation(format!("url {flaw}"))),
        }
    }

    fn as_database(&self) -> Result<CredentialValue, CredentialError> {
        self.check()?;
        Ok(CredentialValue::Database {
            connection_string: secret(self.url.expose_secret()),
            driver: self.driver().unwrap_or_default().to_owned(),
        })
    }

    fn from_database(value: CredentialValue) -> Result<Self, CredentialError> {
        match value {
            CredentialValue::Database {
                connection_string, ..
            } => Ok(Self::new(connection_string)),
            _ => Err(CredentialError::type_mismatch(
                "a connection string is made from the value of a database",
            )),
        }
    }
}
