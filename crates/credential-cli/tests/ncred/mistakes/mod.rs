//! What operators get wrong: each mistake has its exit code and a message that names the remedy.

mod asked;
mod damage;
mod given;
mod open;

use self::asked::ASKED;
use self::given::GIVEN;
use crate::place::{Answer, Place, answer, text};
use crate::policy::allowing;

/// A mistake, on a store with a credential `github_token` of type `basic` in version 1, beside which lies a bundle
/// `handed.ncb` for the key file `keys/theirs`.
struct Mistake {
    what: &'static str,
    args: &'static [&'static str],
    stdin: &'static str,
    code: i32,
    kind: &'static str,
    /// What the message must say.
    says: &'static [&'static str],
}

const VALUE: &str = r#"{"username":"u","password":"p"}"#;

#[test]
fn every_mistake_has_its_exit_code_and_names_the_remedy() {
    let place = Place::new();
    place.store("github_token");
    let (bundle, key) = (place.path("handed.ncb"), place.path("keys/theirs"));
    place.ok(&["export", "--out", text(&bundle), "--for-key-file", text(&key)]);
    let policy = allowing("user:alice", "read", "");
    place.file("policy.toml", &policy);
    place.file("slip.toml", &policy.replace("permissions", "permisions"));
    for mistake in ASKED.iter().chain(GIVEN) {
        let run = |args: &[&str]| {
            let mut command = place.command();
            command.args(args).current_dir(place.path("."));
            answer(command, mistake.stdin)
        };
        let told = run(mistake.args);
        let what = mistake.what;
        assert_eq!(told.code, mistake.code, "{what}: {told:?}");
        assert!(told.err.starts_with("error: "), "{what}: {told:?}");
        assert!(told.err.contains("\nhelp: "), "{what}: {told:?}");
        says(what, &told, mistake.says);

        let told = run(&[mistake.args, &["--json"]].concat());
        assert_eq!(told.code, mistake.code, "{what}: {told:?}");
        let report: serde_json::Value = serde_json::from_str(&told.err).unwrap();
        assert_eq!(report["error"]["kind"], mistake.kind, "{what}");
        assert_eq!(report["error"]["exit_code"], mistake.code, "{what}");
        assert!(report["error"]["help"].is_string(), "{what}");
        assert_eq!(told.out, "", "{what}");
    }
    // None of them changed anything.
    assert_eq!(place.json(&["list"]).as_array().unwrap().len(), 1);
    assert_eq!(
        place
            .json(&["versions", "github_token"])
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert!(!place.path("no").exists());
}

fn says(what: &str, told: &Answer, expected: &[&str]) {
    assert!(!told.err.contains("hunter2"), "{what}: {told:?}");
    for text in expected {
        assert!(told.err.contains(text), "{what}: {text:?} is missing in {told:?}");
    }
}

#[test]
fn a_value_beyond_the_limit_is_refused_and_one_within_it_is_kept() {
    let place = Place::new();
    let value = |length: usize| format!(r#"{{"text":"{}"}}"#, "x".repeat(length));
    let told = place.run(&["put", "x", "--type", "secret_text"], &value(1024 * 1024));
    assert_eq!(told.code, 2, "{told:?}");
    says("too long", &told, &["more than 1048576 bytes", "smaller value"]);
    let kept = 1024 * 1024 - value(0).len();
    assert_eq!(
        place
            .run(&["put", "x", "--type", "secret_text"], &value(kept))
            .code,
        0
    );
    assert_eq!(place.ok(&["get", "x", "--reveal", "-f", "text"]).len(), kept);
}

#[test]
fn a_tag_about_a_secret_is_no_secret() {
    let place = Place::with_db();
    place.ok(&["tags", "db", "token-type=bearer", "key.owner=web"]);
    assert_eq!(place.run(&["tags", "db", "web.token=x"], "").code, 2);
}
