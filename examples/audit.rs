//! Records who did what, shows the records, and finds the one that was altered.
//!
//! ```console
//! cargo run -p nebula-credential-examples --example audit
//! ```

use std::error::Error;

use nebula_credential::audit::{AuditSeed, VerifyWith, entries, verify};
use nebula_credential::prelude::*;
use nebula_credential::{CredentialName, Principal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    audit().await
}

async fn audit() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("audit.log");
    let manager = CredentialManager::builder()
        .storage(LocalStorage::new(directory.path().join("secrets")))
        .keys(Keys::key_file(directory.path().join("config/key")))
        .audit_log(AuditLogger::new(&path))
        .build();
    manager
        .store("db", BasicCredential::new("app", "s3cret-example"))
        .await?;
    let alice = manager.with_principal(Principal::User(CredentialName::new("alice")?));
    alice.get::<BasicCredential>("db").await?;
    alice.get::<BasicCredential>("payroll").await.err();

    for entry in entries(&path)? {
        let entry = entry?;
        println!(
            "{:>2} {} {:<10} {:<8} {:<8} {} {}",
            entry.seq,
            entry.time.format("%H:%M:%S%.3f"),
            entry.event,
            entry.stage,
            entry.principal.unwrap_or_default(),
            entry.name.unwrap_or_default(),
            entry.outcome.unwrap_or_default(),
        );
    }
    let text = std::fs::read_to_string(&path)?;
    assert!(!text.contains("s3cret-example"), "no value is ever recorded");

    // In a program the seed is taken away when the log is begun, to where the log is verified.
    let seed = AuditSeed::parse(&std::fs::read_to_string(directory.path().join("audit.log.seed"))?)?;
    let found = verify(&path, VerifyWith::Seed(&seed), None)?;
    println!("{} records, intact: {}", found.records, found.is_intact());
    assert!(found.is_intact());

    // Mallory was here instead.
    std::fs::write(&path, text.replace("user:alice", "user:mallo"))?;
    let found = verify(&path, VerifyWith::Seed(&seed), None)?;
    let problem = found.problem.ok_or("it must be found")?;
    println!("altered: line {}, {}", problem.line, problem.fault.as_str());
    Ok(())
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn it_runs() {
        super::audit().await.unwrap();
    }
}
