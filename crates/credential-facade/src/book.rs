//! The Rust snippets of the book in `docs/`, as doctests.

macro_rules! pages {
    ($($name:ident: $path:literal,)*) => {
        $(#[doc = include_str!($path)]
        struct $name;)*
    };
}

pages! {
    QuickStart: "../../../docs/src/quick-start.md",
    CoreConcepts: "../../../docs/src/core-concepts.md",
    LocalStorage: "../../../docs/src/local-storage.md",
    Store: "../../../docs/src/store.md",
    Retrieve: "../../../docs/src/retrieve.md",
    Rotate: "../../../docs/src/rotate.md",
    ExportAndImport: "../../../docs/src/export-and-import.md",
    ApiKeys: "../../../docs/src/api-keys.md",
    SecretString: "../../../docs/src/secret-string.md",
    CustomTypes: "../../../docs/src/custom-types.md",
    Composite: "../../../docs/src/composite.md",
    KeyManagement: "../../../docs/src/key-management.md",
    AuditLogging: "../../../docs/src/audit-logging.md",
    CommonErrors: "../../../docs/src/common-errors.md",
    WriteAStore: "../../../docs/src/write-a-store.md",
    WriteALayer: "../../../docs/src/write-a-layer.md",
    Testing: "../../../docs/src/testing.md",
}

#[cfg(feature = "access")]
pages! {
    AccessControl: "../../../docs/src/access-control.md",
}

#[cfg(feature = "cache")]
pages! {
    Caching: "../../../docs/src/caching.md",
}

#[cfg(feature = "resilience")]
pages! {
    Chaining: "../../../docs/src/chaining.md",
    CircuitBreaker: "../../../docs/src/circuit-breaker.md",
    Configuration: "../../../docs/src/configuration.md",
}

#[cfg(all(
    feature = "audit",
    feature = "resilience",
    feature = "telemetry",
    feature = "metrics",
    feature = "opentelemetry"
))]
pages! {
    Observability: "../../../docs/src/observability.md",
}
