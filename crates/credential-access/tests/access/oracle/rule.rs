//! A rule: its text, and to what it applies.

use nebula_credential_core::Permission;

use super::asked::{Asked, Record};
use super::conditions::{Conditions, every, fit, fits};
use super::words::{NAME_PATTERNS, Random, SCOPE_PATTERNS, TEAM_PATTERNS, WHO};

pub(super) struct Rule {
    pub(super) deny: bool,
    pub(super) emergency: bool,
    who: Vec<&'static str>,
    permissions: Vec<Permission>,
    tenants: Vec<&'static str>,
    scopes: Vec<&'static str>,
    names: Vec<&'static str>,
    team: Option<&'static str>,
    when: Conditions,
    unless: Conditions,
}

impl Rule {
    pub(super) fn random(random: &mut Random) -> Self {
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

    pub(super) fn text(&self, id: usize) -> String {
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

    pub(super) fn applies(&self, asked: &Asked, permission: Permission, record: Option<&Record>) -> bool {
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
