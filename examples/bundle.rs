//! Hands credentials to a store with another key: export, seal, open, import.
//!
//! ```console
//! cargo run -p nebula-credential-examples --example bundle
//! ```

use std::error::Error;
use std::path::Path;

use nebula_credential::crypto::{Bundle, Passphrase};
use nebula_credential::prelude::*;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    bundle().await
}

async fn bundle() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let store = |name: &str| {
        CredentialManager::builder()
            .storage(LocalStorage::new(directory.path().join(name)))
            .keys(Keys::key_file(directory.path().join("keys").join(name)))
            .build()
    };
    let (alice, bob) = (store("alice"), store("bob"));
    let end = "2099-12-31T23:59:59Z".parse()?;
    let tags = Tags::from_pairs([("team", "web")])?;
    alice
        .store("prod/db", BasicCredential::new("app", "s3cret"))
        .tags(tags)
        .await?;
    alice
        .store("token", BearerCredential::new("mF_9.B5f-4.1JqM"))
        .expires_at(end)
        .await?;

    // Alice. The passphrase goes to Bob by another way than the file.
    let bundle = alice.export(["prod/db", "token"]).await?;
    let sealed = seal(bundle, "correct horse battery staple").await?;
    let file = directory.path().join("all.ncb");
    std::fs::write(&file, &sealed)?;
    println!("{} bytes, which show nothing but their number", sealed.len());
    assert!(
        !sealed
            .windows(7)
            .any(|window| window == b"prod/db" || window == b"s3cret\"")
    );

    // Bob.
    let wrong = open(&file, "incorrect horse battery staple").await;
    println!("another passphrase: {}", wrong.err().ok_or("it must not open")?);
    let bundle = open(&file, "correct horse battery staple").await?;
    println!(
        "exported {} from {}:{}",
        bundle.exported_at(),
        bundle.tenant(),
        bundle.scope()
    );
    for credential in bundle.credentials() {
        let stored = bob.import(&credential.name, credential).if_absent().await?;
        println!(
            "   {} ({}), {:?}",
            stored.name, stored.credential_type, stored.tags
        );
    }
    let db: BasicCredential = bob.get("prod/db").await?;
    assert_eq!(db.password.expose_secret(), "s3cret");
    assert_eq!(bob.metadata("token").await?.expires_at, Some(end));
    Ok(())
}

/// Argon2id takes a third of a second: not on a thread that others wait for.
async fn seal(bundle: Bundle, passphrase: &'static str) -> Result<Vec<u8>, Box<dyn Error>> {
    Ok(tokio::task::spawn_blocking(move || bundle.seal(&Passphrase::new(passphrase))).await??)
}

async fn open(file: &Path, passphrase: &'static str) -> Result<Bundle, Box<dyn Error>> {
    let sealed = std::fs::read(file)?;
    Ok(tokio::task::spawn_blocking(move || Bundle::open(&sealed, &Passphrase::new(passphrase))).await??)
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn it_runs() {
        super::bundle().await.unwrap();
    }
}
