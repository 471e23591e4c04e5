//! `prove`
use crate::Result;
pub(crate) fn list() -> Result<bool> {
    Err("not written yet".into())
}
pub(crate) fn run(_name: &str) -> Result<bool> {
    Err("not written yet".into())
}
