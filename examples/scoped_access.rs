//! Credentials of a workflow: one principal uses what another reads, a grant ends by itself, and the policy says why.
//!
//! ```console
//! cargo run -p nebula-credential-examples --example scoped_access
//! ```

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use nebula_credential::access::{AccessLayer, AccessPolicy, Inquiry, Known, Permissions, Policies, Sharing};
use nebula_credential::prelude::*;
use nebula_credential::{
    Circumstances, Clock as _, CredentialName, CredentialRef, OpContext, Permission, Principal, Scope,
    SystemClock, TenantId,
};
use nebula_credential_testkit::TestClock;

const POLICY: &str = r#"
version = 1

[[rules]]
id = "alice-keeps-them"                     # and owns what she stores
effect = "allow"
principals = ["user:alice"]
permissions = ["read", "write", "share"]
tenants = ["acme"]

[[rules]]
id = "workflows-use-their-own"              # but never see them
effect = "allow"
principals = ["workflow:*"]
permissions = ["use"]
tenants = ["acme"]
scopes = ["workflow/{workflow}"]

[[rules]]
id = "as-shared"
effect = "allow"
principals = ["granted"]
permissions = ["read"]
tenants = ["acme"]
"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    scoped_access().await
}

async fn scoped_access() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let clock = TestClock::at(SystemClock.now());
    let policies = Policies::new(AccessPolicy::parse(POLICY)?);
    let alice = CredentialManager::builder()
        .storage(LocalStorage::new(directory.path().join("secrets")))
        .keys(Keys::key_file(directory.path().join("config/key")))
        .access(AccessLayer::new(policies.clone()))
        .clock(clock.clone())
        .tenant(TenantId::new("acme")?)
        .scope(Scope::new("workflow/invoices")?)
        .principal(Principal::User(CredentialName::new("alice")?))
        .build();
    alice.store("db", BasicCredential::new("app", "s3cret")).await?;

    // A workflow uses what lies in its own scope. To use is not to read.
    let workflow = CredentialName::new("invoices")?;
    let mut circumstances = Circumstances::default();
    circumstances.workflow = Some(workflow.clone());
    let invoices = alice
        .with_principal(Principal::Workflow(workflow))
        .with_circumstances(circumstances.clone());
    let used: BasicCredential = invoices.with_permission(Permission::Use).get("db").await?;
    println!("the workflow connects as {}", used.username);
    let error = refused(invoices.get::<BasicCredential>("db").await)?;
    println!("it may not see the value: {error}");
    assert!(error.is_access_denied());

    // Another scope is not its own. It is refused without a look, and so learns nothing of what is there.
    let elsewhere = Scope::new("workflow/payroll")?;
    let using = invoices.with_permission(Permission::Use);
    let error = refused(
        using
            .with_scope(elsewhere.clone())
            .get::<BasicCredential>("db")
            .await,
    )?;
    println!("in another scope: {error}");
    let ctx = OpContext {
        circumstances: Some(circumstances.into()),
        ..OpContext::new(invoices.principal().clone(), Arc::new(clock.clone()))
    };
    let id = CredentialRef::new(TenantId::new("acme")?, elsewhere, CredentialName::new("db")?);
    let why = policies.current().explain(Inquiry {
        ctx: &ctx,
        id: &id,
        permission: Some(Permission::Use),
        known: Known::New(None),
    });
    println!("{why}");
    assert!(
        why.nearest()
            .any(|rule| rule.id == "workflows-use-their-own" && rule.missing == ["scopes"])
    );

    // Alice shares it with bob for an hour.
    let bob = Principal::User(CredentialName::new("bob")?);
    let as_bob = alice.with_principal(bob.clone());
    assert!(refused(as_bob.get::<BasicCredential>("db").await)?.is_not_found());
    let hour = Duration::from_secs(3600);
    let grant = Sharing::Grant {
        to: bob,
        permissions: Permissions::only(Permission::Read),
        until: Some(clock.now() + hour),
    };
    alice.share("db", &grant).await?;
    as_bob.get::<BasicCredential>("db").await?;
    let (owner, grants) = alice.sharing("db").await?;
    println!(
        "owner {}, shared: {}",
        owner.ok_or("alice owns it")?,
        grants.first().ok_or("with bob")?
    );
    clock.advance(hour);
    let error = refused(as_bob.get::<BasicCredential>("db").await)?;
    println!("after an hour, bob: {error}");
    assert!(error.is_not_found());
    Ok(())
}

/// The error of what must not succeed.
fn refused<T>(answer: Result<T, CredentialError>) -> Result<CredentialError, &'static str> {
    answer.err().ok_or("it must be refused")
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn it_runs() {
        super::scoped_access().await.unwrap();
    }
}
