//! Imports a `.env` and a JSON file into an encrypted store, and shows what a store does.
//!
//! ```console
//! cargo run -p nebula-credential-examples --example quickstart [-- FILE.env FILE.json]
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use nebula_credential::prelude::*;
use nebula_credential::{Phase, Plaintext, decode_credential};
use serde_json::value::RawValue;

/// A type of our own: the derive is all it needs.
#[derive(Credential)]
struct GithubCredential {
    #[secret]
    personal_access_token: String,
    username: String,
}

/// One entry of the JSON file.
#[derive(Deserialize)]
struct Entry<'a> {
    r#type: String,
    #[serde(borrow)]
    value: &'a RawValue,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut paths = std::env::args_os().skip(1).map(PathBuf::from);
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    let env_file = paths.next().unwrap_or_else(|| samples.join("sample.env"));
    let json_file = paths.next().unwrap_or_else(|| samples.join("credentials.json"));
    quickstart(&env_file, &json_file).await
}

async fn quickstart(env_file: &Path, json_file: &Path) -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let store = directory.path().join("secrets");
    let key_file = directory.path().join("config/key");
    let open = || {
        CredentialManager::builder()
            .storage(LocalStorage::new(&store))
            .keys(Keys::key_file(&key_file))
            .build()
    };

    println!("1. Import {} and {}", env_file.display(), json_file.display());
    let manager = open();
    let mut secrets = import_env(&manager, env_file).await?;
    secrets.extend(import_json(&manager, json_file).await?);

    println!("\n2. Rotate the first credential, roll it back, list its versions");
    let name = manager
        .list()
        .await?
        .into_iter()
        .next()
        .ok_or("the files hold no credential")?;
    let before = manager.get_raw(&name).await?;
    secrets.push(rotate(&manager, &name).await?);
    let rotated = manager.get_raw(&name).await?;
    let back = manager.rollback(&name).await?;
    let after = manager.get_raw(&name).await?;
    println!(
        "   {name}: rotated, then rolled back; the current version is {}",
        back.version
    );
    assert!(rotated.expose() != before.expose() && after.expose() == before.expose());
    for version in manager.versions(&name).await? {
        let mark = if version.current { "*" } else { " " };
        println!(
            "   {mark} version {} of {}, {}",
            version.version,
            version.created_at,
            version.phase.map_or("superseded", Phase::as_str)
        );
    }

    println!("\n3. Open the store a second time");
    drop(manager);
    let manager = open();
    for name in manager.list().await? {
        let known = manager.metadata(&name).await?;
        println!(
            "   {name}: {} version {}, {}",
            known.credential_type, known.version, known.state
        );
    }
    assert_eq!(manager.get_raw(&name).await?.expose(), before.expose());

    println!("\n4. Search the files for the {} secrets", secrets.len());
    for file in files(&store)? {
        let bytes = std::fs::read(&file)?;
        let found = secrets
            .iter()
            .filter(|s| holds(&bytes, s.expose_secret().as_bytes()))
            .count();
        let file = file.strip_prefix(directory.path())?.display().to_string();
        println!("   {file}: {} bytes, {found} secrets", bytes.len());
        if found > 0 {
            return Err("a secret lies in the clear".into());
        }
    }
    println!("\nNone of them is there.");
    Ok(())
}

/// Stores each variable under its name in lower case, as the type its name and value suggest.
async fn import_env(manager: &CredentialManager, path: &Path) -> Result<Vec<SecretString>, Box<dyn Error>> {
    let mut secrets = Vec::new();
    for variable in dotenvy::from_path_iter(path).map_err(|_| "cannot read the .env file")? {
        // The library's error quotes the line.
        let (key, value) = variable.map_err(|_| "a line of the .env file is not KEY=VALUE")?;
        let name = key.to_lowercase();
        let secret = SecretString::from(value);
        if secret.expose_secret().contains("://") {
            let cred = ConnectionStringCredential::new(secret.clone());
            println!("   {name}: {cred:?}");
            manager.store(&name, cred).await?;
        } else {
            let cred = SecretTextCredential::new(secret.clone());
            println!("   {name}: {cred:?}");
            manager.store(&name, cred).await?;
        }
        secrets.push(secret);
    }
    Ok(secrets)
}

/// Stores each entry as the type it names.
async fn import_json(manager: &CredentialManager, path: &Path) -> Result<Vec<SecretString>, Box<dyn Error>> {
    let text = SecretString::from(std::fs::read_to_string(path)?);
    let entries: BTreeMap<String, Entry<'_>> = serde_json::from_str(text.expose_secret())
        .map_err(|_| "the JSON file is not an object of {\"type\": …, \"value\": …} entries")?;
    let mut secrets = Vec::new();
    for (name, entry) in &entries {
        match entry.r#type.as_str() {
            "github" => store::<GithubCredential>(manager, name, entry).await?,
            "postgres" => store::<PostgresCredential>(manager, name, entry).await?,
            "aws" => store::<AwsCredential>(manager, name, entry).await?,
            "basic" => store::<BasicCredential>(manager, name, entry).await?,
            other => return Err(format!("{name}: unknown type {other:?}").into()),
        }
        secrets.extend(secret_texts(entry.value));
    }
    Ok(secrets)
}

async fn store<C: Credential + std::fmt::Debug>(
    manager: &CredentialManager,
    name: &str,
    entry: &Entry<'_>,
) -> Result<(), CredentialError> {
    let cred: C = decode_credential(&Plaintext::new(entry.value.get().into()), C::schema_version())?;
    println!("   {name}: {cred:?}");
    manager.store(name, cred).await?;
    Ok(())
}

/// Puts a new value in the place of a credential, of whatever type it is; returns the new secret.
async fn rotate(manager: &CredentialManager, name: impl AsRef<str>) -> Result<SecretString, Box<dyn Error>> {
    let name = name.as_ref();
    let fresh = "rotated-8c2f41d09be7";
    match manager.metadata(name).await?.credential_type.as_str() {
        "aws" => {
            let mut cred: AwsCredential = manager.get(name).await?;
            cred.secret_access_key = fresh.into();
            manager.rotate(name, cred).await?
        }
        "secret_text" => manager.rotate(name, SecretTextCredential::new(fresh)).await?,
        "connection_string" => {
            manager
                .rotate(
                    name,
                    ConnectionStringCredential::new(format!("redis://:{fresh}@cache")),
                )
                .await?
        }
        other => return Err(format!("this example does not know how to rotate {other:?}").into()),
    };
    Ok(fresh.into())
}

/// The texts of the fields of a JSON object that look like secrets.
fn secret_texts(value: &RawValue) -> Vec<SecretString> {
    let fields: BTreeMap<String, serde_json::Value> = serde_json::from_str(value.get()).unwrap_or_default();
    let secret = |(name, value): (String, serde_json::Value)| {
        let marked = ["token", "password", "secret", "key"]
            .iter()
            .any(|word| name.contains(word));
        value.as_str().filter(|_| marked).map(SecretString::from)
    };
    fields.into_iter().filter_map(secret).collect()
}

fn files(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    std::fs::read_dir(directory)?
        .map(|entry| Ok(entry?.path()))
        .collect()
}

fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_runs_on_the_samples() {
        let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
        quickstart(&samples.join("sample.env"), &samples.join("credentials.json"))
            .await
            .unwrap();
    }
}
