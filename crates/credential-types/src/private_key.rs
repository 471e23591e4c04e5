//! Private keys as OpenSSL writes them: PKCS#8, PKCS#1 (RSA) and SEC 1 (EC) in PEM.

use x509_parser::asn1_rs::{Any, Class, FromDer, Tag};
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::{OID_KEY_TYPE_EC_PUBLIC_KEY, OID_PKCS1_RSAENCRYPTION};

use crate::pem::{self, Block};

/// The one key of `text`.
pub(crate) fn only_block(text: &str) -> Result<Block<'_>, &'static str> {
    // OpenSSL writes the curve before an EC key.
    let mut keys = pem::blocks(text)?
        .into_iter()
        .filter(|block| block.label != "EC PARAMETERS");
    match (keys.next(), keys.next()) {
        (Some(key), None) => Ok(key),
        _ => Err("holds more or less than one key; keep one"),
    }
}

/// Whether the key is encrypted; an error for what is no such key.
pub(crate) fn is_encrypted(block: &Block<'_>) -> Result<bool, &'static str> {
    let is_encrypted = match block.label {
        "ENCRYPTED PRIVATE KEY" => true,
        "PRIVATE KEY" => false,
        "RSA PRIVATE KEY" | "EC PRIVATE KEY" => block.legacy_encrypted,
        label if label.contains("PUBLIC KEY") => return Err("is a public key; give the private one"),
        label if label.contains("CERTIFICATE") => return Err("is a certificate; give the private key"),
        _ => return Err("is of an unknown kind; use PKCS#8, PKCS#1 (RSA) or SEC 1 (EC)"),
    };
    // The cipher of legacy encryption covers the whole body.
    if !block.legacy_encrypted && Fields::of_sequence(&block.der).is_none() {
        return Err("is damaged: its body is not one ASN.1 structure; paste the file unchanged");
    }
    Ok(is_encrypted)
}

/// Whether the key is that of `certificate`, by the public key that most private keys hold beside themselves.
/// `None` where it cannot be told without arithmetic: an encrypted key, a bare EC or Ed25519 key.
pub(crate) fn belongs_to(block: &Block<'_>, certificate: &X509Certificate<'_>) -> Option<bool> {
    let ids = (OID_PKCS1_RSAENCRYPTION, OID_KEY_TYPE_EC_PUBLIC_KEY);
    let (rsa, ec) = (ids.0.as_bytes(), ids.1.as_bytes());
    let info = certificate.public_key();
    let certified = info.algorithm.algorithm.as_bytes();
    let public: &[u8] = &info.subject_public_key.data;

    let der = block.der.as_slice();
    let mut outer = Fields::of_sequence(der)?;
    let (algorithm, inner, beside) = match block.label {
        "RSA PRIVATE KEY" if !block.legacy_encrypted => (rsa, der, None),
        "EC PRIVATE KEY" if !block.legacy_encrypted => (ec, der, None),
        // RFC 5958: version, algorithm, the key of that algorithm, attributes, the public key.
        "PRIVATE KEY" => {
            outer.next_if(Tag::Integer)?;
            let algorithm = Fields(outer.next_if(Tag::Sequence)?).next_if(Tag::Oid)?;
            let inner = outer.next_if(Tag::OctetString)?;
            (algorithm, inner, outer.tagged(1))
        }
        _ => return None,
    };
    if algorithm == rsa {
        // A certificate may bind an RSA key to RSA-PSS, which has another identifier under the same arc.
        if certified.split_last().map(|(_, arc)| arc) != rsa.split_last().map(|(_, arc)| arc) {
            return Some(false);
        }
        // RFC 8017, A.1: modulus and exponent are all of the public key, and follow the version in the private one.
        let mut fields = Fields::of_sequence(inner)?;
        fields.next_if(Tag::Integer)?;
        return Some(fields.0.starts_with(Fields::of_sequence(public)?.0));
    }
    if algorithm != certified {
        return Some(false);
    }
    // A BIT STRING of whole bytes: a zero, then the bytes.
    let own = match beside {
        Some(bits) => bits.strip_prefix(&[0])?,
        // RFC 5915: version, private key, parameters, the public key.
        None if algorithm == ec => {
            let mut bits = Fields(Fields::of_sequence(inner)?.tagged(1)?);
            bits.next_if(Tag::BitString)?.strip_prefix(&[0])?
        }
        None => return None,
    };
    // A point may be written compressed or not.
    (own.len() == public.len()).then(|| own == public)
}

/// The fields of an ASN.1 SEQUENCE, borrowed: no copy of a key is made.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Those of `der`, if it is one SEQUENCE and nothing more.
    fn of_sequence(der: &'a [u8]) -> Option<Self> {
        let mut whole = Self(der);
        let content = whole.next_if(Tag::Sequence)?;
        whole.0.is_empty().then_some(Self(content))
    }

    fn next(&mut self) -> Option<Any<'a>> {
        let (rest, field) = Any::from_der(self.0).ok()?;
        self.0 = rest;
        Some(field)
    }

    /// The content of the next field, which must be a `tag`.
    fn next_if(&mut self, tag: Tag) -> Option<&'a [u8]> {
        let field = self.next()?;
        (field.class() == Class::Universal && field.tag() == tag).then_some(field.data)
    }

    /// The content of the field with the context-specific tag `number`.
    fn tagged(mut self, number: u32) -> Option<&'a [u8]> {
        loop {
            let field = self.next()?;
            if field.class() == Class::ContextSpecific && field.tag() == Tag(number) {
                return Some(field.data);
            }
        }
    }
}
