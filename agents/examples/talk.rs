//! Talks to an agent by hand: `cargo run -p codeswarm-agents --example talk -- AGENT.json FOLDER [THREAD]`.
//!
//! AGENT.json is the `agent` section of a configuration; the agent works in FOLDER/work, has its home in FOLDER/home and
//! keeps its thread in FOLDER/keep. A line on stdin is a prompt, or `/steer TEXT`, `/interrupt`,
//! `/approve CALL accept|decline|cancel`, `/stop`. Each event is a line on stdout.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use codeswarm_agents::{AgentCommand, AgentEvent, SessionSpec, open};
use tokio::io::{AsyncBufReadExt, BufReader};

#[tokio::main]
async fn main() -> ExitCode {
    match talk().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn talk() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(agent), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("usage: talk AGENT.json FOLDER [THREAD]".into());
    };
    codeswarm_agents::adopt_orphans()?;
    let folder: PathBuf = std::path::absolute(folder)?;
    std::fs::create_dir_all(folder.join("work"))?;
    let mut session = open(SessionSpec {
        agent: serde_json::from_slice(&std::fs::read(Path::new(&agent))?)?,
        cwd: folder.join("work"),
        home: folder.join("home"),
        keep: folder.join("keep"),
        resume: arguments.next(),
    });
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut listening = true;
    loop {
        tokio::select! {
            event = session.events.recv() => {
                let Some(event) = event else {
                    return Ok(());
                };
                writeln!(std::io::stdout(), "{event:?}")?;
                if let AgentEvent::Exited { .. } = event {
                    return Ok(());
                }
            }
            line = lines.next_line(), if listening => {
                let line = line?;
                listening = line.is_some();
                let command = line.map_or(Ok(AgentCommand::Stop), |line| command(&line))?;
                if session.commands.send(command).await.is_err() {
                    listening = false;
                }
            }
        }
    }
}

fn command(line: &str) -> Result<AgentCommand, Box<dyn std::error::Error>> {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    Ok(match verb {
        "/steer" => AgentCommand::Steer {
            token: 1,
            prompt: rest.to_owned(),
        },
        "/interrupt" => AgentCommand::Interrupt,
        "/stop" => AgentCommand::Stop,
        "/approve" => {
            let (call_id, decision) = rest.split_once(' ').ok_or("which call, and what?")?;
            AgentCommand::Approve {
                call_id: call_id.to_owned(),
                decision: serde_json::from_value(decision.into())?,
                by: "client",
            }
        }
        _ => AgentCommand::RunTurn {
            prompt: line.to_owned(),
        },
    })
}
