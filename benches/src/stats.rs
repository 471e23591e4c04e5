//! Order statistics.

/// The value below which a share `q` of `sorted` lies; 0 for none.
pub(crate) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let at = (q * last as f64).round() as usize;
    sorted.get(at.min(last)).copied().unwrap_or(0.0)
}

pub(crate) fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

pub(crate) fn median(values: Vec<f64>) -> f64 {
    quantile(&sorted(values), 0.5)
}

/// A median with the middle half of what it is the median of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Middle {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

impl Middle {
    pub(crate) fn of(values: Vec<f64>) -> Self {
        let sorted = sorted(values);
        Self {
            low: quantile(&sorted, 0.25),
            median: quantile(&sorted, 0.5),
            high: quantile(&sorted, 0.75),
        }
    }

    /// How many times `peer` takes, round by round.
    pub(crate) fn ratio(ours: &[f64], peer: &[f64]) -> Self {
        Self::of(ours.iter().zip(peer).map(|(ours, peer)| ours / peer).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_members_of_the_sample() {
        let sorted = sorted(vec![5.0, 1.0, 3.0, 2.0, 4.0]);
        assert_eq!(quantile(&sorted, 0.0), 1.0);
        assert_eq!(quantile(&sorted, 0.5), 3.0);
        assert_eq!(quantile(&sorted, 0.99), 5.0);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }

    #[test]
    fn a_phase_that_slows_both_does_not_move_the_ratio() {
        let peer = [1.0, 1.0, 10.0, 10.0, 10.0];
        let ours = [2.0, 2.0, 20.0, 20.0, 20.0];
        let ratio = Middle::ratio(&ours, &peer);
        assert_eq!((ratio.low, ratio.median, ratio.high), (2.0, 2.0, 2.0));
    }
}
