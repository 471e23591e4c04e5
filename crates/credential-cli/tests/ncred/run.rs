//! `ncred run`: secrets in the environment of one command, and nowhere else.

use crate::place::{Place, SECRET, answer, text};

#[test]
fn the_command_gets_the_variables_that_are_named() {
    let place = Place::with_db();
    let put = place.run(&["put", "api", "--type", "secret_text"], r#"{"text":"t0ken"}"#);
    assert_eq!(put.code, 0, "{put:?}");
    let script = "echo \"$PASSWORD:$USER_NAME:$API\"";
    let out = place.ok(&[
        "run",
        "--set",
        "PASSWORD=db#password",
        "--set",
        "USER_NAME=db#username",
        "--set",
        "API=api",
        "--",
        "sh",
        "-c",
        script,
    ]);
    assert_eq!(out, format!("{SECRET}:octocat:t0ken\n"));

    let file = place.file(
        "refs.env",
        "# what the service needs\n\nPASSWORD=db#password\nAPI=api#text\n",
    );
    let out = place.ok(&["run", "--env-file", text(&file), "sh", "-c", "echo $PASSWORD$API"]);
    assert_eq!(out, format!("{SECRET}t0ken\n"));
}

#[test]
fn exit_codes_signals_and_input_are_the_commands_own() {
    use std::os::unix::process::ExitStatusExt as _;
    let place = Place::with_db();
    assert_eq!(place.run(&["run", "--", "sh", "-c", "exit 42"], "").code, 42);
    let status = place
        .command()
        .args(["run", "--", "sh", "-c", "kill -TERM $$"])
        .status()
        .unwrap();
    assert_eq!(status.signal(), Some(15));
    assert_eq!(place.run(&["run", "cat"], "through").out, "through");
}

#[test]
fn a_clean_environment_holds_nothing_that_was_not_declared() {
    let place = Place::with_db();
    let run = |args: &[&str]| {
        let mut command = place.command();
        command.env("OTHER_TOKEN", "x").env("KEPT", "y").args(args);
        answer(command, "").out
    };
    let dirty = run(&["run", "--set", "P=db#password", "--", "env"]);
    assert!(dirty.contains("OTHER_TOKEN=x"));
    let clean = run(&[
        "run",
        "--clean",
        "--keep",
        "KEPT",
        "--set",
        "P=db#password",
        "--",
        "env",
    ]);
    let mut names: Vec<&str> = clean.lines().filter_map(|line| line.split('=').next()).collect();
    names.sort_unstable();
    assert_eq!(names, ["HOME", "KEPT", "P", "PATH"]);
}

#[test]
fn mistakes_start_nothing() {
    let place = Place::with_db();
    let map = place.run(&["put", "map", "--type", "key_value"], r#"{"values":{"A":"1"}}"#);
    assert_eq!(map.code, 0, "{map:?}");
    let marker = place.path("started");
    let touch = ["--", "touch", text(&marker)];
    let file = place.file("values.env", &format!("PASSWORD={SECRET}!\n"));
    let cases: &[(&[&str], i32, &str)] = &[
        (&["run", "--set", "P=dbb#password"], 3, "did you mean \"db\"?"),
        (
            &["run", "--set", "P=db#passwort"],
            3,
            "did you mean \"password\"?",
        ),
        (&["run", "--set", "P=map"], 2, "P=map#FIELD: values"),
        (&["run", "--set", "P"], 2, "VAR=NAME#FIELD"),
        (&["run", "--set", "1P=db#password"], 2, "a variable is letters"),
        (&["run", "--env-file", text(&file)], 2, "line 1"),
        (&["run", "--env-file", "no-such-file"], 2, "check the path"),
    ];
    for (args, code, says) in cases {
        let told = place.run(&[*args, &touch].concat(), "");
        assert_eq!(told.code, *code, "{args:?}: {told:?}");
        assert!(told.err.contains(says), "{args:?}: {told:?}");
        assert!(!told.err.contains(SECRET), "{told:?}");
    }
    assert!(!marker.exists());
    let told = place.run(&["run", "--", "no-such-command"], "");
    assert_eq!(told.code, 3, "{told:?}");
    assert!(told.err.contains("no command no-such-command"), "{told:?}");
}
