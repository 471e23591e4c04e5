//! A live handle and a cached read through `aws_secretsmanager_caching`, which read the same secret.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use aws_sdk_secretsmanager::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_secretsmanager::{Client, Config};
use aws_secretsmanager_caching::SecretsManagerCachingClient;
use nebula_credential_benches::{Error, Result, fixture, main as bench, repeat};
use nebula_credential_cache::CredentialHandle;
use nebula_credential_core::Version;

/// Where the Python packages of the server lie.
const MOTO: &str = "NEBULA_BENCH_MOTO";
/// The server listens within a second on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);
const NAME: &str = "production-database-primary";
const TTL: Duration = Duration::from_secs(3600);

fn main() -> ExitCode {
    bench("aws-cache", |bench| {
        let value = "t".repeat(192);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let server = Server::start()?;
        let cache = runtime.block_on(warmed(server.address, &value))?;
        // From here on nobody is asked: a miss is an error.
        drop(server);

        let (handle, _updater) = CredentialHandle::new(fixture::address(0)?, Version::FIRST, value);
        let mut race = bench.race("a secret in memory, 192 B");
        let peer = race.lane("aws_secretsmanager_caching, a hit", |times| {
            runtime.block_on(async {
                for _ in 0..times {
                    std::hint::black_box(hit(&cache).await?.len());
                }
                Ok(())
            })
        });
        let load = race.lane(
            "CredentialHandle::load",
            repeat(|| handle.load().map(|value| value.len())),
        );
        // Four times as fast.
        race.at_most(0.25, load, peer);
        race.run()
    })
}

/// The caching client on the server at `address`, which holds `value` and was asked for it once.
async fn warmed(address: SocketAddr, value: &str) -> Result<SecretsManagerCachingClient> {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "static"))
        .endpoint_url(format!("http://{address}"))
        .build();
    let client = Client::from_conf(config);
    client
        .create_secret()
        .name(NAME)
        .secret_string(value)
        .send()
        .await?;
    let cache = SecretsManagerCachingClient::new(client, NonZeroUsize::MIN, TTL, false)?;
    if hit(&cache).await? == value {
        Ok(cache)
    } else {
        Err("the caching client answers something else".into())
    }
}

async fn hit(cache: &SecretsManagerCachingClient) -> Result<String> {
    let answer = cache.get_secret_value(NAME, None, None, false).await;
    let answer = answer.map_err(|error| Error::from(error.to_string()))?;
    Ok(answer.secret_string.ok_or("the secret has no text")?)
}

/// `moto`'s server, which holds everything in memory.
struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start() -> Result<Self> {
        let packages = std::env::var_os(MOTO)
            .ok_or_else(|| format!("{MOTO} is not set: `cargo xtask bench stack` brings the server"))?;
        // Somebody else may listen there before the server does; then the secret is not found there, and the benchmark fails.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let process = Command::new("python3")
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p"])
            .arg(address.port().to_string())
            .env("PYTHONPATH", packages)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut server = Self { process, address };
        let begin = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = server.process.try_wait()? {
                return Err(format!("the server of moto ended early ({status})").into());
            }
            if begin.elapsed() > PATIENCE {
                return Err("the server of moto does not listen".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Whether it ended before is of no importance: it holds nothing.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
