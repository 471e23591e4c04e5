//! The built-in type has the fields and the interchange form.
use nebula_credential::prelude::*;

fn round_trip() -> Result<AwsCredential, CredentialError> {
    let credential = AwsCredential {
        access_key_id: "AKIAIOSFODNN7EXAMPLE".into(),
        secret_access_key: "not-a-key".into(),
        session_token: None,
        region: "eu-central-1".into(),
        role_arn: None,
        external_id: None,
        expires_at: None,
    };
    credential.validate()?;
    assert_eq!(AwsCredential::credential_type(), "aws");
    let _: (bool, Option<DateTime<Utc>>) = (credential.is_expired(), credential.expires_at());
    AwsCredential::from_value(credential.redact().to_value()?)
}
