//! One field, checked.

use syn::ext::IdentExt as _;
use syn::{Ident, Meta, Type};

use crate::input::{Errors, Macro};
use crate::stored::{self, serde_metas};
use crate::words;

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
        stored::check_field(&found, errors);
        Some(found)
    }

    /// The name without `r#`.
    pub(crate) fn name(&self) -> String {
        self.ident.unraw().to_string()
    }
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
