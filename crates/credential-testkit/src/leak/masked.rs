use zeroize::Zeroizing;

/// Bytes kept in two halves, neither of which tells anything: what is looked for in memory must not be found where
/// it is remembered.
pub(super) struct Masked {
    mask: Vec<u8>,
    rest: Vec<u8>,
}

impl Masked {
    /// `length` random bytes, each put through `shape`.
    pub(super) fn random(length: usize, shape: impl Fn(u8) -> u8) -> Self {
        let (mask, mut rest) = (entropy(length), entropy(length));
        for (rest, mask) in rest.iter_mut().zip(&mask) {
            *rest = shape(*rest) ^ mask;
        }
        Self { mask, rest }
    }

    /// A copy of `bytes`, which stay as they are.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mask = entropy(bytes.len());
        let rest = bytes.iter().zip(&mask).map(|(byte, mask)| byte ^ mask).collect();
        Self { mask, rest }
    }

    pub(super) fn len(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u8> {
        self.rest.iter().zip(&self.mask).map(|(rest, mask)| rest ^ mask)
    }

    /// Whether `bytes` begin with these.
    pub(super) fn begins(&self, bytes: &[u8]) -> bool {
        bytes.len() >= self.len() && self.iter().zip(bytes).all(|(mine, theirs)| mine == *theirs)
    }

    pub(super) fn reveal(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(self.len()));
        bytes.extend(self.iter());
        bytes
    }
}

/// # Panics
/// When the operating system has no randomness: then nothing is a canary.
#[expect(clippy::expect_used, reason = "a test cannot go on without")]
fn entropy(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes).expect("the operating system has randomness");
    bytes
}
