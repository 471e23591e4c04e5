//! `ncred export`.

mod file;

use std::path::PathBuf;

use clap::{Args, ValueHint};
use nebula_credential::crypto::{Bundle, BundledCredential, Protector as _};
use nebula_credential::{CredentialError, CredentialName, Tags};
use serde::Serialize;

use self::file::Target;
use super::bundle_key::ForKey;
use super::explain;
use super::view::code;
use crate::args::parse;
use crate::exit::{Failure, Outcome};
use crate::output::Output;
use crate::settings::Settings;
use crate::unlock::Session;

const AFTER_HELP: &str = "\
Examples:
  ncred export --tag team=web --out web.ncb --for-passphrase-file transfer.txt
  ncred export github prod/db --out db.ncb --for-key-file ~/keys/transfer
  ncred import web.ncb --bundle-passphrase-file transfer.txt     # on the other side

A bundle holds the current versions as they are, with type, tags, expiry and phase. It shows its length, and which
kind of key opens it, and nothing else. If no key is named, a passphrase is asked for at a terminal. Bring the key to
the other side by another way than the bundle.";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Export {
    /// The credentials; by default all there are
    #[arg(value_name = "NAME", value_parser = parse::name)]
    names: Vec<CredentialName>,
    /// Only those filed under KEY=VALUE; may be repeated
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = parse::tag, conflicts_with = "names")]
    tags: Vec<(String, String)>,
    /// Where to write the bundle, with mode 0600; - for standard output
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    out: PathBuf,
    /// Replace the file if there is one
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    key: ForKey,
}

#[derive(Serialize)]
struct Exported<'a> {
    file: String,
    bytes: usize,
    #[serde(serialize_with = "code")]
    opens_with: &'static str,
    credentials: Vec<ExportedItem<'a>>,
}

#[derive(Serialize)]
struct ExportedItem<'a> {
    name: &'a str,
    r#type: &'a str,
    version: u32,
}

pub(crate) async fn run(args: &Export, settings: &Settings, output: &Output) -> Outcome {
    // What can be refused is refused before anyone is asked for a passphrase.
    let target = Target::check(&args.out, args.force, output)?;
    args.key.check()?;
    let session = Session::open(settings).await?;
    let bundle = gather(&session, args).await;
    // Nobody waits for the store while a passphrase is asked for.
    session.storage.close().await;
    let bundle = bundle?;
    let protector = args.key.protector(settings.unlock.key_file.as_deref(), output)?;
    let sealed = bundle.seal(&*protector).map_err(refused)?;
    target.write(&sealed, output)?;
    let Target::File { path, .. } = &target else {
        return Ok(());
    };
    let opens_with = protector.kind().as_str();
    if output.is_json() {
        return output.value(&Exported {
            file: path.display().to_string(),
            bytes: sealed.len(),
            opens_with,
            credentials: bundle.credentials().iter().map(exported).collect(),
        });
    }
    let count = match bundle.credentials().len() {
        1 => "1 credential".to_owned(),
        count => format!("{count} credentials"),
    };
    output.line(format!(
        "exported {count} to {}, which opens with a {opens_with}",
        path.display()
    ))
}

fn exported(credential: &BundledCredential) -> ExportedItem<'_> {
    ExportedItem {
        name: credential.name.as_str(),
        r#type: &credential.version.credential_type,
        version: credential.version.version.get(),
    }
}

async fn gather(session: &Session, args: &Export) -> Outcome<Bundle> {
    if !args.names.is_empty() {
        for name in &args.names {
            if !session.manager.exists(name).await? {
                let absent = CredentialError::not_found(name.to_string());
                return Err(explain(session, name, absent).await);
            }
        }
        return session.manager.export(&args.names).await.map_err(refused);
    }
    let mut query = session.register.query();
    let pairs = args.tags.iter();
    query.tags = Tags::from_pairs(pairs.map(|(key, value)| (key.as_str(), value.as_str())))?;
    let found = session.register.list(query).await?;
    if found.is_empty() {
        return Err(Failure::not_found(
            "there is nothing to export",
            "`ncred list` shows what there is; --tenant and --scope choose where to look",
        ));
    }
    let names = found.iter().map(|head| head.id.name());
    session.manager.export(names).await.map_err(refused)
}

/// Why there is no bundle; for one that would be too long, with what to do.
fn refused(error: CredentialError) -> Failure {
    let is_too_much = matches!(error, CredentialError::LimitExceeded { .. });
    let failure = Failure::from(error);
    if is_too_much {
        failure.with_help("export fewer credentials at a time, by their names or with --tag")
    } else {
        failure
    }
}
