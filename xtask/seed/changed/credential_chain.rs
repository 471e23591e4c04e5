//! The built-in chain under the same names.
use nebula_credential::prelude::*;

async fn usage(
    aws_cred_1: AwsCredential,
    aws_cred_2: AwsCredential,
    aws_cred_3: AwsCredential,
) -> Result<(), CredentialError> {
    let chain = CredentialChain::new()
        .add("primary", aws_cred_1)
        .add("backup", aws_cred_2)
        .add("fallback", aws_cred_3);

    let active_cred = chain.get_first_valid().await?;
    let _: Option<&AwsCredential> = active_cred.downcast_ref::<AwsCredential>();
    Ok(())
}
