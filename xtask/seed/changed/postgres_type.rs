//! The built-in type has the fields, the modes and the two conversions.
use nebula_credential::prelude::*;

fn make() -> PostgresCredential {
    PostgresCredential {
        host: "localhost".into(),
        port: 5432,
        database: "mydb".into(),
        username: "admin".into(),
        password: "p@ss/word".into(),
        ssl_mode: SslMode::VerifyFull,
        max_connections: 10,
        min_connections: 1,
        connection_timeout: 30,
    }
}

fn round_trip() -> Result<(), CredentialError> {
    let credential = make();
    credential.validate()?;
    assert_eq!(PostgresCredential::credential_type(), "postgres");
    let url = credential.connection_string();
    let again = PostgresCredential::from_connection_string(&url)?;
    let CredentialValue::Database { connection_string, driver } = again.redact().to_value()? else {
        return Err(CredentialError::type_mismatch("expected a database"));
    };
    let _ = PostgresCredential::from_value(CredentialValue::Database { connection_string, driver })?;
    Ok(())
}

fn every_mode(mode: SslMode) -> bool {
    matches!(
        mode,
        SslMode::Disable | SslMode::Prefer | SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull
    )
}
