//! Random policies and requests, decided by the engine and by a small evaluator of another make.
//!
//! The oracle keeps a rule as lists of words, tells the text of a policy from them, and decides by the words: it shares
//! nothing with the engine but the text.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Timelike as _, Utc};
use nebula_credential_access::{AccessPolicy, Grant, Inquiry, Known, Permissions, Verdict};
use nebula_credential_core::{
    Circumstances, Clock as _, CredentialRef, OpContext, Permission, RecordHead, Scope, Tags, TenantId,
};
use nebula_credential_testkit::TestClock;

use crate::support::{id, policy_of, principal, put, rules};

const PRINCIPALS: [&str; 6] = [
    "user:ann",
    "user:anna",
    "service:ann",
    "workflow:w",
    "action:x",
    "process",
];
const WHO: [&str; 11] = [
    "user:ann",
    "user:anna",
    "user:an*",
    "user:*",
    "service:*",
    "workflow:w",
    "process",
    "*",
    "owner",
    "granted",
    "group:g",
];
const TENANTS: [&str; 2] = ["acme", "other"];
const SCOPES: [&str; 5] = ["global", "workflow/w", "workflow/w/x", "user/ann", "service/ann"];
const SCOPE_PATTERNS: [&str; 8] = [
    "global",
    "workflow/*",
    "workflow/{workflow}",
    "workflow/{workflow}/{node}",
    "user/{user}",
    "{principal}",
    "{principal}/*",
    "*",
];
const NAMES: [&str; 3] = ["db", "db/main", "ann"];
const NAME_PATTERNS: [&str; 4] = ["db", "db*", "{user}", "*"];
const TEAMS: [&str; 3] = ["pay", "payroll", "w"];
const TEAM_PATTERNS: [&str; 4] = ["pay", "pay*", "{workflow}", "*"];
const WORDS: [&str; 4] = ["w", "ann", "w", "w/x"];
const NODES: [&str; 3] = ["x", "ann", "x/y"];
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// Hours after the first moment there is in the tests.
const MOMENTS: [i64; 4] = [0, 36, 100, 168];
const ENVIRONMENTS: [&str; 2] = ["production", "test"];
const ADDRESSES: [&str; 3] = ["10.1.2.3", "::ffff:10.1.2.3", "192.168.0.1"];
const NETWORKS: [&str; 3] = ["10.0.0.0/8", "192.168.0.1", "::/0"];

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % limit as u64).unwrap()
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn maybe<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        (!self.one_in(3)).then(|| self.pick(from))
    }

    fn some<T: Copy>(&mut self, from: &[T], most: usize) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| self.pick(from)).collect()
    }
}

#[derive(Default)]
struct Conditions {
    environments: Vec<&'static str>,
    networks: Vec<&'static str>,
    purposes: Vec<&'static str>,
    workflows: Vec<&'static str>,
    nodes: Vec<&'static str>,
    users: Vec<&'static str>,
    mfa: Option<bool>,
    /// The first hour, and the one before which they end.
    hours: Option<(u32, u32)>,
    days: Vec<&'static str>,
    from: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
}

struct Rule {
    deny: bool,
    emergency: bool,
    who: Vec<&'static str>,
    permissions: Vec<Permission>,
    tenants: Vec<&'static str>,
    scopes: Vec<&'static str>,
    names: Vec<&'static str>,
    team: Option<&'static str>,
    when: Conditions,
    unless: Conditions,
}

struct Record {
    owner: Option<&'static str>,
    /// To whom, what, and whether it has ended.
    grants: Vec<(&'static str, Vec<Permission>, bool)>,
    team: Option<&'static str>,
}

struct Asked {
    who: &'static str,
    tenant: &'static str,
    scope: &'static str,
    name: &'static str,
    told: bool,
    workflow: Option<&'static str>,
    node: Option<&'static str>,
    user: Option<&'static str>,
    environment: Option<&'static str>,
    address: Option<&'static str>,
    mfa: bool,
    purpose: Option<&'static str>,
    now: DateTime<Utc>,
}

impl Conditions {
    fn random(random: &mut Random) -> Self {
        let mut conditions = Self::default();
        let moment = |random: &mut Random| TestClock::new().now() + TimeDelta::hours(random.pick(&MOMENTS));
        match random.below(36) {
            0 => conditions.environments = vec![random.pick(&ENVIRONMENTS)],
            1 => conditions.networks = vec![random.pick(&NETWORKS)],
            2 => conditions.purposes = vec![random.pick(&["incident*", "*"])],
            3 => conditions.workflows = vec![random.pick(&["w", "{user}"])],
            4 => conditions.mfa = Some(random.one_in(2)),
            5 => conditions.hours = Some(random.pick(&[(0, 12), (12, 0), (8, 18), (22, 6)])),
            6 => conditions.nodes = vec![random.pick(&["x", "{user}"])],
            7 => conditions.users = vec![random.pick(&["ann", "w*", "{workflow}"])],
            8 => conditions.days = vec![random.pick(&DAYS), random.pick(&DAYS)],
            9 => {
                conditions.days = vec![random.pick(&DAYS), random.pick(&DAYS)];
                conditions.hours = Some(random.pick(&[(8, 18), (22, 6)]));
            }
            10 => conditions.from = Some(moment(random)),
            11 => conditions.until = Some(moment(random)),
            12 => {
                let from = moment(random);
                conditions.from = Some(from);
                conditions.until = Some(from + TimeDelta::hours(24));
            }
            13 => {
                conditions.environments = vec![random.pick(&ENVIRONMENTS)];
                conditions.mfa = Some(true);
            }
            _ => {}
        }
        conditions
    }

    fn text(&self) -> Option<String> {
        let mut parts = Vec::new();
        let lists = [
            ("environments", &self.environments),
            ("networks", &self.networks),
            ("purposes", &self.purposes),
            ("workflows", &self.workflows),
            ("nodes", &self.nodes),
            ("users", &self.users),
            ("days", &self.days),
        ];
        parts.extend(
            lists
                .iter()
                .filter(|(_, list)| !list.is_empty())
                .map(|(key, list)| format!("{key} = {list:?}")),
        );
        parts.extend(self.mfa.map(|mfa| format!("mfa = {mfa}")));
        parts.extend(
            self.hours
                .map(|(start, end)| format!("hours = \"{start:02}:00-{end:02}:00\"")),
        );
        for (key, moment) in [("from", self.from), ("until", self.until)] {
            parts.extend(moment.map(|moment| format!("{key} = {}", moment.to_rfc3339())));
        }
        (!parts.is_empty()).then(|| format!("{{ {} }}", parts.join(", ")))
    }

    /// `None` where nobody can tell.
    fn hold(&self, asked: &Asked) -> Option<bool> {
        let told = |value: Option<&'static str>| value.filter(|_| asked.told);
        let mut all = Vec::new();
        if !self.environments.is_empty() {
            all.push(told(asked.environment).map(|value| self.environments.contains(&value)));
        }
        if !self.networks.is_empty() {
            all.push(told(asked.address).map(|address| {
                self.networks.iter().any(|network| match *network {
                    "10.0.0.0/8" => address.contains("10.1."),
                    "::/0" => false,
                    one => one == address,
                })
            }));
        }
        if !self.purposes.is_empty() {
            let purpose = asked.purpose.filter(|text| text.contains(char::is_alphanumeric));
            let fits = |purpose: &str| {
                self.purposes
                    .iter()
                    .any(|pattern| fit(pattern, purpose, asked) == Some(true))
            };
            all.push(Some(purpose.is_some_and(fits)));
        }
        if !self.workflows.is_empty() {
            all.push(told(asked.workflow).and_then(|value| fits(&self.workflows, value, asked)));
        }
        if !self.nodes.is_empty() {
            all.push(told(asked.node).and_then(|value| fits(&self.nodes, value, asked)));
        }
        if !self.users.is_empty() {
            all.push(told(asked.user).and_then(|value| fits(&self.users, value, asked)));
        }
        if let Some(mfa) = self.mfa {
            all.push(asked.told.then_some(asked.mfa == mfa));
        }
        // The hours of the week, each with the day it is counted to.
        let hour = asked.now.hour();
        let mut day = asked.now.format("%a").to_string().to_lowercase();
        if let Some((start, end)) = self.hours {
            let wraps = end <= start;
            all.push(Some(match wraps {
                true => hour >= start || hour < end,
                false => (start..end).contains(&hour),
            }));
            if wraps && hour < end {
                let before = asked.now - TimeDelta::days(1);
                day = before.format("%a").to_string().to_lowercase();
            }
        }
        if !self.days.is_empty() {
            all.push(Some(self.days.contains(&day.as_str())));
        }
        all.extend(self.from.map(|from| Some(asked.now >= from)));
        all.extend(self.until.map(|until| Some(asked.now < until)));
        every(&all)
    }
}

fn every(all: &[Option<bool>]) -> Option<bool> {
    if all.contains(&Some(false)) {
        return Some(false);
    }
    all.iter().all(Option::is_some).then_some(true)
}

/// Whether a pattern fits; `None` where it asks what nobody told.
fn fit(pattern: &str, text: &str, asked: &Asked) -> Option<bool> {
    let principal = asked.who.split_once(':').map(|_| asked.who.replace(':', "/"));
    // One name, or nobody can tell.
    let told = |value: Option<&'static str>| value.filter(|value| asked.told && !value.contains('/'));
    let holes = [
        ("{workflow}", told(asked.workflow).map(str::to_owned)),
        ("{node}", told(asked.node).map(str::to_owned)),
        ("{user}", told(asked.user).map(str::to_owned)),
        ("{principal}", principal),
    ];
    // What comes before a hole is compared first, and what is in it before the next.
    let mut filled = pattern.to_owned();
    while let Some((before, behind)) = filled.split_once('{') {
        if !text.starts_with(before) {
            return Some(false);
        }
        let hole = |(hole, _): &&(&str, Option<String>)| behind.starts_with(hole.trim_start_matches('{'));
        let (hole, value) = holes.iter().find(hole).unwrap();
        filled = filled.replacen(hole, value.as_deref()?, 1);
    }
    Some(match filled.strip_suffix('*') {
        Some(start) => text.starts_with(start),
        None => text == filled,
    })
}

fn fits(patterns: &[&str], text: &str, asked: &Asked) -> Option<bool> {
    let each: Vec<Option<bool>> = patterns.iter().map(|pattern| fit(pattern, text, asked)).collect();
    if each.contains(&Some(true)) {
        return Some(true);
    }
    if each.contains(&None) { None } else { Some(false) }
}

impl Rule {
    fn random(random: &mut Random) -> Self {
        let deny = random.one_in(5);
        let mut who = random.some(&WHO, 2);
        who.push(random.pick(&WHO));
        let mut permissions = random.some(&Permission::ALL, 3);
        permissions.push(random.pick(&Permission::ALL));
        Self {
            deny,
            emergency: !deny && random.one_in(4),
            who,
            permissions,
            tenants: vec![random.pick(&["acme", "acme", "*"])],
            scopes: random.some(&SCOPE_PATTERNS, 1),
            names: random.some(&NAME_PATTERNS, 1),
            team: random.one_in(5).then(|| random.pick(&TEAM_PATTERNS)),
            when: Conditions::random(random),
            unless: Conditions::random(random),
        }
    }

    fn text(&self, id: usize) -> String {
        let names: Vec<&str> = self.permissions.iter().map(|one| one.as_str()).collect();
        let mut text = format!(
            "[[rules]]\nid = \"r{id}\"\neffect = {:?}\nprincipals = {:?}\npermissions = {names:?}\ntenants = {:?}\n",
            if self.deny { "deny" } else { "allow" },
            self.who,
            self.tenants
        );
        if self.emergency {
            text += "emergency = true\n";
        }
        for (key, list) in [("scopes", &self.scopes), ("names", &self.names)] {
            if !list.is_empty() {
                text += &format!("{key} = {list:?}\n");
            }
        }
        text.extend(self.team.map(|team| format!("tags = {{ team = {team:?} }}\n")));
        text.extend(self.when.text().map(|when| format!("when = {when}\n")));
        text.extend(self.unless.text().map(|unless| format!("unless = {unless}\n")));
        text
    }

    fn is_about(&self, who: &str) -> bool {
        self.who.iter().any(|listed| match *listed {
            "*" => true,
            // The group of the policies below.
            "group:g" => ["service:ann", "action:x"].contains(&who),
            "owner" | "granted" => false,
            listed => match listed.strip_suffix('*') {
                Some(start) => who.starts_with(start),
                None => who == listed,
            },
        })
    }

    fn applies(&self, asked: &Asked, permission: Permission, record: Option<&Record>) -> bool {
        let admin = !self.deny && self.permissions.contains(&Permission::Admin);
        if !admin && !self.permissions.contains(&permission) {
            return false;
        }
        let owns =
            self.who.contains(&"owner") && record.is_some_and(|record| record.owner == Some(asked.who));
        let shares = self.who.contains(&"granted")
            && record.is_some_and(|record| {
                record.grants.iter().any(|(to, what, ended)| {
                    *to == asked.who
                        && !ended
                        && (what.contains(&permission) || what.contains(&Permission::Admin))
                })
            });
        let purpose = asked
            .purpose
            .is_some_and(|purpose| purpose.contains(char::is_alphanumeric));
        let tenant = self.tenants.contains(&"*") || self.tenants.contains(&asked.tenant);
        if !(self.is_about(asked.who) || owns || shares) || self.emergency && !purpose || !tenant {
            return false;
        }
        let mut all = Vec::new();
        for (patterns, text) in [(&self.scopes, asked.scope), (&self.names, asked.name)] {
            if !patterns.is_empty() {
                all.push(fits(patterns, text, asked));
            }
        }
        if let Some(pattern) = self.team {
            let team = record.and_then(|record| record.team);
            all.push(team.map_or(Some(false), |team| fit(pattern, team, asked)));
        }
        all.push(self.when.hold(asked));
        if self.unless.text().is_some() {
            all.push(self.unless.hold(asked).map(|holds| !holds));
        }
        let holds = every(&all);
        if self.deny {
            holds != Some(false)
        } else {
            holds == Some(true)
        }
    }
}

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

impl Asked {
    fn random(random: &mut Random) -> Self {
        Self {
            who: random.pick(&PRINCIPALS),
            tenant: random.pick(&[TENANTS[0], TENANTS[0], TENANTS[1]]),
            scope: random.pick(&SCOPES),
            name: random.pick(&NAMES),
            told: !random.one_in(5),
            workflow: random.maybe(&WORDS),
            node: random.maybe(&NODES),
            user: random.maybe(&WORDS),
            environment: random.maybe(&ENVIRONMENTS),
            address: random.maybe(&ADDRESSES),
            mfa: random.one_in(2),
            purpose: random.maybe(&["incident 7", "audit", "  ", "\u{200b}"]),
            now: TestClock::new().now() + TimeDelta::hours(i64::try_from(random.below(24 * 8)).unwrap()),
        }
    }

    fn context(&self) -> OpContext {
        let mut ctx = OpContext::new(principal(self.who), Arc::new(TestClock::at(self.now)));
        ctx.purpose = self.purpose.map(Into::into);
        if self.told {
            let mut told = Circumstances::default();
            told.workflow = self.workflow.map(|name| name.parse().unwrap());
            told.node = self.node.map(|name| name.parse().unwrap());
            told.user = self.user.map(|name| name.parse().unwrap());
            told.environment = self.environment.map(Into::into);
            told.address = self.address.map(|address| address.parse().unwrap());
            told.mfa = self.mfa;
            ctx.circumstances = Some(Arc::new(told));
        }
        ctx
    }

    fn id(&self) -> CredentialRef {
        CredentialRef::new(
            TenantId::new(self.tenant).unwrap(),
            Scope::new(self.scope).unwrap(),
            self.name.parse().unwrap(),
        )
    }
}

impl Record {
    fn random(random: &mut Random) -> Self {
        let grants = (0..random.below(3)).map(|_| {
            let mut what = random.some(&Permission::ALL, 2);
            what.push(random.pick(&Permission::ALL));
            (random.pick(&PRINCIPALS), what, random.one_in(3))
        });
        Self {
            grants: grants.collect(),
            owner: random.maybe(&PRINCIPALS),
            team: random.maybe(&TEAMS),
        }
    }

    fn head(&self, asked: &Asked) -> RecordHead {
        let mut tags = Tags::new();
        if let Some(owner) = self.owner {
            tags.insert("nebula.access/owner", owner).unwrap();
        }
        if let Some(team) = self.team {
            tags.insert("team", team).unwrap();
        }
        for (index, (to, what, ended)) in self.grants.iter().enumerate() {
            let grant = Grant {
                to: principal(to),
                permissions: what.iter().copied().collect(),
                until: Some(asked.now + TimeDelta::hours(if *ended { 0 } else { 1 })),
                by: principal("user:root"),
                at: asked.now - TimeDelta::hours(1),
            };
            let key = format!("nebula.access/grant-{}", index + 1);
            tags.insert(&key, &grant.to_string()).unwrap();
        }
        let mut head = put(&asked.id(), 1, None).head(None, asked.now);
        head.tags = tags;
        head
    }
}

#[test]
fn a_rule_holds_from_its_first_moment_to_before_its_last() {
    let text = rules(&[
        "term allow user:ann read; when = { from = 2026-03-01T00:00:00Z, until = 2026-04-01T02:00:00+02:00 }",
        "gap deny user:ann read; unless = { until = 2026-03-10T00:00:00Z }; \
         when = { until = 2026-03-11T00:00:00Z }",
    ]);
    let policy = policy_of(&text);
    let at = |time: &str| {
        let now = DateTime::parse_from_rfc3339(time).unwrap().to_utc();
        let ctx = OpContext::new(principal("user:ann"), Arc::new(TestClock::at(now)));
        let asked = Inquiry {
            ctx: &ctx,
            id: &id("db"),
            permission: Some(Permission::Read),
            known: Known::Nothing,
        };
        policy.decide(asked).is_allowed()
    };
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
        assert_eq!(at(time), allowed, "{time}");
    }
}

#[test]
fn a_night_belongs_to_the_day_on_which_it_begins() {
    let policy = policy_of(&rules(&[
        "nights allow user:ann read; when = { hours = \"22:00-06:00\", days = [\"fri\"] }",
    ]));
    let at = |time: &str| {
        let now = DateTime::parse_from_rfc3339(time).unwrap().to_utc();
        let ctx = OpContext::new(principal("user:ann"), Arc::new(TestClock::at(now)));
        let asked = Inquiry {
            ctx: &ctx,
            id: &id("db"),
            permission: Some(Permission::Read),
            known: Known::Nothing,
        };
        policy.decide(asked).is_allowed()
    };
    // The 6th of March 2026 is a Friday.
    for (time, allowed) in [
        ("2026-03-06T05:59:00Z", false),
        ("2026-03-06T21:59:00Z", false),
        ("2026-03-06T22:00:00Z", true),
        ("2026-03-07T05:59:00Z", true),
        ("2026-03-07T06:00:00Z", false),
        ("2026-03-07T22:00:00Z", false),
    ] {
        assert_eq!(at(time), allowed, "{time}");
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
