//! The hunter finds what leaks, in every disguise, and nothing where nothing leaks.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use nebula_credential_testkit::{Canary, LeakHunter, TraceCapture, panic_text};

fn all() -> [Canary; 3] {
    [Canary::text(), Canary::hostile(), Canary::bytes()]
}

fn hunter(canary: &Canary) -> LeakHunter {
    LeakHunter::new().hunt("canary", canary)
}

#[track_caller]
fn found(canary: &Canary, what: &str, bytes: impl AsRef<[u8]>) {
    assert!(!hunter(canary).search(bytes).is_empty(), "{what} went unseen");
}

#[test]
fn a_secret_is_found_in_every_form() {
    for canary in all() {
        let secret = canary.secret_bytes();
        found(&canary, "plain", [b"before ", &*secret, b" behind"].concat());
        let reversed: Vec<u8> = secret.iter().rev().copied().collect();
        found(&canary, "reversed", reversed);
        found(&canary, "the beginning", &secret[..16]);
        found(&canary, "the end", &secret[secret.len() - 16..]);
        for before in 0..6 {
            for behind in 0..4 {
                let text = [&b"0123456"[..before], &secret, &b"abcd"[..behind]].concat();
                for engine in [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD] {
                    found(&canary, "base64", format!("x {} x", engine.encode(&text)));
                }
                let wrapped: Vec<u8> = STANDARD
                    .encode(&text)
                    .as_bytes()
                    .chunks(20)
                    .collect::<Vec<_>>()
                    .join(&b"\r\n"[..]);
                found(&canary, "wrapped base64", wrapped);
            }
        }
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        found(&canary, "hex", &hex);
        found(&canary, "upper-case hex", hex.to_uppercase());
        let spaced: String = secret.iter().map(|byte| format!("{byte:02x} ")).collect();
        found(&canary, "spaced hex", spaced);
        let percent: String = secret.iter().map(|byte| format!("%{byte:02X}")).collect();
        found(&canary, "percent-encoding of every byte", percent);
    }
}

#[test]
fn a_secret_is_found_as_programs_write_it() {
    for canary in all() {
        let (text, bytes) = (canary.secret(), canary.secret_bytes());
        found(&canary, "Debug of text", format!("{text:?}"));
        found(&canary, "Debug of bytes", format!("{bytes:?}"));
        found(&canary, "pretty Debug of bytes", format!("{bytes:#?}"));
        found(&canary, "escaped bytes", bytes.escape_ascii().to_string());
        let json = serde_json::json!({ "text": text, "bytes": bytes });
        for part in ["text", "bytes"] {
            found(&canary, "JSON", serde_json::to_string(&json[part]).unwrap());
            found(
                &canary,
                "pretty JSON",
                serde_json::to_string_pretty(&json[part]).unwrap(),
            );
        }
        let again = serde_json::to_string(&serde_json::to_string(&text).unwrap()).unwrap();
        found(&canary, "JSON in JSON", again);
        let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        found(&canary, "UTF-16", utf16);
    }
    let canary = Canary::hostile();
    let percent = |keep: &str| -> String {
        let one = |byte: u8| match char::from(byte) {
            c if c.is_ascii_alphanumeric() || keep.contains(c) => c.to_string(),
            _ => format!("%{byte:02X}"),
        };
        canary.secret_bytes().into_iter().map(one).collect()
    };
    found(&canary, "URL", format!("https://host/?q={}&x", percent("-._~")));
    found(&canary, "URL", percent("-._~").replace("%20", "+"));
    found(&canary, "URL", percent(""));
}

#[test]
fn nothing_is_found_where_nothing_leaks() {
    let canaries = all();
    let hunter = canaries
        .iter()
        .fold(LeakHunter::new(), |hunter, canary| hunter.hunt("canary", canary));
    for other in all() {
        hunter.check("another secret", other.secret_bytes());
    }
    let noise: Vec<u8> = (0..200_000_u32)
        .flat_map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes())
        .collect();
    hunter.check("noise", noise);
    hunter.check_debug("the canary", &canaries[0]);
    hunter.check_debug("the hunter", &hunter);
    hunter.check("nothing", "");
    caught(|| LeakHunter::new().check("nothing to look for", ""));
}

#[derive(Debug)]
struct Leaking {
    #[expect(dead_code, reason = "read by the derived Debug")]
    password: String,
}

#[derive(Debug)]
struct Chained(
    &'static str,
    Option<Box<Self>>,
    #[expect(dead_code, reason = "read by the derived Debug")] String,
);

impl fmt::Display for Chained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Chained {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.1.as_deref().map(|error| error as _)
    }
}

#[expect(clippy::expect_used, reason = "an assertion of the tests")]
fn caught(action: impl FnOnce()) -> String {
    let caught =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(action)).expect_err("the leak went unseen");
    caught
        .downcast_ref::<String>()
        .expect("an assertion has a message")
        .clone()
}

#[test]
fn a_leaking_debug_is_caught_and_the_report_does_not_repeat_it() {
    for canary in [Canary::text(), Canary::hostile()] {
        let hunter = hunter(&canary);
        let leaking = Leaking {
            password: canary.secret(),
        };
        let report = caught(|| hunter.check_debug("Leaking", &leaking));
        assert!(
            report.contains("Leaking") && report.contains("canary"),
            "{report}"
        );
        hunter.check("the report", report);
    }
}

#[test]
fn a_leak_behind_an_error_is_caught() {
    let canary = Canary::text();
    let hunter = hunter(&canary);
    let innermost = Chained("innermost", None, canary.secret());
    let error = Chained(
        "outer",
        Some(Box::new(Chained(
            "inner",
            Some(Box::new(innermost)),
            String::new(),
        ))),
        String::new(),
    );
    caught(|| hunter.check_error("the chain", &error));
    hunter.check_error("a clean chain", &Chained("outer", None, String::new()));
}

#[test]
fn a_leak_into_a_trace_is_caught() {
    let canary = Canary::hostile();
    let hunter = hunter(&canary);
    let secret = canary.secret();
    let capture = TraceCapture::new();
    let _guard = capture.capture_thread();
    let error: Box<dyn std::error::Error> = Box::new(Chained("outer", None, secret.clone()));
    let leaks: [&dyn Fn(); 7] = [
        &|| tracing::trace!(password = %secret),
        &|| tracing::trace!(password = secret.as_str(), "a field"),
        &|| tracing::debug!("a message with {secret}"),
        &|| tracing::info!(error = error.as_ref() as &(dyn std::error::Error + 'static)),
        &|| drop(tracing::trace_span!("span", token = ?secret)),
        &|| {
            let span = tracing::trace_span!("span", token = tracing::field::Empty);
            span.record("token", secret.as_str());
        },
        &|| tracing::error!(target: "elsewhere", bytes = ?secret.as_bytes()),
    ];
    for (at, leak) in leaks.iter().enumerate() {
        leak();
        assert!(!hunter.search(capture.take()).is_empty(), "leak {at} went unseen");
    }
    tracing::info!(name = "github", "stored");
    assert!(capture.text().contains("github") && capture.text().contains("stored"));
    hunter.check("the trace", capture.take());
}

#[test]
fn a_leak_into_a_panic_is_caught() {
    let canary = Canary::text();
    let hunter = hunter(&canary);
    let secret = canary.secret();
    let text = panic_text(|| panic!("cannot use {secret}")).expect("it panicked");
    assert!(!hunter.search(text).is_empty());
    let elsewhere = panic_text(|| {
        let secret = secret.clone();
        std::thread::spawn(move || panic!("cannot use {secret}"))
            .join()
            .unwrap();
    });
    assert!(!hunter.search(elsewhere.expect("it panicked")).is_empty());
    let clean = panic_text(|| panic!("cannot use it")).expect("it panicked");
    assert!(
        clean.contains("cannot use it") && clean.contains("leak_hunter"),
        "{clean}"
    );
    hunter.check("a clean panic", clean);
    assert_eq!(panic_text(|| 1), None);
}

#[test]
fn a_leak_into_a_file_or_its_name_is_caught() {
    let canary = Canary::text();
    let hunter = hunter(&canary);
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("a/b");
    std::fs::create_dir_all(&deep).unwrap();
    caught(|| hunter.check_files("nothing to search", dir.path()));
    std::fs::write(deep.join("clean"), vec![7; 100_000]).unwrap();
    hunter.check_files("a clean directory", dir.path());
    let mut bytes = vec![0; 100_000];
    bytes.extend_from_slice(&canary.secret_bytes());
    std::fs::write(deep.join("dirty"), bytes).unwrap();
    let (files, leaks) = hunter.search_files(dir.path()).unwrap();
    assert_eq!(files, 2);
    let (file, leak) = &leaks[0];
    assert_eq!(
        (file.file_name().unwrap(), leak.offset, leak.form),
        ("dirty".as_ref(), 100_000, "plain")
    );
    std::fs::remove_file(deep.join("dirty")).unwrap();
    std::fs::write(deep.join(format!("lock-{}", canary.secret())), "").unwrap();
    caught(|| hunter.check_files("a name", dir.path()));
    caught(|| hunter.check_files("not there", dir.path().join("absent")));
}
