use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use chrono::{DateTime, Utc};
use nebula_credential_core::__private::{check_schema, decode as read, encode as write};
use nebula_credential_core::{
    AnyCredential, Credential, CredentialError, CredentialName, CredentialValue, CustomValue, ExposeSecret,
    FieldInfo, FieldKind, SecretString, SecretWriter,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{stored, text};

/// Several credentials under one name, each of its own type, such as all that one workflow needs.
///
/// Members that were read from a store lie as the JSON they were stored as, in memory that is wiped, until
/// [`get`](Self::get) asks for them by type: no list of all types is needed, and a program may carry members whose
/// types it does not know. A member may be a composite itself.
///
/// ```
/// use nebula_credential_types::{BasicCredential, BearerCredential, CompositeCredential};
///
/// let both = CompositeCredential::new()
///     .add("proxy", BasicCredential::new("alice", "open sesame"))
///     .add("api", BearerCredential::new("mF_9.B5f-4.1JqM"));
///
/// let proxy: &BasicCredential = both.get("proxy")?;
/// assert_eq!(proxy.username, "alice");
/// assert!(both.get::<BasicCredential>("api").is_err());
/// # Ok::<(), nebula_credential_core::CredentialError>(())
/// ```
#[derive(Default)]
pub struct CompositeCredential {
    members: BTreeMap<String, Member>,
}

enum Member {
    /// Put in by the program.
    Added(AnyCredential),
    /// Read from a store.
    Stored(StoredMember),
    /// Of a redacted composite; the name of its type.
    Redacted(String),
}

struct StoredMember {
    credential_type: String,
    schema_version: u32,
    expires_at: Option<DateTime<Utc>>,
    json: SecretString,
    /// Set by the first successful `get`.
    decoded: OnceLock<AnyCredential>,
}

impl CompositeCredential {
    /// Most members of one composite: at the default limit of a secret, 1 KiB for each.
    pub const MEMBERS: usize = 64;

    /// No members; [`add`](Self::add) puts them in.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a member, or replaces the one of that name. The name obeys the rule of a [`CredentialName`], which is
    /// checked with the member itself when the composite is validated.
    #[must_use]
    pub fn add<C: Credential>(mut self, name: &str, credential: C) -> Self {
        self.members
            .insert(name.to_owned(), Member::Added(AnyCredential::new(credential)));
        self
    }

    /// The member called `name`.
    ///
    /// # Errors
    /// [`CredentialError::NotFound`], [`CredentialError::TypeMismatch`] if it is of another type,
    /// [`CredentialError::InvalidState`] in a redacted composite, and those of the decoding of its type.
    pub fn get<C: Credential>(&self, name: &str) -> Result<&C, CredentialError> {
        let Some(member) = self.members.get(name) else {
            return Err(CredentialError::not_found(format!(
                "the composite has no member {name:?}"
            )));
        };
        let found = member.credential_type();
        if found != C::credential_type() {
            return Err(CredentialError::type_mismatch(format!(
                "member {name:?} is {found}, not {}; ask for it by its own type",
                C::credential_type()
            )));
        }
        let credential = match member {
            Member::Added(credential) => credential,
            Member::Stored(stored) => stored.decoded::<C>()?,
            Member::Redacted(_) => {
                return Err(CredentialError::invalid_state(
                    "the composite is redacted and holds no members; read it from the store again",
                ));
            }
        };
        credential.downcast_ref().ok_or_else(|| {
            CredentialError::type_mismatch(format!(
                "member {name:?} is {found}, but two Rust types of this program have that name; rename one"
            ))
        })
    }

    /// The names of the members, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.keys().map(String::as_str)
    }

    /// The name of the type of a member.
    pub fn type_of(&self, name: &str) -> Option<&str> {
        self.members.get(name).map(Member::credential_type)
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

impl Member {
    fn credential_type(&self) -> &str {
        match self {
            Self::Added(credential) => credential.credential_type(),
            Self::Stored(stored) => &stored.credential_type,
            Self::Redacted(credential_type) => credential_type,
        }
    }

    fn schema_version(&self) -> u32 {
        match self {
            Self::Added(credential) => credential.schema_version(),
            Self::Stored(stored) => stored.schema_version,
            Self::Redacted(_) => 0,
        }
    }

    fn expires_at(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Added(credential) => credential.expires_at(),
            Self::Stored(stored) => stored.expires_at,
            Self::Redacted(_) => None,
        }
    }

    /// A member that is not decoded was valid when it was stored.
    fn validate(&self) -> Result<(), CredentialError> {
        match self {
            Self::Added(credential) => credential.validate(),
            Self::Stored(stored) => stored.decoded.get().map_or(Ok(()), AnyCredential::validate),
            Self::Redacted(_) => Err(stored::redacted()),
        }
    }

    fn encode(&self, out: &mut SecretWriter) -> Result<(), CredentialError> {
        match self {
            Self::Added(credential) => credential.encode(out),
            Self::Stored(stored) => out.put(stored.json.expose_secret().as_bytes()),
            Self::Redacted(_) => Err(stored::redacted()),
        }
    }
}

impl StoredMember {
    fn decoded<C: Credential>(&self) -> Result<&AnyCredential, CredentialError> {
        if let Some(credential) = self.decoded.get() {
            return Ok(credential);
        }
        let credential = C::decode(self.json.expose_secret().as_bytes(), self.schema_version)?;
        // Of two threads that get here at once, one value is kept and the other wiped.
        Ok(self.decoded.get_or_init(|| AnyCredential::new(credential)))
    }
}

impl Credential for CompositeCredential {
    fn credential_type() -> &'static str {
        "composite"
    }

    fn fields() -> &'static [FieldInfo] {
        const FIELDS: &[FieldInfo] = &[FieldInfo::new("members", FieldKind::Map, true, true)];
        FIELDS
    }

    fn validate(&self) -> Result<(), CredentialError> {
        if self.members.is_empty() {
            return Err(CredentialError::validation(
                "a composite cannot be empty; add a member",
            ));
        }
        check_count(self.members.len())?;
        for (name, member) in &self.members {
            CredentialName::new(name)?;
            member.validate().map_err(|error| match error {
                CredentialError::Validation(what) => {
                    CredentialError::validation(format!("member {name:?}: {what}"))
                }
                other => other,
            })?;
        }
        Ok(())
    }

    /// When the first member expires.
    fn expires_at(&self) -> Option<DateTime<Utc>> {
        self.members.values().filter_map(Member::expires_at).min()
    }

    /// The names and types of the members, without the members.
    fn redact(&self) -> Self {
        let redacted = |member: &Member| Member::Redacted(member.credential_type().to_owned());
        Self {
            members: self
                .members
                .iter()
                .map(|(name, member)| (name.clone(), redacted(member)))
                .collect(),
        }
    }

    fn to_value(&self) -> Result<CredentialValue, CredentialError> {
        CustomValue::new(self).map(CredentialValue::Custom)
    }

    fn from_value(value: CredentialValue) -> Result<Self, CredentialError> {
        match value {
            CredentialValue::Custom(custom) => custom.decode(),
            _ => Err(CredentialError::type_mismatch(
                "a composite is made from its own stored form",
            )),
        }
    }

    /// `{"members":{NAME:{"type":..,"schema_version":..,"expires_at":..,"data":{..}}}}`, each member straight from its
    /// own codec into `out`.
    fn encode(&self, out: &mut SecretWriter) -> Result<(), CredentialError> {
        check_count(self.members.len())?;
        out.put(b"{\"members\":{")?;
        let mut separator: &[u8] = b"";
        for (name, member) in &self.members {
            out.put(separator)?;
            separator = b",";
            write(name, out)?;
            out.put(b":{\"type\":")?;
            write(member.credential_type(), out)?;
            out.put(b",\"schema_version\":")?;
            write(&member.schema_version(), out)?;
            if let Some(end) = member.expires_at() {
                out.put(b",\"expires_at\":")?;
                write(&end, out)?;
            }
            out.put(b",\"data\":")?;
            member.encode(out)?;
            out.put(b"}")?;
        }
        out.put(b"}}")
    }

    fn decode(bytes: &[u8], schema_version: u32) -> Result<Self, CredentialError> {
        check_schema::<Self>(schema_version)?;
        let Wire { members } = read(bytes)?;
        check_count(members.len())?;
        let members = members
            .into_iter()
            .map(|(name, member)| (name.into_owned(), member.into()));
        Ok(Self {
            members: members.collect(),
        })
    }
}

/// What is stored; each member is left as it stands in the input.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    #[serde(borrow)]
    members: BTreeMap<Cow<'a, str>, WireMember<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireMember<'a> {
    #[serde(rename = "type")]
    credential_type: String,
    schema_version: u32,
    expires_at: Option<DateTime<Utc>>,
    #[serde(borrow)]
    data: &'a RawValue,
}

impl From<WireMember<'_>> for Member {
    fn from(wire: WireMember<'_>) -> Self {
        Self::Stored(StoredMember {
            credential_type: wire.credential_type,
            schema_version: wire.schema_version,
            expires_at: wire.expires_at,
            json: text::secret(wire.data.get()),
            decoded: OnceLock::new(),
        })
    }
}

fn check_count(found: usize) -> Result<(), CredentialError> {
    if found > CompositeCredential::MEMBERS {
        return Err(CredentialError::limit(
            "composite members",
            CompositeCredential::MEMBERS,
            found,
        ));
    }
    Ok(())
}

impl fmt::Debug for CompositeCredential {
    /// The names and types of the members.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Type<'a>(&'a str);

        impl fmt::Debug for Type<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0)
            }
        }

        f.write_str("CompositeCredential ")?;
        f.debug_map()
            .entries(
                self.members
                    .iter()
                    .map(|(name, member)| (name, Type(member.credential_type()))),
            )
            .finish()
    }
}
