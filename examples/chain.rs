//! Falls back: from one credential to the next, and from one store to the next.
//!
//! ```console
//! cargo run -p nebula-credential-examples --example chain
//! ```

use std::error::Error;

use nebula_credential::StoreHandle;
use nebula_credential::prelude::*;
use nebula_credential::resilience::FallbackStore;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    chain().await
}

fn aws(region: &str, expires_at: Option<DateTime<Utc>>) -> AwsCredential {
    AwsCredential {
        access_key_id: "AKIAIOSFODNN7EXAMPLE".into(),
        secret_access_key: "not-a-key".into(),
        session_token: None,
        region: region.into(),
        role_arn: None,
        external_id: None,
        expires_at,
    }
}

async fn chain() -> Result<(), Box<dyn Error>> {
    // Credentials for one purpose: the first that has the right shape and has not expired.
    let chain = CredentialChain::new()
        .add("primary", aws("eu-central-1", Some(DateTime::UNIX_EPOCH)))
        .add("backup", aws("", None))
        .add("fallback", aws("eu-west-1", None));
    let (name, active) = chain.first_valid()?;
    println!("{name} of {chain:?}");
    assert_eq!((name, active.credential_type()), ("fallback", "aws"));

    // Stores: only what the first says is absent is looked for in the second.
    let directory = tempfile::tempdir()?;
    let store = |name: &str| StoreHandle::new(LocalStorage::new(directory.path().join(name)));
    let manager = |store| {
        CredentialManager::builder()
            .storage_handle(store)
            .keys(Keys::key_file(directory.path().join("config/key")))
            .key_ring_dir(directory.path().join("ring"))
            .build()
    };
    let (team, company) = (store("team"), store("company"));
    let shared = manager(company.clone());
    shared
        .store("smtp", BasicCredential::new("mail", "of the company"))
        .await?;
    shared
        .store("db", BasicCredential::new("app", "of the company"))
        .await?;
    let ours = manager(StoreHandle::new(
        FallbackStore::new("team", team).then("company", company),
    ));
    ours.store("db", BasicCredential::new("app", "of the team"))
        .if_version(Version::FIRST)
        .await?;
    ours.store("wiki", BasicCredential::new("bot", "of the team"))
        .await?;
    for name in ours.list().await? {
        let found: BasicCredential = ours.get(&name).await?;
        println!("   {name}: {}", found.password.expose_secret());
    }
    // A change goes to the store that has the credential, a new one into the first.
    assert_eq!(shared.list().await?.len(), 2);
    let db: BasicCredential = shared.get("db").await?;
    assert_eq!(db.password.expose_secret(), "of the team");
    Ok(())
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn it_runs() {
        super::chain().await.unwrap();
    }
}
