//! What the overview shows beyond the Quick Start, as a program that takes only the facade would write it.

use nebula_credential::Principal;
use nebula_credential::crypto::CredentialEncryption;
use nebula_credential::prelude::*;
use tempfile::TempDir;

#[derive(Credential)]
struct GitHubCredential {
    #[secret]
    personal_access_token: String,
    username: String,
}

fn github(token: &str) -> GitHubCredential {
    GitHubCredential {
        personal_access_token: token.into(),
        username: "octocat".into(),
    }
}

fn aws(expires_at: Option<DateTime<Utc>>) -> AwsCredential {
    AwsCredential {
        access_key_id: "AKIAIOSFODNN7EXAMPLE".into(),
        secret_access_key: "wJalrXUtnFEMI/K7MDENG".into(),
        session_token: None,
        region: "eu-central-1".into(),
        role_arn: None,
        external_id: None,
        expires_at,
    }
}

fn postgres() -> PostgresCredential {
    PostgresCredential {
        host: "db.example.com".into(),
        port: 5433,
        database: "billing".into(),
        username: "al:ice".into(),
        password: "p@ss/w%rd".into(),
        ssl_mode: SslMode::VerifyFull,
        max_connections: 10,
        min_connections: 1,
        connection_timeout: 30,
    }
}

fn manager(directory: &TempDir) -> CredentialManager {
    CredentialManager::builder()
        .storage(LocalStorage::new(directory.path().join("secrets")))
        .keys(Keys::key_file(directory.path().join("config").join("key")))
        .build()
}

#[tokio::test]
async fn several_credentials_are_stored_and_used_as_one() {
    let directory = tempfile::tempdir().unwrap();
    let manager = manager(&directory);
    let composite = CompositeCredential::new()
        .add("aws", aws(None))
        .add("github", github("ghp_1"));
    manager.store("multi_service", composite).await.unwrap();

    let context = manager
        .context(Principal::Process)
        .allow("multi_service")
        .unwrap();
    let composite: CompositeCredential = context.get_credential("multi_service").await.unwrap();
    let keys: &AwsCredential = composite.get("aws").unwrap();
    let github: &GitHubCredential = composite.get("github").unwrap();
    assert_eq!(
        (keys.region.as_str(), github.personal_access_token.as_str()),
        ("eu-central-1", "ghp_1")
    );
    assert!(
        composite
            .get::<AwsCredential>("slack")
            .unwrap_err()
            .is_not_found()
    );
    assert!(matches!(
        composite.get::<AwsCredential>("github"),
        Err(CredentialError::TypeMismatch { .. })
    ));
}

#[tokio::test]
async fn a_database_is_reached_by_the_url_of_what_was_stored() {
    let directory = tempfile::tempdir().unwrap();
    let manager = manager(&directory);
    manager.store("postgres", postgres()).await.unwrap();
    let read: PostgresCredential = manager.get("postgres").await.unwrap();
    let url = read.connection_string();
    assert!(
        url.starts_with("postgres://al%3Aice:p%40ss%2Fw%25rd@db.example.com:5433/billing?"),
        "{}",
        *url
    );
    let again = PostgresCredential::from_connection_string(&url).unwrap();
    assert_eq!(
        (again.username.as_str(), again.password.as_str()),
        ("al:ice", "p@ss/w%rd")
    );
    assert_eq!(again.ssl_mode, SslMode::VerifyFull);
}

#[test]
fn a_redacted_value_keeps_what_is_public_and_nothing_of_a_secret() {
    let redacted = postgres().redact();
    assert_eq!(
        (redacted.username.as_str(), redacted.password.as_str()),
        ("[REDACTED]", "[REDACTED]")
    );
    assert_eq!((redacted.host.as_str(), redacted.port), ("db.example.com", 5433));
    let redacted = aws(None).redact();
    assert_eq!(redacted.access_key_id, "[REDACTED]");
    assert_eq!(redacted.region, "eu-central-1");
}

#[test]
fn bytes_and_credentials_are_encrypted_under_a_key_and_under_a_password() {
    let encryption = CredentialEncryption::new(&[7; 32]);
    let encrypted = encryption.encrypt(b"sensitive_data").unwrap();
    assert!(!encrypted.windows(14).any(|part| part == b"sensitive_data"));
    assert_eq!(encryption.decrypt(&encrypted).unwrap(), b"sensitive_data");

    let under_password = CredentialEncryption::from_password("correct horse", &[9; 16]).unwrap();
    let text = under_password.encrypt_credential(&github("ghp_1")).unwrap();
    let read: GitHubCredential = under_password.decrypt_credential(&text).unwrap();
    assert_eq!(
        (read.personal_access_token.as_str(), read.username.as_str()),
        ("ghp_1", "octocat")
    );
    assert!(encryption.decrypt_credential::<GitHubCredential>(&text).is_err());
}

/// The trait by hand, every method, with a plain `async fn refresh`.
#[derive(Serialize, Deserialize)]
struct Counted {
    refreshes: u32,
    expires_at: Option<DateTime<Utc>>,
}

impl Credential for Counted {
    nebula_credential::serde_codec!();

    fn credential_type() -> &'static str {
        "counted"
    }

    fn validate(&self) -> Result<(), CredentialError> {
        if self.refreshes > 9 {
            return Err(CredentialError::validation(
                "refreshes is over 9; authenticate anew",
            ));
        }
        Ok(())
    }

    fn expires_at(&self) -> Option<DateTime<Utc>> {
        self.expires_at
    }

    async fn refresh(&mut self) -> Result<(), CredentialError> {
        self.refreshes += 1;
        self.expires_at = None;
        Ok(())
    }

    fn redact(&self) -> Self {
        Self {
            refreshes: self.refreshes,
            expires_at: self.expires_at,
        }
    }

    fn to_value(&self) -> Result<CredentialValue, CredentialError> {
        Ok(CredentialValue::Text(self.refreshes.to_string().into()))
    }

    fn from_value(value: CredentialValue) -> Result<Self, CredentialError> {
        match value {
            CredentialValue::Text(text) => {
                let count = text.expose_secret().parse();
                let refreshes = count.map_err(|_| CredentialError::type_mismatch("expected a number"))?;
                Ok(Self {
                    refreshes,
                    expires_at: None,
                })
            }
            _ => Err(CredentialError::type_mismatch("expected text")),
        }
    }
}

#[tokio::test]
async fn a_credential_written_by_hand_is_refreshed_stored_and_converted() {
    let directory = tempfile::tempdir().unwrap();
    let manager = manager(&directory);
    let mut counted = Counted {
        refreshes: 0,
        expires_at: Some(DateTime::UNIX_EPOCH),
    };
    assert!(counted.is_expired());
    counted.refresh().await.unwrap();
    assert!(!counted.is_expired());
    manager.store("counted", counted).await.unwrap();
    let read: Counted = manager.get("counted").await.unwrap();
    assert_eq!((read.refreshes, read.expires_at), (1, None));
    assert_eq!(
        Counted::from_value(read.to_value().unwrap()).unwrap().refreshes,
        1
    );
    assert!(Counted::from_value(postgres().to_value().unwrap()).is_err());

    let worn = Counted {
        refreshes: 10,
        expires_at: None,
    };
    assert!(manager.store("worn", worn).await.is_err());
    assert!(!manager.exists("worn").await.unwrap());
}

#[test]
fn what_a_plain_struct_logs_a_credential_does_not() {
    #[derive(Debug)]
    struct Plain {
        _api_key: &'static str,
    }

    let hardcoded = "sk_live_ABC123DEF456";
    assert!(format!("{:?}", Plain { _api_key: hardcoded }).contains(hardcoded));
    let cred = ApiKeyCredential {
        api_key: hardcoded.into(),
        endpoint: "https://api.example.com".into(),
    };
    let logged = format!("{cred:?}");
    assert!(
        !logged.contains("sk_live") && logged.contains("[REDACTED]"),
        "{logged}"
    );
    assert!(logged.contains("https://api.example.com"));
}

#[tokio::test]
async fn metadata_tells_state_version_and_times_without_the_key() {
    let directory = tempfile::tempdir().unwrap();
    let manager = manager(&directory);
    let stored = manager.store("github", github("one")).await.unwrap();
    let rotated = manager.rotate("github", github("two")).await.unwrap();
    let CredentialMetadata {
        name,
        state,
        version,
        created_at,
        updated_at,
        expires_at,
        tags,
        ..
    } = manager.metadata("github").await.unwrap();
    assert_eq!(
        (name.as_str(), state, version),
        ("github", CredentialState::Active, rotated.version)
    );
    assert_eq!(created_at, stored.created_at);
    assert!(updated_at >= created_at && expires_at.is_none() && tags.is_empty());
}
