//! What the macros write.
//!
//! Names are absolute, so that nothing around the struct changes what they mean. A mistake in a field is reported at its
//! type or name: what can be wrong carries that place, and takes `self` from [`quote!`], whose scope is the impl.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::ExprPath;
use syn::spanned::Spanned as _;

use crate::input::Input;
use crate::{redact, stored};

/// `Redact`.
pub(crate) fn redact(input: &Input<'_>) -> TokenStream {
    sealed(&redact::impls(input, &private(input)))
}

/// `Credential`, and all that `Redact` writes.
pub(crate) fn credential(input: &Input<'_>) -> TokenStream {
    let private = private(input);
    let redact = redact::impls(input, &private);
    let credential = credential_impl(input, &private);
    sealed(&quote!(#redact #credential))
}

/// The module of core, or of the facade, that holds all that the generated code names.
fn private(input: &Input<'_>) -> TokenStream {
    let krate = &input.krate;
    quote!(#krate::__private)
}

/// `items` in a scope of their own: helpers stay unseen, and lints are for code that someone wrote.
fn sealed(items: &TokenStream) -> TokenStream {
    quote! {
        #[allow(deprecated, non_camel_case_types, non_snake_case, unused_qualifications)]
        const _: () = {
            #items
        };
    }
}

fn credential_impl(input: &Input<'_>, private: &TokenStream) -> TokenStream {
    let Input {
        ident,
        options,
        type_name,
        ..
    } = input;
    let result = quote!(::core::result::Result);
    let error = quote!(#private::CredentialError);

    let version = options.version.unwrap_or(1);
    let this = quote!(self);
    let refused = input.secrets().map(|field| {
        let (ident, ty) = (field.ident, field.ty);
        let (span, private) = field.place(private);
        let message = format!(
            "`{}` holds the redaction marker; store the real value",
            field.name()
        );
        let is_redacted = quote_spanned!(span=> <#ty as #private::SecretField>::is_redacted(&#this.#ident));
        quote! {
            if #is_redacted {
                return #result::Err(#error::validation(#message));
            }
        }
    });
    let migrate = options.migrate.as_ref().map(|function| {
        let arguments = quote!(bytes, schema_version);
        let migrated = quote_spanned!(function.span()=> #private::migrate(#arguments, #function));
        quote! {
            if schema_version < #version {
                let migrated = #migrated?;
                return #private::decode_secret(migrated.expose());
            }
        }
    });
    let validate = options.validate.as_ref().map(|function| {
        let call = call(function, &this);
        quote! {
            fn validate(&self) -> #result<(), #error> {
                #call
            }
        }
    });
    let expires_at = input.expiry().map(|field| {
        let (ident, ty) = (field.ident, field.ty);
        let (span, at_type) = field.place(private);
        let time = quote_spanned!(span=> <#ty as #at_type::Expiry>::expiry(&#this.#ident));
        quote! {
            fn expires_at(&self) -> ::core::option::Option<#private::chrono::DateTime<#private::chrono::Utc>> {
                #time
            }
        }
    });
    let refresh = options.refresh.as_ref().map(|function| {
        let call = call(function, &this);
        quote! {
            fn refresh(
                &mut self,
            ) -> impl ::core::future::Future<Output = #result<(), #error>> + ::core::marker::Send {
                #call
            }
        }
    });
    let to_value = match &options.to_value {
        Some(function) => call(function, &this),
        None => quote!(#private::to_custom(self)),
    };
    let from_value = match &options.from_value {
        Some(function) => call(function, &quote!(value)),
        None => quote!(#private::from_custom(value)),
    };
    let fields = input
        .fields
        .iter()
        .filter_map(|field| stored::described(field, &input.serde, private));
    quote! {
        #[automatically_derived]
        impl #private::Credential for #ident {
            fn credential_type() -> &'static str {
                #type_name
            }

            fn schema_version() -> u32 {
                #version
            }

            fn fields() -> &'static [#private::FieldInfo] {
                const FIELDS: &[#private::FieldInfo] = &[#(#fields),*];
                FIELDS
            }

            #validate
            #expires_at
            #refresh

            fn redact(&self) -> Self {
                #private::SecretField::redacted(self)
            }

            fn to_value(&self) -> #result<#private::CredentialValue, #error> {
                #to_value
            }

            fn from_value(value: #private::CredentialValue) -> #result<Self, #error> {
                #from_value
            }

            fn encode(&self, out: &mut #private::SecretWriter) -> #result<(), #error> {
                #(#refused)*
                #private::encode_secret(self, out)
            }

            fn decode(bytes: &[u8], schema_version: u32) -> #result<Self, #error> {
                #migrate
                #private::check_schema::<Self>(schema_version)?;
                #private::decode_secret(bytes)
            }
        }
    }
}

/// A call of the author's `function`, where a wrong signature is reported.
fn call(function: &ExprPath, argument: &TokenStream) -> TokenStream {
    quote_spanned!(function.span()=> #function(#argument))
}
