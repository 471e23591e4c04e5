use nebula_credential_core::CredentialError;

/// Closes the doors through which another process of the same user reads this one's memory.
///
/// Opt-in, for daemons and command-line tools, once at the start. It sets the core size limit to
/// zero for good (soft and hard `RLIMIT_CORE`) and, on Linux, clears the dumpable flag
/// (`PR_SET_DUMPABLE`), which also covers cores piped to a handler.
///
/// The price: no core file after a crash; debuggers, `gcore`, `perf` and `strace -p` of the same
/// user are refused; `/proc/self` files such as `mem` and `maps` belong to root. A program started
/// by `exec` gets the dumpable flag back but keeps the core limit. Root is not stopped.
///
/// # Errors
///
/// [`CredentialError::Unsupported`] where the platform or a sandbox refuses; what was already set
/// stays set.
pub fn harden_process() -> Result<(), CredentialError> {
    harden()
}

#[cfg(unix)]
fn harden() -> Result<(), CredentialError> {
    use rustix::process::{Resource, Rlimit, setrlimit};

    setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )
    .map_err(|_| {
        CredentialError::unsupported(
            "core dumps could not be switched off; permit setrlimit(2), or run under `ulimit -c 0`",
        )
    })?;
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable).map_err(|_| {
        CredentialError::unsupported(
            "tracing by the same user could not be switched off; permit prctl(PR_SET_DUMPABLE)",
        )
    })?;
    Ok(())
}

#[cfg(not(unix))]
fn harden() -> Result<(), CredentialError> {
    Err(CredentialError::unsupported(
        "this platform has no process hardening here; leave it off, or use the system's own policy",
    ))
}
