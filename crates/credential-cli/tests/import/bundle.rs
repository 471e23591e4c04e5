//! Bundles: from one store to another whose key is another one.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use nebula_credential::crypto::{Bundle, BundledCredential, KeyFile};
use nebula_credential::{
    Clock as _, CredentialName, Phase, Plaintext, Scope, SystemClock, Tags, TenantId, Version, VersionHead,
};
use serde_json::json;

use crate::command::{Ran, Store};

const SECRETS: &[&str] = &["s3cr3t-one", "s3cr3t-two", "s3cr3t-three"];

/// A store with three credentials, one of them tagged, one rotated, one that expires.
fn full() -> Store {
    let store = Store::new();
    let put = |arguments: &[&str], json: &str| store.run(arguments, json).ok();
    put(
        &["put", "prod/db", "--type", "basic", "--tag", "team=web"],
        r#"{"username":"app","password":"old"}"#,
    );
    put(
        &["rotate", "prod/db"],
        r#"{"username":"app","password":"s3cr3t-one"}"#,
    );
    put(
        &[
            "put",
            "token",
            "--type",
            "bearer",
            "--expires-at",
            "2099-01-01T00:00:00Z",
        ],
        r#"{"token":"s3cr3t-two"}"#,
    );
    put(
        &["put", "note", "--type", "secret_text"],
        r#"{"text":"s3cr3t-three"}"#,
    );
    store
}

/// The path of a key file that is in no store's place.
fn key(store: &Store, name: &str) -> String {
    store.path("transfer").join(name).to_str().unwrap().to_owned()
}

fn passphrase(store: &Store, text: &str) -> String {
    let path = store.file("passphrase", text);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn export(store: &Store, to: &Path, arguments: &[&str]) -> Ran {
    let out = ["export", "--out", to.to_str().unwrap()];
    store.run(&[&out[..], arguments].concat(), "")
}

fn import(store: &Store, from: &Path, arguments: &[&str]) -> Ran {
    let file = ["import", from.to_str().unwrap()];
    store.run(&[&file[..], arguments].concat(), "")
}

/// A full store and a bundle of all it holds, which the key file at the returned path opens.
fn bundle() -> (Store, std::path::PathBuf, String) {
    let store = full();
    let (file, key) = (store.path("all.ncb"), key(&store, "key"));
    export(&store, &file, &["--for-key-file", &key])
        .ok()
        .hides(SECRETS);
    (store, file, key)
}

#[test]
fn a_bundle_brings_everything_to_a_store_with_another_key() {
    let (here, file, key) = bundle();
    let there = Store::new();
    let ran = import(&there, &file, &["--bundle-key-file", &key])
        .ok()
        .hides(SECRETS);
    ran.says(&[
        "from tenant default, scope global",
        "created 3, replaced 0, skipped 0\n",
    ]);
    assert_eq!(there.all(), here.all());
    for name in ["prod/db", "token", "note"] {
        let known = |store: &Store| {
            let mut known = store.run(&["get", name, "--json"], "").ok().json();
            let whole = known.as_object_mut().unwrap();
            // These are each store's own.
            for own in ["version", "created_at", "updated_at"] {
                whole.remove(own).unwrap();
            }
            known
        };
        assert_eq!(known(&there), known(&here));
    }
    let elsewhere = import(
        &there,
        &file,
        &[
            "--bundle-key-file",
            &key,
            "--tenant",
            "acme",
            "--scope",
            "web",
            "--prefix",
            "from/",
            "--json",
        ],
    )
    .ok();
    assert_eq!(elsewhere.json()["credentials"][0]["name"], "from/note");
    let listed = there
        .run(&["list", "--tenant", "acme", "--scope", "web", "--json"], "")
        .ok();
    assert_eq!(listed.json().as_array().unwrap().len(), 3);
}

#[test]
fn a_passphrase_or_both_open_what_was_sealed_for_them() {
    let here = full();
    let text = passphrase(&here, "correct horse battery staple\n");
    let key = key(&here, "key");
    let sealed_for: [&[&str]; 3] = [
        &["--for-passphrase-file", &text],
        &["--for-passphrase-fd", "0"],
        &["--for-passphrase-file", &text, "--for-key-file", &key],
    ];
    let opened_with: [&[&str]; 3] = [
        &["--bundle-passphrase-file", &text],
        &["--bundle-passphrase-fd", "0"],
        &["--bundle-passphrase-file", &text, "--bundle-key-file", &key],
    ];
    let line = "correct horse battery staple\n";
    for (number, (sealed_for, opened_with)) in sealed_for.iter().zip(opened_with).enumerate() {
        let file = here.path(&format!("{number}.ncb"));
        let out = ["export", "note", "--out", file.to_str().unwrap()];
        here.run(&[&out[..], sealed_for].concat(), line).ok();
        let from = ["import", file.to_str().unwrap()];
        let there = Store::new();
        there
            .run(&[&from[..], opened_with].concat(), line)
            .ok()
            .hides(SECRETS);
        assert_eq!(there.get("note").unwrap().1, json!({"text": "s3cr3t-three"}));
    }
    // Half of both is not enough, and says what is missing.
    let both = here.path("2.ncb");
    let there = Store::new();
    import(&there, &both, &["--bundle-key-file", &key]).refused(5, &["passphrase and key file", "name both"]);
    import(&there, &both, &[]).refused(5, &["passphrase and key file"]);
    import(&there, &here.path("0.ncb"), &[]).refused(5, &["--bundle-passphrase-file"]);
    assert!(there.names().is_empty());
}

#[test]
fn a_bundle_for_another_key_does_not_open() {
    let (here, file, _) = bundle();
    let there = Store::new();
    let other = key(&there, "other");
    export(&here, &here.path("other.ncb"), &["--for-key-file", &other]).ok();
    import(&there, &file, &["--bundle-key-file", &other])
        .refused(5, &["exported for another key file", "give that one"])
        .hides(SECRETS);
    let text = passphrase(&there, "wrong");
    import(&there, &file, &["--bundle-passphrase-file", &text]).refused(5, &["opens with a key file"]);
    let file = here.path("phrase.ncb");
    let right = passphrase(&here, "the right one, and long");
    export(&here, &file, &["--for-passphrase-file", &right]).ok();
    import(&there, &file, &["--bundle-passphrase-file", &text]).refused(5, &["passphrase is not the one"]);
    assert!(there.names().is_empty());
}

#[test]
fn a_damaged_bundle_is_damaged_and_nothing_else() {
    let (_here, file, key) = bundle();
    let whole = std::fs::read(&file).unwrap();
    let there = Store::new();
    let options = ["--bundle-key-file", key.as_str()];
    // Every byte of the header, the key and the tail, and some of the contents; the crate tries every bit.
    let places = (8..200).step_by(16).chain([whole.len() - 40, whole.len() - 1]);
    for at in places {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        std::fs::write(&file, changed).unwrap();
        import(&there, &file, &options)
            .refused(6, &["damaged"])
            .hides(SECRETS);
    }
    for length in [4, 8, 100, whole.len() - 1] {
        std::fs::write(&file, &whole[..length]).unwrap();
        import(&there, &file, &options).refused(6, &["cop", "again"]);
    }
    std::fs::write(&file, [&whole[..], b"\n"].concat()).unwrap();
    import(&there, &file, &options).refused(6, &["damaged", "copy or export it again"]);
    // As a transfer as text does it.
    std::fs::write(&file, [&whole[..4], &whole[5..]].concat()).unwrap();
    import(&there, &file, &options).refused(6, &["copied as text", "byte for byte"]);
    assert!(there.names().is_empty());
    // What does not begin as a bundle is no bundle.
    std::fs::write(&file, &whole[1..]).unwrap();
    import(&there, &file, &[]).refused(2, &["not UTF-8"]);
}

#[test]
fn conflicts_are_settled_as_for_text() {
    let (_here, file, key) = bundle();
    let there = Store::new();
    there.import(".env", "NOTE=mine", &[]).ok();
    let import = |options: &[&str]| {
        let key = ["--bundle-key-file", key.as_str()];
        import(&there, &file, &[&key[..], options].concat())
    };
    import(&[]).refused(
        7,
        &["nothing was written: note is there already", "--on-conflict skip"],
    );
    assert_eq!(there.names(), ["note"]);
    let plan = import(&["--dry-run", "--on-conflict", "replace", "--json"])
        .ok()
        .hides(SECRETS)
        .json();
    let exported_at = plan["bundle"]["exported_at"].as_str().unwrap();
    assert!(exported_at.ends_with('Z'), "{exported_at}");
    assert_eq!(
        plan,
        json!({
            "bundle": {"tenant": "default", "scope": "global", "exported_at": exported_at},
            "dry_run": true,
            "complete": true,
            "created": 2,
            "replaced": 1,
            "skipped": 0,
            "credentials": [
                {"name": "note", "type": "secret_text", "action": "replace", "version": null, "lines": []},
                {"name": "prod/db", "type": "basic", "action": "create", "version": null, "lines": []},
                {"name": "token", "type": "bearer", "action": "create", "version": null, "lines": []},
            ],
            "ignored": [],
        })
    );
    import(&["--dry-run", "--on-conflict", "skip"]).ok().says(&[
        "ACTION  NAME     TYPE\n",
        "create  token    bearer\n",
        "would be created 2, replaced 0, skipped 1\n",
    ]);
    assert_eq!(there.names(), ["note"]);
    import(&["--on-conflict", "skip"])
        .ok()
        .says(&["created 2, replaced 0, skipped 1"]);
    assert_eq!(there.get("note").unwrap().1, json!({"text": "mine"}));
    import(&["--on-conflict", "replace"])
        .ok()
        .says(&["created 0, replaced 3, skipped 0"]);
    assert_eq!(there.get("note").unwrap().1, json!({"text": "s3cr3t-three"}));
    there.run(&["delete", "token"], "").ok();
    there
        .run(&["put", "token", "--type", "secret_text"], r#"{"text":"x"}"#)
        .ok();
    import(&["--on-conflict", "replace"]).refused(7, &["nothing was written: token", "another type"]);
}

#[test]
fn options_for_text_and_for_bundles_are_told_apart() {
    let (_here, file, key) = bundle();
    let there = Store::new();
    let mapping = there.file("mapping.toml", "");
    let text_only: [&[&str]; 4] = [
        &["--format", "env"],
        &["--mapping", &mapping],
        &["--interpolate"],
        &["--skip-invalid"],
    ];
    for option in text_only {
        let options = [&["--bundle-key-file", key.as_str()], option].concat();
        import(&there, &file, &options).refused(2, &["this is a bundle", option[0]]);
    }
    let ran = there.import(".env", "A=1", &["--bundle-key-file", &key]);
    ran.refused(2, &["this is no bundle", "ncred export"]);
    let options = ["--bundle-key-file", &key, "--prefix", "No/"];
    import(&there, &file, &options).refused(2, &["cannot be stored behind this prefix"]);
    assert!(there.names().is_empty());
}

#[test]
fn what_is_exported_is_chosen_by_names_or_tags() {
    let store = full();
    let key = key(&store, "key");
    let chosen = |arguments: &[&str]| {
        let options = ["--force", "--for-key-file", &key, "--json"];
        let report = export(&store, &store.path("x.ncb"), &[arguments, &options].concat())
            .ok()
            .hides(SECRETS)
            .json();
        let names = report["credentials"].as_array().unwrap().clone();
        names
            .iter()
            .map(|one| one["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(chosen(&[]), ["note", "prod/db", "token"]);
    assert_eq!(chosen(&["token", "note", "token"]), ["note", "token"]);
    assert_eq!(chosen(&["--tag", "team=web"]), ["prod/db"]);
    let report = export(
        &store,
        &store.path("y.ncb"),
        &["prod/db", "--for-key-file", &key, "--json"],
    )
    .ok()
    .json();
    let bytes = std::fs::metadata(store.path("y.ncb")).unwrap().len();
    assert_eq!(
        report,
        json!({
            "file": store.path("y.ncb"),
            "bytes": bytes,
            "opens_with": "key_file",
            "credentials": [{"name": "prod/db", "type": "basic", "version": 2}],
        })
    );

    let refused = |arguments: &[&str]| {
        let options = ["--for-key-file", key.as_str()];
        export(&store, &store.path("z.ncb"), &[arguments, &options].concat())
    };
    refused(&["note", "tokn"]).refused(3, &["not found", "did you mean \"token\"?"]);
    refused(&["--tag", "team=none"]).refused(3, &["nothing to export"]);
    refused(&["note", "--tag", "team=web"]).refused(2, &["cannot be used with"]);
    store.run(&["delete", "note"], "").ok();
    refused(&["note"]).refused(3, &["ncred restore note"]);
    assert!(!store.path("z.ncb").exists());
}

#[test]
fn the_file_is_private_and_replaces_nothing_unasked() {
    let (store, file, key) = bundle();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&file), 0o600);
    let before = std::fs::read(&file).unwrap();
    let options = ["--for-key-file", key.as_str()];
    export(&store, &file, &options).refused(7, &["already", "--force"]);
    assert_eq!(std::fs::read(&file).unwrap(), before);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    export(&store, &file, &["--force", "--for-key-file", &key]).ok();
    assert_ne!(std::fs::read(&file).unwrap(), before);
    assert_eq!(mode(&file), 0o600);

    let link = store.path("link.ncb");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let no_files = [link, store.path(""), "/dev/null".into()];
    for no_file in no_files {
        export(&store, &no_file, &["--force", "--for-key-file", &key]).refused(2, &["not a plain file"]);
    }
    export(&store, &store.path("no/dir/x.ncb"), &options).refused(3, &["no directory"]);
    // Nothing is left beside it, and no key file was made for an export that was refused.
    let left: Vec<_> = std::fs::read_dir(store.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with('.'))
        .collect();
    assert_eq!(left, Vec::<String>::new());
    export(&store, &file, &["--for-key-file", &self::key(&store, "unused")]).refused(7, &["--force"]);
    assert!(!Path::new(&self::key(&store, "unused")).exists());
}

#[test]
fn a_full_disk_leaves_the_old_bundle() {
    let (store, file, key) = bundle();
    let long = format!(r#"{{"text":"{}"}}"#, "x".repeat(900_000));
    store.run(&["put", "long", "--type", "secret_text"], &long).ok();
    let before = std::fs::read(&file).unwrap();
    let script = format!(
        "ulimit -f 1000; exec {} --store {} --key-file {} export --force --out {} --for-key-file {key}",
        env!("CARGO_BIN_EXE_ncred"),
        store.path("secrets").display(),
        store.path("config/key").display(),
        file.display(),
    );
    let output = std::process::Command::new("sh")
        // Without this the first write past the limit is a signal, not an error.
        .args(["-c", &format!("trap '' XFSZ; {script}")])
        .output()
        .unwrap();
    let ran = Ran::from(output).refused(1, &["cannot be written"]);
    assert_eq!(ran.out, "");
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[test]
fn a_bundle_goes_through_a_pipe() {
    let (here, there) = (full(), Store::new());
    let key = key(&here, "key");
    let ncred = |store: &Store, rest: &str| {
        format!(
            "{} --store {} --key-file {} {rest}",
            env!("CARGO_BIN_EXE_ncred"),
            store.path("secrets").display(),
            store.path("config/key").display(),
        )
    };
    let from = ncred(&here, &format!("export --out - --for-key-file {key}"));
    let to = ncred(&there, &format!("import - --bundle-key-file {key}"));
    // Whatever the bytes are cut into on their way.
    let script = format!("{from} | (head -c 5; sleep 0.1; cat) | {to}");
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .output()
        .unwrap();
    Ran::from(output).ok().says(&["created 3, replaced 0, skipped 0"]);
    assert_eq!(there.all(), here.all());
    let json = here.run(&["export", "--out", "-", "--json", "--for-key-file", &key], "");
    assert_eq!(json.code, 2, "{}", json.err);
    json.says(&["bundle and JSON", "leave out --json"]);
    here.run(&["export", "--out", "x"], "")
        .refused(2, &["--for-key-file", "--for-passphrase-file"]);
    assert!(!Path::new("x").exists());
}

/// A bundle with one credential of a type that only another program knows, made by that program.
fn foreign(key: &str, phase: Phase) -> Vec<u8> {
    let now = SystemClock.now();
    let mut bundle = Bundle::new(TenantId::default(), Scope::default(), now);
    let version = VersionHead {
        version: Version::FIRST,
        credential_type: "acme.deploy".into(),
        schema_version: 7,
        created_at: now,
        expires_at: None,
    };
    bundle
        .add(BundledCredential {
            name: CredentialName::new("deploy").unwrap(),
            version,
            phase,
            tags: Tags::new(),
            payload: Plaintext::new(br#"{"seed":"s3cr3t-one"}"#.to_vec()),
        })
        .unwrap();
    bundle.seal(&KeyFile::open(key).unwrap()).unwrap()
}

#[test]
fn a_type_that_is_not_known_here_is_brought_along() {
    let (here, file, key) = bundle();
    std::fs::write(&file, foreign(&key, Phase::Active)).unwrap();
    let options = ["--bundle-key-file", key.as_str()];
    import(&here, &file, &options).ok().hides(SECRETS);
    export(&here, &file, &["deploy", "--force", "--for-key-file", &key]).ok();
    let there = Store::new();
    import(&there, &file, &options).ok().says(&["created 1"]);
    let stored = ("acme.deploy".to_owned(), json!({"seed": "s3cr3t-one"}));
    assert_eq!(there.get("deploy").unwrap(), stored);
}

#[test]
fn what_is_revoked_stays_so_on_both_ways() {
    let (there, file, key) = bundle();
    let options = ["--bundle-key-file", key.as_str()];
    std::fs::write(&file, foreign(&key, Phase::Revoked)).unwrap();
    import(&there, &file, &options).ok();
    let known = |store: &Store| store.run(&["get", "deploy", "--json"], "").ok().json()["phase"].clone();
    assert_eq!(known(&there), "revoked");
    // No bundle brings it back, and it is said before anything is written.
    std::fs::write(&file, foreign(&key, Phase::Active)).unwrap();
    import(
        &there,
        &file,
        &[&options[..], &["--on-conflict", "replace"]].concat(),
    )
    .refused(
        7,
        &["nothing was written: deploy is there already and revoked for good"],
    );
    assert_eq!(known(&there), "revoked");
    export(&there, &file, &["deploy", "--force", "--for-key-file", &key]).ok();
    let elsewhere = Store::new();
    import(&elsewhere, &file, &options).ok();
    assert_eq!(known(&elsewhere), "revoked");
}
