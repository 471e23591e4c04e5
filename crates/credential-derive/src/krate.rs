//! Under which name the caller knows this project.

use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::Span;
use syn::{Ident, Path, parse_quote_spanned};

/// Core first: a crate that depends on core may have the facade for its tests alone, not the other way round.
const CRATES: [(&str, &str); 2] = [
    ("nebula-credential-core", "nebula_credential_core"),
    ("nebula-credential", "nebula_credential"),
];

/// The path of core or of the facade, whichever the calling crate depends on.
pub(crate) fn find() -> syn::Result<Path> {
    let span = Span::call_site();
    for (package, own_name) in CRATES {
        if let Ok(found) = crate_name(package) {
            let name = match &found {
                FoundCrate::Itself => own_name,
                FoundCrate::Name(name) => name,
            };
            let ident = Ident::new(name, span);
            return Ok(parse_quote_spanned!(span=> ::#ident));
        }
    }
    Err(syn::Error::new(
        span,
        "cannot find nebula-credential: add it to Cargo.toml, or name its path with #[credential(crate = \"path\")]",
    ))
}
