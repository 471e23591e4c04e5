//! `ncred edit`: the value in an editor, and nothing of it left behind. The editors are small shell scripts.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nebula_credential_testkit::skip;
use tempfile::TempDir;

use crate::place::{Answer, Place, SECRET, answer, text};

/// A home with `db` in it, and a directory of its own in memory: what is left there was left by the test's own runs.
struct Desk {
    place: Place,
    memory: TempDir,
}

impl Desk {
    /// None where there is no `/dev/shm`.
    fn new(test: &str) -> Option<Self> {
        let Ok(memory) = tempfile::tempdir_in("/dev/shm") else {
            skip(test, "there is no /dev/shm");
            return None;
        };
        Some(Self {
            place: Place::with_db(),
            memory,
        })
    }

    /// An editor that does what `script` says with its last argument, `$file`.
    fn editor(&self, script: &str) -> PathBuf {
        let path = self.place.file(
            "editor",
            &format!("#!/bin/sh\nfor file in \"$@\"; do :; done\n{script}\n"),
        );
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        path
    }

    fn command(&self, script: &str, args: &[&str]) -> Command {
        let mut command = self.place.command();
        command
            .env("XDG_RUNTIME_DIR", self.memory.path())
            .env("NCRED", env!("CARGO_BIN_EXE_ncred"))
            .env("EDITOR", self.editor(script))
            .env("DONE", self.place.path("done"))
            .arg("edit")
            .args(args);
        command
    }

    /// Edits, and checks that nothing is left and nothing secret was said.
    fn edit(&self, script: &str, args: &[&str]) -> Answer {
        let answer = answer(self.command(script, args), "");
        assert!(!format!("{answer:?}").contains(SECRET), "{answer:?}");
        self.assert_clean();
        answer
    }

    /// Starts an edit, and waits until its editor has made the file `done`.
    fn start(&self, script: &str) -> Child {
        let child = self
            .command(script, &["db"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        wait_for(&self.place.path("done"));
        assert_eq!(self.left().len(), 1, "{:?}", self.left());
        child
    }

    fn left(&self) -> Vec<PathBuf> {
        std::fs::read_dir(self.memory.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect()
    }

    fn assert_clean(&self) {
        assert_eq!(self.left(), Vec::<PathBuf>::new());
    }

    fn version(&self) -> u64 {
        self.place.json(&["get", "db"])["version"].as_u64().unwrap()
    }

    fn field(&self, field: &str) -> String {
        self.place.ok(&["get", "db", "--reveal", "-f", field])
    }
}

fn wait_for(path: &Path) {
    for _ in 0..1000 {
        if path.exists() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{} did not appear", path.display());
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill")
        .args([&format!("-{name}"), &child.id().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
}

#[test]
fn a_changed_value_becomes_a_version() {
    let Some(desk) = Desk::new("a_changed_value_becomes_a_version") else {
        return;
    };
    desk.place.ok(&["tags", "db", "team=web"]);
    let script = r#"
        exec >"$DONE"
        stat -c %a "$file" "${file%/*}"
        stat -f -c %T "$file"
        tr '\0' ' ' < /proc/$PPID/cmdline; echo
        env | grep NCRED_
        cat "$file"
        sed -i s/octocat/hubot/ "$file"
    "#;
    let mut command = desk.command(script, &["db", "--json"]);
    command.env("NCRED_TENANT", "default");
    let edited = answer(command, "");
    assert_eq!(edited.code, 0, "{edited:?}");
    let shown: serde_json::Value = serde_json::from_str(&edited.out).unwrap();
    assert_eq!(shown["version"], 2);
    assert_eq!(shown["tags"]["team"], "web");
    desk.assert_clean();
    assert_eq!(desk.field("username"), "hubot");
    assert_eq!(desk.field("password"), SECRET);

    let seen = std::fs::read_to_string(desk.place.path("done")).unwrap();
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines[..3], ["600", "700", "tmpfs"], "{seen}");
    assert!(
        lines[3].contains("ncred edit db") && !lines[3].contains(SECRET),
        "{seen}"
    );
    // The value, and no variable of ncred's before it.
    let json = format!("{{\n  \"username\": \"octocat\",\n  \"password\": \"{SECRET}\"\n}}");
    assert_eq!(lines[4..].join("\n"), json);
}

#[test]
fn nothing_changed_is_nothing_stored() {
    let Some(desk) = Desk::new("nothing_changed_is_nothing_stored") else {
        return;
    };
    // Touched, and laid out anew: the same value.
    for script in [
        "true",
        "touch $file",
        r#"tr -d '\n ' < "$file" > "$file.x" && mv "$file.x" "$file""#,
    ] {
        let edited = desk.edit(script, &["db"]);
        assert_eq!((edited.code, edited.out.as_str()), (0, ""), "{edited:?}");
        assert!(edited.err.contains("nothing was stored"), "{edited:?}");
    }
    assert_eq!(desk.version(), 1);
}

#[test]
fn whatever_the_editor_leaves_is_overwritten_and_removed() {
    let Some(desk) = Desk::new("whatever_the_editor_leaves_is_overwritten_and_removed") else {
        return;
    };
    // Hard links outside the directory show what became of the files in it.
    let script = r#"
        here="${file%/*}"; out="${here%/*}"
        cp "$file" "$file~"; mkdir "$here/.backup"; cp "$file" "$here/.backup/.db.swp"
        ln "$file" "$out/link-1"; ln "$file~" "$out/link-2"; ln "$here/.backup/.db.swp" "$out/link-3"
        ln -s "$HOME/precious" "$here/symlink"; mkfifo "$here/fifo"
        chmod 400 "$file~"; grep -q canary "$out/link-3" && touch "$DONE"
    "#;
    let precious = desk.place.file("precious", "kept");
    let edited = answer(desk.command(script, &["db"]), "");
    assert_eq!(edited.code, 0, "{edited:?}");
    assert!(desk.place.path("done").exists());
    assert_eq!(std::fs::read_to_string(precious).unwrap(), "kept");
    let left = desk.left();
    assert_eq!(left.len(), 3, "{left:?}");
    for link in left {
        let bytes = std::fs::read(&link).unwrap();
        assert!(
            !bytes.is_empty() && bytes.iter().all(|byte| *byte == 0),
            "{link:?}"
        );
    }
}

#[test]
fn mistakes_store_nothing_and_leave_nothing() {
    let Some(desk) = Desk::new("mistakes_store_nothing_and_leave_nothing") else {
        return;
    };
    let cases: &[(&str, i32, &str)] = &[
        (r#"sed -i 's/}//' "$file""#, 2, "no JSON object"),
        (
            r#"sed -i s/password/passwort/ "$file""#,
            2,
            "did you mean \"password\"?",
        ),
        (r#"sed -i /password/d "$file""#, 2, "no JSON object"),
        (
            r#"echo '{"username":"u"}' > "$file""#,
            2,
            "\"password\" is missing",
        ),
        (r#": > "$file""#, 2, "nothing was stored"),
        (r#"head -c 3000000 /dev/zero > "$file""#, 2, "more than"),
        (r#"rm "$file""#, 1, "left no file behind"),
        (r#"sed -i s/octocat/hubot/ "$file"; exit 3"#, 1, "exit code 3"),
        ("kill -9 $$", 1, "was killed"),
        ("kill -INT $$", 130, "interrupted"),
        (
            r#""$NCRED" tags db team=web && "$NCRED" rotate db --generate && sed -i s/octocat/hubot/ "$file""#,
            7,
            "run `ncred edit db` again",
        ),
    ];
    for (script, code, says) in cases {
        let edited = desk.edit(script, &["db"]);
        assert_eq!(edited.code, *code, "{script}: {edited:?}");
        assert!(edited.err.contains(says), "{script}: {edited:?}");
        assert_eq!(desk.field("username"), "octocat");
    }
    // The one version more is what another stored meanwhile.
    assert_eq!(desk.version(), 2);
    assert_ne!(desk.field("password"), SECRET);

    let mut command = desk.command("", &["db"]);
    command.env("VISUAL", "no-such-editor --wait");
    let edited = answer(command, "");
    assert_eq!(edited.code, 2, "{edited:?}");
    assert!(edited.err.contains("set VISUAL or EDITOR"), "{edited:?}");
    desk.assert_clean();
}

#[test]
fn a_credential_can_begin_in_an_editor() {
    let Some(desk) = Desk::new("a_credential_can_begin_in_an_editor") else {
        return;
    };
    let fill = r#"cat "$file" >"$DONE"; sed -i 's/"text": ""/"text": "t0ken"/' "$file""#;
    let absent = desk.edit(fill, &["prod/ap"]);
    assert_eq!(absent.code, 3, "{absent:?}");
    let left_empty = desk.edit("true", &["prod/api", "--type", "secret_text"]);
    assert_eq!(left_empty.code, 1, "{left_empty:?}");
    let made = desk.edit(fill, &["prod/api", "--type", "secret_text"]);
    assert_eq!(made.code, 0, "{made:?}");
    let template = std::fs::read_to_string(desk.place.path("done")).unwrap();
    assert_eq!(template, "{\n  \"text\": \"\"\n}\n");
    assert_eq!(
        desk.place.ok(&["get", "prod/api", "--reveal", "-f", "text"]),
        "t0ken"
    );

    let other = desk.edit(fill, &["db", "--type", "secret_text"]);
    assert_eq!(other.code, 2, "{other:?}");
    assert!(other.err.contains("of the type basic"), "{other:?}");
    let raced = desk.edit(
        &format!(r#"echo '{{"text":"x"}}' | "$NCRED" put late -t secret_text; {fill}"#),
        &["late", "-t", "secret_text"],
    );
    assert_eq!(raced.code, 7, "{raced:?}");
}

#[test]
#[cfg(target_os = "linux")]
fn the_editor_does_not_inherit_the_passphrase() {
    let Some(desk) = Desk::new("the_editor_does_not_inherit_the_passphrase") else {
        return;
    };
    let file = desk.place.file("passphrase", "correct horse battery staple\n");
    desk.place
        .ok(&["key", "add", "--new-passphrase-file", text(&file)]);
    let editor = desk.editor(r#"ls /proc/self/fd > "$DONE"; sed -i s/octocat/hubot/ "$file""#);
    let mut command = desk.place.wrapped("sh");
    command
        .env("XDG_RUNTIME_DIR", desk.memory.path())
        .env("NCRED", env!("CARGO_BIN_EXE_ncred"))
        .env("FILE", &file)
        .env("EDITOR", editor)
        .env("DONE", desk.place.path("done"))
        .args(["-c", "exec \"$NCRED\" edit db --passphrase-fd 7 7<\"$FILE\""]);
    let edited = answer(command, "");
    assert_eq!(edited.code, 0, "{edited:?}");
    let open = std::fs::read_to_string(desk.place.path("done")).unwrap();
    assert!(
        open.lines().count() >= 4 && !open.lines().any(|number| number == "7"),
        "{open}"
    );
}

#[test]
fn an_expiry_beside_the_value_outlives_an_edit() {
    let Some(desk) = Desk::new("an_expiry_beside_the_value_outlives_an_edit") else {
        return;
    };
    let json = format!(r#"{{"username":"octocat","password":"{SECRET}"}}"#);
    let end = "2100-01-01T00:00:00Z";
    let put = desk
        .place
        .run(&["put", "db", "-t", "basic", "--expires-at", end], &json);
    assert_eq!(put.code, 0, "{put:?}");
    assert_eq!(desk.edit(r#"sed -i s/octocat/hubot/ "$file""#, &["db"]).code, 0);
    let shown = desk.place.json(&["get", "db"]);
    assert_eq!(shown["expires_at"], "2100-01-01T00:00:00.000000Z");
    assert_eq!(shown["fields"]["username"], "hubot");
}

#[test]
fn a_signal_ends_the_editor_and_wipes() {
    for (name, code) in [("TERM", 143), ("HUP", 129)] {
        let Some(desk) = Desk::new("a_signal_ends_the_editor_and_wipes") else {
            return;
        };
        // An editor that saves once more on its way out.
        let mut child = desk.start(
            r#"trap 'cp "$file" "$file.save"; exit 0' TERM HUP; echo $$ >"$DONE"; while :; do sleep 0.05; done"#,
        );
        signal(&child, name);
        assert_eq!(child.wait().unwrap().code(), Some(code));
        desk.assert_clean();
        assert_eq!(desk.version(), 1);
        let editor = std::fs::read_to_string(desk.place.path("done")).unwrap();
        assert!(!Path::new("/proc").join(editor.trim()).exists());
    }
}

#[test]
fn an_editor_that_does_not_end_is_killed() {
    let Some(desk) = Desk::new("an_editor_that_does_not_end_is_killed") else {
        return;
    };
    let mut child = desk.start(r#"trap '' TERM; touch "$DONE"; exec sleep 60"#);
    signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(143));
    desk.assert_clean();
}

#[test]
fn an_interrupt_is_for_the_editor_to_understand() {
    let Some(desk) = Desk::new("an_interrupt_is_for_the_editor_to_understand") else {
        return;
    };
    let mut child = desk.start(
        r#"touch "$DONE"; while [ ! -e "$DONE.go" ]; do sleep 0.02; done; sed -i s/octocat/hubot/ "$file""#,
    );
    signal(&child, "INT");
    signal(&child, "QUIT");
    std::thread::sleep(Duration::from_millis(100));
    assert!(child.try_wait().unwrap().is_none());
    std::fs::write(desk.place.path("done.go"), "").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    desk.assert_clean();
    assert_eq!(desk.field("username"), "hubot");
}

#[test]
fn what_a_killed_edit_left_is_swept_by_the_next() {
    let Some(desk) = Desk::new("what_a_killed_edit_left_is_swept_by_the_next") else {
        return;
    };
    let mut child = desk.start(r#"touch "$DONE"; exec sleep 60"#);
    // One that is still open is not swept.
    let beside = answer(desk.command("true", &["db"]), "");
    assert_eq!(beside.code, 0, "{beside:?}");
    assert_eq!(desk.left().len(), 1);
    signal(&child, "KILL");
    child.wait().unwrap();
    assert_eq!(desk.left().len(), 1);
    assert_eq!(desk.edit("true", &["db"]).code, 0);
}

#[test]
fn without_memory_to_edit_in_it_is_refused() {
    let test = "without_memory_to_edit_in_it_is_refused";
    let Some(desk) = Desk::new(test) else {
        return;
    };
    // On a disk: `$XDG_RUNTIME_DIR` is not taken for what it is called.
    let disk = desk.place.path("disk");
    std::fs::create_dir(&disk).unwrap();
    let run = |args: &str| {
        let mut command = desk.place.wrapped("unshare");
        command
            .env("XDG_RUNTIME_DIR", &disk)
            .env("TMPDIR", &disk)
            .env("NCRED", env!("CARGO_BIN_EXE_ncred"))
            .env("EDITOR", desk.editor(r#"sed -i s/octocat/hubot/ "$file""#))
            .args(["--map-root-user", "--mount", "sh", "-c"])
            .arg(format!(
                "mount --bind \"$XDG_RUNTIME_DIR\" /dev/shm && exec \"$NCRED\" edit db {args}"
            ));
        answer(command, "")
    };
    let probe = Command::new("unshare")
        .args([
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            "mount --bind /tmp /dev/shm",
        ])
        .stderr(Stdio::null())
        .status();
    if !probe.is_ok_and(|status| status.success()) {
        return skip(test, "mount namespaces are not permitted");
    }
    let on_tmpfs = Command::new("stat")
        .args(["-f", "-c", "%T"])
        .arg(&disk)
        .output()
        .unwrap();
    if on_tmpfs.stdout.starts_with(b"tmpfs") {
        return skip(test, "the directory for temporary files is in memory");
    }
    let refused = run("");
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("--on-disk"), "{refused:?}");
    assert_eq!(desk.version(), 1);
    let edited = run("--on-disk");
    assert_eq!(edited.code, 0, "{edited:?}");
    assert!(edited.err.contains("the secrets touch the disk"), "{edited:?}");
    assert_eq!(desk.version(), 2);
    assert_eq!(std::fs::read_dir(&disk).unwrap().count(), 0);
}

#[test]
fn at_a_terminal_a_flaw_can_be_mended() {
    let test = "at_a_terminal_a_flaw_can_be_mended";
    let Some(desk) = Desk::new(test) else {
        return;
    };
    if Command::new("script").arg("--version").output().is_err() {
        return skip(test, "there is no `script`");
    }
    // Breaks it first, and mends it the second time.
    let editor = desk.editor(
        r#"if grep -q oops "$file"; then sed -i s/oops//\;s/octocat/hubot/ "$file"; else echo oops >> "$file"; fi"#,
    );
    let edit = |typed: &[u8]| {
        let mut child = desk
            .place
            .wrapped("script")
            .args([
                "-qec",
                &format!("{} edit db", env!("CARGO_BIN_EXE_ncred")),
                "/dev/null",
            ])
            .env("SHELL", "/bin/sh")
            .env("EDITOR", &editor)
            .env("XDG_RUNTIME_DIR", desk.memory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut screen = child.stdout.take().unwrap();
        let mut seen = Vec::new();
        let mut byte = [0; 1];
        while !seen.ends_with(b"Edit again? [Y/n] ") {
            assert_eq!(
                screen.read(&mut byte).unwrap(),
                1,
                "{}",
                String::from_utf8_lossy(&seen)
            );
            seen.extend(byte);
        }
        child.stdin.take().unwrap().write_all(typed).unwrap();
        screen.read_to_end(&mut seen).unwrap();
        desk.assert_clean();
        child.wait().unwrap().code()
    };
    assert_eq!(edit(b"n\n"), Some(2));
    // The end of the input, and Ctrl-C.
    assert_eq!(edit(b"\x04"), Some(2));
    assert_eq!(edit(b"\x03"), Some(130));
    assert_eq!(desk.version(), 1);
    assert_eq!(edit(b"y\n"), Some(0));
    assert_eq!(desk.field("username"), "hubot");
    assert_eq!(desk.version(), 2);
}

#[test]
fn vim_leaves_nothing_outside() {
    let test = "vim_leaves_nothing_outside";
    let Some(desk) = Desk::new(test) else {
        return;
    };
    if Command::new("vim").arg("--version").output().is_err() {
        return skip(test, "there is no vim");
    }
    let vimrc =
        "set nocompatible undofile undodir=~ backup backupdir=~ directory=~ viminfo='100,<1000,n~/.viminfo\n";
    desk.place.file(".vimrc", vimrc);
    let keys = desk.place.file("keys", ":%s/octocat/hubot/\r:normal yy\r:wq\r");
    let mut command = desk.command("", &["db"]);
    command
        .env("TERM", "dumb")
        .env("VISUAL", format!("vim --not-a-term -s '{}'", text(&keys)));
    let edited = answer(command, "");
    assert_eq!(edited.code, 0, "{edited:?}");
    assert_eq!(desk.field("username"), "hubot");
    desk.assert_clean();
    for entry in std::fs::read_dir(desk.place.path(".")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            assert!(
                !String::from_utf8_lossy(&bytes).contains(SECRET),
                "{}",
                path.display()
            );
        }
    }
}
