//! Files to import: any text reads as something or is refused, and no refusal repeats a value.

use nebula_credential_cli::{dotenv, rehearse_import};

/// Longest sum of values that references may make here.
const LIMIT: usize = 1 << 16;

/// Reads `data` as a `.env` file.
pub fn import_env(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut env = dotenv::parse(text);
    let lines = text.bytes().filter(|byte| matches!(byte, b'\n' | b'\r')).count() + 1;
    let found: Vec<usize> = env.variables.iter().map(|variable| variable.line).collect();
    assert!(found.is_sorted() && env.unreadable.is_sorted());
    assert!(
        found
            .iter()
            .chain(&env.unreadable)
            .all(|line| (1..=lines).contains(line))
    );
    let value_bytes = |env: &dotenv::Env| -> usize { values(env).map(str::len).sum() };
    assert!(value_bytes(&env) <= text.len(), "no rule makes a value longer");

    let again = dotenv::parse(&written(&env));
    assert!(again.unreadable.is_empty());
    assert_eq!(again.variables.len(), env.variables.len());
    for (one, other) in again.variables.iter().zip(&env.variables) {
        assert_eq!((&one.key, &one.value), (&other.key, &other.value));
    }

    let outer = |name: &str| (name.len() == 1).then(|| name.repeat(100).into());
    if env.interpolate(LIMIT, outer).is_ok() {
        assert!(value_bytes(&env) <= LIMIT);
    }
    rehearse(text, "env", "");
}

/// Reads `data` as JSON and as YAML; before the first NUL may stand a mapping file.
pub fn import_text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (mapping, text) = text.split_once('\0').unwrap_or(("", text));
    rehearse(text, "json", mapping);
    rehearse(text, "yaml", mapping);
}

fn values(env: &dotenv::Env) -> impl Iterator<Item = &str> {
    env.variables
        .iter()
        .filter_map(|variable| Some(variable.value.as_ref()?.as_str()))
}

/// The bindings once more, each value in double quotes.
fn written(env: &dotenv::Env) -> String {
    // Behind a line end, a byte order mark at the beginning of a key is a part of it.
    let mut text = String::from("\n");
    for dotenv::Variable { key, value, .. } in &env.variables {
        let is_space = |c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c);
        if key.starts_with('\'') || key.contains(|c| is_space(c) || c == '#' || c == '=') {
            text.push_str(&format!("'{key}'"));
        } else {
            text.push_str(key);
        }
        if let Some(value) = value {
            let value = value
                .replace('\\', r"\\")
                .replace('"', "\\\"")
                .replace('\r', r"\r");
            text.push_str(&format!("=\"{value}\""));
        }
        text.push('\n');
    }
    text
}

fn rehearse(text: &str, format: &str, mapping: &str) {
    if let Err(refusal) = rehearse_import(text, format, mapping) {
        // No text of ours has this, and no key that has it is shown: one that is shown as a typo of a field has three
        // wrong characters at most. So only a value could bring it. A mapping file is no secret.
        const VALUE: &str = "^^^^";
        assert!(!refusal.contains(VALUE) || mapping.contains('^'), "{refusal}");
    }
}
