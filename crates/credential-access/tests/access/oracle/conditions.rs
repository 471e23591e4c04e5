//! Under which conditions a rule holds, and what a pattern fits.

use chrono::{DateTime, TimeDelta, Timelike as _, Utc};
use nebula_credential_core::Clock as _;
use nebula_credential_testkit::TestClock;

use super::asked::Asked;
use super::words::{DAYS, ENVIRONMENTS, MOMENTS, NETWORKS, Random};

#[derive(Default)]
pub(super) struct Conditions {
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

impl Conditions {
    pub(super) fn random(random: &mut Random) -> Self {
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

    pub(super) fn text(&self) -> Option<String> {
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
    pub(super) fn hold(&self, asked: &Asked) -> Option<bool> {
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

pub(super) fn every(all: &[Option<bool>]) -> Option<bool> {
    if all.contains(&Some(false)) {
        return Some(false);
    }
    all.iter().all(Option::is_some).then_some(true)
}

/// Whether a pattern fits; `None` where it asks what nobody told.
pub(super) fn fit(pattern: &str, text: &str, asked: &Asked) -> Option<bool> {
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

pub(super) fn fits(patterns: &[&str], text: &str, asked: &Asked) -> Option<bool> {
    let each: Vec<Option<bool>> = patterns.iter().map(|pattern| fit(pattern, text, asked)).collect();
    if each.contains(&Some(true)) {
        return Some(true);
    }
    if each.contains(&None) { None } else { Some(false) }
}
