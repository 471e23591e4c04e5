//! Files that are not what they should be, and mapping files.

use serde_json::json;

use crate::command::Store;

#[test]
fn a_line_that_is_no_binding_is_named_and_not_quoted() {
    let store = Store::new();
    let text = "A=1\nhunter2 hunter2\n\nB='hunter2\nC=3\n";
    let ran = store.import(".env", text, &[]).hides(&["hunter2"]);
    ran.refused(2, &["line 2 and 1 more are not KEY=VALUE", "--skip-invalid"]);
    assert!(store.names().is_empty());
    store
        .import(".env", text, &["--skip-invalid"])
        .ok()
        .hides(&["hunter2"])
        .says(&["line 2 and 1 more"]);
    assert_eq!(store.names(), ["a", "c"]);
}

#[test]
fn a_key_without_a_value_is_left_out_and_not_shown() {
    let store = Store::new();
    let ran = store
        .import(".env", "A=1\nMIIEvQIBADANBgkq\nB=\nA=2\n", &["--json"])
        .ok()
        .hides(&["MIIEvQ"]);
    assert_eq!(
        ran.json()["ignored"],
        json!([{"line": 2, "key": null, "reason": "no_value"}, {"line": 3, "key": "B", "reason": "empty"}])
    );
    assert_eq!(store.get("a").unwrap().1, json!({"text": "2"}));
    let ran = store
        .import(
            ".env",
            "A=1\nMIIEvQIBADANBgkq\nA=2\n",
            &["--on-conflict", "replace"],
        )
        .ok();
    ran.hides(&["MIIEvQ"]).says(&[
        "line 2 has no value; ignored",
        "line 3 (A) replaces the value of line 1",
    ]);
}

#[test]
fn a_key_block_without_quotes_is_not_cut_to_its_first_line() {
    let store = Store::new();
    let text = "A=1\nKEY=-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\n-----END PRIVATE KEY-----\n";
    let ran = store
        .import(".env", text, &["--skip-invalid"])
        .refused(2, &["line 2 (KEY)", "quotes"]);
    ran.hides(&["MIIEvQ"]);
    assert!(store.names().is_empty());
    let quoted = text.replace("KEY=-", "KEY=\"-").trim_end().to_owned() + "\"\n";
    store.import(".env", &quoted, &[]).ok();
    let stored = store.get("key").unwrap().1;
    assert!(
        stored["text"]
            .as_str()
            .unwrap()
            .ends_with("\n-----END PRIVATE KEY-----")
    );
}

#[test]
fn files_that_cannot_be_read_are_refused_with_the_remedy() {
    let store = Store::new();
    store
        .run(&["import", "nowhere.env"], "")
        .refused(3, &["there is no file nowhere.env"]);
    let directory = store.path("");
    store
        .run(&["import", directory.to_str().unwrap()], "")
        .refused(1, &["cannot be read"]);
    let path = store.path("latin.env");
    std::fs::write(&path, b"A=1\nB=gr\xfc\xdfe-hunter2\n").unwrap();
    let ran = store.run(&["import", path.to_str().unwrap()], "");
    ran.refused(2, &["line 2", "is not UTF-8", "iconv"])
        .hides(&["hunter2"]);
    let long = "#".repeat(16 * 1024 * 1024 + 1);
    store
        .import("long.env", &long, &[])
        .refused(2, &["longer than 16777216 bytes"]);
    let one = format!("A={}", "x".repeat(1024 * 1024));
    store
        .import("one.env", &one, &[])
        .refused(2, &["line 1 (A)", "longer than 1048576 bytes"]);
    store
        .import("empty.env", "\n# nothing\n", &[])
        .ok()
        .says(&["created 0"]);
}

#[test]
fn a_file_that_others_may_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt as _;
    let store = Store::new();
    for (mode, warned) in [(0o644, true), (0o600, false)] {
        let file = store.file(".env", "A=1");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let ran = store.run(&["import", &file, "--dry-run"], "").ok();
        assert_eq!(ran.err.contains("warning: "), warned, "{}", ran.err);
    }
}

#[test]
fn the_mapping_of_the_help_is_one_that_works() {
    let store = Store::new();
    let help = store.run(&["help", "import"], "").ok().out;
    let (_, mapping) = help.split_once("A mapping file (TOML):\n").unwrap();
    let (mapping, _) = mapping.split_once("\nEverything").unwrap();
    let mapping = store.file("map.toml", mapping);
    let text = "NODE_ENV=a\nGITHUB_TOKEN=b\nAWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE\nAWS_SECRET_ACCESS_KEY=d\n\
                SMTP_HOST=e\nSTAGING_X=f\nOTHER=g\n";
    store.import(".env", text, &["--mapping", &mapping]).ok();
    assert_eq!(
        store.names(),
        ["backup", "github/ci", "other", "smtp", "staging/x"]
    );
    let (kind, backup) = store.get("backup").unwrap();
    assert_eq!(
        (kind.as_str(), &backup["region"]),
        ("aws", &json!("eu-central-1"))
    );
}

#[test]
fn two_keys_of_one_name_are_both_named() {
    let store = Store::new();
    let ran = store.import(".env", "Api-Key=1\nx=2\n_API-KEY=3\n", &[]);
    ran.refused(
        2,
        &["line 1 (Api-Key) and line 3 (_API-KEY) both become \"api-key\""],
    );
    store
        .import(".env", "+=1", &[])
        .refused(2, &["line 1 cannot become the name of a credential"]);
    store
        .import(".env", "A=1", &["--prefix", "Prod/"])
        .refused(2, &["line 1 (A) cannot become the name"]);
    store
        .import("a.json", r#"{"My Key (old)": "1", "a//b..c": "2"}"#, &[])
        .ok();
    assert_eq!(store.names(), ["a/b.c", "my_key_old"]);
}

#[test]
fn references_are_replaced_only_when_asked() {
    let store = Store::new();
    let text = "A=one\nB=${A}-${HOME:-x}-${NO:-two}\n";
    store.import(".env", text, &[]).ok();
    assert_eq!(
        store.get("b").unwrap().1,
        json!({"text": "${A}-${HOME:-x}-${NO:-two}"})
    );
    store
        .import(".env", text, &["--interpolate", "--on-conflict", "replace"])
        .ok();
    let home = store.path("");
    let home = home.to_str().unwrap().trim_end_matches('/');
    assert_eq!(
        store.get("b").unwrap().1,
        json!({"text": format!("one-{home}-two")})
    );
}

const PG: &str = "PGHOST=db.example.com\nPGPORT=5432\nPGUSER=app\nPGPASSWORD='s3cr3t'\nNODE_ENV=production\nGH=ghp_1\n\
                  STAGING_SMTP=x\nSTAGING_LOG=y\n";

const MAPPING: &str = r#"
[keys]
NODE_ENV = { skip = true }
GH = { name = "github/ci", type = "bearer" }
PGHOST = { name = "billing-db", field = "host" }
PGPORT = { name = "billing-db", field = "port" }
PGUSER = { name = "billing-db", field = "username" }
PGPASSWORD = { name = "billing-db", field = "password" }
STAGING_SMTP = { name = "mail", type = "key_value", field = "values.SMTP" }

[credentials.billing-db]
type = "postgres"
values = { database = "billing", ssl_mode = "require", max_connections = 4, min_connections = 0, connection_timeout = 9 }

[[prefixes]]
prefix = "STAGING_"
name = "staging/"
"#;

#[test]
fn a_mapping_file_says_what_keys_become() {
    let store = Store::new();
    let mapping = store.file("map.toml", MAPPING);
    let ran = store
        .import(".env", PG, &["--mapping", &mapping, "--json"])
        .ok()
        .hides(&["s3cr3t"]);
    assert_eq!(store.names(), ["billing-db", "github/ci", "mail", "staging/log"]);
    assert_eq!(ran.json()["credentials"][0]["lines"], json!([1, 2, 3, 4]));
    assert_eq!(
        ran.json()["ignored"],
        json!([{"line": 5, "key": "NODE_ENV", "reason": "mapping"}])
    );
    let db = store.get("billing-db").unwrap();
    assert_eq!(db.0, "postgres");
    assert_eq!(
        (&db.1["port"], &db.1["password"], &db.1["ssl_mode"]),
        (&json!(5432), &json!("s3cr3t"), &json!("require"))
    );
    assert_eq!(store.get("github/ci").unwrap().1["token"], "ghp_1");
    assert_eq!(store.get("mail").unwrap().1, json!({"values": {"SMTP": "x"}}));
}

#[test]
fn a_mapping_file_that_cannot_be_followed_is_refused() {
    let keys = |rules: &str| format!("[keys]\n{rules}\n");
    for (mapping, words) in [
        ("[keys]\nA = 5\n".to_owned(), "line 2 of the mapping file"),
        (
            "[keys]\nA = { nmae = \"a\" }\n".to_owned(),
            "line 2 of the mapping file",
        ),
        (
            keys("PGHOTS = { name = \"a\" }"),
            "\"PGHOTS\", which the input does not have",
        ),
        (
            keys("GH = { type = \"nope\" }"),
            "line 6 (GH): there is no such credential type",
        ),
        (
            keys("GH = { type = \"basic\" }"),
            "could be any of the fields of the type basic",
        ),
        (keys("GH = { name = \"x\", field = \"token\" }"), "without a type"),
        (
            keys("GH = { type = \"bearer\", field = \"tkn\" }"),
            "the type bearer has no field",
        ),
        (
            keys("GH = { type = \"basic\", field = \"password\" }"),
            "the type basic also needs username",
        ),
        (
            keys("GH = { type = \"key_value\", field = \"values\" }"),
            "FIELD.MEMBER",
        ),
        (
            keys("GH = { name = \"pgport\" }"),
            "line 2 (PGPORT) and line 6 (GH) both become \"pgport\"",
        ),
        (keys("GH = { name = \"Bad Name\" }"), "cannot become the name"),
        (
            MAPPING.replace("PGUSER = { name = \"billing-db\", field = \"username\" }", ""),
            "the type postgres also needs username",
        ),
        (
            MAPPING.replace("field = \"host\"", "field = \"port\""),
            "both become the field \"port\"",
        ),
        (
            MAPPING.replace(
                "PGHOST = { name = \"billing-db\",",
                "PGHOST = { name = \"billing-db\", type = \"basic\",",
            ),
            "both \"postgres\" and \"basic\"",
        ),
        (
            MAPPING.replace("values = { ", "values = { password = \"hunter2\", "),
            "holds the secret field \"password\"",
        ),
        (
            MAPPING.replace("values = { ", "values = { port = 1, "),
            "in a key and in the mapping file",
        ),
        (
            MAPPING.replace("max_connections = 4", "max_connections = 4.5"),
            "a whole number",
        ),
    ] {
        let store = Store::new();
        let path = store.file("map.toml", &mapping);
        store
            .import(".env", PG, &["--mapping", &path])
            .refused(2, &[words])
            .hides(&["s3cr3t", "hunter2", "ghp_1"]);
        assert!(store.names().is_empty());
    }
    let store = Store::new();
    let path = store.file("map.toml", MAPPING);
    let ran = store.import(".env", &PG.replace("5432", "s3cr3t-port"), &["--mapping", &path]);
    ran.refused(2, &["\"port\"", "a number"]).hides(&["s3cr3t-port"]);
    let ran = store.import(
        "a.json",
        r#"{"GH": {"type": "basic", "value": {"username": "a", "password": "b"}}}"#,
        &["--mapping", &path],
    );
    ran.refused(2, &["which the input does not have"]);
}
