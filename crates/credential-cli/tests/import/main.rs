//! `ncred import`: what it reads, what it refuses, and what it leaves behind.

mod command;
mod files;
mod formats;
mod generate;
mod policy;
mod reference;
