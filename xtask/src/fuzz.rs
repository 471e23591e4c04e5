//! `fuzz`
use crate::Result;
pub(crate) fn run(_rest: &[&str]) -> Result<bool> {
    Err("not written yet".into())
}
