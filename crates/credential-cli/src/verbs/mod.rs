//! One function per verb, one file per family.

mod about;
pub(crate) mod audit;
mod bundle_key;
mod change;
mod doctor;
pub(crate) mod edit;
pub(crate) mod export;
pub(crate) mod import;
mod init;
mod key;
pub(crate) mod policy;
mod read;
pub(crate) mod run;
pub(crate) mod share;
mod stats;
mod view;

use nebula_credential::{CredentialError, CredentialName};

use crate::args::Verb;
use crate::exit::{Failure, Outcome};
use crate::output::Output;
use crate::recording;
use crate::settings::Settings;
use crate::suggest;
use crate::unlock::{Register, Session};

/// Does what was asked. Settings are settled only for verbs that need a store.
pub(crate) async fn run(verb: &Verb, settings: &dyn Fn() -> Outcome<Settings>, output: &Output) -> Outcome {
    // Of what is done with values and keys there is a record, or it is not done.
    let recorded = || {
        let settings = settings()?;
        recording::open(&settings, output)?;
        Ok::<_, Failure>(settings)
    };
    // Of a look at names there is one only where a policy may refuse or filter it.
    let judged = || {
        let settings = settings()?;
        if settings.access.is_some() {
            recording::open(&settings, output)?;
        }
        Ok::<_, Failure>(settings)
    };
    match verb {
        Verb::Init => return init::run(&recorded()?, output).await,
        Verb::Export(args) => return export::run(args, &recorded()?, output).await,
        Verb::Import(args) => return import::run(args, &recorded()?, output).await,
        Verb::Audit(verb) => return audit::run(verb, &settings()?, output).await,
        Verb::Policy(verb) => return policy::run(verb, settings, output).await,
        Verb::Key(verb) => return key::run(verb, &recorded()?, output).await,
        Verb::Stats => return stats::run(&settings()?, output).await,
        Verb::List(args) => return read::list(&Register::open(&judged()?).await?, args, output).await,
        Verb::Versions(args) => {
            return read::versions(&Register::open(&judged()?).await?, args, output).await;
        }
        Verb::Doctor => return doctor::run(&settings()?, output).await,
        Verb::Run(args) => return run::run(args, &recorded()?).await,
        Verb::Types(args) => return about::types(args, output),
        Verb::Completions(args) => return about::completions(args, output),
        Verb::Man(args) => return about::man(args, output),
        _ => {}
    }
    let settings = recorded()?;
    let session = match verb {
        Verb::Tags(_)
        | Verb::Delete(_)
        | Verb::Restore(_)
        | Verb::Revoke(_)
        | Verb::Purge(_)
        | Verb::Share(_)
        | Verb::Sharing(_) => Session::locked(&settings).await?,
        _ => Session::open(&settings).await?,
    };
    let done = on(&session, verb, &settings, output).await;
    session.storage.close().await;
    done
}

/// Does what needs a session.
async fn on(session: &Session, verb: &Verb, settings: &Settings, output: &Output) -> Outcome {
    match verb {
        Verb::Put(args) => change::put(session, args, output).await,
        Verb::Get(args) => read::get(session, args, output).await,
        Verb::Rotate(args) => change::rotate(session, args, output).await,
        Verb::Edit(args) => edit::run(session, args, settings, output).await,
        Verb::Rollback(args) => change::rollback(session, args, output).await,
        Verb::Tags(args) => change::tags(session, args, output).await,
        Verb::Delete(args) => change::delete(session, args, output).await,
        Verb::Restore(args) => change::restore(session, args, output).await,
        Verb::Revoke(args) => change::revoke(session, args, output).await,
        Verb::Purge(args) => change::purge(session, args, output).await,
        Verb::Share(args) => share::share(session, args, output).await,
        Verb::Sharing(args) => share::sharing(session, args, output).await,
        Verb::Init
        | Verb::Export(_)
        | Verb::Import(_)
        | Verb::Run(_)
        | Verb::Key(_)
        | Verb::List(_)
        | Verb::Versions(_)
        | Verb::Audit(_)
        | Verb::Policy(_)
        | Verb::Stats
        | Verb::Doctor
        | Verb::Types(_)
        | Verb::Completions(_)
        | Verb::Man(_) => Ok(()),
    }
}

/// The failure of an operation on `name`; if there is no such credential, with the one that was probably meant.
async fn explain(session: &Session, name: &CredentialName, error: CredentialError) -> Failure {
    suggest(&session.register, name, error).await
}

async fn suggest(register: &Register, name: &CredentialName, error: CredentialError) -> Failure {
    let is_absent = matches!(error, CredentialError::NotFound(_));
    let is_version = matches!(error, CredentialError::VersionNotFound { .. });
    let failure = Failure::from(error);
    if is_version {
        return failure.with_help(format!("`ncred versions {name}` shows those that are kept"));
    }
    if !is_absent {
        return failure;
    }
    let register = register.unrecorded();
    if let Ok(known) = register.head(name).await
        && known.deleted_at.is_some()
    {
        return failure.with_help(format!("it was deleted; `ncred restore {name}` brings it back"));
    }
    let known = register.list(register.query()).await.unwrap_or_default();
    match suggest::nearest(name.as_str(), known.iter().map(|head| head.id.name().as_str())) {
        Some(near) => failure.with_help(format!(
            "did you mean {near:?}? `ncred list` shows the names that exist"
        )),
        None => failure
            .with_help("`ncred list` shows the names that exist; --tenant and --scope choose where to look"),
    }
}
