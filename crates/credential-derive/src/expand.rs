//! What the macros write.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;

use crate::input::Input;
use crate::{stored, types};

/// `Credential`, in terms of what [`redact`] writes.
pub(crate) fn credential(input: &Input<'_>) -> TokenStream {
    let Input {
        ident,
        krate,
        options,
        ..
    } = input;
    let private = quote!(#krate::__private);
    let result = quote!(::core::result::Result);
    let error = quote!(#private::CredentialError);

    let name = input.type_name();
    let version = input.version();
    let refused = input.secrets().map(|field| {
        let (ident, ty) = (field.ident, field.ty);
        let message = format!(
            "`{}` holds the redaction marker; store the real value",
            field.name()
        );
        quote_spanned! {ty.span()=>
            if #private::SecretField::is_redacted(&self.#ident) {
                return #result::Err(#error::validation(#message));
            }
        }
    });
    let migrate = options.migrate.as_ref().map(|migrate| {
        quote! {
            if schema_version < #version {
                let migrated = #private::migrate(bytes, schema_version, #migrate)?;
                return #private::decode_secret(migrated.expose());
            }
        }
    });
    let validate = options.validate.as_ref().map(|validate| {
        quote! {
            fn validate(&self) -> #result<(), #error> {
                #validate(self)
            }
        }
    });
    let expires_at = input.expiry().map(|field| {
        let (ident, ty) = (field.ident, field.ty);
        let time = quote_spanned!(ty.span()=> #private::Expiry::expiry(&self.#ident));
        quote! {
            fn expires_at(&self) -> ::core::option::Option<#private::chrono::DateTime<#private::chrono::Utc>> {
                #time
            }
        }
    });
    let refresh = options.refresh.as_ref().map(|refresh| {
        quote! {
            fn refresh(
                &mut self,
            ) -> impl ::core::future::Future<Output = #result<(), #error>> + ::core::marker::Send {
                #refresh(self)
            }
        }
    });
    let to_value = match &options.to_value {
        Some(to_value) => quote!(#to_value(self)),
        None => quote!(#private::to_custom(self)),
    };
    let from_value = match &options.from_value {
        Some(from_value) => quote!(#from_value(value)),
        None => quote!(#private::from_custom(value)),
    };

    let redact = redact(input);
    quote! {
        #redact

        #[automatically_derived]
        impl #private::Credential for #ident {
            fn credential_type() -> &'static str {
                #name
            }

            fn schema_version() -> u32 {
                #version
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

/// `SecretField`, `Debug`, `Zeroize` and, where a secret does not wipe itself, `Drop`.
pub(crate) fn redact(input: &Input<'_>) -> TokenStream {
    let Input { ident, krate, .. } = input;
    let private = quote!(#krate::__private);

    let secret_field = secret_field(input, &private);
    let debug = debug(input, &private);
    let drop = input
        .secrets()
        .any(|field| !types::wipes_itself(field.ty))
        .then(|| {
            let secrets = input.secrets().filter(|field| !types::wipes_itself(field.ty));
            let wipes = secrets.map(|field| {
                let (ident, ty) = (field.ident, field.ty);
                quote_spanned!(ty.span()=> #private::SecretField::wipe(&mut self.#ident);)
            });
            quote! {
                #[automatically_derived]
                impl ::core::ops::Drop for #ident {
                    fn drop(&mut self) {
                        #(#wipes)*
                    }
                }
            }
        });
    quote! {
        #secret_field
        #debug
        #drop

        #[automatically_derived]
        impl #private::zeroize::Zeroize for #ident {
            fn zeroize(&mut self) {
                #private::SecretField::wipe(self)
            }
        }
    }
}

fn debug(input: &Input<'_>, private: &TokenStream) -> TokenStream {
    let ident = input.ident;
    let struct_name = ident.unraw().to_string();
    let fields = input.fields.iter().map(|field| {
        let (ident, ty, name) = (field.ident, field.ty, field.name());
        let value = if field.is_secret {
            quote!(&::core::format_args!("{}", #private::REDACTED))
        } else {
            quote_spanned!(ty.span()=> &self.#ident)
        };
        quote!(.field(#name, #value))
    });
    quote! {
        #[automatically_derived]
        impl ::core::fmt::Debug for #ident {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.debug_struct(#struct_name) #(#fields)* .finish()
            }
        }
    }
}

/// `SecretField`, over two private structs with the same fields that carry serde's derives.
fn secret_field(input: &Input<'_>, private: &TokenStream) -> TokenStream {
    let Input {
        ident, serde, fields, ..
    } = input;
    let written = format_ident!("__{}Written", ident.unraw());
    let read = format_ident!("__{}Read", ident.unraw());
    let serde_crate = stored::spanned_string(ident, &quote!(#private::serde));
    let remote = ident.to_string();
    let strict = (!stored::has_flatten(fields)).then(|| quote!(#[serde(deny_unknown_fields)]));

    let written_fields = fields.iter().map(|field| stored::written_field(field, private));
    let (read_fields, beside): (Vec<_>, Vec<_>) = fields
        .iter()
        .map(|field| stored::read_field(field, private))
        .unzip();

    let secrets: Vec<_> = input.secrets().map(|field| field.ident).collect();
    let wipes = input.secrets().map(|field| {
        let (ident, ty) = (field.ident, field.ty);
        quote_spanned!(ty.span()=> #private::SecretField::wipe(&mut self.#ident);)
    });
    let redacted = fields.iter().map(|field| {
        let (ident, ty) = (field.ident, field.ty);
        let value = if field.is_secret {
            quote_spanned!(ty.span()=> #private::SecretField::redacted(&self.#ident))
        } else {
            quote_spanned!(ty.span()=> ::core::clone::Clone::clone(&self.#ident))
        };
        quote!(#ident: #value)
    });
    let checks = input.secrets().map(|field| {
        let (ident, ty) = (field.ident, field.ty);
        quote_spanned!(ty.span()=> #private::SecretField::is_redacted(&self.#ident))
    });
    let moved = fields.iter().map(|field| {
        let ident = field.ident;
        if field.is_secret {
            quote!(#ident)
        } else {
            quote!(#ident: read.#ident)
        }
    });

    quote! {
        #[allow(dead_code, clippy::all, clippy::pedantic, clippy::nursery, clippy::restriction)]
        const _: () = {
            #[derive(#private::serde::Serialize)]
            #[serde(crate = #serde_crate, remote = #remote)]
            #(#[serde(#serde)])*
            struct #written {
                #(#written_fields,)*
            }

            #[derive(#private::serde::Deserialize)]
            #[serde(crate = #serde_crate)]
            #strict
            #(#[serde(#serde)])*
            struct #read {
                #(#read_fields,)*
            }

            #(#beside)*

            #[automatically_derived]
            impl #private::SecretField for #ident {
                fn wipe(&mut self) {
                    #(#wipes)*
                }

                fn redacted(&self) -> Self {
                    Self { #(#redacted,)* }
                }

                fn is_redacted(&self) -> bool {
                    false #(|| #checks)*
                }

                fn store<S: #private::serde::Serializer>(
                    &self,
                    serializer: S,
                ) -> ::core::result::Result<S::Ok, S::Error> {
                    #written::serialize(self, serializer)
                }

                fn load<'de, D: #private::serde::Deserializer<'de>>(
                    deserializer: D,
                ) -> ::core::result::Result<Self, D::Error> {
                    let read = <#read as #private::serde::Deserialize>::deserialize(deserializer)?;
                    match (#(read.#secrets.into_inner(),)*) {
                        (#(::core::option::Option::Some(#secrets),)*) => {
                            ::core::result::Result::Ok(Self { #(#moved,)* })
                        }
                        #[allow(unreachable_patterns)]
                        _ => ::core::result::Result::Err(
                            <D::Error as #private::serde::de::Error>::custom("a secret was taken before it was read"),
                        ),
                    }
                }
            }
        };
    }
}
