//! Samples that leak, and samples that only look as if they did.

use super::*;

fn lines(text: &str) -> Vec<usize> {
    let mut source = Source::new("a.rs".into(), text.to_owned());
    source.strip_tests();
    let own: HashSet<&str> = defined_types(&source).chain(["CredentialError"]).collect();
    violations(&source, &own)
        .into_iter()
        .map(|violation| violation.line)
        .collect()
}

#[test]
fn every_leak_is_found() {
    let leaks = [
        r#"x.map_err(|e| CredentialError::decryption_failed(format!("failed: {e}")))?;"#,
        r#"x.map_err(|e| CredentialError::decryption_failed(format!("failed: {}", e)))?;"#,
        r#"x.map_err(|e| CredentialError::encryption_failed(e.to_string()))?;"#,
        r#"x.map_err(|io_err| Other::new(format!("bad {io_err:?}")))?;"#,
        r#"x.map_err(move |json_error: serde_json::Error| Other::new(json_error.to_string()))?;"#,
        r#"x.map_err(|e| { let text = format!("{0}", e); Other(text) })?;"#,
        r#"x.or_else(|error| Err(Other::new(format!("a {x} b {error}"))))?;"#,
        r#"x.unwrap_or_else(|err| panic!("broken: {err}"));"#,
        r#"match x { Ok(x) => x, Err(e) => return Err(Other::new(format!("{e}"))), }"#,
        r#"match x { Err(failed_err) => { return Err(failed_err.to_string()); } Ok(x) => x }"#,
        r#"match x { Err(e) => tracing::warn!(error = %e, "failed"), Ok(x) => x }"#,
        r#"if let Err(e) = call() { warn!(?e); }"#,
        r#"if let Err(e) = call() { debug!("it failed: {e:#}"); }"#,
        r#"if let Err(e) = call(a, |b| { b }) { return Err(Other(e.to_string())); }"#,
        r#"return Err(CredentialError::storage(format!("cannot read: {error}")));"#,
        r#"return Err(CredentialError::storage(source.to_string()));"#,
        r#"return Err(CredentialError::storage(format!("cannot read: {x}", x = error)));"#,
        r#"enum Mine { #[error("x")] A(#[from] std::io::Error) }"#,
        r#"struct Mine { #[source] cause: serde_json::Error }"#,
        r#"struct Mine { #[source] cause: Box<dyn std::error::Error> }"#,
        r#"enum Mine { #[error(transparent)] A(rusqlite::Error) }"#,
    ];
    for leak in leaks {
        assert_eq!(lines(leak), [1], "{leak}");
    }
    assert_eq!(
        lines(
            "fn f() {\n    x.map_err(|e| {\n        E(format!(\n            \"{e}\"\n        ))\n    })\n}\n"
        ),
        [3]
    );
}

#[test]
fn what_only_looks_like_a_leak_is_left_alone() {
    let fine = [
        r#"x.map_err(|_| CredentialError::decryption_failed())?;"#,
        r#"x.map_err(|e| CredentialError::from_status(e.code()))?;"#,
        r#"x.map_err(|e| classify(&e))?;"#,
        r#"x.map_err(|error| CredentialError::storage(format!("status {}", error.code())))?;"#,
        r#"x.map_err(classify)?; let e = 1; let text = format!("{e}");"#,
        r#"x.map_err(|e| classify(e)).map(|name| format!("{name}: {event}"))?;"#,
        r#"match x { Err(e) => classify(e), Ok(e) => e.to_string(), }"#,
        r#"return Err(e); let s = e.to_string();"#,
        r#"match x { Err(e) => tracing::warn!(kind = e.kind(), "failed"), Ok(x) => x }"#,
        r#"if let Err(e) = call() { warn!(code = classify(&e), "e failed"); }"#,
        r#"if x == Err(e) { e.to_string(); }"#,
        r#"CredentialError::validation("the error {e} is not formatted here");"#,
        r#"CredentialError::not_found(name.to_string());"#,
        r#"CredentialError::not_found(self.source.to_string());"#,
        r#"// x.map_err(|e| CredentialError::storage(e.to_string()))"#,
        r#"let doc = "map_err(|e| CredentialError::storage(e.to_string()))";"#,
        r#"#[cfg(test)] mod tests { fn f() { x.map_err(|e| format!("{e}")); } }"#,
        r#"enum Mine { #[error("x")] A(#[from] CredentialError) }"#,
        r#"struct Inner; enum Mine { #[error(transparent)] A(#[from] crate::x::Inner), }"#,
        r#"struct Mine { #[source] cause: Box<CredentialErrorSource> } struct CredentialErrorSource;"#,
        r#"impl Display for Mine { fn fmt(&self) { write!(f, "{}", self.error) } }"#,
        r#"x.map_err(|flaw| CredentialError::validation(format!("url {flaw}")))?;"#,
        r#"fn wildcard() { x.map_err(|_e| Other::new(format!("{event} {x_e}"))) }"#,
    ];
    for sample in fine {
        let found = lines(sample);
        assert!(found.is_empty(), "{sample}");
    }
}

#[test]
fn our_own_error_is_declared() {
    assert!(lines("x.map_err(|e| E(e.to_string())) // tidy: own error: a NameError\n").is_empty());
    assert!(lines("// tidy: own error\nx.map_err(|e| E(e.to_string()))\n").is_empty());
    assert_eq!(
        lines("// tidy: own error\n\n\nx.map_err(|e| E(e.to_string()))\n"),
        [4]
    );
}

#[test]
fn crates_without_secrets_are_exempt() {
    let library = |package: &str| Library {
        package: package.to_owned(),
        sources: vec![Source::new(
            "a.rs".into(),
            "x.map_err(|e| E(e.to_string()))".to_owned(),
        )],
    };
    assert!(check(&[library("nebula-credential-derive")]).is_empty());
    assert_eq!(check(&[library("nebula-credential-crypto")]).len(), 1);
}
