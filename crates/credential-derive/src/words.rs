//! Names: their words, whether they look secret, and the stored name of a type.

/// Names that are one word although they do not look it. The stored name of a type is permanent, so this list is too.
const ONE_WORD: &[&str] = &[
    "BitBucket",
    "DynamoDB",
    "GitHub",
    "GitLab",
    "MongoDB",
    "MySQL",
    "OAuth",
    "OpenAI",
    "PostgreSQL",
];

/// The words of `name` in lower case: parted at `_`, before a capital, and before the last capital of a run (`AWSKey`).
pub(crate) fn words(name: &str) -> Vec<String> {
    let mut words = Vec::new();
    for part in name.split('_') {
        let mut rest = part;
        while !rest.is_empty() {
            let (word, tail) = first_word(rest);
            words.push(word.to_lowercase());
            rest = tail;
        }
    }
    words
}

fn first_word(text: &str) -> (&str, &str) {
    let known = ONE_WORD
        .iter()
        .filter(|known| text.starts_with(**known))
        .map(|known| known.len())
        .find(|length| !text.chars().skip(*length).take(1).any(char::is_lowercase))
        .unwrap_or(0);
    let mut chars = text.char_indices().peekable();
    let mut before: Option<char> = None;
    while let Some((at, c)) = chars.next() {
        let next_is_lower = chars.peek().is_some_and(|(_, next)| next.is_lowercase());
        let starts_word = c.is_uppercase() && before.is_some_and(|b| !b.is_uppercase() || next_is_lower);
        if starts_word && at >= known.max(1) {
            return text.split_at(at);
        }
        before = Some(c);
    }
    (text, "")
}

/// The stored name of the type `ident` unless it says otherwise: in `snake_case`, less the suffix `Credential`.
pub(crate) fn type_name(ident: &str) -> String {
    let mut words = words(ident);
    if words.len() > 1
        && words
            .last()
            .is_some_and(|last| last == "credential" || last == "credentials")
    {
        words.pop();
    }
    words.join("_")
}

/// Words that make a name look secret wherever they stand.
const SECRET: &[&str] = &[
    "apikey",
    "passphrase",
    "passphrases",
    "passwd",
    "password",
    "passwords",
    "private",
    "secret",
    "secrets",
];

/// Words that do so unless the name ends in one of [`ABOUT`].
const TOKEN: &[&str] = &["key", "keys", "token", "tokens"];

/// Last words of names that tell something about a key or token: `token_type`, `key_id`.
const ABOUT: &[&str] = &[
    "alg",
    "algorithm",
    "at",
    "count",
    "endpoint",
    "expiry",
    "format",
    "id",
    "ids",
    "kind",
    "length",
    "name",
    "size",
    "ttl",
    "type",
    "uri",
    "url",
    "version",
];

/// Whether a field of this name is expected to hold a secret.
pub(crate) fn looks_secret(name: &str) -> bool {
    let words = words(name);
    let is_about = words.last().is_some_and(|last| ABOUT.contains(&last.as_str()));
    let mut before = "";
    for word in &words {
        let is_public_key = before == "public" && word.starts_with("key");
        let is_token = TOKEN.contains(&word.as_str()) && !is_about && !is_public_key;
        if is_token || SECRET.contains(&word.as_str()) {
            return true;
        }
        before = word;
    }
    false
}

/// The name serde gives a field under `rename_all`.
pub(crate) fn renamed(field: &str, rule: &str) -> String {
    let capitalised = || -> String {
        field
            .split('_')
            .map(|word| {
                let mut chars = word.chars();
                chars.next().map_or_else(String::new, |first| {
                    first.to_ascii_uppercase().to_string() + chars.as_str()
                })
            })
            .collect()
    };
    match rule {
        "UPPERCASE" | "SCREAMING_SNAKE_CASE" => field.to_ascii_uppercase(),
        "kebab-case" => field.replace('_', "-"),
        "SCREAMING-KEBAB-CASE" => field.to_ascii_uppercase().replace('_', "-"),
        "PascalCase" => capitalised(),
        "camelCase" => {
            let pascal = capitalised();
            let mut chars = pascal.chars();
            chars.next().map_or_else(String::new, |first| {
                first.to_ascii_lowercase().to_string() + chars.as_str()
            })
        }
        _ => field.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_names() {
        for (ident, name) in [
            ("ApiKeyCredential", "api_key"),
            ("AWSKeyCredential", "aws_key"),
            ("AwsCredential", "aws"),
            ("BasicCredentials", "basic"),
            ("Credential", "credential"),
            ("GitHubAppCredential", "github_app"),
            ("GitHubCredential", "github"),
            ("GitHubbub", "git_hubbub"),
            ("MyGitHub", "my_github"),
            ("MySQLCredential", "mysql"),
            ("OAuth2Credential", "oauth2"),
            ("OAuthCredential", "oauth"),
            ("PostgresCredential", "postgres"),
            ("PostgreSQLCredential", "postgresql"),
            ("S3BucketCredential", "s3_bucket"),
            ("X509Certificate", "x509_certificate"),
            ("snake_case", "snake_case"),
            ("Ünïcode", "ünïcode"),
        ] {
            assert_eq!(type_name(ident), name, "{ident}");
        }
    }

    #[test]
    fn names_that_look_secret() {
        for name in [
            "access_token",
            "api_key",
            "apiKey",
            "apikey",
            "client_secret",
            "key",
            "key_material",
            "keys",
            "passphrase",
            "password",
            "password_hash",
            "personal_access_token",
            "private_key",
            "private_key_id",
            "private_pem",
            "refresh_token",
            "secret",
            "secret_access_key",
            "secret_id",
            "session_token",
            "signing_key_pem",
            "token",
            "tokens",
        ] {
            assert!(looks_secret(name), "{name}");
        }
    }

    #[test]
    fn names_that_do_not() {
        for name in [
            "access_key_id",
            "database",
            "expires_at",
            "host",
            "key_id",
            "key_version",
            "keyboard",
            "monkey",
            "public_key",
            "public_key_pem",
            "public_keys",
            "scope",
            "secretary",
            "token_endpoint",
            "token_expires_at",
            "token_type",
            "token_url",
            "tokenizer",
            "username",
            "_",
            "",
        ] {
            assert!(!looks_secret(name), "{name}");
        }
    }
}
