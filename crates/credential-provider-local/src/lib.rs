#![doc = include_str!("../README.md")]

mod change;
mod check;
mod counters;
mod doubt;
mod error;
mod group;
mod home;
mod list;
mod local;
mod pool;
mod queue;
mod read;
mod reply;
mod row;
mod schema;
mod thread;
mod token;
mod writer;

pub use local::LocalStorage;
