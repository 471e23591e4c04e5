use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use nebula_credential_core::{
    Credential, CredentialError, CredentialValue, ExposeSecret, FieldInfo, FieldKind, Redact, SecretField,
    SecretString, SecretWriter,
};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::stored;
use crate::text::bearer_header;

/// A signed JSON Web Token (RFC 7519) that someone issued to us.
///
/// Its shape is checked and its expiry is read. **Its signature is not verified**: whoever receives the token does
/// that, and nothing read here proves who issued it.
#[derive(Clone, Redact)]
pub struct JwtCredential {
    /// Header, claims and signature: three parts of base64url behind dots. An unsigned token (`alg` is `none`) is
    /// refused.
    #[secret]
    pub token: SecretString,
}

impl JwtCredential {
    /// The credential of `token`.
    pub fn new(token: impl Into<SecretString>) -> Self {
        Self { token: token.into() }
    }

    /// The value of an `Authorization` header.
    pub fn authorization(&self) -> Zeroizing<String> {
        bearer_header(&self.token)
    }
}

impl Credential for JwtCredential {
    fn credential_type() -> &'static str {
        "jwt"
    }

    fn fields() -> &'static [FieldInfo] {
        const FIELDS: &[FieldInfo] = &[FieldInfo::new("token", FieldKind::Text, true, true)];
        FIELDS
    }

    fn validate(&self) -> Result<(), CredentialError> {
        match read(self.token.expose_secret()) {
            Ok(_) => Ok(()),
            Err(flaw) => Err(CredentialError::validation(format!("token {flaw}"))),
        }
    }

    /// The claim `exp`, where the token is valid and has one.
    fn expires_at(&self) -> Option<DateTime<Utc>> {
        read(self.token.expose_secret()).ok().flatten()
    }

    fn redact(&self) -> Self {
        self.redacted()
    }

    fn to_value(&self) -> Result<CredentialValue, CredentialError> {
        Ok(CredentialValue::Text(self.token.clone()))
    }

    fn from_value(value: CredentialValue) -> Result<Self, CredentialError> {
        match value {
            CredentialValue::Text(token) => Ok(Self { token }),
            _ => Err(CredentialError::type_mismatch("a JWT is made from a text value")),
        }
    }

    fn encode(&self, out: &mut SecretWriter) -> Result<(), CredentialError> {
        stored::encode(self, out)
    }

    fn decode(bytes: &[u8], schema_version: u32) -> Result<Self, CredentialError> {
        stored::decode(bytes, schema_version)
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
}

#[derive(Deserialize)]
struct Claims {
    exp: Option<serde_json::Number>,
}

/// Checks the shape of `token` and reads its expiry; says what is wrong and how to mend it.
fn read(token: &str) -> Result<Option<DateTime<Utc>>, &'static str> {
    let mut parts = token.split('.');
    let (Some(header), Some(claims), Some(signature)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("has not three parts behind dots; paste the whole token");
    };
    match parts.count() {
        0 => {}
        2 => return Err("is an encrypted JWT (five parts); store it as a secret_text credential"),
        _ => return Err("has more than three parts; paste one token"),
    }
    let header: Header = object(header).ok_or(
        "has a header that is not a base64url-encoded JSON object with an alg; paste the whole token",
    )?;
    let claims: Claims = object(claims).ok_or(
        "has claims that are not a base64url-encoded JSON object with a numeric exp; paste the whole token",
    )?;
    if header.alg.is_empty() || header.alg.eq_ignore_ascii_case("none") {
        return Err(
            "is not signed (alg is none): anyone could have written it; ask its issuer for a signed one",
        );
    }
    if signature.is_empty() || decode(signature).is_none() {
        return Err("has a signature that is missing or not base64url; paste the whole token");
    }
    claims.exp.map(|exp| time(&exp)).transpose()
}

/// `NumericDate` (RFC 7519, 2): seconds since 1970, of which a part of a second is dropped.
fn time(exp: &serde_json::Number) -> Result<DateTime<Utc>, &'static str> {
    /// 9999-12-31T23:59:59Z, the last second RFC 3339 can write.
    const LAST: i64 = 253_402_300_799;
    let fault =
        "has an exp outside the years 1970 to 9999; it is in seconds, not milliseconds: ask its issuer";
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a float saturates and then fails the range check"
    )]
    let seconds = exp
        .as_i64()
        .or_else(|| exp.as_f64().map(|float| float.floor() as i64));
    seconds
        .filter(|seconds| (0..=LAST).contains(seconds))
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
        .ok_or(fault)
}

/// A JSON object behind base64url. The brace is checked, for serde takes an array for a struct too.
fn object<T: for<'de> Deserialize<'de>>(part: &str) -> Option<T> {
    let json = decode(part)?;
    if json.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    serde_json::from_slice(&json).ok()
}

fn decode(part: &str) -> Option<Zeroizing<Vec<u8>>> {
    // Sized for the worst case, so that decoding never grows it.
    let mut bytes = Zeroizing::new(Vec::with_capacity(part.len() + 3));
    URL_SAFE_NO_PAD.decode_vec(part, &mut bytes).ok()?;
    Some(bytes)
}
