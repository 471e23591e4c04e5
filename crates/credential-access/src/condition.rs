//! Under which circumstances a rule holds.

use chrono::{DateTime, Datelike, NaiveTime, Utc, Weekday};
use nebula_credential_core::OpContext;

use crate::network::Network;
use crate::pattern::{self, Pattern, Truth};

/// Circumstances that must all be given. What is left out is always given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conditions {
    pub(crate) environments: Vec<Pattern>,
    pub(crate) networks: Vec<Network>,
    pub(crate) mfa: Option<bool>,
    pub(crate) purposes: Vec<Pattern>,
    pub(crate) workflows: Vec<Pattern>,
    pub(crate) nodes: Vec<Pattern>,
    pub(crate) users: Vec<Pattern>,
    pub(crate) hours: Option<Hours>,
    pub(crate) days: Days,
    pub(crate) from: Option<DateTime<Utc>>,
    pub(crate) until: Option<DateTime<Utc>>,
}

/// The purpose a request names: text in which there is a letter or a digit that can be seen.
pub(crate) fn purpose(ctx: &OpContext) -> Option<&str> {
    // The Hangul fillers of Unicode are letters, and blank.
    let blank = |c: char| matches!(c, '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}');
    let purpose = ctx.purpose.as_deref()?.trim();
    purpose
        .chars()
        .any(|c| c.is_alphanumeric() && !blank(c))
        .then_some(purpose)
}

/// A time of day in UTC, from the first to before the second; past midnight where the second is the earlier.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hours {
    pub(crate) start: NaiveTime,
    pub(crate) end: NaiveTime,
}

impl Hours {
    /// Reads `08:00-18:30`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (start, end) = text.split_once('-')?;
        let time = |text: &str| {
            let digits = text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit() || b == b':');
            let (hour, minute) = text.split_once(':').filter(|_| digits)?;
            NaiveTime::from_hms_opt(hour.parse().ok()?, minute.parse().ok()?, 0)
        };
        let hours = Self {
            start: time(start)?,
            end: time(end)?,
        };
        (hours.start != hours.end).then_some(hours)
    }

    /// Whether they contain `time`, but began the day before.
    fn began_yesterday(self, time: NaiveTime) -> bool {
        self.end < self.start && time < self.end
    }

    fn contain(self, time: NaiveTime) -> bool {
        if self.start < self.end {
            self.start <= time && time < self.end
        } else {
            self.start <= time || time < self.end
        }
    }
}

/// Days of the week; none stands for all.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Days(u8);

impl Days {
    /// Adds `mon`, `tue`, `wed`, `thu`, `fri`, `sat` or `sun`.
    pub(crate) fn add(&mut self, name: &str) -> Option<()> {
        const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        let index = NAMES.into_iter().position(|known| known == name)?;
        self.0 |= 1 << index;
        Some(())
    }

    fn contain(self, day: Weekday) -> bool {
        self.0 & (1 << day.num_days_from_monday()) != 0
    }
}

impl Conditions {
    /// Shows each condition there is, by its name in a policy, and how it stands.
    pub(crate) fn each(&self, ctx: &OpContext, mut show: impl FnMut(&'static str, Truth)) {
        let told = ctx.circumstances.as_deref();
        let mut listed = |name, patterns: &[Pattern], value: Option<&str>, untold| {
            if !patterns.is_empty() {
                show(
                    name,
                    value.map_or(untold, |value| pattern::any(patterns, value, ctx)),
                );
            }
        };
        let environment = told.and_then(|told| told.environment.as_deref());
        listed("environments", &self.environments, environment, Truth::Unknown);
        // A purpose that is not named is none.
        listed("purposes", &self.purposes, purpose(ctx), Truth::No);
        let workflow = told.and_then(|told| told.workflow.as_ref());
        listed(
            "workflows",
            &self.workflows,
            workflow.map(AsRef::as_ref),
            Truth::Unknown,
        );
        let node = told.and_then(|told| told.node.as_ref());
        listed("nodes", &self.nodes, node.map(AsRef::as_ref), Truth::Unknown);
        let user = told.and_then(|told| told.user.as_ref());
        listed("users", &self.users, user.map(AsRef::as_ref), Truth::Unknown);
        if !self.networks.is_empty() {
            let address = told.and_then(|told| told.address);
            let inside = address.map(|address| self.networks.iter().any(|network| network.contains(address)));
            show("networks", inside.map_or(Truth::Unknown, Truth::from));
        }
        if let Some(mfa) = self.mfa {
            show(
                "mfa",
                told.map_or(Truth::Unknown, |told| (told.mfa == mfa).into()),
            );
        }
        if self.hours.is_none() && self.days.0 == 0 && self.from.is_none() && self.until.is_none() {
            return;
        }
        let now = ctx.now();
        if let Some(hours) = self.hours {
            show("hours", hours.contain(now.time()).into());
        }
        if self.days.0 != 0 {
            let yesterday = self.hours.is_some_and(|hours| hours.began_yesterday(now.time()));
            // A night belongs to the day on which it begins.
            let day = if yesterday {
                now.weekday().pred()
            } else {
                now.weekday()
            };
            show("days", self.days.contain(day).into());
        }
        if let Some(from) = self.from {
            show("from", (from <= now).into());
        }
        if let Some(until) = self.until {
            show("until", (now < until).into());
        }
    }

    /// How they stand together.
    pub(crate) fn truth(&self, ctx: &OpContext) -> Truth {
        let mut all = Truth::Yes;
        self.each(ctx, |_, truth| all = all.min(truth));
        all
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        let lists = [
            &self.environments,
            &self.purposes,
            &self.workflows,
            &self.nodes,
            &self.users,
        ];
        lists.into_iter().all(Vec::is_empty)
            && self.networks.is_empty()
            && self.mfa.is_none()
            && self.hours.is_none()
            && self.days.0 == 0
            && self.from.is_none()
            && self.until.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_begin_at_their_first_minute_and_end_before_their_last() {
        let at = |hour, minute| NaiveTime::from_hms_opt(hour, minute, 0).unwrap();
        let day = Hours::parse("08:00-18:30").unwrap();
        assert!(day.contain(at(8, 0)) && day.contain(at(18, 29)));
        assert!(!day.contain(at(7, 59)) && !day.contain(at(18, 30)));
        let night = Hours::parse("22:00-06:00").unwrap();
        assert!(night.contain(at(22, 0)) && night.contain(at(0, 0)) && night.contain(at(5, 59)));
        assert!(!night.contain(at(6, 0)) && !night.contain(at(21, 59)));
        for text in [
            "",
            "08:00",
            "8:00-18:00",
            "08:00-08:00",
            "24:00-06:00",
            "08:60-09:00",
            "+8:00-09:00",
        ] {
            assert!(Hours::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn every_day_has_its_name() {
        let mut days = Days::default();
        assert_eq!(days.add("Mon"), None);
        for (index, name) in ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
            .into_iter()
            .enumerate()
        {
            let day = Weekday::try_from(u8::try_from(index).unwrap()).unwrap();
            assert!(!days.contain(day));
            days.add(name).unwrap();
            assert!(days.contain(day));
        }
    }
}
