//! Random policies and requests, decided by the engine and by a small evaluator of another make.
//!
//! The oracle keeps a rule as lists of words, tells the text of a policy from them, and decides by the words: it shares
//! nothing with the engine but the text.

mod asked;
mod conditions;
mod rule;
mod words;

use asked::{Asked, Record};
use nebula_credential_access::{AccessPolicy, Inquiry, Known, Permissions, Verdict};
use nebula_credential_core::Permission;
use rule::Rule;
use words::Random;

/// Which rule decides, and whether it allows.
fn decide(rules: &[Rule], asked: &Asked, permission: Permission, record: Option<&Record>) -> (bool, String) {
    let first = |deny, emergency| {
        rules.iter().position(|rule| {
            rule.deny == deny && rule.emergency == emergency && rule.applies(asked, permission, record)
        })
    };
    if let Some(rule) = first(true, false) {
        return (false, format!("r{rule}"));
    }
    match first(false, false).or_else(|| first(false, true)) {
        Some(rule) => (true, format!("r{rule}")),
        None => (false, "default-deny".to_owned()),
    }
}

/// At full count under `cargo xtask prove access`.
#[test]
fn the_engine_decides_as_the_oracle_does() {
    let full = std::env::var("NEBULA_PROOF_COUNT")
        .ok()
        .and_then(|count| count.parse().ok());
    let count: usize = full.unwrap_or(20_000);
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let (mut decided, mut allowed, mut policies, mut at_once) = (0, 0, 0, 0);
    while decided < count {
        let rules: Vec<Rule> = (0..=random.below(12))
            .map(|_| Rule::random(&mut random))
            .collect();
        let mut text = "version = 1\n[groups]\ng = [\"service:ann\", \"action:x\"]\n".to_owned();
        text.extend(rules.iter().enumerate().map(|(id, rule)| rule.text(id)));
        let policy = AccessPolicy::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        policies += 1;
        for _ in 0..25 {
            let asked = Asked::random(&mut random);
            let record = Record::random(&mut random);
            let (ctx, id, head) = (asked.context(), asked.id(), record.head(&asked));
            let there = !random.one_in(5);
            let (record, known) = if there {
                (Some(&record), Known::Head(&head))
            } else {
                (None, Known::New(None))
            };
            let permission = random.pick(&Permission::ALL);
            let inquiry = |permission, known| Inquiry {
                ctx: &ctx,
                id: &id,
                permission,
                known,
            };
            let verdict = policy.decide(inquiry(Some(permission), known));
            let decision = match &verdict {
                Verdict::Allowed { rule, .. } => (true, rule.to_string()),
                Verdict::Denied { rule } => (false, rule.to_string()),
                Verdict::DependsOnRecord => panic!("the record is known"),
            };
            let expected = decide(&rules, &asked, permission, record);
            assert_eq!(
                decision, expected,
                "{permission:?} of {} on {id}\n{text}",
                asked.who
            );
            decided += 1;
            allowed += usize::from(expected.0);

            // What is decided without the record holds whatever the record is.
            let blind = policy.decide(inquiry(Some(permission), Known::Nothing));
            if blind != Verdict::DependsOnRecord {
                at_once += 1;
                assert_eq!(
                    blind.is_allowed(),
                    expected.0,
                    "{permission:?} of {} on {id}\n{text}",
                    asked.who
                );
            }
            // To know of it is to have any permission.
            let known_of = Permission::ALL
                .into_iter()
                .any(|one| decide(&rules, &asked, one, record).0);
            assert_eq!(
                policy.decide(inquiry(None, known)).is_allowed(),
                known_of,
                "{}\n{text}",
                asked.who
            );
            let blind = policy.decide(inquiry(None, Known::Nothing));
            assert!(
                blind == Verdict::DependsOnRecord || blind.is_allowed() == known_of,
                "{}\n{text}",
                asked.who
            );
            let permitted: Permissions = Permission::ALL
                .into_iter()
                .filter(|one| decide(&rules, &asked, *one, record).0)
                .collect();
            assert_eq!(policy.permitted(&ctx, &id, known), permitted);
            // Of each rule, `explain` knows whether it applies.
            let explanation = policy.explain(inquiry(Some(permission), known));
            assert_eq!(explanation.verdict, verdict);
            for (rule, standing) in rules.iter().zip(&explanation.rules) {
                let applies = rule.applies(&asked, permission, record);
                assert_eq!(
                    standing.missing.is_empty(),
                    applies,
                    "{} {:?}\n{text}",
                    standing.id,
                    standing.missing
                );
            }
            assert!(explanation.to_string().contains(&expected.1) || expected.1 == "default-deny");
        }
    }
    assert!(
        allowed * 10 > decided && at_once * 10 > decided,
        "{allowed} allowed and {at_once} at once show too little"
    );
    println!(
        "decisions against the oracle: {decided} by {policies} policies, {allowed} allowed, {at_once} without the record: 0 differences"
    );
}
