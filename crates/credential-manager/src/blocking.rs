use nebula_credential_core::CredentialError;

/// Runs `work` on a thread of its own: key derivation and files block, and no runtime is assumed.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, CredentialError> {
    let (answer, wait) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name("nebula-credential-keys".to_owned())
        .spawn(move || {
            // Whoever asked may have given up.
            let _ = answer.send(work());
        })
        .map_err(|_| {
            CredentialError::unavailable("no thread could be started; raise the limit of this process")
        })?;
    wait.await
        .map_err(|_| CredentialError::internal("the thread that works on keys ended early"))
}
