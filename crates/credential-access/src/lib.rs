#![doc = include_str!("../README.md")]

mod change;
mod condition;
mod explain;
mod file;
mod floor;
mod gate;
mod layer;
mod list;
mod network;
mod parse;
mod pattern;
mod permissions;
mod policies;
mod policy;
mod principal;
mod record;
mod rule;
mod sharing;
mod syntax;

pub use explain::{Explanation, RuleStanding};
pub use file::{PolicyFile, Reload};
pub use layer::{Access, AccessBuilder, AccessFuture, AccessLayer};
pub use list::LIST_FILTER;
pub use permissions::Permissions;
pub use policies::Policies;
pub use policy::{AccessPolicy, DEFAULT_DENY, Inquiry, POLICY_BYTES_MAX, RULES_MAX, Verdict};
pub use record::{GRANTS_MAX, Grant, OWNER_TAG, RESERVED_PREFIX, grants, owner};
pub use rule::Known;
pub use sharing::{Sharing, sharing_difference};
pub use syntax::PolicyError;
