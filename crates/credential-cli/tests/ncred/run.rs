//! `ncred run`: secrets in the environment of one command, and nowhere else.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use nebula_credential::{
    Credential, CredentialError, CredentialManager, CredentialValue, Keys, LocalStorage,
};

use crate::place::{Answer, Place, SECRET, answer, text};

fn with_api() -> Place {
    let place = Place::with_db();
    let put = place.run(&["put", "api", "--type", "secret_text"], r#"{"text":"t0ken"}"#);
    assert_eq!(put.code, 0, "{put:?}");
    place
}

#[test]
fn the_command_gets_the_variables_that_are_named() {
    let place = with_api();
    let out = place.ok(&[
        "run",
        "--set",
        "PASSWORD=db#password",
        "--set",
        "USER_NAME=ncred:db#username",
        "--set",
        "API=api",
        "--",
        "sh",
        "-c",
        "echo \"$PASSWORD:$USER_NAME:$API\"",
    ]);
    assert_eq!(out, format!("{SECRET}:octocat:t0ken\n"));
}

#[test]
fn a_file_names_secrets_and_holds_plain_values() {
    let place = with_api();
    let file = place.file(
        "service.env",
        "# what the service needs\n\nexport PASSWORD=\"ncred:db#password\"\nAPI=ncred:api # the token\n\
         LEVEL='info # all'\nSHARED=of-file\nTWICE=first\nEMPTY=\n",
    );
    let later = place.file("later.env", "TWICE=second\n");
    let script = "echo \"$PASSWORD|$API|$LEVEL|$SHARED|$TWICE|${EMPTY-unset}\"";
    let out = place.ok(&[
        "run",
        "--env-file",
        text(&file),
        "--env-file",
        text(&later),
        "--set",
        "SHARED=db#username",
        "sh",
        "-c",
        script,
    ]);
    assert_eq!(out, format!("{SECRET}|t0ken|info # all|octocat|second|\n"));
}

#[test]
fn exit_codes_signals_and_streams_are_the_commands_own() {
    let place = Place::with_db();
    let shell = |script: &str| {
        let mut command = place.command();
        command.args(["run", "--set", "P=db#password", "--", "sh", "-c", script]);
        command
    };
    for code in [0, 3, 42, 255] {
        assert_eq!(answer(shell(&format!("exit {code}")), "").code, code);
    }
    for signal in [1, 2, 9, 13, 15] {
        let status = shell(&format!("kill -{signal} $$")).status().unwrap();
        assert_eq!(status.signal(), Some(signal));
    }
    let through = answer(shell("cat; echo told >&2"), "through");
    assert_eq!(
        (through.out.as_str(), through.err.as_str()),
        ("through", "told\n")
    );
    // Options behind the command are the command's.
    assert_eq!(
        place.ok(&["run", "echo", "--json", "--store"]),
        "--json --store\n"
    );
}

/// What `ncred` becomes is what a supervisor started: it needs no signals passed on.
#[test]
#[cfg(target_os = "linux")]
fn the_command_has_the_process_of_ncred_and_its_arguments_hold_no_secret() {
    let place = Place::with_db();
    let mut child = place
        .command()
        .env("NCRED_TENANT", "default")
        .env("KEPT", "y")
        .args([
            "run",
            "--set",
            "P=db#password",
            "--",
            "sh",
            "-c",
            "echo $$; exec sleep 60",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line.trim(), child.id().to_string());
    let proc = |id: &str, name: &str| {
        let bytes = std::fs::read(format!("/proc/{id}/{name}")).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let id = child.id().to_string();
    // The shell may still be on its way to the command that it becomes, and that on its way through the loader, which opens
    // files of its own.
    let asleep = |id: &str| {
        proc(id, "stat")
            .rsplit(") ")
            .next()
            .is_some_and(|rest| rest.starts_with('S'))
    };
    let settled = |id: &str| while !proc(id, "cmdline").starts_with("sleep\0") || !asleep(id) {};
    settled(&id);
    assert!(!proc(&id, "cmdline").contains(SECRET));
    assert!(!proc("self", "environ").contains(SECRET));
    let environ = proc(&id, "environ");
    assert!(
        environ.split('\0').any(|pair| pair == format!("P={SECRET}")),
        "{environ}"
    );
    assert!(!environ.contains("NCRED_"), "{environ}");
    assert!(environ.contains("KEPT=y"), "{environ}");
    // What a child of this test has open anyway, and nothing of the store.
    let open = |id: &str| -> Vec<_> {
        std::fs::read_dir(format!("/proc/{id}/fd"))
            .unwrap()
            .map(|entry| std::fs::read_link(entry.unwrap().path()).unwrap())
            .collect()
    };
    let mut plain = place
        .wrapped("sleep")
        .arg("60")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    settled(&plain.id().to_string());
    let (usual, found) = (open(&plain.id().to_string()), open(&id));
    plain.kill().unwrap();
    plain.wait().unwrap();
    assert_eq!(found.len(), usual.len(), "{found:?} {usual:?}");
    assert!(
        !found.iter().any(|path| path.starts_with(place.path("."))),
        "{found:?}"
    );

    let killed = Command::new("kill").arg(&id).status().unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().signal(), Some(15));
}

#[test]
#[cfg(target_os = "linux")]
fn the_command_does_not_inherit_the_passphrase() {
    let place = Place::bare();
    let words = "correct horse battery staple";
    let file = place.file("passphrase", &format!("{words}\n"));
    place.ok(&["init", "--passphrase-file", text(&file)]);
    let value = format!(r#"{{"text":"{SECRET}"}}"#);
    let put = place.run(
        &[
            "put",
            "api",
            "--type",
            "secret_text",
            "--passphrase-file",
            text(&file),
        ],
        &value,
    );
    assert_eq!(put.code, 0, "{put:?}");

    let shell = |script: &str| {
        let mut command = place.wrapped("sh");
        command
            .env("NCRED", env!("CARGO_BIN_EXE_ncred"))
            .env("FILE", &file)
            .args(["-c", script]);
        answer(command, "")
    };
    let seen = shell(
        "exec \"$NCRED\" run --passphrase-fd 7 --set A=api -- sh -c 'echo $A; ls /proc/self/fd' 7<\"$FILE\"",
    );
    assert_eq!(seen.code, 0, "{seen:?}");
    let lines: Vec<&str> = seen.out.lines().collect();
    assert_eq!(lines.first(), Some(&SECRET));
    assert!(lines.len() > 3 && !lines.contains(&"7"), "{seen:?}");
    // The file behind standard input could be read from its beginning.
    let seen = shell("exec \"$NCRED\" run --passphrase-fd 0 --set A=api -- cat < \"$FILE\"");
    assert_eq!((seen.code, seen.out.as_str()), (0, ""), "{seen:?}");
}

#[test]
fn a_cleared_environment_holds_nothing_that_was_not_declared() {
    let place = Place::with_db();
    let run = |args: &[&str]| {
        let mut command = place.command();
        command
            .env("OTHER_TOKEN", "x")
            .env("KEPT", "y")
            .env("LC_ALL", "C")
            .env("NCRED_SCOPE", "global")
            .args(args);
        answer(command, "")
    };
    let names = |answer: &Answer| {
        let mut names: Vec<String> = answer
            .out
            .lines()
            .filter_map(|line| line.split('=').next().map(str::to_owned))
            .collect();
        names.sort_unstable();
        names
    };
    let all = run(&["run", "--set", "P=db#password", "--", "env"]);
    assert_eq!(
        names(&all),
        ["HOME", "KEPT", "LC_ALL", "OTHER_TOKEN", "P", "PATH"]
    );
    let cleared = run(&[
        "run",
        "--clear-env",
        "--keep",
        "KEPT",
        "--keep",
        "ABSENT",
        "--set",
        "P=db#password",
        "--",
        "env",
    ]);
    assert_eq!(names(&cleared), ["HOME", "KEPT", "LC_ALL", "P", "PATH"]);
    // Nothing is referred to: the store need not even be there.
    assert_eq!(run(&["run", "--clear-env", "--store", "/nowhere", "env"]).code, 0);
}

#[test]
fn mistakes_start_nothing() {
    let place = with_api();
    let stored = [
        ("map", "key_value", r#"{"values":{"A":"1","NUL":"a\u0000b"}}"#),
        (
            "aws",
            "aws",
            r#"{"access_key_id":"AKIDEXAMPLE0000000AA","secret_access_key":"k3y","region":"eu-west-1"}"#,
        ),
    ];
    for (name, kind, json) in stored {
        let put = place.run(&["put", name, "--type", kind], json);
        assert_eq!(put.code, 0, "{put:?}");
    }
    place.store("gone");
    place.ok(&["delete", "gone"]);
    let marker = place.path("started");
    let touch = ["--", "touch", text(&marker)];
    let bad = |name: &str, line: &str| place.file(name, &format!("A=ncred:api\n{line}\n"));
    let (no_pair, no_name, no_value, bad_name) = (
        bad("1.env", &format!("'{SECRET}")),
        bad("2.env", &format!("A B={SECRET}")),
        bad("3.env", "LONELY"),
        bad("4.env", &format!("A=ncred:{}", SECRET.to_uppercase())),
    );
    let missing = bad("5.env", "B=ncred:dbb#password");
    let shared = bad("6.env", "");
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&shared, std::fs::Permissions::from_mode(0o666)).unwrap();
    }
    let direct = format!("P={SECRET}");
    let cases: &[(&[&str], i32, &str)] = &[
        (&["--set", "P=dbb#password"], 3, "did you mean \"db\"?"),
        (&["--set", "P=none#password"], 3, "P: there is no credential none"),
        (
            &["--set", "A=api", "--set", "P=gone#password"],
            3,
            "ncred restore gone",
        ),
        (&["--set", "P=db#passwort"], 3, "did you mean \"password\"?"),
        (&["--set", "P=map#values.B"], 3, "map has no such field"),
        (&["--set", "P=aws#session_token"], 3, "aws has no such field"),
        (&["--set", "P=aws"], 2, "write aws#FIELD; it has: access_key_id"),
        // A value where a reference is due: it is a lawful name, and still not repeated.
        (&["--set", &direct], 3, "there is no credential of that name"),
        (&["--set", "P=map"], 2, "write map#FIELD; it has: values"),
        (&["--set", "P=map#values.NUL"], 1, "NUL byte"),
        (&["--set", "P"], 2, "VAR=NAME#FIELD"),
        (&["--set", "P=db#"], 2, "VAR=NAME#FIELD"),
        (&["--set", "1P=db#password"], 2, "a variable is letters"),
        (&["--set", "P=api", "--set", "P=api"], 2, "P is set twice"),
        (&["--keep", "HOME"], 2, "--clear-env"),
        (&["--clear-env", "--keep", "NCRED_STORE"], 2, "not handed on"),
        (&["--env-file", text(&no_pair)], 2, "line 2"),
        (&["--env-file", text(&no_name)], 2, "line 2"),
        (&["--env-file", text(&no_value)], 2, "line 2"),
        (&["--env-file", text(&bad_name)], 2, "line 2"),
        (&["--env-file", text(&missing)], 3, "did you mean \"db\"?"),
        (&["--env-file", text(&shared)], 4, "chmod o-w"),
        (&["--env-file", "no-such-file"], 3, "check the path"),
        (&["--set", "A=api", "--store", "/nowhere"], 3, "ncred init"),
    ];
    for (args, code, says) in cases {
        let told = place.run(&[&["run"], *args, &touch].concat(), "");
        assert_eq!(told.code, *code, "{args:?}: {told:?}");
        assert!(told.err.contains(says), "{args:?}: {told:?}");
        assert!(!told.err.to_lowercase().contains(SECRET), "{told:?}");
    }
    assert!(!marker.exists());
    place.ok(&[&["run", "--set", "A=api"][..], &touch].concat());
    assert!(marker.exists());
}

/// A type of some program's own: `ncred` sees its fields and knows nothing of them.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
struct Own(serde_json::Value);

impl Credential for Own {
    nebula_credential::serde_codec!();

    fn credential_type() -> &'static str {
        "own"
    }

    fn redact(&self) -> Self {
        Self(serde_json::Value::Null)
    }

    fn to_value(&self) -> Result<CredentialValue, CredentialError> {
        Err(CredentialError::unsupported("there is no other form"))
    }

    fn from_value(_: CredentialValue) -> Result<Self, CredentialError> {
        Err(CredentialError::unsupported("there is no other form"))
    }
}

#[test]
fn types_of_other_programs_can_be_referred_to() {
    let place = Place::new();
    let manager = CredentialManager::builder()
        .storage(LocalStorage::existing(place.store_path()))
        .keys(Keys::key_file(place.key_path()))
        .build();
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(async {
            let values = [
                ("one", serde_json::json!({"pin": 1234})),
                ("two", serde_json::json!({"pin": [1, 2], "hint": null})),
            ];
            for (name, value) in values {
                manager.store(name, Own(value)).await.unwrap();
            }
        });
    drop(manager);
    let out = place.ok(&[
        "run",
        "--set",
        "A=one",
        "--set",
        "B=two#pin",
        "--",
        "sh",
        "-c",
        "echo \"$A $B\"",
    ]);
    assert_eq!(out, "1234 [1,2]\n");
    let cases = [
        ("P=two", 2, "write two#FIELD; it has: hint, pin"),
        ("P=two#hint", 3, "has no value in this field"),
    ];
    for (set, code, says) in cases {
        let told = place.run(&["run", "--set", set, "--", "echo", "ran"], "");
        assert_eq!((told.code, told.out.as_str()), (code, ""), "{told:?}");
        assert!(told.err.contains(says), "{told:?}");
    }
    // Nor can it be edited: only its program knows what is valid.
    let told = place.run(&["edit", "one"], "");
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.err.contains("the program that defines its type"), "{told:?}");
}

#[test]
fn an_expired_credential_starts_nothing() {
    use nebula_credential::{Clock as _, SystemClock};
    let place = Place::new();
    let end = SystemClock.now() + std::time::Duration::from_millis(1200);
    let put = place.run(
        &[
            "put",
            "api",
            "--type",
            "secret_text",
            "--expires-at",
            &end.to_rfc3339(),
        ],
        r#"{"text":"t0ken"}"#,
    );
    assert_eq!(put.code, 0, "{put:?}");
    std::thread::sleep(std::time::Duration::from_millis(1300));
    let told = place.run(&["run", "--set", "A=api", "--", "echo", "ran"], "");
    assert_eq!((told.code, told.out.as_str()), (1, ""), "{told:?}");
    assert!(told.err.contains("ncred rotate api"), "{told:?}");
}

#[test]
fn a_command_that_cannot_run_ends_as_in_a_shell() {
    let place = Place::with_db();
    let plain = place.file("plain", "#!/bin/sh\n");
    let cases: &[(&str, i32, &str)] = &[
        ("no-such-command", 127, "there is no command no-such-command"),
        ("./no/such/command", 127, "there is no command"),
        (text(&plain), 126, "chmod +x"),
    ];
    for (command, code, says) in cases {
        let told = place.run(&["run", "--set", "P=db#password", "--", command], "");
        assert_eq!(told.code, *code, "{told:?}");
        assert!(told.err.contains(says), "{told:?}");
        assert!(!told.err.contains(SECRET), "{told:?}");
    }
    let huge = format!(r#"{{"text":"{}"}}"#, "x".repeat(200_000));
    assert_eq!(
        place.run(&["put", "huge", "--type", "secret_text"], &huge).code,
        0
    );
    let told = place.run(&["run", "--set", "A=huge", "--", "true"], "");
    if cfg!(target_os = "linux") {
        assert_eq!(told.code, 126, "{told:?}");
        assert!(told.err.contains("128 KiB"), "{told:?}");
    }
}
