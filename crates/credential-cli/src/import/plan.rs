//! What an import will do, and doing it.

use clap::ValueEnum;
use nebula_credential::crypto::BundledCredential;
use nebula_credential::{AnyCredential, CredentialManager, CredentialName, PendingWrite, Phase, Version};

use super::Origin;
use super::mapping::{Draft, Drafts, Ignored};
use crate::exit::{Failure, Outcome};
use crate::unlock::Register;

/// What to do with a name that is there already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnConflict {
    /// Write nothing at all
    #[default]
    Fail,
    /// Leave what is there
    Skip,
    /// Store a new version
    Replace,
}

/// What becomes of one credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Create,
    Replace,
    Skip,
}

impl Action {
    /// The word for it, in text and JSON.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Replace => "replace",
            Self::Skip => "skip",
        }
    }
}

/// One credential of the plan.
pub(crate) struct Item {
    pub(crate) name: CredentialName,
    pub(crate) from: Vec<Origin>,
    pub(crate) action: Action,
    /// The version that was written, once it is.
    pub(crate) written: Option<Version>,
    credential: Incoming,
}

impl Item {
    pub(crate) fn type_name(&self) -> &str {
        self.credential.type_name()
    }
}

/// A credential that comes in.
pub(crate) enum Incoming {
    /// From the texts of a file, of a type that this program knows.
    Typed(AnyCredential),
    /// As another store held it.
    Bundled(BundledCredential),
}

impl Incoming {
    fn type_name(&self) -> &str {
        match self {
            Self::Typed(credential) => credential.credential_type(),
            Self::Bundled(credential) => &credential.version.credential_type,
        }
    }

    fn store<'a>(&self, manager: &'a CredentialManager, name: &CredentialName) -> PendingWrite<'a> {
        match self {
            Self::Typed(credential) => manager.store_any(name, credential),
            Self::Bundled(credential) => manager.import(name, credential),
        }
    }
}

/// What an import will do, and what it did.
pub(crate) struct Plan {
    pub(crate) items: Vec<Item>,
    pub(crate) ignored: Vec<Ignored>,
}

/// Most names that one message lists.
const NAMES_SHOWN: usize = 8;

impl Plan {
    /// Looks every name up. Writes nothing, and needs no key.
    ///
    /// # Errors
    /// [`Failure::conflict`] for names that are there already, where the policy says so or their type is another;
    /// those of the store.
    pub(crate) async fn make(register: &Register, drafts: Drafts, policy: OnConflict) -> Outcome<Self> {
        let mut items = Vec::with_capacity(drafts.drafts.len());
        let mut present = Vec::new();
        let mut other_type = Vec::new();
        let mut revoked = Vec::new();
        for Draft {
            name,
            credential,
            from,
        } in drafts.drafts
        {
            let there = match register.head(&name).await {
                Ok(known) => Some(known).filter(|known| known.deleted_at.is_none()),
                Err(error) if error.is_not_found() => None,
                Err(error) => return Err(error.into()),
            };
            let action = match (&there, policy) {
                (None, _) => Action::Create,
                (Some(_), OnConflict::Skip) => Action::Skip,
                (Some(known), OnConflict::Replace) => {
                    if known.version.credential_type.as_ref() != credential.type_name() {
                        other_type.push(name.clone());
                    } else if known.phase == Phase::Revoked {
                        revoked.push(name.clone());
                    }
                    Action::Replace
                }
                (Some(_), OnConflict::Fail) => {
                    present.push(name.clone());
                    Action::Skip
                }
            };
            items.push(Item {
                name,
                from,
                action,
                written: None,
                credential,
            });
        }
        if !present.is_empty() {
            return Err(Failure::conflict(
                format!(
                    "nothing was written: {} {} there already",
                    listed(&present),
                    are(&present)
                ),
                "pass --on-conflict skip to leave them, --on-conflict replace to store new versions, or --prefix to \
                 import under other names",
            ));
        }
        if !other_type.is_empty() {
            return Err(Failure::conflict(
                format!(
                    "nothing was written: {} {} there already with another type",
                    listed(&other_type),
                    are(&other_type)
                ),
                "delete them first, or import under other names with --prefix or a mapping file",
            ));
        }
        if !revoked.is_empty() {
            return Err(Failure::conflict(
                format!(
                    "nothing was written: {} {} there already and revoked for good",
                    listed(&revoked),
                    are(&revoked)
                ),
                "delete them first, pass --on-conflict skip to leave them, or import under other names with --prefix",
            ));
        }
        Ok(Self {
            items,
            ignored: drafts.ignored,
        })
    }

    /// Writes what is to be written, in order, and calls `done` after each.
    ///
    /// A name that someone else stored since the plan was made is a conflict, or skipped where that is the policy:
    /// only `replace` replaces.
    ///
    /// # Errors
    /// Those of the store, at the first credential that fails. What was written before stays, as
    /// [`written`](Item::written) says.
    pub(crate) async fn carry_out(
        &mut self,
        manager: &CredentialManager,
        policy: OnConflict,
        mut done: impl FnMut(),
    ) -> Outcome {
        let total = self
            .items
            .iter()
            .filter(|item| item.action != Action::Skip)
            .count();
        let mut written = 0;
        for item in &mut self.items {
            let store = item.credential.store(manager, &item.name);
            let result = match item.action {
                Action::Skip => continue,
                Action::Create if policy != OnConflict::Replace => store.if_absent().await,
                Action::Create | Action::Replace => store.await,
            };
            match result {
                Ok(known) => item.written = Some(known.version),
                Err(error) if policy == OnConflict::Skip && error.is_conflict() => item.action = Action::Skip,
                Err(error) => return Err(stopped(error.into(), &item.name, written, total, policy)),
            }
            written += usize::from(item.written.is_some());
            done();
        }
        Ok(())
    }
}

fn stopped(
    failure: Failure,
    name: &CredentialName,
    written: usize,
    total: usize,
    policy: OnConflict,
) -> Failure {
    let again = match policy {
        OnConflict::Replace => "then run the same import again",
        OnConflict::Fail | OnConflict::Skip => {
            "then run the same import with --on-conflict skip, which goes on where this one stopped"
        }
    };
    let help = failure.help.as_deref().unwrap_or("see to what went wrong");
    Failure {
        message: format!(
            "stopped at {name} after {written} of {total} credentials: {}",
            failure.message
        ),
        help: Some(format!("{help}; {again}")),
        ..failure
    }
}

fn are(names: &[CredentialName]) -> &'static str {
    if names.len() == 1 { "is" } else { "are" }
}

fn listed(names: &[CredentialName]) -> String {
    let shown: Vec<&str> = names
        .iter()
        .take(NAMES_SHOWN)
        .map(CredentialName::as_str)
        .collect();
    match names.len().saturating_sub(NAMES_SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
