//! The alert rules and the dashboard in `docs/`: they know the metrics there are, a real Prometheus accepts and answers
//! them, and each alert fires for what it is meant for, and for nothing else.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "a test has no use for its `main`")]
#[path = "../prometheus.rs"]
mod example;
#[path = "observability/trouble.rs"]
mod trouble;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::PrometheusHandle;
use nebula_credential::CredentialManager;
use nebula_credential_testkit::skip;
use serde_json::{Value, json};

const PREFIX: &str = "nebula_credential_";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = repository().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of metrics in a text, without what Prometheus adds to those of histograms.
fn names(text: &str) -> BTreeSet<String> {
    let part = |c: char| c.is_ascii_lowercase() || c == '_';
    text.match_indices(PREFIX)
        .map(|(at, _)| text[at..].split(|c| !part(c)).next().unwrap_or_default())
        .filter(|name| name.len() > PREFIX.len())
        .map(|name| name.trim_end_matches("_bucket").to_owned())
        .collect()
}

/// The crates, but for the derive macros, which quote the names of crates.
fn crates() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(repository().join("crates")).unwrap();
    let folders = entries.map(|entry| entry.unwrap().path());
    folders
        .filter(|path| !path.ends_with("credential-derive"))
        .collect()
}

/// The metrics the code emits: whatever is quoted and not in a comment.
fn emitted() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders: Vec<_> = crates().iter().map(|krate| krate.join("src")).collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = read(&path);
            for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
                let quoted = line.split('"').skip(1).step_by(2);
                found.extend(quoted.filter(|part| part.starts_with(PREFIX)).flat_map(names));
            }
        }
    }
    assert!(found.len() > 20, "{found:?}");
    found
}

/// The metrics the READMEs list: the first cells of their tables.
fn documented() -> BTreeSet<String> {
    let cells = |krate: PathBuf| -> BTreeSet<String> {
        let text = read(krate.join("README.md"));
        text.lines()
            .filter_map(|line| line.strip_prefix("| `"))
            .flat_map(names)
            .collect()
    };
    crates().into_iter().flat_map(cells).collect()
}

/// The alerts of the rules, by name.
fn alerts() -> Vec<String> {
    let text = read("docs/alerts.yml");
    let alert = |line: &str| line.trim().strip_prefix("- alert: ").map(str::to_owned);
    text.lines().filter_map(alert).collect()
}

fn dashboard() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&read("docs/grafana.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    targets
        .map(|target| target["expr"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn every_metric_is_documented_and_shown_and_none_is_made_up() {
    let emitted = emitted();
    assert_eq!(emitted, documented(), "the code, and the tables of the READMEs");
    let shown = names(&dashboard().join("\n"));
    assert_eq!(emitted, shown, "the code, and docs/grafana.json");
    let book = read("docs/src/observability.md");
    let cells = || book.lines().filter_map(|line| line.strip_prefix("| `"));
    let (alarms, listed): (Vec<_>, Vec<_>) = cells().partition(|cell| cell.starts_with("Nebula"));
    let listed = listed.iter().map(|cell| format!("{PREFIX}{cell}"));
    assert_eq!(
        emitted,
        names(&listed.collect::<Vec<_>>().join("\n")),
        "the code, and the book"
    );
    let alarms = alarms.join("\n");
    for alert in alerts() {
        assert!(
            alarms.contains(&format!("{alert}`")),
            "the book does not list {alert}"
        );
    }
    let watched = names(&read("docs/alerts.yml"));
    let unknown: Vec<_> = watched.difference(&emitted).collect();
    assert!(
        unknown.is_empty(),
        "docs/alerts.yml asks for what nobody emits: {unknown:?}"
    );
}

/// The alerts that fire, and the series that make them.
type Case<'a> = (Vec<&'a str>, Vec<(&'a str, &'a str)>);

fn cases() -> Vec<Case<'static>> {
    let mut cases: Vec<Case<'_>> = Vec::new();
    for line in include_str!("alerts.txt").lines() {
        match (line.trim(), line.starts_with(' ')) {
            ("", _) => {}
            (series, true) => {
                let (_, of_case) = cases.last_mut().unwrap();
                of_case.push(series.split_once(' ').unwrap());
            }
            (comment, _) if comment.starts_with('#') => {}
            ("nothing", _) => cases.push((Vec::new(), Vec::new())),
            (alerts, _) => cases.push((alerts.split(' ').collect(), Vec::new())),
        }
    }
    cases
}

#[test]
fn each_alert_fires_for_what_it_is_meant_for_and_for_nothing_else() {
    if !available("promtool") {
        return skip(
            "observability alerts",
            "there is no promtool; install the package prometheus",
        );
    }
    let rules = repository().join("docs/alerts.yml");
    run(Command::new("promtool").args(["check", "rules"]).arg(&rules));

    let test = |(alerts, series): Case<'_>| {
        let series: Vec<_> = series
            .iter()
            .map(|(name, values)| {
                let labels = r#"job="app",instance="one""#;
                let name = match name.strip_suffix('}') {
                    Some(open) => format!("{PREFIX}{open},{labels}}}"),
                    None => format!("{PREFIX}{name}{{{labels}}}"),
                };
                json!({"series": name, "values": values})
            })
            .collect();
        let firing: Vec<_> = alerts
            .iter()
            .map(|name| json!({"labels": format!("{{alertname={name:?}}}"), "value": 1}))
            .collect();
        let expr = r#"count by (alertname) (ALERTS{alertstate="firing"})"#;
        let asked = json!([{"expr": expr, "eval_time": "119m", "exp_samples": firing}]);
        json!({"interval": "1m", "input_series": series, "promql_expr_test": asked})
    };
    let cases = cases();
    let fired: BTreeSet<&str> = cases
        .iter()
        .flat_map(|(alerts, _)| alerts.iter().copied())
        .collect();
    assert_eq!(
        fired,
        alerts().iter().map(String::as_str).collect(),
        "each alert has a case"
    );
    let tests: Vec<_> = cases.into_iter().map(test).collect();
    let directory = tempfile::tempdir().unwrap();
    // What is JSON is YAML.
    let file = directory.path().join("alerts.test.yml");
    let whole = json!({"rule_files": [rules], "evaluation_interval": "1m", "tests": tests});
    std::fs::write(&file, whole.to_string()).unwrap();
    run(Command::new("promtool").args(["test", "rules"]).arg(&file));
}

#[tokio::test]
async fn prometheus_scrapes_the_example_and_answers_every_panel() {
    if !available("prometheus") {
        return skip(
            "observability prometheus",
            "there is no prometheus; install the package prometheus",
        );
    }
    let directory = tempfile::tempdir().unwrap();
    let (manager, page) = example::observed(directory.path()).await.unwrap();
    let target = serve(manager, page).await;
    let work = directory.path().to_owned();
    tokio::task::spawn_blocking(move || ask_prometheus(&work, &target))
        .await
        .unwrap();
}

#[tokio::test]
async fn prometheus_gets_every_metric_of_a_program_in_trouble() {
    if !available("prometheus") {
        return skip(
            "observability trouble",
            "there is no prometheus; install the package prometheus",
        );
    }
    let directory = tempfile::tempdir().unwrap();
    let (manager, page) = trouble::troubled(directory.path()).await;
    let target = serve(manager, page).await;
    let work = directory.path().to_owned();
    let asked = tokio::task::spawn_blocking(move || {
        let (_server, port) = start_prometheus(&work, &target, &[]);
        let missing = missing(port, &emitted());
        assert!(missing.is_empty(), "Prometheus did not get {missing:?}");
    });
    asked.await.unwrap();
}

/// Serves the metrics of a manager, and says where.
async fn serve(manager: CredentialManager, page: PrometheusHandle) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            example::answer(&mut stream, &manager, &page).await.ok();
        }
    });
    target
}

/// What the example does not do, and so does not show.
const RARE: &[&str] = &[
    "access_decisions_total",
    "access_reloads_total",
    "audit_failures_total",
    "audit_lost_total",
    "breaker_refused_total",
    "breaker_transitions_total",
    "cache_evictions_total",
    "cache_not_kept_total",
    "denied_total",
    "handle_lag_seconds",
    "handle_renewals_total",
    "refused_total",
    "retries_total",
    "tamper_detections_total",
];

fn ask_prometheus(directory: &Path, target: &str) {
    let mut health = String::new();
    let mut stream = TcpStream::connect(target).unwrap();
    stream.write_all(b"GET /health HTTP/1.0\r\n\r\n").unwrap();
    stream.read_to_string(&mut health).unwrap();
    assert!(
        health.starts_with("HTTP/1.1 200") && health.ends_with("\r\n\r\nhealthy"),
        "{health}"
    );

    let (_server, port) = start_prometheus(directory, target, &[repository().join("docs/alerts.yml")]);
    let expected: BTreeSet<_> = emitted()
        .into_iter()
        .filter(|name| !RARE.iter().any(|rare| *name == format!("{PREFIX}{rare}")))
        .collect();
    let missing = missing(port, &expected);
    assert!(missing.is_empty(), "Prometheus did not get {missing:?}");

    let up = value(
        &get(
            port,
            "/api/v1/query",
            "query",
            "nebula_credential_up{component=\"all\"}",
        )
        .unwrap(),
    );
    assert_eq!(up.as_deref(), Some("1"));
    for expr in dashboard() {
        let expr = expr.replace("$__rate_interval", "1m");
        let answer = get(port, "/api/v1/query", "query", &expr).unwrap();
        assert_eq!(answer["status"], "success", "{expr}: {answer}");
    }
    let share = get(
        port,
        "/api/v1/query",
        "query",
        "nebula_credential_cache_reads_total{result=\"hit\"}",
    );
    assert_eq!(value(&share.unwrap()).as_deref(), Some("1"));
    let rules = get(port, "/api/v1/rules", "type", "alert").unwrap();
    let rules = rules["data"]["groups"][0]["rules"].as_array().unwrap().clone();
    assert_eq!(rules.len(), alerts().len());
    for rule in rules {
        assert_ne!(rule["health"], "err", "{rule}");
        assert_ne!(rule["state"], "firing", "{rule}");
    }
}

/// A Prometheus that scrapes `target` every second, and its port.
fn start_prometheus(directory: &Path, target: &str, rules: &[PathBuf]) -> (Ended, u16) {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let config = json!({
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": rules,
        "scrape_configs": [{"job_name": "app", "static_configs": [{"targets": [target]}]}],
    });
    std::fs::write(directory.join("prometheus.yml"), config.to_string()).unwrap();
    let server = Command::new("prometheus")
        .arg(format!(
            "--config.file={}",
            directory.join("prometheus.yml").display()
        ))
        .arg(format!(
            "--storage.tsdb.path={}",
            directory.join("series").display()
        ))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg("--log.level=error")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    (Ended(server), port)
}

/// The metrics a Prometheus has not got, though it was given time.
fn missing(port: u16, expected: &BTreeSet<String>) -> Vec<String> {
    let until = Instant::now() + Duration::from_secs(60);
    let seen = loop {
        let answer = get(port, "/api/v1/label/__name__/values", "match[]", "{job=\"app\"}");
        let values = answer
            .as_ref()
            .and_then(|answer| answer["data"].as_array())
            .into_iter()
            .flatten();
        let stems = |name: &str| name.trim_end_matches("_bucket").to_owned();
        let seen: BTreeSet<_> = values.filter_map(Value::as_str).map(stems).collect();
        if expected.is_subset(&seen) || Instant::now() > until {
            break seen;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    expected.difference(&seen).cloned().collect()
}

fn value(answer: &Value) -> Option<String> {
    Some(answer["data"]["result"][0]["value"][1].as_str()?.to_owned())
}

/// Asks Prometheus; `None` while it does not listen.
fn get(port: u16, path: &str, key: &str, value: &str) -> Option<Value> {
    let escape = |byte: u8| format!("%{byte:02X}");
    let value: String = value.bytes().map(escape).collect();
    let key: String = key.bytes().map(escape).collect();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(
        stream,
        "GET {path}?{key}={value} HTTP/1.0\r\nHost: localhost\r\n\r\n"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

/// Ends its process when it is dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn available(program: &str) -> bool {
    let mut ask = Command::new(program);
    ask.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    ask.status().is_ok_and(|status| status.success())
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{out}{err}");
}
