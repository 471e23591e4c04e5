//! From which moment to which a rule holds.

use std::sync::Arc;

use chrono::DateTime;
use nebula_credential_access::{AccessPolicy, Inquiry, Known};
use nebula_credential_core::{OpContext, Permission};
use nebula_credential_testkit::TestClock;

use crate::support::{id, policy_of, principal, rules};

/// Whether Ann may read at `time`.
fn reads(policy: &AccessPolicy, time: &str) -> bool {
    let now = DateTime::parse_from_rfc3339(time).unwrap().to_utc();
    let ctx = OpContext::new(principal("user:ann"), Arc::new(TestClock::at(now)));
    let asked = Inquiry {
        ctx: &ctx,
        id: &id("db"),
        permission: Some(Permission::Read),
        known: Known::Nothing,
    };
    policy.decide(asked).is_allowed()
}

#[test]
fn a_rule_holds_from_its_first_moment_to_before_its_last() {
    let text = rules(&[
        "term allow user:ann read; when = { from = 2026-03-01T00:00:00Z, until = 2026-04-01T02:00:00+02:00 }",
        "gap deny user:ann read; unless = { until = 2026-03-10T00:00:00Z }; \
         when = { until = 2026-03-11T00:00:00Z }",
    ]);
    let policy = policy_of(&text);
    for (time, allowed) in [
        ("2026-02-28T23:59:59.999999Z", false),
        ("2026-03-01T00:00:00Z", true),
        ("2026-03-09T23:59:59.999999Z", true),
        ("2026-03-10T00:00:00Z", false),
        ("2026-03-10T23:59:59.999999Z", false),
        ("2026-03-11T00:00:00Z", true),
        ("2026-03-31T23:59:59.999999Z", true),
        ("2026-04-01T00:00:00Z", false),
    ] {
        assert_eq!(reads(&policy, time), allowed, "{time}");
    }
}

#[test]
fn a_night_belongs_to_the_day_on_which_it_begins() {
    let policy = policy_of(&rules(&[
        "nights allow user:ann read; when = { hours = \"22:00-06:00\", days = [\"fri\"] }",
    ]));
    // The 6th of March 2026 is a Friday.
    for (time, allowed) in [
        ("2026-03-06T05:59:00Z", false),
        ("2026-03-06T21:59:00Z", false),
        ("2026-03-06T22:00:00Z", true),
        ("2026-03-07T05:59:00Z", true),
        ("2026-03-07T06:00:00Z", false),
        ("2026-03-07T22:00:00Z", false),
    ] {
        assert_eq!(reads(&policy, time), allowed, "{time}");
    }
}
