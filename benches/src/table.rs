//! What is printed: tables in Markdown, as the README shows them.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what a benchmark is for"
)]

use std::fmt;

use crate::stats::Middle;

pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) rounds: usize,
    pub(crate) rows: Vec<Row>,
}

pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) median: f64,
    pub(crate) tails: Option<(f64, f64)>,
    pub(crate) verdicts: Vec<Verdict>,
}

pub(crate) struct Verdict {
    pub(crate) peer: String,
    pub(crate) ratio: Middle,
    /// The limit, and whether the ratio keeps it.
    pub(crate) target: Option<(f64, bool)>,
}

pub(crate) fn title(name: &str) {
    println!("# {name}");
}

pub(crate) fn failed(what: &str) {
    eprintln!("{what}");
}

/// Prints a line that no comparison yields.
pub fn note(line: &str) {
    println!("\n{line}");
}

impl Table {
    pub(crate) fn print(&self) {
        print!("\n{self}");
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tails = self.rows.iter().any(|row| row.tails.is_some());
        let (head, rule) = if tails {
            (" p99 | max |", "---|---|")
        } else {
            ("", "")
        };
        writeln!(f, "## {} ({} rounds)\n", self.title, self.rounds)?;
        writeln!(f, "| | median |{head} ratio (middle half) | target |")?;
        writeln!(f, "|---|---|{rule}---|---|")?;
        for row in &self.rows {
            write!(f, "| {} | {} |", row.name, Seconds(row.median))?;
            if let Some((p99, max)) = row.tails {
                write!(f, " {} | {} |", Seconds(p99), Seconds(max))?;
            }
            let mut verdicts = row.verdicts.iter();
            match verdicts.next() {
                Some(verdict) => writeln!(f, "{verdict}")?,
                None => writeln!(f, " | |")?,
            }
            for verdict in verdicts {
                writeln!(f, "| | |{}{verdict}", if tails { " | |" } else { "" })?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Middle { low, median, high } = self.ratio;
        write!(f, " **{median:.2}** × {} ({low:.2}–{high:.2}) |", self.peer)?;
        match self.target {
            Some((limit, true)) => write!(f, " ≤ {limit}: met |"),
            Some((limit, false)) => write!(f, " ≤ {limit}: **MISSED** |"),
            None => write!(f, " |"),
        }
    }
}

/// Seconds, with the unit that suits them and three digits.
pub(crate) struct Seconds(pub(crate) f64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, unit) = match self.0 {
            s if s < 1e-6 => (s * 1e9, "ns"),
            s if s < 1e-3 => (s * 1e6, "µs"),
            s if s < 1.0 => (s * 1e3, "ms"),
            s => (s, "s"),
        };
        let decimals = if value < 10.0 {
            2
        } else if value < 100.0 {
            1
        } else {
            0
        };
        write!(f, "{value:.decimals$} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_names_peer_ratio_target_and_verdict() {
        let verdict = |limit: f64| Verdict {
            peer: "raw".into(),
            ratio: Middle {
                low: 1.9,
                median: 2.0,
                high: 2.1,
            },
            target: Some((limit, 2.0 <= limit)),
        };
        let table = Table {
            title: "seal".into(),
            rounds: 3,
            rows: vec![
                Row {
                    name: "raw".into(),
                    median: 550e-9,
                    tails: None,
                    verdicts: vec![],
                },
                Row {
                    name: "ours".into(),
                    median: 1.1e-6,
                    tails: None,
                    verdicts: vec![verdict(2.5), verdict(1.5)],
                },
            ],
        };
        let text = table.to_string();
        assert!(text.contains("| raw | 550 ns | | |"));
        assert!(text.contains("| ours | 1.10 µs | **2.00** × raw (1.90–2.10) | ≤ 2.5: met |"));
        assert!(text.contains("| | | **2.00** × raw (1.90–2.10) | ≤ 1.5: **MISSED** |"));
    }

    #[test]
    fn durations_have_three_digits() {
        let shown: Vec<_> = [5e-9, 5.55e-8, 1.25e-4, 0.0421, 2.0]
            .map(|s| Seconds(s).to_string())
            .into();
        assert_eq!(shown, ["5.00 ns", "55.5 ns", "125 µs", "42.1 ms", "2.00 s"]);
    }
}
