//! The built-in type under the same constructor and accessors.
use nebula_credential::prelude::*;

#[derive(Credential)]
struct GitHubCredential {
    #[secret]
    personal_access_token: String,
    username: String,
}

async fn usage(
    manager: CredentialManager,
    context: CredentialContext,
    aws_credential: AwsCredential,
    github_credential: GitHubCredential,
) -> Result<(), CredentialError> {
    let composite = CompositeCredential::new().add("aws", aws_credential).add("github", github_credential);
    manager.store("multi_service", composite).await?;

    let composite: CompositeCredential = context.get_credential("multi_service").await?;
    let _aws: &AwsCredential = composite.get("aws")?;
    let _github: &GitHubCredential = composite.get("github")?;
    Ok(())
}
