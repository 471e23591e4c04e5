//! The stored form: which `#[serde(..)]` attributes shape it, and how.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens as _, format_ident, quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned as _;
use syn::{Attribute, Expr, ExprLit, ExprPath, Ident, Lit, LitStr, Meta, Token};

use crate::field::Field;
use crate::input::Errors;
use crate::{types, words};

const ONE_NAME: &str =
    "a field is read under the name it is stored by: give one name (and `alias` for older ones)";

/// The entries of all `#[serde(..)]` attributes.
pub(crate) fn serde_metas(attributes: &[Attribute], errors: &mut Errors) -> Vec<Meta> {
    let mut metas = Vec::new();
    for attribute in attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("serde"))
    {
        let parsed = attribute.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
        metas.extend(errors.check(parsed).into_iter().flatten());
    }
    metas
}

/// Those entries of the struct that shape its stored form.
pub(crate) fn container(metas: &[Meta], errors: &mut Errors) -> Vec<Meta> {
    let mut kept = Vec::new();
    for meta in metas {
        let path = meta.path();
        let is = |name: &&str| path.is_ident(name);
        if is(&"rename_all") {
            kept.push(meta.clone());
            if let Meta::List(_) = meta {
                errors.at(meta, ONE_NAME);
            }
        } else if is(&"default") {
            errors.at(
                meta,
                "the stored form has no default for the struct: write #[serde(default)] on each field",
            );
        } else if ["from", "into", "remote", "tag", "transparent", "try_from"]
            .iter()
            .any(is)
        {
            errors.at(
                meta,
                "the stored form is a plain JSON object, which does not allow this: implement Credential by hand",
            );
        }
        // What is left (`crate`, `rename`, `expecting`, `deny_unknown_fields`) is for the author's own serde derives.
    }
    kept
}

/// Refuses what would be stored and could not be read back.
pub(crate) fn check_field(field: &Field<'_>, errors: &mut Errors) {
    let entry = |name| entry(field, name);
    if let (true, Some(meta)) = (field.is_secret, entry("flatten")) {
        errors.at(
            meta,
            "a secret cannot be flattened: serde would keep copies of it that are not wiped",
        );
    }
    if let Some(meta @ Meta::List(_)) = entry("rename") {
        errors.at(meta, ONE_NAME);
    }
    if let (Some(meta), None, None) = (
        entry("skip_deserializing"),
        entry("skip_serializing"),
        entry("skip"),
    ) {
        errors.at(meta, "what is stored must be read back: write `skip`");
    }
    let has_reader = entry("with").is_some() || entry("deserialize_with").is_some();
    let may_be_absent = entry("default").is_some()
        || entry("skip_deserializing").is_some()
        || types::is_option(field.ty) && (field.is_secret || !has_reader);
    if let (Some(meta), false) = (
        entry("skip_serializing").or(entry("skip_serializing_if")),
        may_be_absent,
    ) {
        errors.at(meta, "what is left out cannot be read back: add `default`");
    }
}

fn entry<'a>(field: &'a Field<'_>, name: &str) -> Option<&'a Meta> {
    field.serde.iter().find(|meta| meta.path().is_ident(name))
}

/// The path in `name = "path"`.
fn path(field: &Field<'_>, name: &str) -> Option<ExprPath> {
    match entry(field, name)? {
        Meta::NameValue(pair) => match &pair.value {
            Expr::Lit(ExprLit {
                lit: Lit::Str(literal),
                ..
            }) => literal.parse().ok(),
            Expr::Path(path) => Some(path.clone()),
            _ => None,
        },
        _ => None,
    }
}

pub(crate) fn has_flatten(fields: &[Field<'_>]) -> bool {
    fields.iter().any(|field| entry(field, "flatten").is_some())
}

/// The field of the struct that is written: the attributes of its author, and for a secret its own way to storage.
pub(crate) fn written_field(field: &Field<'_>, private: &TokenStream) -> TokenStream {
    let Field { ident, ty, serde, .. } = field;
    let is_writer_given = ["serialize_with", "with"]
        .iter()
        .any(|name| entry(field, name).is_some());
    let writer = (field.is_secret && !is_writer_given).then(|| {
        let path = path_literal(ty.span(), &quote!(#private::SecretField::store));
        quote!(#[serde(serialize_with = #path)])
    });
    quote!(#(#[serde(#serde)])* #writer #ident: #ty)
}

/// The field of the struct that is read, and what it needs beside it. A secret is under guard until all are read.
pub(crate) fn read_field(field: &Field<'_>, private: &TokenStream) -> (TokenStream, TokenStream) {
    let Field { ident, ty, serde, .. } = field;
    if !field.is_secret {
        return (quote!(#(#[serde(#serde)])* #ident: #ty), TokenStream::new());
    }
    let (span, at_type) = field.place(private);
    let guarded = quote_spanned!(span=> #at_type::Guarded<#ty>);
    let reader = path(field, "deserialize_with").or_else(|| {
        let mut module = path(field, "with")?;
        module
            .path
            .segments
            .push(Ident::new("deserialize", ident.span()).into());
        Some(module)
    });
    // Absent, a secret is what its author says, else the default of its type where serde would take that.
    let has_default = ["default", "skip", "skip_deserializing"]
        .iter()
        .any(|name| entry(field, name).is_some());
    let default = path(field, "default").map_or_else(
        || quote_spanned!(span=> <#ty as ::core::default::Default>::default),
        ExprPath::into_token_stream,
    );
    let default = (has_default || types::is_option(ty)).then_some(default);
    let replaced = ["default", "deserialize_with", "serialize_with", "with"];
    let kept = serde
        .iter()
        .filter(|meta| !replaced.iter().any(|name| meta.path().is_ident(name)));
    let mut attributes = quote!(#(#[serde(#kept)])*);
    let mut beside = TokenStream::new();
    if let Some(reader) = reader {
        let name = format_ident!("__read_{}", ident.unraw());
        let text = name.to_string();
        attributes.extend(quote!(#[serde(deserialize_with = #text)]));
        beside.extend(quote! {
            fn #name<'de, D>(deserializer: D) -> ::core::result::Result<#guarded, D::Error>
            where
                D: #private::serde::Deserializer<'de>,
            {
                #reader(deserializer).map(#private::Guarded::from)
            }
        });
    }
    if let Some(default) = default {
        let name = format_ident!("__default_{}", ident.unraw());
        let text = name.to_string();
        attributes.extend(quote!(#[serde(default = #text)]));
        beside.extend(quote! {
            fn #name() -> #guarded {
                #private::Guarded::from(#default())
            }
        });
    }
    (quote!(#attributes #ident: #guarded), beside)
}

/// What is told of a field without a value; `None` for one that is not stored or has no name there.
pub(crate) fn described(field: &Field<'_>, container: &[Meta], private: &TokenStream) -> Option<TokenStream> {
    let has = |name| entry(field, name).is_some();
    if has("skip") || has("flatten") {
        return None;
    }
    let rule = container.iter().find(|meta| meta.path().is_ident("rename_all"));
    let by_rule = || {
        rule.and_then(text)
            .map(|rule| words::renamed(&field.name(), &rule))
    };
    let name = entry(field, "rename")
        .and_then(text)
        .or_else(by_rule)
        .unwrap_or_else(|| field.name());
    let kind = Ident::new(types::kind(field.ty, field.is_secret), Span::call_site());
    let is_secret = field.is_secret;
    let is_required = !(has("default") || types::is_option(field.ty));
    Some(quote!(#private::FieldInfo::new(#name, #private::FieldKind::#kind, #is_secret, #is_required)))
}

/// The text in `name = "text"`.
fn text(meta: &Meta) -> Option<String> {
    match &meta.require_name_value().ok()?.value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(literal),
            ..
        }) => Some(literal.value()),
        _ => None,
    }
}

/// `path` as a string literal at `span`, where serde will report what is wrong with it.
pub(crate) fn path_literal(span: Span, path: &TokenStream) -> LitStr {
    LitStr::new(&path.to_string().replace(' ', ""), span)
}
