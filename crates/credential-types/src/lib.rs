#![doc = include_str!("../README.md")]

mod api_key;
mod aws;
mod basic;
mod bearer;
mod catalog;
mod certificate;
mod composite;
mod connection_string;
mod jwt;
mod key_value;
mod pem;
mod postgres;
mod private_key;
mod secret_text;
mod ssh_key;
mod stored;
mod text;
mod uri;

pub use api_key::ApiKeyCredential;
pub use aws::AwsCredential;
pub use basic::BasicCredential;
pub use bearer::BearerCredential;
pub use catalog::{CATALOG, TypeInfo};
pub use certificate::CertificateCredential;
pub use composite::CompositeCredential;
pub use connection_string::ConnectionStringCredential;
pub use jwt::JwtCredential;
pub use key_value::KeyValueCredential;
pub use postgres::{PostgresCredential, SslMode};
pub use secret_text::SecretTextCredential;
pub use ssh_key::SshKeyCredential;
