//! `SecretField`, `Debug`, `Zeroize` and `Drop`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;

use crate::field::Field;
use crate::input::Input;
use crate::{stored, types};

pub(crate) fn impls(input: &Input<'_>, private: &TokenStream) -> TokenStream {
    let ident = input.ident;
    let secret_field = secret_field(input, private);
    let debug = debug(input);
    let drop = drop(input, private);
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

fn debug(input: &Input<'_>) -> TokenStream {
    let ident = input.ident;
    let struct_name = ident.unraw().to_string();
    let this = quote!(self);
    let fields = input.fields.iter().map(|field| {
        let (ident, span, name) = (field.ident, field.ty.span(), field.name());
        let value = if field.is_secret {
            quote!(&::core::format_args!("[REDACTED]"))
        } else {
            quote_spanned!(span=> &#this.#ident)
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

/// Nothing where all secrets wipe themselves: without a `Drop`, fields can be moved out.
fn drop(input: &Input<'_>, private: &TokenStream) -> Option<TokenStream> {
    let ident = input.ident;
    let mut wipes = input
        .secrets()
        .filter(|field| !types::wipes_itself(field.ty))
        .map(|field| wipe(field, private))
        .peekable();
    wipes.peek()?;
    Some(quote! {
        #[automatically_derived]
        impl ::core::ops::Drop for #ident {
            fn drop(&mut self) {
                #(#wipes)*
            }
        }
    })
}

fn wipe(field: &Field<'_>, private: &TokenStream) -> TokenStream {
    let (ident, ty, this) = (field.ident, field.ty, quote!(self));
    let (span, private) = field.place(private);
    quote_spanned!(span=> <#ty as #private::SecretField>::wipe(&mut #this.#ident);)
}

/// `SecretField`, over two private structs with the same fields that carry serde's derives.
fn secret_field(input: &Input<'_>, private: &TokenStream) -> TokenStream {
    let Input {
        ident, serde, fields, ..
    } = input;
    let written = format_ident!("__{}Written", ident.unraw());
    let read = format_ident!("__{}Read", ident.unraw());
    let serde_crate = stored::path_literal(ident.span(), &quote!(#private::serde));
    let remote = ident.to_string();
    let strict = (!stored::has_flatten(fields)).then(|| quote!(#[serde(deny_unknown_fields)]));

    let written_fields = fields.iter().map(|field| stored::written_field(field, private));
    let (read_fields, beside): (Vec<_>, Vec<_>) = fields
        .iter()
        .map(|field| stored::read_field(field, private))
        .unzip();

    let this = quote!(self);
    let secrets: Vec<_> = input.secrets().map(|field| field.ident).collect();
    let wipes = input.secrets().map(|field| wipe(field, private));
    let redacted = fields.iter().map(|field| {
        let (ident, ty) = (field.ident, field.ty);
        let (span, private) = field.place(private);
        let value = if field.is_secret {
            quote_spanned!(span=> <#ty as #private::SecretField>::redacted(&#this.#ident))
        } else {
            quote_spanned!(span=> <#ty as ::core::clone::Clone>::clone(&#this.#ident))
        };
        quote!(#ident: #value)
    });
    let checks = input.secrets().map(|field| {
        let (ident, ty) = (field.ident, field.ty);
        let (span, private) = field.place(private);
        quote_spanned!(span=> <#ty as #private::SecretField>::is_redacted(&#this.#ident))
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
                    _ => ::core::result::Result::Err(
                        <D::Error as #private::serde::de::Error>::custom("a secret was taken before it was read"),
                    ),
                }
            }
        }
    }
}
