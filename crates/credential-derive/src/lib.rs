#![doc = include_str!("../README.md")]

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

mod expand;
mod field;
mod input;
mod krate;
mod redact;
mod stored;
mod types;
mod words;

use input::{Input, Macro};

/// Makes a struct a credential: stored whole, shown without its secrets, wiped when dropped.
///
/// Writes `Credential`, and all that [`Redact`](macro@Redact) writes. The attributes are listed in the
/// [crate documentation](crate).
#[proc_macro_derive(Credential, attributes(secret, public, credential, serde))]
pub fn derive_credential(tokens: TokenStream) -> TokenStream {
    let input = parse_macro_input!(tokens as DeriveInput);
    Input::parse(&input, Macro::Credential)
        .map(|input| expand::credential(&input))
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Keeps the secrets of a struct out of sight: for part of a credential, or for one with a hand-written `Credential`.
///
/// Writes `Debug`, `SecretField` and `Zeroize`, and a `Drop` where a secret does not wipe itself. The attributes are
/// listed in the [crate documentation](crate).
#[proc_macro_derive(Redact, attributes(secret, public, credential, serde))]
pub fn derive_redact(tokens: TokenStream) -> TokenStream {
    let input = parse_macro_input!(tokens as DeriveInput);
    Input::parse(&input, Macro::Redact)
        .map(|input| expand::redact(&input))
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
