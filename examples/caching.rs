//! Serves values from memory, and still never serves one that was replaced, by whichever process.
//!
//! ```console
//! cargo run -p nebula-credential-examples --example caching
//! ```

use std::error::Error;
use std::time::Duration;

use nebula_credential::cache::CacheLayer;
use nebula_credential::prelude::*;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    caching().await
}

async fn caching() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let builder = || {
        CredentialManager::builder()
            .storage(LocalStorage::new(directory.path().join("secrets")))
            .keys(Keys::key_file(directory.path().join("config/key")))
    };
    let cache = CacheLayer::builder()
        .ttl(Duration::from_secs(300))
        // While the store cannot be reached, values are served for up to a minute longer.
        .stale_if_error(Duration::from_secs(60));
    let ours = builder().cache(cache).build();
    // Shares nothing with the first but the files, as another process would.
    let theirs = builder().build();

    ours.store("db", BasicCredential::new("app", "one")).await?;
    for _ in 0..1000 {
        let db: BasicCredential = ours.get("db").await?;
        assert_eq!(db.password.expose_secret(), "one");
    }
    println!("1,000 reads: {:?}", ours.cache_stats().unwrap_or_default());

    let rotated = theirs.rotate("db", BasicCredential::new("app", "two")).await?;
    let db: BasicCredential = ours.get("db").await?;
    assert_eq!(db.password.expose_secret(), "two");
    println!(
        "the other manager rotated it, and the next read got version {}",
        rotated.version
    );

    // The database refuses the password: whoever changed it there has not stored it here yet. Keep no copy of it.
    ours.rejected("db", rotated.version)?;
    ours.get::<BasicCredential>("db").await?;
    let stats = ours.cache_stats().unwrap_or_default();
    println!("in the end: {stats:?}");
    assert_eq!((stats.hits, stats.misses), (999, 3));

    // What takes credentials from anywhere takes them from a manager as well. This one keeps them decoded.
    let provider = theirs.provider::<BasicCredential>();
    let cached = CachedCredentialProvider::new(provider, 100, Duration::from_secs(300));
    for _ in 0..1000 {
        let db = cached.get("db").await?;
        assert_eq!(db.credential_type(), "basic");
    }
    println!("through a provider: {:?}", cached.stats());
    assert_eq!((cached.stats().hits, cached.stats().misses), (999, 1));
    Ok(())
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn it_runs() {
        super::caching().await.unwrap();
    }
}
