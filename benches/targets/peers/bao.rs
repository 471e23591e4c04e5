//! `bao kv get`: OpenBao's client, beside its server in development mode on this machine.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nebula_credential_benches::Result;

use super::{Answer, Program, command, find, output};

/// The server listens a quarter of a second after its start on an idle machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// The server holds everything in memory and asks for no unlocking: less work than one that keeps secrets.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // Whether it ended before is of no importance: it holds nothing.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn bao(home: &Path, secret: &str, token: &str) -> Result<Program> {
    let program = find("bao")?;
    let address = free_address()?;
    let mut server = command(&program, home);
    server.args(["server", "-dev", "-dev-no-store-token"]);
    server.arg(format!("-dev-root-token-id={token}"));
    server.arg(format!("-dev-listen-address={address}"));
    server.stdout(Stdio::null()).stderr(Stdio::null());
    let mut server = Server(server.spawn()?);
    wait_for(&mut server, address)?;

    let client = |arguments: &[&str]| {
        let mut client = command(&program, home);
        client.args(arguments);
        client.env("BAO_ADDR", format!("http://{address}"));
        client.env("BAO_TOKEN", token);
        client
    };
    output(&mut client(&[
        "kv",
        "put",
        "-mount=secret",
        "one",
        &format!("text={secret}"),
    ]))?;
    let get = client(&["kv", "get", "-mount=secret", "-field=text", "one"]);
    let answer = Answer::Is(secret.to_owned());
    Ok(Program::new("`bao kv get`, its server running", get, answer).keeping(server))
}

/// A port nobody listens on. Somebody may, before the server does; then its token is refused, and the benchmark fails.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn wait_for(server: &mut Server, address: SocketAddr) -> Result<()> {
    let begin = Instant::now();
    while TcpStream::connect(address).is_err() {
        if let Some(status) = server.0.try_wait()? {
            return Err(format!("the server of bao ended early ({status})").into());
        }
        if begin.elapsed() > PATIENCE {
            return Err("the server of bao does not listen".into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
