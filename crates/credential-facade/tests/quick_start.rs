//! The Quick Start, from a derived type to a rollback, as a program would write it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use nebula_credential::prelude::*;
use nebula_credential::{Phase, Principal};
use tempfile::TempDir;

#[derive(Credential)]
struct GitHubCredential {
    #[secret]
    personal_access_token: String,
    username: String,
}

#[derive(Credential, Serialize, Deserialize, Clone)]
struct ApiKeyCredential {
    #[secret]
    api_key: String,
    endpoint: String,
}

fn github(token: &str) -> GitHubCredential {
    GitHubCredential {
        personal_access_token: token.into(),
        username: "octocat".into(),
    }
}

fn manager(directory: &TempDir) -> CredentialManager {
    CredentialManager::builder()
        .storage(LocalStorage::new(directory.path().join("secrets")))
        .keys(Keys::key_file(directory.path().join("config").join("key")))
        .build()
}

#[tokio::test]
async fn store_get_rotate_rollback() {
    let directory = tempfile::tempdir().unwrap();
    let manager = manager(&directory);
    let first = manager.store("github_token", github("ghp_ABC123")).await.unwrap();
    assert_eq!((first.version.get(), first.state), (1, CredentialState::Active));

    let read: GitHubCredential = manager.get("github_token").await.unwrap();
    assert_eq!(read.personal_access_token, "ghp_ABC123");

    let second = manager
        .rotate("github_token", github("ghp_XYZ789"))
        .await
        .unwrap();
    assert_eq!(second.version.get(), 2);
    let read: GitHubCredential = manager.get("github_token").await.unwrap();
    assert_eq!(read.personal_access_token, "ghp_XYZ789");
    let old: GitHubCredential = manager.get_version("github_token", Version::FIRST).await.unwrap();
    assert_eq!(old.personal_access_token, "ghp_ABC123");

    let third = manager.rollback("github_token").await.unwrap();
    assert_eq!(third.version.get(), 3);
    let read: GitHubCredential = manager.get("github_token").await.unwrap();
    assert_eq!(
        (read.personal_access_token.as_str(), read.username.as_str()),
        ("ghp_ABC123", "octocat")
    );

    let versions = manager.versions("github_token").await.unwrap();
    let shown: Vec<_> = versions
        .iter()
        .map(|v| (v.version.get(), v.current, v.phase.map(Phase::as_str)))
        .collect();
    assert_eq!(
        shown,
        [(3, true, Some("active")), (2, false, None), (1, false, None)]
    );
}

#[tokio::test]
async fn a_second_manager_on_the_same_files_reads_what_the_first_stored() {
    let directory = tempfile::tempdir().unwrap();
    manager(&directory)
        .store("github_token", github("ghp_ABC123"))
        .await
        .unwrap();
    let read: GitHubCredential = manager(&directory).get("github_token").await.unwrap();
    assert_eq!(read.personal_access_token, "ghp_ABC123");
}

#[tokio::test]
async fn two_open_managers_see_each_other_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let (a, b) = (manager(&directory), manager(&directory));
    a.store("github_token", github("one")).await.unwrap();
    assert_eq!(
        b.get::<GitHubCredential>("github_token")
            .await
            .unwrap()
            .personal_access_token,
        "one"
    );
    b.rotate("github_token", github("two")).await.unwrap();
    assert_eq!(
        a.get::<GitHubCredential>("github_token")
            .await
            .unwrap()
            .personal_access_token,
        "two"
    );
}

#[tokio::test]
async fn an_action_gets_what_its_allow_list_names_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let manager = manager(&directory);
    let cred = ApiKeyCredential {
        api_key: "sk_live_1".into(),
        endpoint: "https://api.example.com".into(),
    };
    manager.store("my_api", cred.clone()).await.unwrap();
    manager.store("other", cred).await.unwrap();

    let action = || Principal::Action("send_invoice".parse().unwrap());
    let nothing = manager.context(action());
    assert!(
        nothing
            .get_credential::<ApiKeyCredential>("my_api")
            .await
            .unwrap_err()
            .is_access_denied()
    );

    let context = manager
        .context(action())
        .allow("my_api")
        .unwrap()
        .purpose("send the monthly invoice");
    let read: ApiKeyCredential = context.get_credential("my_api").await.unwrap();
    assert_eq!(read.api_key, "sk_live_1");
    for name in ["other", "absent"] {
        let error = context
            .get_credential::<ApiKeyCredential>(name)
            .await
            .unwrap_err();
        assert!(
            error.is_access_denied() && error.to_string().contains("action:send_invoice"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn the_rest_of_the_manager() {
    let directory = tempfile::tempdir().unwrap();
    let manager = manager(&directory);
    assert!(!manager.exists("api_key").await.unwrap());
    manager.store("api_key", github("one")).await.unwrap();
    assert!(manager.exists("api_key").await.unwrap());

    let again = manager
        .store("api_key", github("two"))
        .if_absent()
        .await
        .unwrap_err();
    assert!(again.is_conflict(), "{again}");
    let stale = manager
        .rotate("api_key", github("two"))
        .if_version(Version::new(7).unwrap())
        .await
        .unwrap_err();
    assert!(stale.is_conflict(), "{stale}");
    assert!(
        manager
            .rotate("absent", github("two"))
            .await
            .unwrap_err()
            .is_not_found()
    );

    let tags = Tags::from_pairs([("team", "payments"), ("env", "prod")]).unwrap();
    let tagged = manager.set_tags("api_key", tags.clone()).await.unwrap();
    assert_eq!(tagged.tags.get("team").map(String::as_str), Some("payments"));
    let mut query = manager.list_query();
    query.tags = tags;
    assert_eq!(manager.list_page(query).await.unwrap().items.len(), 1);

    let raw = manager.get_raw("api_key").await.unwrap();
    assert_eq!(format!("{raw:?}").matches("one").count(), 0);
    manager.re_encrypt("api_key", &raw).await.unwrap();
    assert_eq!(
        manager
            .get::<GitHubCredential>("api_key")
            .await
            .unwrap()
            .personal_access_token,
        "one"
    );
    manager.rotate("api_key", github("two")).await.unwrap();
    // `raw` is version 1, which is kept: it may be sealed again without a change to the current one.
    manager.re_encrypt("api_key", &raw).await.unwrap();
    assert_eq!(
        manager
            .get::<GitHubCredential>("api_key")
            .await
            .unwrap()
            .personal_access_token,
        "two"
    );
    manager.purge("api_key").await.unwrap();
    manager.store("api_key", github("two")).await.unwrap();
    assert!(
        manager
            .re_encrypt("api_key", &raw)
            .await
            .unwrap_err()
            .is_not_found()
    );

    manager.delete("api_key").await.unwrap();
    assert!(
        manager
            .get::<GitHubCredential>("api_key")
            .await
            .unwrap_err()
            .is_not_found()
    );
    assert!(manager.metadata("api_key").await.unwrap().deleted_at.is_some());
    assert!(manager.list().await.unwrap().is_empty());
    manager.restore("api_key").await.unwrap();
    assert_eq!(
        manager
            .get::<GitHubCredential>("api_key")
            .await
            .unwrap()
            .personal_access_token,
        "two"
    );
    manager.purge("api_key").await.unwrap();
    assert!(manager.metadata("api_key").await.unwrap_err().is_not_found());
    let third = manager.store("api_key", github("three")).await.unwrap();
    assert_eq!(third.version.get(), 4, "numbers only grow");
}

#[tokio::test]
async fn tenants_and_scopes_do_not_see_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let manager = manager(&directory);
    manager.store("db", github("global")).await.unwrap();
    let scoped = manager.with_scope("workflow/7".parse().unwrap());
    assert!(
        scoped
            .get::<GitHubCredential>("db")
            .await
            .unwrap_err()
            .is_not_found()
    );
    scoped.store("db", github("scoped")).await.unwrap();
    assert_eq!(
        manager
            .get::<GitHubCredential>("db")
            .await
            .unwrap()
            .personal_access_token,
        "global"
    );
    assert_eq!(manager.list().await.unwrap().len(), 1);

    let stranger = CredentialManager::builder()
        .storage(LocalStorage::new(directory.path().join("secrets")))
        .keys(Keys::key_file(directory.path().join("config").join("key")))
        .tenant("other".parse().unwrap())
        .build();
    assert!(
        stranger
            .get::<GitHubCredential>("db")
            .await
            .unwrap_err()
            .is_not_found()
    );
    assert!(stranger.list().await.unwrap().is_empty());
}
