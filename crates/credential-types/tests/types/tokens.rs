//! API keys, user names with passwords, tokens, texts.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use nebula_credential_core::{Credential, ExposeSecret};
use nebula_credential_types::{
    ApiKeyCredential, AwsCredential, BasicCredential, BearerCredential, JwtCredential, KeyValueCredential,
    SecretTextCredential,
};
use proptest::prelude::*;

use crate::{hides, json, refused, refuses_other_values, stored};

fn api_key(api_key: &str, endpoint: &str) -> ApiKeyCredential {
    ApiKeyCredential {
        api_key: api_key.to_string(),
        endpoint: endpoint.to_string(),
    }
}

#[test]
fn api_key_takes_keys_and_private_endpoints() {
    for endpoint in [
        "",
        "https://api.example.com",
        "https://api.example.com:8443/v1?region=eu",
        "HTTPS://API.EXAMPLE.COM",
        "http://localhost:8080/",
        "http://127.0.0.1",
        "http://[::1]:9000",
    ] {
        let key = api_key("test_key_123", endpoint);
        key.validate().unwrap();
        let back = stored(&key);
        assert_eq!(
            (back.api_key.as_str(), back.endpoint.as_str()),
            ("test_key_123", endpoint)
        );
    }
    let key = api_key("test_key_123", "https://api.example.com");
    assert_eq!(*key.bearer(), "Bearer test_key_123");
    assert_eq!(key.clone().api_key, key.api_key);
    hides(&key, &["test_key_123"]);
    assert_eq!(key.redact().endpoint, "https://api.example.com");
    let back = ApiKeyCredential::from_value(key.to_value().unwrap()).unwrap();
    assert_eq!(
        (back.api_key.as_str(), back.endpoint.as_str()),
        ("test_key_123", "")
    );
    back.validate().unwrap();
    refuses_other_values::<ApiKeyCredential>("text");
}

#[test]
fn api_key_refuses_broken_keys_and_endpoints_that_leak() {
    refused(&api_key("", ""), "api_key cannot be empty", &[]);
    for key in ["hunter2 ", "hun\nter2", "hunter\u{7f}2", "\u{a0}hunter2"] {
        refused(&api_key(key, ""), "api_key has white space", &["hunter"]);
    }
    for (endpoint, words) in [
        ("api.example.com", "add it"),
        ("mailto:a@example.com", "add it"),
        (" https://api.example.com", "has a space"),
        ("https://", "names no host"),
        ("https://a b.example.com", "has a space"),
        ("https://api.example.com:99999", "a port that is not"),
        ("https://a<b", "names no host"),
        ("http://api.example.com", "must use https"),
        ("http://127.0.0.1.example.com", "must use https"),
        ("http://localhost.example.com", "must use https"),
        ("ftp://api.example.com", "must use https"),
        ("https://hunter2:x@api.example.com", "has a user name or password"),
        ("https://hunter2@api.example.com", "has a user name or password"),
        ("http://localhost\\@evil.example", "write it as %5C"),
        (
            "https://api.example.com/?api_key=hunter2",
            "a parameter that looks secret",
        ),
        (
            "https://api.example.com/?v=1&to%6ben=hunter2",
            "a parameter that looks secret",
        ),
        ("https://api.example.com/#hunter2", "has a '#'"),
    ] {
        refused(&api_key("key", endpoint), words, &["hunter2", "evil", "a<b"]);
    }
}

#[test]
fn basic_encodes_the_vectors_of_the_rfc() {
    // RFC 7617, 2 and 2.1.
    let aladdin = BasicCredential::new("Aladdin", "open sesame");
    assert_eq!(*aladdin.authorization(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    assert_eq!(
        *BasicCredential::new("test", "123\u{a3}").authorization(),
        "Basic dGVzdDoxMjPCow=="
    );
    aladdin.validate().unwrap();
    assert_eq!(stored(&aladdin).password.expose_secret(), "open sesame");
    hides(&aladdin, &["open sesame"]);
    assert!(format!("{aladdin:?}").contains("Aladdin"));
    let back = BasicCredential::from_value(aladdin.to_value().unwrap()).unwrap();
    assert_eq!(json(&back), json(&aladdin));
    refuses_other_values::<BasicCredential>("basic");
    BasicCredential::new("", "token").validate().unwrap();
    BasicCredential::new("key", "").validate().unwrap();
}

#[test]
fn basic_refuses_what_the_header_cannot_carry() {
    refused(
        &BasicCredential::new("a:b", "hunter2"),
        "username has a ':'",
        &["hunter2", "a:b"],
    );
    refused(
        &BasicCredential::new("a\u{1}", "hunter2"),
        "username has a control",
        &["hunter2"],
    );
    refused(
        &BasicCredential::new("a", "hunter2\n"),
        "password has a control",
        &["hunter2"],
    );
    refused(&BasicCredential::new("", ""), "cannot both be empty", &[]);
}

#[test]
fn bearer_takes_the_alphabet_of_the_rfc_and_expires() {
    let mut token = BearerCredential::new("mF_9.B5f-4.1JqM~+/==");
    token.validate().unwrap();
    assert_eq!(*token.authorization(), "Bearer mF_9.B5f-4.1JqM~+/==");
    assert_eq!(token.expires_at(), None);
    let end = DateTime::from_timestamp(2_000_000_000, 0).unwrap();
    token.expires_at = Some(end);
    assert_eq!(token.expires_at(), Some(end));
    let back = stored(&token);
    assert_eq!(
        (back.token.expose_secret(), back.expires_at),
        (token.token.expose_secret(), Some(end))
    );
    assert!(token.is_expired_at(end));
    hides(&token, &["mF_9"]);
    let back = BearerCredential::from_value(token.to_value().unwrap()).unwrap();
    assert_eq!(
        (back.token.expose_secret(), back.expires_at),
        (token.token.expose_secret(), None)
    );
    refuses_other_values::<BearerCredential>("text");
}

#[test]
fn bearer_refuses_other_characters() {
    refused(&BearerCredential::new(""), "token cannot be empty", &[]);
    refused(
        &BearerCredential::new("Bearer hunter2"),
        "the word Bearer",
        &["hunter2"],
    );
    for token in [
        "==",
        "hunter2=x",
        "hunter 2",
        "hunter2\n",
        "hunter\u{e9}",
        "hunter,2",
        "hunter\0",
    ] {
        refused(&BearerCredential::new(token), "RFC 6750", &["hunter"]);
    }
}

#[test]
fn secret_text_is_any_text_but_none() {
    let text = SecretTextCredential::new("any\ntext \u{1f511} at all");
    text.validate().unwrap();
    assert_eq!(stored(&text).text.expose_secret(), text.text.expose_secret());
    hides(&text, &["at all"]);
    let back = SecretTextCredential::from_value(text.to_value().unwrap()).unwrap();
    assert_eq!(json(&back), json(&text));
    refuses_other_values::<SecretTextCredential>("text");
    refused(&SecretTextCredential::new(""), "text cannot be empty", &[]);
}

#[test]
fn key_value_keeps_every_entry() {
    let values = KeyValueCredential::new()
        .with("DB_PASSWORD", "hunter2")
        .with("tls.crt", "")
        .with("X-Api-Key", "k3y");
    values.validate().unwrap();
    let back = stored(&values);
    assert_eq!(back.values.len(), 3);
    assert_eq!(back.get("DB_PASSWORD").unwrap().expose_secret(), "hunter2");
    assert!(back.get("other").is_none());
    hides(&values, &["hunter2", "k3y"]);
    let back = KeyValueCredential::from_value(values.to_value().unwrap()).unwrap();
    assert_eq!(json(&back), json(&values));
    refuses_other_values::<KeyValueCredential>("key_value");
}

#[test]
fn key_value_refuses_keys_that_name_nothing_and_too_many() {
    refused(&KeyValueCredential::new(), "add at least one entry", &[]);
    for key in ["", "a b", "hunter2!", "a/b", "a=b", "\u{e9}", "a\0"] {
        refused(
            &KeyValueCredential::new().with(key, "v"),
            "values has a key that is empty",
            &["hunter2", "a/b"],
        );
    }
    let long = "k".repeat(KeyValueCredential::KEY_BYTES + 1);
    refused(
        &KeyValueCredential::new().with(long, "v"),
        "key bytes exceeds its limit: 254 of at most 253",
        &[],
    );
    let filled = |n: usize| (0..n).fold(KeyValueCredential::new(), |all, i| all.with(format!("k{i}"), "v"));
    filled(KeyValueCredential::ENTRIES).validate().unwrap();
    refused(
        &filled(KeyValueCredential::ENTRIES + 1),
        "257 of at most 256",
        &[],
    );
}

fn aws() -> AwsCredential {
    // The example keys of AWS's own documentation.
    AwsCredential {
        access_key_id: "AKIAIOSFODNN7EXAMPLE".to_string(),
        secret_access_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_string(),
        session_token: Some("FwoGZXIvYXdzEBc".to_string()),
        region: "eu-central-1".to_string(),
        role_arn: Some("arn:aws-us-gov:iam::123456789012:role/path/deploy".to_string()),
        external_id: Some("ext-4711".to_string()),
        expires_at: DateTime::from_timestamp(2_000_000_000, 0),
    }
}

#[test]
fn aws_keeps_all_and_shows_no_part_of_a_key() {
    let keys = aws();
    keys.validate().unwrap();
    let back = stored(&keys);
    assert_eq!(json(&back), json(&keys));
    assert_eq!(back.expires_at(), DateTime::from_timestamp(2_000_000_000, 0));
    hides(&keys, &["AKIA", "wJalr", "FwoGZX", "ext-4711"]);
    // A key shorter than the four characters a preview would show.
    let mut short = aws();
    short.access_key_id = "\u{e9}x".to_string();
    let redacted = short.redact();
    assert_eq!(redacted.access_key_id, "[REDACTED]");
    assert_eq!(redacted.region, "eu-central-1");
    assert_eq!(redacted.session_token.as_deref(), Some("[REDACTED]"));

    let back = AwsCredential::from_value(keys.to_value().unwrap()).unwrap();
    assert_eq!(back.secret_access_key, keys.secret_access_key);
    assert_eq!(back.session_token, keys.session_token);
    assert_eq!(
        (&back.role_arn, &back.external_id, back.expires_at),
        (&None, &None, None)
    );
    refuses_other_values::<AwsCredential>("aws");

    let mut least = aws();
    (
        least.session_token,
        least.role_arn,
        least.external_id,
        least.expires_at,
    ) = (None, None, None, None);
    least.validate().unwrap();
    assert!(!json(&least).contains("null"), "{}", json(&least));
    assert_eq!(json(&stored(&least)), json(&least));
}

#[test]
fn aws_refuses_other_shapes_and_names_the_field() {
    let with = |change: &dyn Fn(&mut AwsCredential)| {
        let mut keys = aws();
        change(&mut keys);
        keys
    };
    let long = "A".repeat(129);
    for id in [
        "AKIAIOSFODNN7EX",
        "AKIAIOSFODNN7EXAMPLE ",
        "AKIAIOSFODNN7/EXAMPLE",
        "AKIAIOSFODNN7EXAMPL\u{c9}",
        &long,
    ] {
        refused(
            &with(&|k| k.access_key_id = id.to_string()),
            "access_key_id is not 16-128",
            &[id],
        );
    }
    refused(
        &with(&|k| k.access_key_id.clear()),
        "access_key_id cannot be empty",
        &[],
    );
    refused(
        &with(&|k| k.secret_access_key.clear()),
        "secret_access_key cannot be empty",
        &[],
    );
    refused(
        &with(&|k| k.secret_access_key = "hunter2\n".into()),
        "secret_access_key has white space",
        &["hunter2"],
    );
    for token in ["", "hunter 2"] {
        refused(
            &with(&|k| k.session_token = Some(token.into())),
            "session_token is empty or has",
            &[token],
        );
    }
    for region in [
        "",
        "eu central 1",
        "EU-CENTRAL-1",
        "eu-central-1.evil.example/",
        "-eu",
        "eu-",
        "1",
        &"r".repeat(64),
    ] {
        refused(
            &with(&|k| k.region = region.to_string()),
            "region is not lower-case",
            &[],
        );
    }
    for arn in [
        "deploy",
        "arn:aws:iam::123456789012:user/alice",
        "arn:aws:iam::12345678901:role/deploy",
        "arn:aws:iam::123456789012:role/",
        "arn:aws:iam:eu-central-1:123456789012:role/deploy",
        "arn:aws:s3::123456789012:role/deploy",
        "arn:aws:iam::123456789012:role/de ploy",
        "arn::iam::123456789012:role/deploy",
    ] {
        refused(
            &with(&|k| k.role_arn = Some(arn.into())),
            "role_arn is no role",
            &["deploy"],
        );
    }
    for id in ["", "x", "a b", "a!b", &"e".repeat(1225)] {
        refused(
            &with(&|k| k.external_id = Some(id.to_string())),
            "external_id is not 2-1224",
            &[],
        );
    }
}

fn jwt(header: &str, claims: &str, signature: &str) -> JwtCredential {
    let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
    JwtCredential::new(format!("{}.{}.{signature}", part(header), part(claims)))
}

#[test]
fn jwt_reads_the_example_of_the_rfc() {
    // RFC 7519, 3.1.
    let token = JwtCredential::new(
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLm\
         NvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    );
    token.validate().unwrap();
    assert_eq!(token.expires_at(), DateTime::from_timestamp(1_300_819_380, 0));
    assert!(
        token.is_expired(),
        "an expired token is valid in shape, and says that it expired"
    );
    assert_eq!(stored(&token).token.expose_secret(), token.token.expose_secret());
    assert!(token.authorization().starts_with("Bearer eyJ0"));
    hides(&token, &["eyJ0eXAi", "dBjftJeZ4CVP"]);
    let back = JwtCredential::from_value(token.to_value().unwrap()).unwrap();
    assert_eq!(json(&back), json(&token));
    refuses_other_values::<JwtCredential>("text");
}

#[test]
fn jwt_expiry_is_bounded() {
    let expiry = |exp: &str| {
        let token = jwt(r#"{"alg":"ES256"}"#, &format!(r#"{{"exp":{exp}}}"#), "c2ln");
        token.validate().map(|()| token.expires_at())
    };
    let at = |seconds| Ok(DateTime::<Utc>::from_timestamp(seconds, 0));
    assert_eq!(expiry("0"), at(0));
    assert_eq!(expiry("1300819380.9"), at(1_300_819_380));
    assert_eq!(expiry("1.5e9"), at(1_500_000_000));
    assert_eq!(expiry("253402300799"), at(253_402_300_799));
    for exp in [
        "253402300800",
        "-1",
        "-0.5",
        "1e400",
        "1e18",
        "9223372036854775808",
        "1700000000000000",
    ] {
        let message = expiry(exp).unwrap_err().to_string();
        assert!(
            message.contains("years 1970 to 9999") || message.contains("numeric exp"),
            "{exp}: {message}"
        );
    }
    let none = jwt(r#"{"alg":"ES256"}"#, "{}", "c2ln");
    none.validate().unwrap();
    assert_eq!(none.expires_at(), None);
}

#[test]
fn jwt_refuses_what_is_unsigned_encrypted_or_no_token() {
    let good = r#"{"alg":"RS256","typ":"JWT"}"#;
    for alg in ["none", "None", "nOnE", ""] {
        refused(
            &jwt(&format!(r#"{{"alg":"{alg}"}}"#), "{}", "c2ln"),
            "is not signed",
            &[],
        );
    }
    refused(&jwt(r#"{"alg":"n\u006fne"}"#, "{}", ""), "is not signed", &[]);
    refused(&jwt(good, "{}", ""), "signature that is missing", &[]);
    refused(
        &jwt(good, "{}", "c2l*"),
        "signature that is missing or not base64url",
        &["c2l*"],
    );
    for token in ["", "hunter2", "hunter2.x"] {
        refused(&JwtCredential::new(token), "token has not three parts", &[token]);
    }
    refused(&JwtCredential::new("a.b.c.d.e"), "encrypted JWT", &[]);
    refused(&JwtCredential::new("a.b.c.d"), "more than three parts", &[]);
    refused(
        &JwtCredential::new("hunter2!.x.y"),
        "has a header that",
        &["hunter2"],
    );
    for header in [
        "[\"RS256\"]",
        "{}",
        "null",
        "{\"alg\":1}",
        "{\"alg\":\"RS256\",\"alg\":\"none\"}",
        "hunter2",
    ] {
        refused(&jwt(header, "{}", "c2ln"), "has a header that", &["hunter2"]);
    }
    for claims in [
        "[1]",
        "\"hunter2\"",
        "{\"exp\":\"hunter2\"}",
        "{",
        "{\"exp\":1,\"exp\":2}",
    ] {
        refused(&jwt(good, claims, "c2ln"), "has claims that", &["hunter2"]);
    }
    // Padding, and the other alphabet, are not base64url.
    refused(
        &JwtCredential::new(format!("{}.e30.c2ln", STANDARD.encode("{\"alg\":\"RS256\"} "))),
        "has a header",
        &[],
    );
    assert_eq!(JwtCredential::new("hunter2").expires_at(), None);
}

proptest! {
    #[test]
    fn any_text_is_answered_without_a_panic(text in "\\PC{0,80}", raw in any::<String>()) {
        for text in [&text, &raw] {
            let _ = api_key(text, text).validate();
            let _ = BasicCredential::new(text.as_str(), text.as_str()).validate();
            let _ = BearerCredential::new(text.as_str()).validate();
            let _ = KeyValueCredential::new().with(text.as_str(), "v").validate();
            let token = JwtCredential::new(text.as_str());
            prop_assert_eq!(token.validate().is_err(), true);
            prop_assert_eq!(token.expires_at(), None);
            let mut keys = aws();
            (keys.region, keys.role_arn) = (text.clone(), Some(text.clone()));
            let _ = keys.validate();
        }
    }

    #[test]
    fn any_header_and_claims_are_answered_without_a_panic(header in any::<String>(), exp in any::<f64>(), n in any::<i64>()) {
        let _ = jwt(&header, &header, "c2ln").validate();
        for exp in [exp.to_string(), n.to_string()] {
            let token = jwt(r#"{"alg":"ES256"}"#, &format!(r#"{{"exp":{exp}}}"#), "c2ln");
            prop_assert_eq!(token.validate().is_ok(), token.expires_at().is_some());
        }
    }

    #[test]
    fn any_secret_survives_storage(text in any::<String>()) {
        let pair = BasicCredential::new(text.as_str(), text.as_str());
        let back = stored(&pair);
        prop_assert_eq!(back.username.as_str(), text.as_str());
        prop_assert_eq!(back.password.expose_secret(), text.as_str());
    }
}
