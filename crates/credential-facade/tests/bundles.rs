//! Bundles between two stores with different keys, as a program that takes only the facade would write it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use nebula_credential::crypto::{Bundle, BundledCredential, KeyFile, Passphrase};
use nebula_credential::prelude::*;
use nebula_credential::{
    Clock as _, CredentialName, Phase, Plaintext, Scope, SystemClock, TenantId, VersionHead,
};
use tempfile::TempDir;

/// A type that only this program knows.
#[derive(Credential)]
struct DeployKey {
    #[secret]
    seed: String,
    host: String,
}

struct Place {
    manager: CredentialManager,
    _directory: TempDir,
}

fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let manager = CredentialManager::builder()
        .storage(LocalStorage::new(directory.path().join("secrets")))
        .keys(Keys::key_file(directory.path().join("config/key")))
        .build();
    Place {
        manager,
        _directory: directory,
    }
}

fn key() -> KeyFile {
    KeyFile::from_key(&mut [7; 32]).unwrap()
}

#[tokio::test]
async fn what_was_exported_is_stored_elsewhere_as_it_was() {
    let (here, there) = (place(), place());
    let end = "2099-12-31T23:59:59Z".parse().unwrap();
    let tags = Tags::from_pairs([("team", "web")]).unwrap();
    let seed = DeployKey {
        seed: "hunter2".into(),
        host: "example.com".into(),
    };
    here.manager
        .store("deploy", seed)
        .tags(tags)
        .expires_at(end)
        .await
        .unwrap();
    here.manager
        .store("db", BasicCredential::new("app", "old"))
        .await
        .unwrap();
    here.manager
        .rotate("db", BasicCredential::new("app", "new"))
        .await
        .unwrap();

    // A name that stands there twice is one credential.
    let bundle = here.manager.export(["deploy", "db", "db"]).await.unwrap();
    let sealed = bundle.seal(&key()).unwrap();
    let bundle = Bundle::open(&sealed, &key()).unwrap();
    assert_eq!(
        (bundle.tenant(), bundle.scope()),
        (&TenantId::default(), &Scope::default())
    );
    assert_eq!(bundle.credentials().len(), 2);
    for credential in bundle.credentials() {
        there
            .manager
            .import(&credential.name, credential)
            .if_absent()
            .await
            .unwrap();
    }

    let deploy: DeployKey = there.manager.get("deploy").await.unwrap();
    assert_eq!(
        (deploy.seed.as_str(), deploy.host.as_str()),
        ("hunter2", "example.com")
    );
    let known = there.manager.metadata("deploy").await.unwrap();
    assert_eq!(known.expires_at, Some(end));
    assert_eq!(known.tags.get("team").map(String::as_str), Some("web"));
    let db: BasicCredential = there.manager.get("db").await.unwrap();
    assert_eq!(db.password.expose_secret(), "new");
    // The version was the second there and is the first here.
    assert_eq!(bundle.credentials()[0].version.version.get(), 2);
    assert_eq!(
        there.manager.metadata("db").await.unwrap().version,
        Version::FIRST
    );

    let again = there
        .manager
        .import("db", &bundle.credentials()[0])
        .if_absent()
        .await;
    assert!(again.unwrap_err().is_conflict());
    let replaced = there
        .manager
        .import("db", &bundle.credentials()[0])
        .await
        .unwrap();
    assert_eq!(replaced.version.get(), 2);
    let renamed = there
        .manager
        .import("db/old", &bundle.credentials()[0])
        .await
        .unwrap();
    assert_eq!(renamed.version, Version::FIRST);
}

#[tokio::test]
async fn a_name_that_is_not_there_makes_no_bundle() {
    let here = place();
    here.manager
        .store("db", BasicCredential::new("app", "pw"))
        .await
        .unwrap();
    assert!(
        here.manager
            .export(["db", "dbb"])
            .await
            .unwrap_err()
            .is_not_found()
    );
    assert!(here.manager.export(["No Name"]).await.is_err());
    here.manager.delete("db").await.unwrap();
    assert!(here.manager.export(["db"]).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn what_was_revoked_is_revoked_elsewhere_too_and_what_was_in_use_is_in_use() {
    let there = place();
    let now = SystemClock.now();
    for (phase, expected) in [
        (Phase::Revoked, Phase::Revoked),
        (Phase::Failed, Phase::Failed),
        (Phase::Expired, Phase::Expired),
        (Phase::Rotating, Phase::Active),
        (Phase::GracePeriod, Phase::Active),
    ] {
        let mut bundle = Bundle::new(TenantId::default(), Scope::default(), now);
        let credential = BundledCredential {
            name: CredentialName::new(format!("was_{phase}")).unwrap(),
            version: VersionHead {
                version: Version::FIRST,
                credential_type: "basic".into(),
                schema_version: 1,
                created_at: now,
                expires_at: None,
            },
            phase,
            tags: Tags::new(),
            payload: Plaintext::new(br#"{"username":"u","password":"p"}"#.to_vec()),
        };
        bundle.add(credential).unwrap();
        let opened = Bundle::open(&bundle.seal(&key()).unwrap(), &key()).unwrap();
        let credential = &opened.credentials()[0];
        let known = there.manager.import(&credential.name, credential).await.unwrap();
        assert_eq!(known.phase, expected);
        let readable = there.manager.get::<BasicCredential>(&credential.name).await;
        assert_eq!(
            readable.is_ok(),
            expected != Phase::Revoked && expected != Phase::Failed
        );
        // And so it is exported from there.
        let exported = there.manager.export([&credential.name]).await.unwrap();
        assert_eq!(exported.credentials()[0].phase, expected);
    }
    // What is revoked stays so, whatever a bundle brings.
    let exported = there.manager.export(["was_rotating"]).await.unwrap();
    let brought = there
        .manager
        .import("was_revoked", &exported.credentials()[0])
        .await;
    assert!(
        matches!(brought, Err(CredentialError::InvalidState(_))),
        "{brought:?}"
    );
}

#[tokio::test]
async fn a_value_beyond_the_limit_of_a_manager_is_refused() {
    let there = place();
    let mut bundle = Bundle::new(TenantId::default(), Scope::default(), SystemClock.now());
    bundle
        .add(BundledCredential {
            name: CredentialName::new("long").unwrap(),
            version: VersionHead {
                version: Version::FIRST,
                credential_type: "secret_text".into(),
                schema_version: 1,
                created_at: SystemClock.now(),
                expires_at: None,
            },
            phase: Phase::Active,
            tags: Tags::new(),
            payload: Plaintext::new(vec![b'x'; 64 * 1024 + 1]),
        })
        .unwrap();
    let error = there
        .manager
        .import("long", &bundle.credentials()[0])
        .await
        .unwrap_err();
    assert!(matches!(error, CredentialError::LimitExceeded { .. }), "{error}");
    assert!(there.manager.list().await.unwrap().is_empty());
    assert!(Bundle::open(&bundle.seal(&key()).unwrap(), &Passphrase::new("x")).is_err());
}
