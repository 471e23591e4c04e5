//! Every `.env` file reads as python-dotenv reads it: live where there is Python, and from a record where there is not.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nebula_credential_cli::dotenv;
use serde::{Deserialize, Serialize};

use crate::command::{Store, data};
use crate::generate::{LINES, nasty, realistic};

/// How many files the live comparison generates, unless `NEBULA_DOTENV_FILES` says otherwise.
const FILES: u64 = 400;

/// How many generated files the record holds.
const RECORDED: u64 = 60;

/// What `${NAME}` finds besides the file.
const ENVIRONMENT: &[(&str, &str)] = &[("A", "outer a"), ("KEY", "outer ${B} key")];

type Bindings = Vec<(String, Option<String>)>;

/// What a reader finds in a file.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Reading {
    plain: Bindings,
    interpolated: Bindings,
    unreadable: usize,
}

/// What we find in it.
fn ours(text: &str) -> Reading {
    // Of a key that is bound twice, the last value counts, in the first one's place.
    let bindings = |env: &dotenv::Env| {
        let mut bindings = Bindings::new();
        for dotenv::Variable { key, value, .. } in &env.variables {
            let value = value.as_ref().map(|value| value.to_string());
            match bindings.iter_mut().find(|(known, _)| known == key) {
                Some(binding) => binding.1 = value,
                None => bindings.push((key.clone(), value)),
            }
        }
        bindings
    };
    let mut env = dotenv::parse(text);
    let plain = bindings(&env);
    let outer = |name: &str| {
        let value = ENVIRONMENT.iter().find(|(known, _)| *known == name)?.1;
        Some(value.to_owned().into())
    };
    env.interpolate(1 << 24, outer).unwrap();
    Reading {
        plain,
        interpolated: bindings(&env),
        unreadable: env.unreadable.len(),
    }
}

/// What the reference finds in each of `texts`.
fn theirs(modules: &Path, texts: &BTreeMap<String, String>) -> BTreeMap<String, Reading> {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in texts {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    let output = Command::new("python3")
        .env("PYTHONPATH", modules)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(data("reference.py"))
        .arg(directory.path())
        .args(ENVIRONMENT.iter().map(|(name, value)| format!("{name}={value}")))
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Where python-dotenv is installed: once for all runs, and beside what else is built. `None` if it cannot be.
fn modules(test: &str) -> Option<PathBuf> {
    let requirements = data("requirements.txt");
    let wanted = std::fs::read(&requirements).unwrap();
    let tag: String = wanted
        .iter()
        .rev()
        .take(9)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let root = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let modules = root.join(format!("python-dotenv-{tag}"));
    if modules.is_dir() {
        return Some(modules);
    }
    // Installed aside and moved into place: another test may be doing the same.
    std::fs::create_dir_all(root).unwrap();
    let fresh = tempfile::tempdir_in(root).unwrap();
    let flags = [
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--require-hashes",
        "--target",
    ];
    let install = |python: &OsStr| {
        let mut pip = Command::new(python);
        pip.args(["-m", "pip"])
            .args(flags)
            .arg(fresh.path().join("modules"))
            .arg("-r")
            .arg(&requirements);
        pip.output().is_ok_and(|output| output.status.success())
    };
    // Some systems have a Python without pip, and a module that makes one with it.
    let in_venv = || {
        let venv = fresh.path().join("venv");
        let made = Command::new("python3").args(["-m", "venv"]).arg(&venv).output();
        made.is_ok_and(|output| output.status.success()) && install(venv.join("bin/python").as_os_str())
    };
    if !install(OsStr::new("python3")) && !in_venv() {
        skip(
            test,
            "python-dotenv cannot be installed: it takes python3 with pip, and a package index",
        );
        return None;
    }
    let _ = std::fs::rename(fresh.path().join("modules"), &modules);
    Some(modules).filter(|modules| modules.is_dir())
}

/// Says in the file the runner names that a test could not run here.
fn skip(test: &str, why: &str) {
    if let Some(path) = std::env::var_os("NEBULA_TEST_SKIP_LOG") {
        let mut log = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .unwrap();
        writeln!(log, "{test}: {why}").unwrap();
    }
}

fn generated(count: u64) -> BTreeMap<String, String> {
    let mut texts: BTreeMap<String, String> = (0..count)
        .map(|seed| (format!("nasty-{seed}"), nasty(seed)))
        .collect();
    texts.extend((0..4).map(|seed| (format!("realistic-{seed}"), realistic(seed))));
    texts
}

#[test]
fn generated_files_read_as_python_dotenv_reads_them() {
    let Some(modules) = modules("generated_files_read_as_python_dotenv_reads_them") else {
        return;
    };
    let count = std::env::var("NEBULA_DOTENV_FILES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(FILES);
    let texts = generated(count);
    let theirs = theirs(&modules, &texts);
    assert_eq!(theirs.len(), texts.len());
    let mut bindings = 0;
    let mut unreadable = 0;
    for (name, text) in &texts {
        let ours = ours(text);
        bindings += ours.plain.len();
        unreadable += ours.unreadable;
        assert_eq!(ours, theirs[name], "{name}: {text:?}");
    }
    // The files are worth reading: neither kind of line is rare.
    assert!(
        bindings > texts.len() && unreadable > texts.len() / 4,
        "{bindings} and {unreadable}"
    );
    println!(
        "{} files, {bindings} bindings, {unreadable} unreadable lines: 0 differences",
        texts.len()
    );
}

#[test]
fn a_real_file_arrives_in_the_store_as_python_dotenv_reads_it() {
    let name = "a_real_file_arrives_in_the_store_as_python_dotenv_reads_it";
    let text = realistic(0);
    assert_eq!(text.matches('\n').count(), LINES);
    let modules = modules(name);
    let reading = match &modules {
        Some(modules) => {
            let texts = BTreeMap::from([("real".to_owned(), text.clone())]);
            theirs(modules, &texts).remove("real").unwrap()
        }
        // The other test says whether this is what the reference reads.
        None => ours(&text),
    };
    assert_eq!(reading.unreadable, 0);
    let store = Store::new();
    let ran = store.import(".env", &text, &["--json"]).ok();
    let wanted: BTreeMap<String, String> = reading
        .plain
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_lowercase(), value.filter(|value| !value.is_empty())?)))
        .collect();
    let stored: BTreeMap<String, String> = store
        .all()
        .into_iter()
        .map(|(name, kind, json)| {
            let field = if kind == "connection_string" {
                "url"
            } else {
                "text"
            };
            (name, json[field].as_str().unwrap().to_owned())
        })
        .collect();
    assert!(wanted.len() > LINES / 3, "{}", wanted.len());
    assert_eq!(ran.json()["created"], wanted.len());
    assert_eq!(stored, wanted);
    for value in wanted.values() {
        assert!(!ran.out.contains(value.as_str()) && !ran.err.contains(value.as_str()));
    }
    if modules.is_some() {
        println!(
            "a file of {LINES} lines, {} credentials imported from it: 0 differences",
            stored.len()
        );
    }
}

/// A file and what the reference reads in it.
#[derive(Serialize, Deserialize)]
struct Recorded {
    text: String,
    reading: Reading,
}

/// Files that show one rule each.
const CASES: &[&str] = &[
    "",
    "A=b",
    "A=b\nB=c\r\nC=d\rD=e",
    "\u{feff}A=b",
    "A",
    "A=",
    "A= ",
    "A=b=c==",
    " A = b \t",
    "export A=b",
    "export\tA=b",
    "export",
    "export=1",
    "export A",
    "export # c",
    "exportA=1",
    "# c\nA=1 # c\nB=2#c\nC=#c\nD= # c\nE=a #b #c",
    "A='b'",
    "A='b\\'c\\\\d\\ne'",
    "A='b\nc'\nD=e",
    "A='b\r\nc'",
    "A='b' # c",
    "A='b' c\nD=e",
    "A='b\nD=e",
    "A=\"b\"",
    "A=\"\\a\\b\\f\\n\\r\\t\\v\\'\\\"\\\\\\x\\$\"",
    "A=\"b\nc\"",
    "A=\"b\\\nc\"",
    "A=\"b\r\nc\rd\"",
    "A=\"b\\\\\"\nC=d",
    "A=\"b\\\\\\\"\nC=d",
    "A=\"b\"c\nD=e",
    "A=\"b\nD=e",
    "A=b'c'",
    "A=b\"c\" # d",
    "'A B'=c",
    "'A'B=c",
    "''=c",
    "'A\nB'=c",
    "A B=c\nD=e",
    "=c\nD=e",
    "A=1\nA=2\nB=3\nA=4",
    "A=1\nA\n",
    "A.B-C/D=e",
    "é=ü\n日本=語",
    "A=\u{a0}b\u{a0}",
    "A=b\u{85}c\u{2028}d",
    "A=b\u{1c}#c",
    "A\u{1f}=b",
    "A=C:\\new\\table",
    "A=${B}\nB=1\nC=${B}${A}${B",
    "A=1\nB='${A:-2} ${N:-3} ${N} ${N:4} ${A:${A}'",
    "A=\nB=${A:-1}\nKEY\nC=${KEY:-2}",
    "A={\"a\": \"b\"}",
];

#[test]
fn recorded_files_read_as_python_dotenv_read_them() {
    let path = data("golden.json");
    if std::env::var_os("NEBULA_DOTENV_RECORD").is_some() {
        record(&path);
    }
    let recorded: Vec<Recorded> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(recorded.len(), texts_to_record().len());
    for Recorded { text, reading } in recorded {
        assert_eq!(ours(&text), reading, "{text:?}");
    }
}

fn texts_to_record() -> Vec<String> {
    CASES
        .iter()
        .map(|text| (*text).to_owned())
        .chain((0..RECORDED).map(nasty))
        .collect()
}

/// `NEBULA_DOTENV_RECORD=1 cargo test recorded_files` asks the reference anew.
fn record(path: &Path) {
    let texts = texts_to_record();
    let named = texts
        .iter()
        .enumerate()
        .map(|(i, text)| (format!("{i:04}"), text.clone()))
        .collect();
    let readings = theirs(&modules("record").unwrap(), &named);
    let recorded: Vec<Recorded> = texts
        .into_iter()
        .zip(readings.into_values())
        .map(|(text, reading)| Recorded { text, reading })
        .collect();
    let mut json = serde_json::to_string_pretty(&recorded).unwrap();
    json.push('\n');
    std::fs::write(path, json).unwrap();
}

proptest::proptest! {
    #[test]
    fn no_text_is_too_strange_to_read(text in "(?s).{0,200}|[-A=#'\"\\\\$ {}:\r\n]{0,80}") {
        let env = dotenv::parse(&text);
        let lines = text.lines().count() + text.matches('\r').count();
        let found: Vec<usize> = env.variables.iter().map(|variable| variable.line).collect();
        assert!(found.is_sorted() && env.unreadable.is_sorted());
        assert!(found.iter().chain(&env.unreadable).all(|line| (1..=lines.max(1)).contains(line)));
    }

    #[test]
    fn what_was_read_reads_alike_when_it_is_written_again(text in "[-A=#'\"\\\\é $\t\r\n]{0,80}") {
        let env = dotenv::parse(&text);
        let mut again = String::new();
        for dotenv::Variable { key, value, .. } in &env.variables {
            let bare = key.chars().all(|c| !c.is_whitespace() && c != '#' && c != '=') && !key.starts_with('\'');
            again.push_str(&if bare { key.clone() } else { format!("'{key}'") });
            if let Some(value) = value {
                let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\r', "\\r");
                again.push_str(&format!("=\"{value}\""));
            }
            again.push('\n');
        }
        let bindings = |env: &dotenv::Env| -> Bindings {
            let value = |variable: &dotenv::Variable| variable.value.as_ref().map(|value| value.to_string());
            env.variables.iter().map(|variable| (variable.key.clone(), value(variable))).collect()
        };
        let read = dotenv::parse(&again);
        assert!(read.unreadable.is_empty(), "{again:?}");
        assert_eq!(bindings(&read), bindings(&env));
    }
}

#[test]
fn references_cannot_grow_past_the_limit() {
    let mut text = String::from("A0=0123456789\n");
    for i in 0..60 {
        text.push_str(&format!("A{}=${{A{i}}}${{A{i}}}\n", i + 1));
    }
    let mut env = dotenv::parse(&text);
    let long = env.interpolate(1 << 20, |_| None).unwrap_err();
    // 10 bytes doubled: the sum of the first n values is 10 (2^n - 1).
    assert_eq!(long, dotenv::TooLong { line: 17 });
}
