//! The leak hunter: canaries, the places to look for them, and the forms they may have.

mod canary;
mod forms;
mod hunter;
mod masked;
mod memory;
mod panics;
mod trace;

pub use canary::Canary;
pub use hunter::{Leak, LeakHunter};
pub use panics::panic_text;
pub use trace::TraceCapture;
