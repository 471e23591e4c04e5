use nebula_credential_core::CredentialError;

/// Starts `work` on a thread of its own, for which nobody waits.
pub(crate) fn start(work: impl FnOnce() + Send + 'static) -> Result<(), CredentialError> {
    std::thread::Builder::new()
        .name("nebula-credential-keys".to_owned())
        .spawn(work)
        .map(drop)
        .map_err(|_| {
            CredentialError::unavailable("no thread could be started; raise the limit of this process")
        })
}

/// Runs `work` on a thread of its own: key derivation and files block, and no runtime is assumed.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, CredentialError> {
    let (answer, wait) = tokio::sync::oneshot::channel();
    start(move || {
        // Whoever asked may have given up.
        let _ = answer.send(work());
    })?;
    wait.await
        .map_err(|_| CredentialError::internal("the thread that works on keys ended early"))
}
