//! `audit`: what the workspace takes from others, checked against `deny.toml` and the advisories.
use std::path::Path;

use crate::Result;

pub(crate) fn run(_advisories: Option<&Path>) -> Result<bool> {
    Err("not written yet".into())
}
