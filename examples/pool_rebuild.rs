//! Builds a pool of connections anew whenever its credential changes, while others go on using it.
//!
//! ```console
//! cargo run -p nebula-credential-examples --example pool_rebuild
//! ```

use std::error::Error;
use std::sync::Arc;

use nebula_credential::cache::ChangeKind;
use nebula_credential::prelude::*;
use tokio::sync::watch;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    pool_rebuild().await
}

/// Stands for the pool of a database library, which copies the password it is given.
struct Pool {
    user: String,
    password: SecretString,
    version: Version,
}

impl Pool {
    fn connect(handle: &CredentialHandle<BasicCredential>) -> Result<Arc<Self>, CredentialError> {
        let now = handle.load()?;
        Ok(Arc::new(Self {
            user: now.username.clone(),
            password: now.password.clone(),
            version: now.version(),
        }))
    }
}

async fn pool_rebuild() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let manager = CredentialManager::builder()
        .storage(LocalStorage::new(directory.path().join("secrets")))
        .keys(Keys::key_file(directory.path().join("config/key")))
        .build();
    manager.store("db", BasicCredential::new("app", "one")).await?;

    let handle: CredentialHandle<BasicCredential> = manager.handle("db").await?;
    let mut changes = handle.changes();
    let (current, mut pool) = watch::channel(Some(Pool::connect(&handle)?));
    let keeper = tokio::spawn(async move {
        while let Some(change) = changes.next().await {
            println!("version {}: {}", change.version, change.kind.as_str());
            // Whoever took a connection from the old pool keeps it until it is given back.
            let next = match change.kind {
                // It cannot be had for now. What was made with it may go on, until there is a value again.
                ChangeKind::Suspended => continue,
                ChangeKind::Revoked => None,
                _ => Pool::connect(&handle).ok(),
            };
            current.send_replace(next);
        }
    });

    for password in ["two", "three"] {
        let stored = manager
            .rotate("db", BasicCredential::new("app", password))
            .await?;
        let caught_up =
            |pool: &Option<Arc<Pool>>| pool.as_ref().is_some_and(|pool| pool.version == stored.version);
        let now = pool
            .wait_for(caught_up)
            .await?
            .clone()
            .ok_or("the pool is gone")?;
        println!("   the pool of {} is at version {}", now.user, now.version);
        assert_eq!(now.password.expose_secret(), password);
    }
    manager.delete("db").await?;
    pool.wait_for(Option::is_none).await?;
    keeper.await?;
    println!("   and now it is closed");
    Ok(())
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn it_runs() {
        super::pool_rebuild().await.unwrap();
    }
}
