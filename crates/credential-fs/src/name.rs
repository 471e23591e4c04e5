use nebula_credential_core::CredentialError;

/// Longest file name in bytes: `NAME_MAX` is 255 on Linux, and a temporary name adds five.
const NAME_MAX: usize = 200;

/// A plain file name, distinct from the temporary names, which start with a dot.
pub(crate) fn validate(name: &str) -> Result<(), CredentialError> {
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
        return Err(CredentialError::invalid_name(
            "a file name in a private directory must not be empty, start with a dot, or hold a slash or NUL",
        ));
    }
    if name.len() > NAME_MAX {
        return Err(CredentialError::limit("file name bytes", NAME_MAX, name.len()));
    }
    Ok(())
}

/// Where the next content of `name` is written.
pub(crate) fn temporary(name: &str) -> String {
    format!(".{name}.tmp")
}
