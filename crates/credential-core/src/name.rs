//! Names, validated once at the edge and trusted everywhere behind it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::{CredentialError, limits};

/// The rule every name obeys, in words.
const RULE: &str = "use 1-128 lower-case ASCII letters, digits, '.', '_', '-' and '/', starting and ending with \
                    a letter or digit, without '..' or '//'";

/// Checks `text` against the rule. One alphabet, no case, no Unicode: no two names look or sort alike,
/// none is a path out of a directory, and each survives a case-folding backend.
fn check(what: &str, text: &str) -> Result<(), CredentialError> {
    if text.len() > limits::NAME_BYTES {
        return Err(CredentialError::limit(
            "name bytes",
            limits::NAME_BYTES,
            text.len(),
        ));
    }
    let bytes = text.as_bytes();
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let lawful = |b: &u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'/');
    let doubled = |(a, b): (&u8, &u8)| a == b && matches!(a, b'.' | b'/');
    // Both to the end whatever they find: so the processor looks at many bytes at once.
    let all_lawful = bytes.iter().fold(true, |all, b| all & lawful(b));
    let any_doubled = bytes
        .iter()
        .zip(bytes.iter().skip(1))
        .fold(false, |any, pair| any | doubled(pair));
    if edge(bytes.first()) && edge(bytes.last()) && all_lawful && !any_doubled {
        return Ok(());
    }
    Err(CredentialError::invalid_name(format!("{what} {text:?}: {RULE}")))
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        ///
        /// 1-128 bytes of lower-case ASCII letters, digits, `.`, `_`, `-` and `/`; the first and last byte is a
        /// letter or digit; neither `..` nor `//` occurs. Cheap to clone.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and takes `text`.
            ///
            /// # Errors
            /// [`CredentialError::InvalidName`] or [`CredentialError::LimitExceeded`].
            pub fn new(text: impl AsRef<str>) -> Result<Self, CredentialError> {
                let text = text.as_ref();
                check($what, text)?;
                Ok(Self(Arc::from(text)))
            }

            /// The name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = CredentialError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = CredentialError;

            fn try_from(text: &str) -> Result<Self, Self::Error> {
                Self::new(text)
            }
        }
    };
}

name_type!(
    /// Who owns a set of credentials; nothing is read across tenants.
    TenantId,
    "tenant"
);
name_type!(
    /// The part of a tenant a credential belongs to, such as `global` or `workflow/billing`.
    Scope,
    "scope"
);
name_type!(
    /// The name of a credential within its tenant and scope, such as `github_token`.
    CredentialName,
    "credential name"
);

impl Default for TenantId {
    /// The tenant of a program that has only one: `default`.
    fn default() -> Self {
        Self(Arc::from("default"))
    }
}

impl Default for Scope {
    /// The scope of credentials that belong to the whole tenant: `global`.
    fn default() -> Self {
        Self(Arc::from("global"))
    }
}

/// The only address of a credential: tenant, scope and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CredentialRef {
    tenant: TenantId,
    scope: Scope,
    name: CredentialName,
}

impl CredentialRef {
    /// The address made of its three parts.
    pub fn new(tenant: TenantId, scope: Scope, name: CredentialName) -> Self {
        Self { tenant, scope, name }
    }

    /// Who owns the credential.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The part of the tenant it belongs to.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Its name there.
    pub fn name(&self) -> &CredentialName {
        &self.name
    }

    /// Appends the address to `out`, each part behind its length: no two addresses encode alike.
    ///
    /// Each part is one length byte (names are at most 128 bytes) and its bytes: tenant, scope, name.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for part in [self.tenant.as_str(), self.scope.as_str(), self.name.as_str()] {
            // Names hold at most 128 bytes; the fallback cannot be reached and would not decode.
            out.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
            out.extend_from_slice(part.as_bytes());
        }
    }

    /// Reads what [`encode`](Self::encode) wrote; trailing bytes are refused.
    ///
    /// # Errors
    /// [`CredentialError::InvalidName`] when the bytes are not exactly three valid names.
    pub fn decode(bytes: &[u8]) -> Result<Self, CredentialError> {
        let (tenant, rest) = part(bytes)?;
        let (scope, rest) = part(rest)?;
        let (name, rest) = part(rest)?;
        if !rest.is_empty() {
            return Err(malformed());
        }
        Ok(Self::new(
            TenantId::new(tenant)?,
            Scope::new(scope)?,
            CredentialName::new(name)?,
        ))
    }
}

fn part(bytes: &[u8]) -> Result<(&str, &[u8]), CredentialError> {
    let (&length, rest) = bytes.split_first().ok_or_else(malformed)?;
    let (text, rest) = rest.split_at_checked(usize::from(length)).ok_or_else(malformed)?;
    Ok((std::str::from_utf8(text).map_err(|_| malformed())?, rest))
}

fn malformed() -> CredentialError {
    CredentialError::invalid_name("an encoded address is three names, each behind its length byte")
}

impl fmt::Display for CredentialRef {
    /// `tenant:scope:name`; `:` is in no name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.tenant, self.scope, self.name)
    }
}

/// Checks a tag: keys obey the name rule's alphabet, values are printable text.
pub(crate) fn check_tag(key: &str, value: &str) -> Result<(), CredentialError> {
    if key.len() > limits::TAG_KEY_BYTES {
        return Err(CredentialError::limit(
            "tag key bytes",
            limits::TAG_KEY_BYTES,
            key.len(),
        ));
    }
    check("tag key", key)?;
    if value.len() > limits::TAG_VALUE_BYTES {
        return Err(CredentialError::limit(
            "tag value bytes",
            limits::TAG_VALUE_BYTES,
            value.len(),
        ));
    }
    if value.chars().any(|c| c.is_control() || is_invisible(c)) {
        return Err(CredentialError::invalid_name(format!(
            "the value of tag {key:?} holds a control or invisible character; remove it"
        )));
    }
    Ok(())
}

/// Bidirectional controls and zero-width characters: they make a text read as another.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{61c}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lawful_names_are_kept_as_they_are() {
        let longest = "a".repeat(limits::NAME_BYTES);
        for text in ["a", "0", "github_token", "prod/db.main-1", longest.as_str()] {
            assert_eq!(CredentialName::new(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn unlawful_names_are_refused_with_the_rule() {
        let long = "a".repeat(limits::NAME_BYTES + 1);
        let names = [
            "",
            "../x",
            "a/../b",
            "..",
            "a//b",
            "/a",
            "a/",
            "-a",
            "a-",
            "A",
            "a b",
            "a\0",
            "a\n",
            "a\u{430}",
            "\u{430}",
            "a\u{200b}",
            "a%2f",
            "a\\b",
            "a:b",
            long.as_str(),
        ];
        for text in names {
            let error = CredentialName::new(text).unwrap_err();
            let named = matches!(error, CredentialError::LimitExceeded { limit: 128, .. })
                || error.to_string().contains("lower-case ASCII");
            assert!(named, "{text:?}: {error}");
        }
    }

    #[test]
    fn an_address_survives_its_encoding_and_nothing_else_decodes() {
        let address = CredentialRef::new(
            TenantId::new("acme").unwrap(),
            Scope::new("workflow/7").unwrap(),
            CredentialName::new("db").unwrap(),
        );
        let mut bytes = Vec::new();
        address.encode(&mut bytes);
        assert_eq!(CredentialRef::decode(&bytes).unwrap(), address);
        for cut in 0..bytes.len() {
            assert!(CredentialRef::decode(&bytes[..cut]).is_err());
        }
        bytes.push(0);
        assert!(CredentialRef::decode(&bytes).is_err());
    }

    #[test]
    fn tags_refuse_text_that_reads_as_another() {
        assert!(check_tag("team", "Zahlungen & Löhne").is_ok());
        assert!(check_tag("Team", "x").is_err());
        assert!(check_tag("team", "a\u{202e}b").is_err());
        assert!(check_tag("team", "a\nb").is_err());
        assert!(check_tag("team", &"v".repeat(limits::TAG_VALUE_BYTES)).is_ok());
        assert!(check_tag("team", &"v".repeat(limits::TAG_VALUE_BYTES + 1)).is_err());
    }
}
