//! An import of what `ncred export` made.

use nebula_credential::CredentialName;
use nebula_credential::crypto::{Bundle, BundledCredential};

use super::Import;
use super::report::Origin;
use crate::exit::{Failure, Outcome};
use crate::import::{Draft, Drafts, Incoming};
use crate::output::Output;
use crate::verbs::view::{short, time};

/// Opens a bundle: its credentials, each name behind the prefix, and where they come from.
pub(super) fn drafts(args: &Import, bytes: &[u8], output: &Output) -> Outcome<(Drafts, Option<Origin>)> {
    refuse_options_for_text(args)?;
    let kind = Bundle::opened_by(bytes)?;
    let bundle = Bundle::open(bytes, &*args.key.protector(kind)?)?;
    if !output.is_json() {
        output.note(format!(
            "exported {} from tenant {}, scope {}",
            short(&time(bundle.exported_at())),
            bundle.tenant(),
            bundle.scope()
        ));
    }
    let origin = Origin::of(&bundle);
    let draft = |credential: BundledCredential| {
        let name = CredentialName::new(format!("{}{}", args.prefix, credential.name)).map_err(|_| {
            Failure::usage(
                format!("{} cannot be stored behind this prefix", credential.name),
                "a name has at most 128 lower-case letters, digits, '.', '_', '-' and '/', a letter or digit at both \
                 ends; choose another --prefix",
            )
        })?;
        Ok(Draft {
            name,
            credential: Incoming::Bundled(credential),
            from: Vec::new(),
        })
    };
    let drafts = bundle
        .into_credentials()
        .into_iter()
        .map(draft)
        .collect::<Outcome<_>>()?;
    let ignored = Vec::new();
    Ok((Drafts { drafts, ignored }, Some(origin)))
}

fn refuse_options_for_text(args: &Import) -> Outcome {
    let given = [
        ("--format", args.format.is_some()),
        ("--mapping", args.mapping.is_some()),
        ("--interpolate", args.interpolate),
        ("--skip-invalid", args.skip_invalid),
    ];
    match given.iter().find(|(_, is_given)| *is_given) {
        Some((option, _)) => Err(Failure::usage(
            format!("this is a bundle, and {option} is for text"),
            format!("leave out {option}; a bundle is stored as it was exported"),
        )),
        None => Ok(()),
    }
}
