//! A definition and its use with a pool, for which a stand-in of the same shape is enough.
use nebula_credential::prelude::*;
//@ preamble context

struct PgPoolOptions;

impl PgPoolOptions {
    fn new() -> Self {
        Self
    }

    async fn connect(self, _url: &str) -> std::result::Result<(), std::fmt::Error> {
        Ok(())
    }
}

async fn block(context: Context) -> Result<()> {
    // The block uses a method that it does not define: that of the built-in type, on its fields.
    impl PostgresCredential {
        fn connection_string(&self) -> impl std::ops::Deref<Target = String> {
            nebula_credential::types::PostgresCredential {
                host: self.host.clone(),
                port: self.port,
                database: self.database.clone(),
                username: self.username.clone(),
                password: self.password.clone(),
                ssl_mode: SslMode::VerifyFull,
                max_connections: 10,
                min_connections: 1,
                connection_timeout: 30,
            }
            .connection_string()
        }
    }
    //@ block
    Ok(())
}
