/// A field of a credential type, as it stands in the stored form.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldInfo {
    /// Its name there.
    pub name: &'static str,
    /// What it holds.
    pub kind: FieldKind,
    /// Whether it is a secret: shown to no one who does not ask for it.
    pub secret: bool,
    /// Whether a stored form without it is refused.
    pub required: bool,
}

impl FieldInfo {
    /// A field.
    pub const fn new(name: &'static str, kind: FieldKind, secret: bool, required: bool) -> Self {
        Self {
            name,
            kind,
            secret,
            required,
        }
    }
}

/// What a field holds, told from the spelling of its type.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// Text.
    Text,
    /// Bytes, as base64 text.
    Bytes,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A time, as RFC 3339 text.
    Time,
    /// A list.
    List,
    /// Named values.
    Map,
    /// Something only its type can read, in whatever JSON.
    Other,
}
