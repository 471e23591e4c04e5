//! Serves `/metrics` for Prometheus, and `/health` for whoever restarts programs.
//!
//! ```console
//! cargo run -p nebula-credential-examples --example prometheus -- [ADDRESS | --once]
//! ```

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use nebula_credential::prelude::*;
use nebula_credential::resilience::{BreakerConfig, Resilience};
use nebula_credential::telemetry::MetricsCrate;
use nebula_credential::{Clock as _, MetricsEmitter, SystemClock};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let argument = std::env::args().nth(1);
    let once = argument.as_deref() == Some("--once");
    let address = argument.filter(|_| !once).unwrap_or_else(|| "127.0.0.1:0".into());
    let directory = tempfile::tempdir()?;
    let (manager, page) = observed(directory.path()).await?;
    let listener = TcpListener::bind(address).await?;
    println!("http://{}/metrics", listener.local_addr()?);
    if once {
        print!("{}", scrape(&manager, &page).await);
        return Ok(());
    }
    loop {
        let (mut stream, _) = listener.accept().await?;
        answer(&mut stream, &manager, &page).await.ok();
    }
}

/// A manager whose layers share one recorder, which has seen some work; and the page that shows what it has seen.
pub async fn observed(
    directory: &std::path::Path,
) -> Result<(CredentialManager, PrometheusHandle), Box<dyn Error>> {
    // Seconds; without buckets a histogram would become a summary, of which no alert can tell the p95 of many processes.
    let recorder = PrometheusBuilder::new()
        .set_buckets(&[1e-5, 1e-4, 1e-3, 1e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0])?
        .build_recorder();
    let page = recorder.handle();
    let metrics: Arc<dyn MetricsEmitter> = Arc::new(MetricsCrate::new(recorder));
    let log = AuditLogger::builder(directory.join("audit.log")).metrics(Arc::clone(&metrics));
    let clock = Arc::new(SystemClock);
    let manager = CredentialManager::builder()
        .storage(LocalStorage::new(directory.join("secrets")))
        .keys(Keys::key_file(directory.join("config/key")))
        .resilience(Resilience::new(
            BreakerConfig::default(),
            clock,
            Arc::clone(&metrics),
        ))
        .cache_ttl(Duration::from_secs(60))
        .audit_log(log.build())
        .metrics(metrics)
        .build();
    manager
        .store("token", BearerCredential::new("mF_9.B5f-4.1JqM"))
        .expires_at(SystemClock.now() + Duration::from_secs(3 * 86_400))
        .await?;
    for name in ["token", "token", "missing"] {
        manager.get::<BearerCredential>(name).await.ok();
    }
    Ok((manager, page))
}

/// Gauges of health are as old as the last check, so there is one for each scrape.
async fn scrape(manager: &CredentialManager, page: &PrometheusHandle) -> String {
    manager.health().await;
    page.render()
}

/// One request on a connection. Enough for a scraper on the same machine; a program has an HTTP server for this.
pub async fn answer(
    stream: &mut TcpStream,
    manager: &CredentialManager,
    page: &PrometheusHandle,
) -> Result<(), Box<dyn Error>> {
    let (mut head, mut length) = ([0; 4096], 0);
    while !head[..length].ends_with(b"\r\n\r\n") {
        match stream.read(&mut head[length..]).await? {
            0 => return Ok(()),
            read => length += read,
        }
    }
    let (status, body) = match head.split(|byte| *byte == b' ').nth(1) {
        Some(b"/metrics") => (200, scrape(manager, page).await),
        Some(b"/health") => {
            let status = manager.health().await.status;
            (status.http_status(), status.as_str().to_owned())
        }
        _ => (404, String::new()),
    };
    let head =
        format!("HTTP/1.1 {status} -\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\n");
    let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    Ok(stream.write_all(answer.as_bytes()).await?)
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn a_page_holds_what_was_done_and_no_name_of_a_credential() {
        let directory = tempfile::tempdir().unwrap();
        let (manager, page) = super::observed(directory.path()).await.unwrap();
        let page = super::scrape(&manager, &page).await;
        assert!(
            page.contains("nebula_credential_up{component=\"all\"} 1"),
            "{page}"
        );
        assert!(!page.contains("token") && !page.contains("missing"), "{page}");
    }
}
