//! Bundles at a terminal; what is in them is a matter of the tests of `import`.

use nebula_credential_testkit::skip;

use crate::place::{Place, SECRET, text};
use crate::terminal::Terminal;

#[test]
fn the_passphrase_of_a_bundle_is_asked_for_twice_when_it_is_new() {
    let place = Place::with_db();
    let bundle = place.path("all.ncb");
    let export = format!("export --out {}", text(&bundle));
    let Some(mut terminal) = Terminal::run(&place, &export) else {
        return skip(
            "the_passphrase_of_a_bundle_is_asked_for_twice_when_it_is_new",
            "there is no `script`",
        );
    };
    terminal.answer("New passphrase: ", "open sesame, please");
    terminal.answer("The same again: ", "open seasme, please");
    let (code, seen) = terminal.end();
    assert_eq!(code, Some(2), "{seen}");
    assert!(!bundle.exists());

    let mut terminal = Terminal::run(&place, &export).unwrap();
    terminal.answer("New passphrase: ", "open sesame, please");
    terminal.answer("The same again: ", "open sesame, please");
    let (code, seen) = terminal.end();
    assert_eq!(code, Some(0), "{seen}");
    assert!(seen.contains("which opens with a passphrase"), "{seen}");
    assert!(!seen.contains("sesame") && !seen.contains(SECRET), "{seen}");

    let there = Place::new();
    let import = format!("import {}", text(&bundle));
    let mut terminal = Terminal::run(&there, &import).unwrap();
    terminal.answer("Passphrase of the bundle: ", "open seasme, please");
    let (code, seen) = terminal.end();
    assert_eq!(code, Some(5), "{seen}");
    let mut terminal = Terminal::run(&there, &import).unwrap();
    terminal.answer("Passphrase of the bundle: ", "open sesame, please");
    let (code, seen) = terminal.end();
    assert_eq!(code, Some(0), "{seen}");
    assert!(!seen.contains("sesame") && !seen.contains(SECRET), "{seen}");
    assert_eq!(there.ok(&["get", "db", "--reveal", "-f", "password"]), SECRET);
}

#[test]
fn no_bundle_is_printed_at_a_terminal() {
    let place = Place::with_db();
    let key = place.path("keys/theirs");
    let export = format!("export --out - --for-key-file {}", text(&key));
    let Some(terminal) = Terminal::run(&place, &export) else {
        return skip("no_bundle_is_printed_at_a_terminal", "there is no `script`");
    };
    let (code, seen) = terminal.end();
    assert_eq!(code, Some(2), "{seen}");
    assert!(
        seen.contains("no text for a terminal") && !seen.contains("NBX"),
        "{seen}"
    );
    assert!(!key.exists());
}

#[test]
fn the_key_of_a_store_is_not_handed_out_unasked() {
    let place = Place::with_db();
    let (bundle, key) = (place.path("all.ncb"), place.key_path());
    let told = place.run(
        &["export", "--out", text(&bundle), "--for-key-file", text(&key)],
        "",
    );
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.err.contains("opens this store too"), "{told:?}");
}
