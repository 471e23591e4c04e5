//! Console snippets: `$ ` begins a command and `> ` continues it; `# exit N` at its end is the exit code if it is not 0.
//! What follows is its output: each line must appear, in this order, where `…` stands for anything.

use std::path::Path;
use std::process::{Command, Stdio};

pub(crate) struct Step {
    /// In the page, from 1.
    pub(crate) line: usize,
    pub(crate) command: String,
    exit: i32,
    shows: Vec<String>,
}

pub(crate) fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut is_console = false;
    for (index, line) in page.lines().enumerate() {
        if let Some(language) = line.strip_prefix("```") {
            is_console = language == "console";
        } else if !is_console {
        } else if let Some(command) = line.strip_prefix("$ ") {
            let exit = command
                .rsplit_once("# exit ")
                .map_or(0, |(_, code)| code.trim().parse().unwrap());
            steps.push(Step {
                line: index + 1,
                command: command.to_owned(),
                exit,
                shows: Vec::new(),
            });
        } else {
            let step = steps.last_mut().unwrap();
            if let Some(more) = line.strip_prefix("> ") {
                step.command.push('\n');
                step.command.push_str(more);
            } else if !line.trim().is_empty() {
                step.shows.push(line.trim_end().to_owned());
            }
        }
    }
    steps
}

/// Runs a step in `home`, where the steps before it left what they made.
pub(crate) fn run(step: &Step, home: &Path) -> Result<(), String> {
    let binary = Path::new(env!("CARGO_BIN_EXE_ncred"));
    let mut path = binary.parent().unwrap().as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let output = Command::new("sh")
        .args(["-c", &format!("exec 2>&1\n{}", step.command)])
        .current_dir(home)
        .env_clear()
        .env("HOME", home)
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).replace(home.to_str().unwrap(), "~");
    let mut lines = printed.lines().map(str::trim_end);
    for shown in &step.shows {
        if !lines.any(|line| is_like(line, shown)) {
            return Err(format!(
                "does not print {shown:?} (there, or at all), but\n{printed}"
            ));
        }
    }
    match output.status.code() {
        Some(code) if code == step.exit => Ok(()),
        code => Err(format!("ends with {code:?}, not with {}:\n{printed}", step.exit)),
    }
}

fn is_like(line: &str, shown: &str) -> bool {
    let mut parts = shown.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        if let Some(before) = last.replace(part) {
            match rest.split_once(before) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
    }
    last.map_or(rest.is_empty(), |last| rest.ends_with(last))
}
