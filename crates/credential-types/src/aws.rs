use chrono::{DateTime, Utc};
use nebula_credential_core::{Credential, CredentialError, CredentialValue, ExposeSecret};

use crate::text::{is_unbroken, secret};

/// AWS access keys, and the role to assume with them if there is one.
///
/// The shapes are those of the IAM and STS API references. Stores that speak the S3 protocol and name their keys
/// otherwise are served by a [`KeyValueCredential`](crate::KeyValueCredential).
#[derive(Clone, Credential)]
#[credential(type = "aws", validate = Self::check, to_value = Self::as_aws, from_value = Self::from_aws)]
pub struct AwsCredential {
    /// 16-128 ASCII letters, digits and `_`.
    #[secret]
    pub access_key_id: String,
    /// The secret access key.
    #[secret]
    pub secret_access_key: String,
    /// What temporary keys need beside them.
    #[secret]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_token: Option<String>,
    /// Such as `eu-central-1`. It becomes part of host names, so it is lower-case letters, digits and `-`.
    pub region: String,
    /// The role to assume: `arn:PARTITION:iam::ACCOUNT:role/NAME`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role_arn: Option<String>,
    /// What the owner of the role asks for before it may be assumed; 2-1224 characters.
    #[secret]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// When temporary keys expire.
    #[credential(expires_at)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
}

impl AwsCredential {
    fn check(&self) -> Result<(), CredentialError> {
        let bad = |remedy: &'static str| Err(CredentialError::validation(remedy));
        let id = &self.access_key_id;
        if id.is_empty() {
            return bad("access_key_id cannot be empty; paste it");
        }
        if !(16..=128).contains(&id.len()) || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return bad(
                "access_key_id is not 16-128 ASCII letters, digits and '_'; paste it whole, without spaces",
            );
        }
        if self.secret_access_key.is_empty() {
            return bad("secret_access_key cannot be empty; paste it");
        }
        if !is_unbroken(&self.secret_access_key) {
            return bad(
                "secret_access_key has white space or a control character; remove it, also at the ends",
            );
        }
        if let Some(token) = &self.session_token
            && (token.is_empty() || !is_unbroken(token))
        {
            return bad("session_token is empty or has white space in it; paste it whole, or leave it out");
        }
        if !is_region(&self.region) {
            return bad("region is not lower-case letters, digits and '-'; write it like eu-central-1");
        }
        if let Some(arn) = &self.role_arn
            && !is_role_arn(arn)
        {
            return bad("role_arn is no role; write it like arn:aws:iam::123456789012:role/NAME");
        }
        if let Some(id) = &self.external_id
            && !is_external_id(id)
        {
            return bad(
                "external_id is not 2-1224 ASCII letters, digits and _+=,.@:/-; correct it, or leave it out",
            );
        }
        Ok(())
    }

    fn as_aws(&self) -> Result<CredentialValue, CredentialError> {
        Ok(CredentialValue::Aws {
            access_key_id: secret(&self.access_key_id),
            secret_access_key: secret(&self.secret_access_key),
            session_token: self.session_token.as_deref().map(secret),
            region: self.region.clone(),
        })
    }

    fn from_aws(value: CredentialValue) -> Result<Self, CredentialError> {
        match value {
            CredentialValue::Aws {
                access_key_id,
                secret_access_key,
                session_token,
                region,
            } => Ok(Self {
                access_key_id: access_key_id.expose_secret().to_owned(),
                secret_access_key: secret_access_key.expose_secret().to_owned(),
                session_token: session_token.map(|token| token.expose_secret().to_owned()),
                region,
                role_arn: None,
                external_id: None,
                expires_at: None,
            }),
            _ => Err(CredentialError::type_mismatch(
                "an AWS credential is made from a value with AWS access keys",
            )),
        }
    }
}

/// A label of a host name (RFC 1123): `sts.REGION.amazonaws.com` must stay within amazonaws.com.
fn is_region(text: &str) -> bool {
    let is_inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-')
        && text.bytes().all(is_inner)
}

/// STS `AssumeRole`: 20-2048 characters; the parts are those of the IAM reference of ARNs.
fn is_role_arn(text: &str) -> bool {
    let mut parts = text.splitn(6, ':');
    let mut next = || parts.next().unwrap_or_default();
    let (arn, partition, service, region, account, role) = (next(), next(), next(), next(), next(), next());
    (20..=2048).contains(&text.len())
        && arn == "arn"
        && is_region(partition)
        && service == "iam"
        && region.is_empty()
        && account.len() == 12
        && account.bytes().all(|b| b.is_ascii_digit())
        && role.strip_prefix("role/").is_some_and(|name| !name.is_empty())
        && is_unbroken(role)
}

/// STS `AssumeRole`, `ExternalId`.
fn is_external_id(text: &str) -> bool {
    (2..=1224).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&b))
}
