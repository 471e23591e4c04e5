//! One field, checked.

use proc_macro2::{Span, TokenStream};
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;
use syn::{Ident, Meta, Type};

use crate::input::{Errors, Macro};
use crate::stored::{self, serde_metas};
use crate::{types, words};

pub(crate) struct Field<'a> {
    pub(crate) ident: &'a Ident,
    pub(crate) ty: &'a Type,
    pub(crate) is_secret: bool,
    /// Said by its author to be a secret, or not to be one.
    pub(crate) is_marked: bool,
    /// Marked as the time of expiry.
    pub(crate) is_expiry: bool,
    pub(crate) serde: Vec<Meta>,
}

impl<'a> Field<'a> {
    pub(crate) fn parse(field: &'a syn::Field, which: Macro, errors: &mut Errors) -> Option<Self> {
        let ident = field.ident.as_ref()?;
        let is_secret = marker(field, "secret", errors);
        let is_public = marker(field, "public", errors);
        let found = Self {
            ident,
            ty: &field.ty,
            is_secret,
            is_marked: is_secret || is_public,
            is_expiry: expiry(field, which, errors),
            serde: serde_metas(&field.attrs, errors),
        };
        let name = found.name();
        if is_secret && is_public {
            errors.at(
                ident,
                format!("`{name}` is both #[secret] and #[public]: keep one"),
            );
        }
        if !found.is_marked && words::looks_secret(&name) {
            errors.at(
                ident,
                format!("`{name}` looks like a secret: mark it #[secret], or #[public] if anyone may see it"),
            );
        }
        if is_secret && found.is_expiry {
            errors.at(
                ident,
                "the time of expiry is no secret: metadata and logs show it",
            );
        }
        if is_secret && types::is_plain(found.ty) {
            errors.at(
                found.ty,
                "this type cannot be wiped: hold the secret in a `String`, a `SecretString` or a `Vec<u8>`",
            );
        }
        stored::check_field(&found, errors);
        Some(found)
    }

    /// The place of the type, for errors about it, and `private` as if it were written there. The scope is that of the
    /// type, in which `self` may mean nothing (a `macro_rules` macro that was given the type): it comes from elsewhere.
    pub(crate) fn place(&self, private: &TokenStream) -> (Span, TokenStream) {
        let span = self.ty.span();
        (span, respanned(private, span))
    }

    /// The name without `r#`.
    pub(crate) fn name(&self) -> String {
        self.ident.unraw().to_string()
    }
}

fn respanned(path: &TokenStream, span: Span) -> TokenStream {
    let tokens = path.clone().into_iter().map(|mut token| {
        token.set_span(span);
        token
    });
    tokens.collect()
}

/// Whether `field` has the attribute `#[name]`.
fn marker(field: &syn::Field, name: &str, errors: &mut Errors) -> bool {
    let mut found = false;
    for attribute in field
        .attrs
        .iter()
        .filter(|attribute| attribute.path().is_ident(name))
    {
        if !matches!(attribute.meta, Meta::Path(_)) {
            errors.at(attribute, format!("#[{name}] takes no arguments"));
        }
        if found {
            errors.at(attribute, format!("#[{name}] is given twice: keep one"));
        }
        found = true;
    }
    found
}

/// Whether `field` is marked `#[credential(expires_at)]`.
fn expiry(field: &syn::Field, which: Macro, errors: &mut Errors) -> bool {
    let mut found = false;
    for attribute in field
        .attrs
        .iter()
        .filter(|attribute| attribute.path().is_ident("credential"))
    {
        let parsed = attribute.parse_nested_meta(|meta| {
            if which == Macro::Redact {
                return Err(meta.error("Redact has no options for fields: remove this"));
            }
            if !meta.path.is_ident("expires_at") {
                return Err(meta.error("unknown option: a field takes `expires_at` alone"));
            }
            if std::mem::replace(&mut found, true) {
                return Err(meta.error("given twice: keep one"));
            }
            Ok(())
        });
        errors.check(parsed);
    }
    found
}
