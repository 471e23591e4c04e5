use std::fmt::{self, Write as _};
use std::str::FromStr;

use nebula_credential_core::{Credential, CredentialError, CredentialValue, ExposeSecret, Message};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::text::secret;
use crate::uri;

/// A PostgreSQL database and how to sign in to it.
///
/// In the stored form host, database, user name and password must be there; the other fields have defaults, those of
/// [`from_connection_string`](Self::from_connection_string).
///
/// The user name and the password are `String`s that are wiped on drop; a clone is wiped by itself. A Unix socket,
/// several hosts, and parameters other than `sslmode` and `connect_timeout` have no place here: keep such a URL as a
/// [`ConnectionStringCredential`](crate::ConnectionStringCredential).
#[derive(Clone, Credential)]
#[credential(
    type = "postgres",
    validate = Self::check,
    to_value = Self::as_database,
    from_value = Self::from_database
)]
pub struct PostgresCredential {
    /// A host name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// The port; 5432, PostgreSQL's own, by default.
    #[serde(default = "port")]
    pub port: u16,
    /// The database.
    pub database: String,
    /// Who signs in.
    #[secret]
    pub username: String,
    /// The password; empty where the server asks for none.
    #[secret]
    pub password: String,
    /// How the connection is protected; [`SslMode::VerifyFull`] by default.
    #[serde(default)]
    pub ssl_mode: SslMode,
    /// Most connections of a pool; 10 by default.
    #[serde(default = "max_connections")]
    pub max_connections: u32,
    /// Connections a pool keeps open; 1 by default.
    #[serde(default = "min_connections")]
    pub min_connections: u32,
    /// How long to wait for a connection, in seconds, 30 by default; libpq's `connect_timeout`.
    #[serde(default = "connection_timeout")]
    pub connection_timeout: u64,
}

/// What a URL or a stored form that does not say gets. 5432 is PostgreSQL's own; the others are choices of this library.
const PORT: u16 = 5432;
const MAX_CONNECTIONS: u32 = 10;
const MIN_CONNECTIONS: u32 = 1;
const TIMEOUT_SECONDS: u64 = 30;

const fn port() -> u16 {
    PORT
}

const fn max_connections() -> u32 {
    MAX_CONNECTIONS
}

const fn min_connections() -> u32 {
    MIN_CONNECTIONS
}

const fn connection_timeout() -> u64 {
    TIMEOUT_SECONDS
}

/// Longest `connect_timeout`, in seconds: libpq reads it as a C `int`.
const TIMEOUT_SECONDS_MAX: u64 = i32::MAX.unsigned_abs() as u64;

/// The parameters libpq knows and this type has no field for. Only these are named in an error: what stands where a
/// parameter should may be the rest of a password.
const ELSEWHERE: &[&str] = &[
    "application_name",
    "channel_binding",
    "client_encoding",
    "dbname",
    "gssencmode",
    "host",
    "hostaddr",
    "keepalives",
    "krbsrvname",
    "load_balance_hosts",
    "options",
    "passfile",
    "password",
    "port",
    "replication",
    "require_auth",
    "service",
    "sslcert",
    "sslcompression",
    "sslcrl",
    "sslkey",
    "sslnegotiation",
    "sslpassword",
    "sslrootcert",
    "sslsni",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];

impl PostgresCredential {
    /// The URL of the database, in the form libpq reads and other drivers follow; some of them know fewer modes of
    /// `sslmode`.
    ///
    /// It holds the password and is wiped on drop; `&credential.connection_string()` goes where a `&str` is asked
    /// for. The pool sizes are not in it; the timeout is, where it is not the usual 30 seconds.
    pub fn connection_string(&self) -> Zeroizing<String> {
        let texts = [&self.username, &self.password, &self.host, &self.database];
        // Percent-encoding makes three bytes of one; 96 hold the rest. The buffer never grows.
        let capacity = 96 + 3 * texts.iter().map(|text| text.len()).sum::<usize>();
        let mut url = Zeroizing::new(String::with_capacity(capacity));
        url.push_str("postgres://");
        uri::encode_into(&mut url, &self.username);
        url.push(':');
        uri::encode_into(&mut url, &self.password);
        url.push('@');
        if self.host.contains(':') {
            url.push('[');
            url.push_str(&self.host);
            url.push(']');
        } else {
            uri::encode_into(&mut url, &self.host);
        }
        // Writing to a String cannot fail.
        let _ = write!(url, ":{}/", self.port);
        uri::encode_into(&mut url, &self.database);
        let _ = write!(url, "?sslmode={}", self.ssl_mode);
        if self.connection_timeout != TIMEOUT_SECONDS {
            let _ = write!(url, "&connect_timeout={}", self.connection_timeout);
        }
        url
    }

    /// The credential a URL `postgres://user[:password]@host[:port]/database[?parameters]` stands for.
    ///
    /// Without a port it is 5432; without `sslmode` it is `verify-full`, unlike libpq's `prefer`, which falls back to
    /// plain text; the pool holds 1 to 10 connections and waits 30 seconds. Nothing in the URL is ignored.
    ///
    /// # Errors
    /// [`CredentialError::Parse`] or [`CredentialError::Validation`].
    pub fn from_connection_string(conn_str: &str) -> Result<Self, CredentialError> {
        let parts = uri::split(conn_str).map_err(flaw)?;
        if !matches!(parts.scheme, "postgres" | "postgresql") {
            return Err(flaw(
                "does not begin with postgres:// or postgresql://; correct it",
            ));
        }
        if parts.hosts.contains(',') {
            return Err(flaw(
                "names several hosts; name one, or store it as a connection_string credential",
            ));
        }
        let database = parts.path.strip_prefix('/').unwrap_or_default();
        if database.contains('/') {
            // Some parsers resolve `.` and `..` between slashes.
            return Err(flaw("has a '/' in its database; write it as %2F, or remove it"));
        }
        let (host, port) = uri::split_host(parts.hosts).map_err(flaw)?;
        let (username, password) = match parts.userinfo.unwrap_or_default().split_once(':') {
            Some((_, password)) if password.contains(':') => {
                return Err(flaw("has a ':' in its password; write it as %3A"));
            }
            Some(pair) => pair,
            None => (parts.userinfo.unwrap_or_default(), ""),
        };
        let text =
            |part: &str| uri::decode(part).ok_or_else(|| flaw("does not decode to UTF-8 text; correct it"));
        // Wiping buffers first: what was decoded is not left behind when a later part is refused.
        let mut username = text(username)?;
        let mut password = text(password)?;
        let host = text(host)?;
        let database = text(database)?;
        let Parameters { ssl_mode, timeout } = Parameters::read(parts.query).map_err(flaw)?;
        let credential = Self {
            host: host.to_string(),
            port: port.unwrap_or(PORT),
            database: database.to_string(),
            username: std::mem::take(&mut *username),
            password: std::mem::take(&mut *password),
            ssl_mode: ssl_mode.unwrap_or_default(),
            max_connections: MAX_CONNECTIONS,
            min_connections: MIN_CONNECTIONS,
            connection_timeout: timeout.unwrap_or(TIMEOUT_SECONDS),
        };
        credential.check()?;
        Ok(credential)
    }

    fn check(&self) -> Result<(), CredentialError> {
        let bad = |remedy: &'static str| Err(CredentialError::validation(remedy));
        if self.host.is_empty() {
            return bad("host cannot be empty; name it (a Unix socket needs a connection_string credential)");
        }
        if !uri::is_host(&self.host) {
            return bad(
                "host is no host name or address; write it without scheme, user, path and brackets, and the port into \
                 its own field",
            );
        }
        if self.port == 0 {
            return bad("port cannot be 0; PostgreSQL's own is 5432");
        }
        if self.database.is_empty() {
            return bad("database cannot be empty; name it");
        }
        // URL parsers take these for directories and drop them, percent-encoded or not.
        if matches!(self.database.as_str(), "." | "..") {
            return bad("database cannot be '.' or '..'; no URL can name it");
        }
        if self.username.is_empty() {
            return bad("username cannot be empty; name who signs in");
        }
        for (text, remedy) in [
            (&self.database, "database has a NUL character; remove it"),
            (&self.username, "username has a NUL character; remove it"),
            (&self.password, "password has a NUL character; remove it"),
        ] {
            // The protocol ends each of them with one.
            if text.contains('\0') {
                return bad(remedy);
            }
        }
        if self.max_connections == 0 {
            return bad("max_connections must be > 0");
        }
        if self.min_connections > self.max_connections {
            return bad("min_connections cannot exceed max_connections; lower it");
        }
        if self.connection_timeout > TIMEOUT_SECONDS_MAX {
            return bad("connection_timeout is in seconds and at most 2147483647; lower it");
        }
        Ok(())
    }

    fn as_database(&self) -> Result<CredentialValue, CredentialError> {
        Ok(CredentialValue::Database {
            connection_string: secret(&self.connection_string()),
            driver: "postgres".to_owned(),
        })
    }

    fn from_database(value: CredentialValue) -> Result<Self, CredentialError> {
        match value {
            CredentialValue::Database {
                connection_string, ..
            } => Self::from_connection_string(connection_string.expose_secret()),
            _ => Err(CredentialError::type_mismatch(
                "a PostgreSQL credential is made from the value of a database",
            )),
        }
    }
}

fn flaw(what: impl Into<Message>) -> CredentialError {
    CredentialError::parse_error(format!("the connection string {}", what.into()))
}

#[derive(Default)]
struct Parameters {
    ssl_mode: Option<SslMode>,
    timeout: Option<u64>,
}

impl Parameters {
    fn read(query: Option<&str>) -> Result<Self, Message> {
        let mut read = Self::default();
        let pairs = query.into_iter().flat_map(|query| query.split('&'));
        for pair in pairs.filter(|pair| !pair.is_empty()) {
            let (name, value) = pair
                .split_once('=')
                .ok_or("has a parameter without '='; percent-encode '?' and '&' in the password")?;
            let value = uri::decode(value).ok_or("does not decode to UTF-8 text; correct it")?;
            let repeated = match name {
                "sslmode" => read
                    .ssl_mode
                    .replace(value.parse().map_err(|_| SSL_MODES)?)
                    .is_some(),
                "connect_timeout" => read
                    .timeout
                    .replace(value.parse().map_err(|_| SECONDS)?)
                    .is_some(),
                _ => return Err(elsewhere(name)),
            };
            if repeated {
                return Err("gives a parameter twice; keep one".into());
            }
        }
        Ok(read)
    }
}

const SSL_MODES: &str =
    "has an unknown sslmode; use disable, allow, prefer, require, verify-ca or verify-full";
const SECONDS: &str = "has a connect_timeout that is not a number of seconds; correct it";

fn elsewhere(name: &str) -> Message {
    match ELSEWHERE.iter().find(|known| **known == name) {
        Some(known) => format!(
            "has the parameter {known}, which a postgres credential cannot keep; remove it, or store the URL as a \
             connection_string credential"
        )
        .into(),
        None => "has a parameter other than sslmode and connect_timeout; remove it, or store the URL as a \
                 connection_string credential"
            .into(),
    }
}

/// How a connection is protected: the `sslmode` of libpq.
///
/// Only the two `Verify` modes stop an attacker on the way: `Require` encrypts towards whoever answers, and the others
/// go on in plain text when they are made to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// Plain text.
    Disable,
    /// Plain text, or encrypted where the server insists.
    Allow,
    /// Encrypted where the server offers it, or plain text.
    Prefer,
    /// Encrypted; the server may be anyone.
    Require,
    /// Encrypted, and the certificate of the server is signed by a trusted authority.
    VerifyCa,
    /// As `VerifyCa`, and the certificate is for this host. The default.
    #[default]
    VerifyFull,
}

impl SslMode {
    /// Every mode, the weakest first.
    pub const ALL: [Self; 6] = [
        Self::Disable,
        Self::Allow,
        Self::Prefer,
        Self::Require,
        Self::VerifyCa,
        Self::VerifyFull,
    ];

    /// The name libpq gives it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SslMode {
    type Err = CredentialError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mode = Self::ALL.into_iter().find(|mode| mode.as_str() == text);
        mode.ok_or_else(|| {
            CredentialError::parse_error(
                "unknown sslmode; use disable, allow, prefer, require, verify-ca or verify-full",
            )
        })
    }
}
