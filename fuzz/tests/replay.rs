//! Replays the committed corpus on a stable toolchain: what once was interesting stays handled.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use nebula_credential_fuzz::TARGETS;

/// One test per target, so that a failure names it.
macro_rules! replay {
    ($($target:ident),+ $(,)?) => {
        $(
            #[test]
            fn $target() {
                replay(stringify!($target), nebula_credential_fuzz::$target);
            }
        )+

        const REPLAYED: &[&str] = &[$(stringify!($target)),+];
    };
}

replay!(
    audit_verify,
    config_file,
    credential_decode,
    decrypt_tampered,
    envelope_decode,
    import_bundle,
    import_env,
    import_text,
    keyring_decode,
    name_codec,
    policy_parse
);

fn replay(name: &str, target: fn(&[u8])) {
    let inputs = list(&root().join("corpus").join(name));
    assert!(!inputs.is_empty(), "corpus/{name} is empty");
    for input in &inputs {
        // Shown when the target panics: the input to debug with.
        println!("{}", input.display());
        target(&fs::read(input).unwrap());
    }
    println!("{name}: {} inputs replayed", inputs.len());
}

#[test]
fn every_target_has_a_function_a_binary_a_corpus_and_a_replay() {
    let names = |paths: Vec<PathBuf>| -> BTreeSet<String> {
        let stem = |path: &PathBuf| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        paths.iter().filter_map(stem).collect()
    };
    let listed: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let replayed: BTreeSet<String> = REPLAYED.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(listed, replayed);
    assert_eq!(listed, names(list(&root().join("fuzz_targets"))));
    assert_eq!(listed, names(list(&root().join("corpus"))));
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    for name in &listed {
        assert!(
            manifest.contains(&format!("name = \"{name}\"")),
            "no [[bin]] for {name}"
        );
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn list(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}
