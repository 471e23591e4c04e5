// What a workflow engine gives its actions: access to credentials, and a log.
struct Context {
    credentials: nebula_credential::CredentialContext,
}

impl std::ops::Deref for Context {
    type Target = nebula_credential::CredentialContext;

    fn deref(&self) -> &Self::Target {
        &self.credentials
    }
}

impl Context {
    fn log_info(&self, line: &str) {
        println!("{line}");
    }
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
struct Input;
struct Output;
