//! JSON, YAML and what sops makes of them.

use serde_json::json;

use crate::command::Store;

const JSON: &str = r#"{
    "github_token": "ghp_\u00e9\n",
    "port": 5432,
    "nothing": null,
    "smtp": {"type": "basic", "value": {"username": "mailer", "password": "123"}}
}"#;

const YAML: &str = r#"
# as sops -d prints it
github_token: "ghp_\u00e9\n"
port: 5432
nothing:
smtp:
    type: basic
    value: {username: mailer, password: 123}
sops:
    version: 3.9.0
    mac: ""
"#;

#[test]
fn json_and_yaml_say_the_same() {
    for (name, text) in [("a.json", JSON), ("a.yml", YAML)] {
        let store = Store::new();
        store
            .import(name, text, &[])
            .ok()
            .says(&["created 3", "1 keys ignored"]);
        let text = |text: &str| ("secret_text".to_owned(), json!({ "text": text }));
        assert_eq!(store.get("github_token").unwrap(), text("ghp_é\n"));
        assert_eq!(store.get("port").unwrap(), text("5432"));
        let smtp = json!({"username": "mailer", "password": "123"});
        assert_eq!(store.get("smtp").unwrap(), ("basic".to_owned(), smtp));
        assert_eq!(store.names().len(), 3);
    }
}

#[test]
fn standard_input_is_told_by_its_content_or_by_format() {
    for (text, options) in [
        ("A=text", &[][..]),
        (r#"{"a": "text"}"#, &[]),
        ("a: text", &[]),
        ("# c\n---\na: text", &[]),
        (r#"{"a": "text"}"#, &["--format", "yaml"]),
        ("a: text", &["--format", "yaml"]),
    ] {
        let store = Store::new();
        store.run(&[&["import", "-"], options].concat(), text).ok();
        assert_eq!(store.get("a").unwrap().1, json!({"text": "text"}), "{text}");
    }
    let store = Store::new();
    store
        .run(&["import", "-"], "")
        .refused(2, &["the input is empty"]);
    store
        .run(&["import", "-"], "s3cr3t")
        .refused(2, &["--format"])
        .hides(&["s3cr3t"]);
    store
        .run(&["import", "-", "--interpolate"], "a: b")
        .refused(2, &["--interpolate"]);
}

#[test]
fn a_bare_scalar_is_what_its_field_expects() {
    let store = Store::new();
    let yaml = "
db:
  type: postgres
  value:
    host: 10.0.0.1
    port: 5432
    database: no
    username: 0123
    password: 1e3
    ssl_mode: require
    max_connections: 5
    min_connections: 1
    connection_timeout: 30
flags: {type: key_value, value: {values: {A: on, B: 0x10, C: 1, D: 'true'}}}
block: |
  line one
  line two
folded: >-
  one
  two
tagged: !!str 5
no: no
";
    store.import("a.yaml", yaml, &[]).ok();
    let db = store.get("db").unwrap().1;
    assert_eq!(
        (&db["port"], &db["database"], &db["username"], &db["password"]),
        (&json!(5432), &json!("no"), &json!("0123"), &json!("1e3"))
    );
    assert_eq!(
        store.get("flags").unwrap().1["values"],
        json!({"A": "on", "B": "0x10", "C": "1", "D": "true"})
    );
    for (name, text) in [
        ("block", "line one\nline two\n"),
        ("folded", "one two"),
        ("tagged", "5"),
        ("no", "no"),
    ] {
        assert_eq!(store.get(name).unwrap().1, json!({ "text": text }), "{name}");
    }
}

#[test]
fn what_is_not_of_the_shape_is_refused_by_line() {
    let secret = "hunter2-hunter2";
    for (name, text, line, words) in [
        (
            "a.json",
            "{\n\"a\": \"hunter2-hunter2\n}",
            "line 2",
            "this is not JSON",
        ),
        (
            "a.json",
            "{\"a\": \"hunter2-hunter2\"",
            "line 1",
            "ends too early",
        ),
        ("a.json", "[\"hunter2-hunter2\"]", "line 1", "not one JSON object"),
        (
            "a.json",
            "{\n\"a\": [\"hunter2-hunter2\"]}",
            "line 2 (a)",
            "neither text",
        ),
        (
            "a.json",
            "{\n\"a\": {\"b\": \"hunter2-hunter2\"}}",
            "line 2 (a)",
            "neither text",
        ),
        (
            "a.json",
            "{\"a\": \"1\",\n\"a\": \"hunter2-hunter2\"}",
            "line 2 (a)",
            "twice",
        ),
        (
            "a.json",
            "{\n\"a\": {\"type\": \"hunter2-hunter2\", \"value\": {}}}",
            "line 2 (a)",
            "no such",
        ),
        (
            "a.json",
            "{\n\"a\": {\"type\": \"basic\", \"value\": {\"password\": \"hunter2-hunter2\"}}}",
            "line 2 (a)",
            "username",
        ),
        (
            "a.json",
            "{\n\"a\": {\"type\": \"basic\", \"value\": {\"username\": \"hunter2-hunter2\", \"password\": 1}}}",
            "line 2 (a)",
            "password",
        ),
        ("a.yaml", "a: \"hunter2-hunter2\nb: c", "line", "this is not YAML"),
        ("a.yaml", "- hunter2-hunter2", "line 1", "not a mapping"),
        ("a.yaml", "hunter2-hunter2", "line 1", "not a mapping"),
        (
            "a.yaml",
            "a: 1\nb: [hunter2-hunter2]",
            "line 2 (b)",
            "neither text",
        ),
        (
            "a.yaml",
            "a: 1\nb: {c: hunter2-hunter2}",
            "line 2 (b)",
            "neither text",
        ),
        ("a.yaml", "a: 1\na: hunter2-hunter2", "line 2 (a)", "twice"),
        ("a.yaml", "a: &x hunter2-hunter2\nb: *x", "line 2", "alias"),
        ("a.yaml", "a: 1\nb: !vault hunter2-hunter2", "line 2", "tag"),
        (
            "a.yaml",
            "a: 1\n---\nb: hunter2-hunter2",
            "line 2",
            "second document",
        ),
        ("a.yaml", "a: 1\n[hunter2-hunter2]: b", "line 2", "line 2"),
        (
            "a.yaml",
            "a:\n  type: basic\n  value: {username: hunter2-hunter2}",
            "line 1 (a)",
            "password",
        ),
        (
            "a.yaml",
            "a: ENC[AES256_GCM,data:hunter2-hunter2,iv:x]",
            "line 1",
            "sops -d FILE | ncred import - --format yaml",
        ),
        (
            "a.json",
            "{\"a\": \"ENC[AES256_GCM,data:hunter2-hunter2]\"}",
            "line 1",
            "sops -d",
        ),
        (
            ".env",
            "a=ENC[AES256_GCM,data:hunter2-hunter2]",
            "line 1",
            "sops -d",
        ),
    ] {
        let store = Store::new();
        store
            .import(name, text, &[])
            .refused(2, &[line, words])
            .hides(&[secret]);
        assert!(store.names().is_empty());
    }
}

#[test]
fn nesting_without_end_is_refused() {
    let store = Store::new();
    let deep = format!("a: {}{}", "[".repeat(100_000), "]".repeat(100_000));
    store.import("a.yaml", &deep, &[]).refused(2, &["line 1"]);
    let deep = format!("{{\"a\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    store.import("a.json", &deep, &[]).refused(2, &["line 1"]);
}

proptest::proptest! {
    /// No text of ours has this, and no key that has it is shown.
    #[test]
    fn no_text_is_too_strange_to_refuse_without_its_values(
        text in "(?s).{0,80}|([-a:{}\\[\\]\"', #&*!|>%?~\r\n\t]|\\^{4}){0,60}|\\{\"a\": ([-a:{}\\[\\]\"',\\\\ 0-9e.]|\\^{4}){0,30}\\}",
        mapping in "|[keys]\na = \\{[a-z]{0,4} = \"[a-z]{0,6}\"\\}\n|others = \"skip\"",
    ) {
        for format in ["env", "json", "yaml"] {
            if let Err(refusal) = nebula_credential_cli::rehearse_import(&text, format, &mapping) {
                assert!(!refusal.contains("^^^^"), "{refusal}");
            }
        }
    }
}
