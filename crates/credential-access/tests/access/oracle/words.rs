//! The words that random policies and requests are made of.

pub(super) const PRINCIPALS: [&str; 6] = [
    "user:ann",
    "user:anna",
    "service:ann",
    "workflow:w",
    "action:x",
    "process",
];
pub(super) const WHO: [&str; 11] = [
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
pub(super) const TENANTS: [&str; 2] = ["acme", "other"];
pub(super) const SCOPES: [&str; 5] = ["global", "workflow/w", "workflow/w/x", "user/ann", "service/ann"];
pub(super) const SCOPE_PATTERNS: [&str; 8] = [
    "global",
    "workflow/*",
    "workflow/{workflow}",
    "workflow/{workflow}/{node}",
    "user/{user}",
    "{principal}",
    "{principal}/*",
    "*",
];
pub(super) const NAMES: [&str; 3] = ["db", "db/main", "ann"];
pub(super) const NAME_PATTERNS: [&str; 4] = ["db", "db*", "{user}", "*"];
pub(super) const TEAMS: [&str; 3] = ["pay", "payroll", "w"];
pub(super) const TEAM_PATTERNS: [&str; 4] = ["pay", "pay*", "{workflow}", "*"];
pub(super) const WORDS: [&str; 4] = ["w", "ann", "w", "w/x"];
pub(super) const NODES: [&str; 3] = ["x", "ann", "x/y"];
pub(super) const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// Hours after the first moment there is in the tests.
pub(super) const MOMENTS: [i64; 4] = [0, 36, 100, 168];
pub(super) const ENVIRONMENTS: [&str; 2] = ["production", "test"];
pub(super) const ADDRESSES: [&str; 3] = ["10.1.2.3", "::ffff:10.1.2.3", "192.168.0.1"];
pub(super) const NETWORKS: [&str; 3] = ["10.0.0.0/8", "192.168.0.1", "::/0"];

pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % limit as u64).unwrap()
    }

    pub(super) fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    pub(super) fn maybe<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        (!self.one_in(3)).then(|| self.pick(from))
    }

    pub(super) fn some<T: Copy>(&mut self, from: &[T], most: usize) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| self.pick(from)).collect()
    }
}
