//! `doctor`: the check-up is another process of the same program, so one that hangs in a filesystem holds up nothing here.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::timeout;

use crate::asking::Desk;
use crate::parameters::Doctor;
use crate::reply::{Reply, head, shortened};

/// Clients give up after 60 s.
const PATIENCE: Duration = Duration::from_secs(50);

pub async fn doctor(desk: &Desk, doctor: Doctor) -> Reply {
    let mut command = Command::new(&desk.program);
    command.args(["doctor", "--json", "--no-job"]);
    command.arg("--nodes").arg(doctor.nodes.unwrap_or(1).to_string());
    command.args(&desk.options);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let run = timeout(PATIENCE, command.output()).await;
    let output = match run {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => {
            return Err(format!(
                "the check-up could not be started: {}: {error}",
                desk.program.display()
            ));
        }
        Err(_) => {
            return Err("the check-up takes longer than 50 s, so something on the way to the cluster does not answer; on a terminal, \
                        codeswarm doctor tells how far it comes"
                .to_owned());
        }
    };
    let lines = String::from_utf8_lossy(&output.stdout);
    let findings: Vec<Value> = lines
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    if findings.is_empty() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("the check-up failed: {}", head(said.trim(), 1_000).0));
    }
    let mut value = json!({"healthy": output.status.success(), "findings": findings});
    shortened(&mut value, "findings");
    Ok(value)
}
