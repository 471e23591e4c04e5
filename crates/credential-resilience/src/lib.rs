#![doc = include_str!("../README.md")]

mod attempt;
mod breaker;
mod chain;
mod fallback;
mod limit;
mod provider;
mod retry;
mod stack;

pub use attempt::{AttemptTimeout, AttemptTimeoutLayer};
pub use breaker::{Breaker, BreakerConfig, BreakerLayer, BreakerState, CircuitBreaker, Sample};
pub use chain::CredentialChain;
pub use fallback::FallbackStore;
pub use limit::{ConcurrencyLayer, ConcurrencyLimited, RateLimit, RateLimitLayer, RateLimited};
pub use provider::CircuitBreakerCredentialProvider;
pub use retry::{RetryConfig, RetryLayer, RetryPolicy};
pub use stack::Resilience;
