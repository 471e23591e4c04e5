//! The built-in types by name, for tools that learn the type of a credential at run time.

use std::fmt;

use nebula_credential_core::{
    AnyCredential, Credential, CredentialError, FieldInfo, Plaintext, decode_credential,
};

use crate::{
    ApiKeyCredential, AwsCredential, BasicCredential, BearerCredential, CertificateCredential,
    CompositeCredential, ConnectionStringCredential, JwtCredential, KeyValueCredential, PostgresCredential,
    SecretTextCredential, SshKeyCredential,
};

/// A credential type, known by its name.
#[derive(Clone, Copy)]
pub struct TypeInfo {
    name: fn() -> &'static str,
    schema_version: fn() -> u32,
    fields: fn() -> &'static [FieldInfo],
    decode: fn(&Plaintext, u32) -> Result<AnyCredential, CredentialError>,
}

impl TypeInfo {
    /// What is known of `C`.
    pub const fn of<C: Credential>() -> Self {
        Self {
            name: C::credential_type,
            schema_version: C::schema_version,
            fields: C::fields,
            decode: |json, schema_version| {
                decode_credential::<C>(json, schema_version).map(AnyCredential::new)
            },
        }
    }

    /// The name it is stored under, such as `postgres`.
    pub fn name(&self) -> &'static str {
        (self.name)()
    }

    /// The version of its stored shape.
    pub fn schema_version(&self) -> u32 {
        (self.schema_version)()
    }

    /// Its fields in the stored form.
    pub fn fields(&self) -> &'static [FieldInfo] {
        (self.fields)()
    }

    /// The credential `json` is the stored form of. Its shape is not validated.
    ///
    /// # Errors
    /// Those of the type's codec.
    pub fn decode(&self, json: &Plaintext, schema_version: u32) -> Result<AnyCredential, CredentialError> {
        (self.decode)(json, schema_version)
    }
}

impl fmt::Debug for TypeInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TypeInfo({})", self.name())
    }
}

/// The built-in types, by name.
pub const CATALOG: &[TypeInfo] = &[
    TypeInfo::of::<ApiKeyCredential>(),
    TypeInfo::of::<AwsCredential>(),
    TypeInfo::of::<BasicCredential>(),
    TypeInfo::of::<BearerCredential>(),
    TypeInfo::of::<CertificateCredential>(),
    TypeInfo::of::<CompositeCredential>(),
    TypeInfo::of::<ConnectionStringCredential>(),
    TypeInfo::of::<JwtCredential>(),
    TypeInfo::of::<KeyValueCredential>(),
    TypeInfo::of::<PostgresCredential>(),
    TypeInfo::of::<SecretTextCredential>(),
    TypeInfo::of::<SshKeyCredential>(),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_order_and_every_type_has_a_secret_field() {
        let names: Vec<_> = CATALOG.iter().map(TypeInfo::name).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(names, sorted);
        for info in CATALOG {
            assert!(info.fields().iter().any(|field| field.secret), "{info:?}");
        }
    }

    #[test]
    fn a_type_found_by_name_decodes() {
        let basic = CATALOG.iter().find(|info| info.name() == "basic").unwrap();
        let json = Plaintext::new(br#"{"username":"u","password":"p"}"#.to_vec());
        let any = basic.decode(&json, basic.schema_version()).unwrap();
        assert!(any.downcast_ref::<BasicCredential>().is_some());
        assert!(basic.decode(&Plaintext::new(b"{}".to_vec()), 1).is_err());
    }
}
