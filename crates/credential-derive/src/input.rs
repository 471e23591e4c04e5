//! The struct a macro is written on, checked.

use quote::ToTokens;
use syn::ext::IdentExt as _;
use syn::meta::ParseNestedMeta;
use syn::{Attribute, Data, DeriveInput, ExprPath, Fields, Ident, LitInt, LitStr, Meta, Path, Token};

use crate::field::Field;
use crate::stored::{self, serde_metas};
use crate::{krate, words};

/// Longest stored name of a type, in bytes: it is sealed and indexed with every value.
const TYPE_NAME_BYTES: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Macro {
    Credential,
    Redact,
}

/// What the macros need to know of the struct.
pub(crate) struct Input<'a> {
    pub(crate) ident: &'a Ident,
    /// The path of core or the facade.
    pub(crate) krate: Path,
    pub(crate) fields: Vec<Field<'a>>,
    /// `#[serde(..)]` of the struct, as far as it shapes what is stored.
    pub(crate) serde: Vec<Meta>,
    /// The stored name of the type; of no use to `Redact`.
    pub(crate) type_name: String,
    pub(crate) options: Options,
}

/// `#[credential(..)]` of the struct.
#[derive(Default)]
pub(crate) struct Options {
    krate: Option<Path>,
    name: Option<LitStr>,
    pub(crate) version: Option<u32>,
    pub(crate) migrate: Option<ExprPath>,
    pub(crate) validate: Option<ExprPath>,
    pub(crate) refresh: Option<ExprPath>,
    pub(crate) to_value: Option<ExprPath>,
    pub(crate) from_value: Option<ExprPath>,
}

/// Errors found so far: one run of the compiler shows them all.
#[derive(Default)]
pub(crate) struct Errors(Option<syn::Error>);

impl Errors {
    pub(crate) fn push(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    pub(crate) fn at(&mut self, place: &impl ToTokens, message: impl std::fmt::Display) {
        self.push(syn::Error::new_spanned(place, message));
    }

    pub(crate) fn check<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }
}

impl<'a> Input<'a> {
    pub(crate) fn parse(input: &'a DeriveInput, which: Macro) -> syn::Result<Self> {
        let mut errors = Errors::default();
        if let Some(parameter) = input.generics.params.first() {
            errors.at(
                parameter,
                "a secret-bearing struct has one stored shape: write it without generic parameters",
            );
        }
        let options = Options::parse(&input.attrs, which, &mut errors);
        let serde = stored::container(&serde_metas(&input.attrs, &mut errors), &mut errors);
        let fields = named_fields(input)?;
        let fields: Vec<_> = fields
            .iter()
            .filter_map(|f| Field::parse(f, which, &mut errors))
            .collect();
        for attribute in &input.attrs {
            if attribute.path().is_ident("secret") || attribute.path().is_ident("public") {
                errors.at(attribute, "write this on each field it is meant for");
            }
        }
        if errors.0.is_none() && !fields.iter().any(|field| field.is_marked) {
            errors.at(
                &input.ident,
                "no field is a secret: mark what no one may see with #[secret], or any field with #[public] if there \
                 is nothing to hide",
            );
        }
        let mut expiries = fields.iter().filter(|field| field.is_expiry);
        expiries.next();
        for second in expiries {
            errors.at(second.ident, "only one field can be #[credential(expires_at)]");
        }
        let type_name = options.type_name(&input.ident, which, &mut errors);
        let krate = errors.check(options.krate.clone().map_or_else(krate::find, Ok));
        match (errors.0, krate) {
            (None, Some(krate)) => Ok(Self {
                ident: &input.ident,
                krate,
                fields,
                serde,
                type_name,
                options,
            }),
            (errors, _) => {
                let unknown = || syn::Error::new(input.ident.span(), "cannot derive for this struct");
                Err(errors.unwrap_or_else(unknown))
            }
        }
    }

    pub(crate) fn secrets(&self) -> impl Iterator<Item = &Field<'a>> {
        self.fields.iter().filter(|field| field.is_secret)
    }

    /// The field that says when the value expires: the marked one, else a public one of that name.
    pub(crate) fn expiry(&self) -> Option<&Field<'a>> {
        let marked = self.fields.iter().find(|field| field.is_expiry);
        marked.or_else(|| {
            let mut public = self.fields.iter().filter(|field| !field.is_secret);
            public.find(|field| field.ident == "expires_at")
        })
    }
}

fn named_fields(input: &DeriveInput) -> syn::Result<&syn::punctuated::Punctuated<syn::Field, Token![,]>> {
    let what = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => return Ok(&fields.named),
            Fields::Unnamed(_) => "a tuple struct",
            Fields::Unit => "a unit struct",
        },
        Data::Enum(_) => "an enum",
        Data::Union(_) => "a union",
    };
    Err(syn::Error::new(
        input.ident.span(),
        format!(
            "expected a struct with named fields, found {what}: wrap it in one, or implement the trait by hand"
        ),
    ))
}

impl Options {
    fn parse(attributes: &[Attribute], which: Macro, errors: &mut Errors) -> Self {
        let mut options = Self::default();
        for attribute in attributes
            .iter()
            .filter(|attribute| attribute.path().is_ident("credential"))
        {
            let parsed = attribute.parse_nested_meta(|meta| options.take(&meta, which));
            errors.check(parsed);
        }
        if let (Some(migrate), None | Some(1)) = (&options.migrate, &options.version) {
            errors.at(
                migrate,
                "`migrate` reads older schemas: raise `version` to 2 or more",
            );
        }
        options
    }

    /// The given name, or the one made of `ident`.
    fn type_name(&self, ident: &Ident, which: Macro, errors: &mut Errors) -> String {
        let name = match &self.name {
            Some(name) => name.value(),
            None => words::type_name(&ident.unraw().to_string()),
        };
        let is_allowed =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-' | '.');
        let is_valid = !name.is_empty() && name.len() <= TYPE_NAME_BYTES && name.chars().all(is_allowed);
        if which == Macro::Credential && !is_valid {
            let message = format!(
                "the type name `{name}` is stored with every value: write #[credential(type = \"…\")] with 1 to \
                 {TYPE_NAME_BYTES} of a-z, 0-9, `_`, `-` and `.`"
            );
            match &self.name {
                Some(literal) => errors.at(literal, message),
                None => errors.at(ident, message),
            }
        }
        name
    }

    fn take(&mut self, meta: &ParseNestedMeta<'_>, which: Macro) -> syn::Result<()> {
        let key = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
        if key == "crate" {
            return set(&mut self.krate, meta, crate_path(meta)?);
        }
        if which == Macro::Redact {
            return Err(meta.error("unknown option of Redact: there is only `crate`"));
        }
        match key.as_str() {
            "type" => set(&mut self.name, meta, meta.value()?.parse()?),
            "version" => {
                let literal: LitInt = meta.value()?.parse()?;
                let version: u32 = literal.base10_parse()?;
                if version == 0 {
                    return Err(syn::Error::new(literal.span(), "schema versions count from 1"));
                }
                set(&mut self.version, meta, version)
            }
            "migrate" => set(&mut self.migrate, meta, function(meta)?),
            "validate" => set(&mut self.validate, meta, function(meta)?),
            "refresh" => set(&mut self.refresh, meta, function(meta)?),
            "to_value" => set(&mut self.to_value, meta, function(meta)?),
            "from_value" => set(&mut self.from_value, meta, function(meta)?),
            "expires_at" => Err(meta.error("write #[credential(expires_at)] on the field that holds the time")),
            _ => Err(meta.error(
                "unknown option: the struct takes `type`, `version`, `migrate`, `validate`, `refresh`, `to_value`, \
                 `from_value` and `crate`",
            )),
        }
    }
}

fn set<T>(slot: &mut Option<T>, meta: &ParseNestedMeta<'_>, value: T) -> syn::Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(meta.error("given twice: keep one")),
    }
}

/// A function, as a path or as a string that holds one (the way of serde).
fn function(meta: &ParseNestedMeta<'_>) -> syn::Result<ExprPath> {
    let value = meta.value()?;
    if value.peek(LitStr) {
        value.parse::<LitStr>()?.parse()
    } else {
        value.parse()
    }
}

fn crate_path(meta: &ParseNestedMeta<'_>) -> syn::Result<Path> {
    let value = meta.value()?;
    if value.peek(LitStr) {
        value.parse::<LitStr>()?.parse_with(Path::parse_mod_style)
    } else {
        value.call(Path::parse_mod_style)
    }
}
