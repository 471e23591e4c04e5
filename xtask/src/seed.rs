//! `seed`
use crate::Result;
use std::path::Path;
pub(crate) fn run(_path: &Path) -> Result<bool> {
    Err("not written yet".into())
}
