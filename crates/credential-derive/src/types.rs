//! What the macros tell from the spelling of a type: they cannot know more.

use syn::{GenericArgument, PathArguments, PathSegment, Type};

/// The last segment of a path type, whatever leads to it.
fn last_segment(ty: &Type) -> Option<&PathSegment> {
    match ty {
        Type::Path(path) if path.qself.is_none() => path.path.segments.last(),
        Type::Group(group) => last_segment(&group.elem),
        Type::Paren(paren) => last_segment(&paren.elem),
        _ => None,
    }
}

fn argument(segment: &PathSegment, index: usize) -> Option<&Type> {
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else {
        return None;
    };
    let mut types = arguments.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    });
    types.nth(index)
}

/// Whether `ty` is written as an `Option`.
pub(crate) fn is_option(ty: &Type) -> bool {
    last_segment(ty).is_some_and(|segment| segment.ident == "Option")
}

/// Whether `ty` is written as a type that wipes its secrets when dropped.
pub(crate) fn wipes_itself(ty: &Type) -> bool {
    let Some(segment) = last_segment(ty) else {
        return false;
    };
    match segment.ident.to_string().as_str() {
        "SecretBox" | "SecretSlice" | "SecretString" | "Zeroizing" => true,
        "Option" | "Vec" => argument(segment, 0).is_some_and(wipes_itself),
        "BTreeMap" | "HashMap" => argument(segment, 1).is_some_and(wipes_itself),
        _ => false,
    }
}

/// Whether `ty` is written as one that can never be a secret: a number, a reference, an array.
pub(crate) fn is_plain(ty: &Type) -> bool {
    match ty {
        Type::Group(group) => is_plain(&group.elem),
        Type::Paren(paren) => is_plain(&paren.elem),
        Type::Path(path) => path.path.get_ident().is_some_and(|ident| {
            let name = ident.to_string();
            matches!(name.as_str(), "bool" | "char")
                || ["f", "i", "u"].iter().any(|sign| {
                    name.strip_prefix(sign)
                        .is_some_and(|bits| matches!(bits, "8" | "16" | "32" | "64" | "128" | "size"))
                })
        }),
        Type::Array(_) | Type::Ptr(_) | Type::Reference(_) | Type::Slice(_) | Type::Tuple(_) => true,
        _ => false,
    }
}

/// The variant of `FieldKind` that `ty` is written as. Bytes are base64 only where they are secret.
pub(crate) fn kind(ty: &Type, is_secret: bool) -> &'static str {
    let Some(segment) = last_segment(ty) else {
        return "Other";
    };
    let inner = |index| argument(segment, index);
    let is_byte = |ty: Option<&Type>| {
        let segment = ty.and_then(last_segment);
        segment.is_some_and(|segment| segment.ident == "u8")
    };
    match segment.ident.to_string().as_str() {
        "String" | "SecretString" | "str" => "Text",
        "SecretSlice" => "Bytes",
        "Vec" if is_secret && is_byte(inner(0)) => "Bytes",
        "Vec" => "List",
        "BTreeMap" | "HashMap" => "Map",
        "DateTime" => "Time",
        "bool" => "Boolean",
        "Option" | "Zeroizing" | "Box" => inner(0).map_or("Other", |ty| kind(ty, is_secret)),
        _ if is_plain(ty) => "Number",
        _ => "Other",
    }
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn types_that_wipe_themselves() {
        let yes: [Type; 6] = [
            parse_quote!(SecretString),
            parse_quote!(secrecy::SecretBox<Key>),
            parse_quote!(Option<::zeroize::Zeroizing<String>>),
            parse_quote!(std::collections::BTreeMap<String, SecretString>),
            parse_quote!(HashMap<String, Option<SecretSlice<u8>>, State>),
            parse_quote!((Vec<SecretString>)),
        ];
        for ty in &yes {
            assert!(wipes_itself(ty));
        }
        let no: [Type; 6] = [
            parse_quote!(String),
            parse_quote!(Option<String>),
            parse_quote!(BTreeMap<SecretString, String>),
            parse_quote!([SecretString; 2]),
            parse_quote!(<SecretString as Trait>::Type),
            parse_quote!(Nested),
        ];
        for ty in &no {
            assert!(!wipes_itself(ty));
        }
    }

    #[test]
    fn kinds() {
        let expected = [
            ("Text", parse_quote!(Option<std::string::String>)),
            ("Text", parse_quote!(SecretString)),
            ("Text", parse_quote!(Zeroizing<String>)),
            ("Bytes", parse_quote!(Vec<u8>)),
            ("Bytes", parse_quote!(SecretSlice<u8>)),
            ("List", parse_quote!(Vec<String>)),
            ("Map", parse_quote!(BTreeMap<String, SecretString>)),
            ("Number", parse_quote!(u16)),
            ("Number", parse_quote!(Option<f64>)),
            ("Boolean", parse_quote!(bool)),
            ("Time", parse_quote!(Option<DateTime<Utc>>)),
            ("Other", parse_quote!(SslMode)),
            ("Other", parse_quote!((u8, u8))),
        ];
        assert_eq!(kind(&parse_quote!(Vec<u8>), false), "List");
        for (name, ty) in expected {
            assert_eq!(kind(&ty, true), name);
        }
    }

    #[test]
    fn plain_types() {
        let yes: [Type; 6] = [
            parse_quote!(u8),
            parse_quote!((usize)),
            parse_quote!(f64),
            parse_quote!(&'static str),
            parse_quote!([u8; 32]),
            parse_quote!((String, String)),
        ];
        for ty in &yes {
            assert!(is_plain(ty));
        }
        let no: [Type; 4] = [
            parse_quote!(String),
            parse_quote!(Option<u8>),
            parse_quote!(my::u8),
            parse_quote!(us),
        ];
        for ty in &no {
            assert!(!is_plain(ty));
        }
    }
}
