//! What a decision takes.

use std::hint::black_box;
use std::time::Instant;

use nebula_credential_access::{Inquiry, Known};
use nebula_credential_core::{OpContext, Permission};

use crate::support::{circumstances, id, policy_of, principal};

/// Twenty rules on groups, one of which allows, and one that denies a network. Optimised under
/// `cargo xtask prove access`.
#[test]
fn a_decision_takes_less_than_a_read() {
    let mut text = "version = 1\n[groups]\n".to_owned();
    for number in 0..20 {
        text += &format!("g{number} = [\"user:u{number}\"]\n");
    }
    for number in 0..20 {
        text += &format!(
            "[[rules]]\nid = \"r{number}\"\neffect = \"allow\"\nprincipals = [\"group:g{number}\"]\n\
             permissions = [\"read\"]\ntenants = [\"acme\"]\nscopes = [\"global\"]\nwhen = {{ mfa = true }}\n"
        );
    }
    text += "[[rules]]\nid = \"outside\"\neffect = \"deny\"\nprincipals = [\"*\"]\npermissions = [\"*\"]\n\
             tenants = [\"*\"]\nwhen = { networks = [\"10.0.0.0/8\"] }\n";
    let policy = policy_of(&text);
    let ctx = OpContext {
        principal: principal("user:u3"),
        circumstances: circumstances(|told| {
            told.mfa = true;
            told.address = Some([192, 168, 0, 1].into());
        }),
        ..OpContext::default()
    };
    let id = id("db");
    let count = 100_000;
    let since = Instant::now();
    for _ in 0..count {
        let verdict = policy.decide(black_box(Inquiry {
            ctx: &ctx,
            id: &id,
            permission: Some(Permission::Read),
            known: Known::Nothing,
        }));
        assert!(verdict.is_allowed());
    }
    let each = since.elapsed() / count;
    println!("one decision by 21 rules: {each:?}");
    assert!(each.as_micros() < 100, "{each:?}");
}
