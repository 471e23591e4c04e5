//! A definition and its use with an SDK, for which a stand-in of the same shape is enough.
use nebula_credential::prelude::*;
//@ preamble context

mod aws_sdk_s3 {
    pub(super) trait ProvideCredentials {
        fn keys(&self) -> (&str, &str);
    }

    pub(super) struct Client;
    pub(super) struct Config;

    impl Client {
        pub(super) fn from_conf(_config: Config) -> Self {
            Self
        }
    }

    impl Config {
        pub(super) fn builder() -> Self {
            Self
        }

        pub(super) fn credentials_provider(self, provider: impl ProvideCredentials) -> Self {
            let _keys = provider.keys();
            self
        }

        pub(super) fn build(self) -> Self {
            self
        }
    }
}

async fn block(context: Context) -> Result<()> {
    impl aws_sdk_s3::ProvideCredentials for AwsCredential {
        fn keys(&self) -> (&str, &str) {
            (&self.access_key_id, &self.secret_access_key)
        }
    }
    //@ block
    Ok(())
}
