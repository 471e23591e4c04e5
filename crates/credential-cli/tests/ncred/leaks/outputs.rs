//! Standard output and standard error, as text and as JSON, with everything logged.

use nebula_credential_testkit::Canary;

use super::{Home, searched};
use crate::place::answer;

#[test]
fn neither_output_nor_log_holds_a_secret() {
    let test = "neither_output_nor_log_holds_a_secret";
    for form in ["text", "json"] {
        let Some(home) = Home::new(test, Canary::hostile) else {
            return;
        };
        let run = |step: &super::Step, log: &str| {
            let mut command = home.command(step);
            command.env("RUST_LOG", log);
            if form == "json" {
                // Behind the command of `run` it would be the command's.
                let verb = step.args.len().min(1);
                command = home.wrapped(env!("CARGO_BIN_EXE_ncred"));
                command.env("RUST_LOG", log);
                command
                    .args(&step.args[..verb])
                    .arg("--json")
                    .args(&step.args[verb..]);
            }
            answer(command, &step.stdin)
        };
        let mut said = Vec::new();
        home.drive(|step| {
            let answer = run(step, "trace");
            // What opens a store says so: the log is on.
            let opens = step.code == 0 && step.args[0] != "init" && step.args[0] != "doctor";
            if opens {
                assert!(answer.err.contains("opening the store"), "{answer:?}");
            }
            if form == "json" {
                for line in answer.err.lines() {
                    let object: serde_json::Value = serde_json::from_str(line).unwrap();
                    assert!(object.is_object(), "{line}");
                }
            }
            let code = answer.code;
            said.push((step.name(), answer));
            code
        });
        let hunter = home.hunter();
        for (name, answer) in &said {
            hunter.check(&format!("{form} output of {name}"), &answer.out);
            hunter.check(&format!("{form} log of {name}"), &answer.err);
        }
        let shown = run(&super::Step::new("get db --reveal", "", 0), "");
        assert!(
            !hunter.search(&shown.out).is_empty(),
            "what is revealed is not found"
        );
        searched(2 * said.len(), &format!("outputs and logs in {form}"));
    }
}
