//! OpenClaw's own command, which knows where its configuration is and keeps its own rules.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use super::plan::Automation;
use super::wanted::{AUTOMATION, SERVER, automation_words};
use crate::exit::Exit;
use crate::failure::Failure;

/// How long one call may take. It takes seconds; on a busy machine a minute.
const PATIENCE: Duration = Duration::from_secs(300);

/// An OpenClaw that runs.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    /// What it says of its version.
    pub version: String,
}

impl Program {
    /// Looks for it.
    pub async fn find(named: Option<&Path>) -> Result<Self, Failure> {
        let path = named.unwrap_or(Path::new("openclaw")).to_owned();
        let output = match call(&path, &["--version"]).await {
            Ok(output) => output,
            Err(error) => {
                let what = match error.kind() {
                    io::ErrorKind::NotFound => {
                        format!("OpenClaw was not found: there is no program {}", path.display())
                    }
                    _ => format!("OpenClaw was not found: {} does not run: {error}", path.display()),
                };
                let advice = "install it (npm install --global openclaw), put it on the PATH, or name it with --openclaw PROGRAM";
                return Err(Failure::new(Exit::Absent, what, advice));
            }
        };
        if !output.status.success() {
            let what = format!("OpenClaw does not run: {}", said(&output));
            return Err(Failure::new(
                Exit::Absent,
                what,
                "mend that first; OpenClaw needs Node.js 24.16 or later",
            ));
        }
        let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok(Self { path, version })
    }

    /// Its configuration file.
    pub async fn config_file(&self) -> Result<String, Failure> {
        let output = self.must(&["config", "file"]).await?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().map(str::trim).rfind(|line| !line.is_empty());
        line.map(str::to_owned)
            .ok_or_else(|| self.misunderstood("config file", &text))
    }

    /// `mcp.servers.codeswarm`.
    pub async fn entry(&self) -> Result<Option<Value>, Failure> {
        let words = ["mcp", "show", SERVER, "--json"];
        let output = self.call(&words).await?;
        if output.status.success() {
            return Ok(Some(self.json(&words, &output)?));
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        match text.contains("No MCP server named") {
            true => Ok(None),
            false => Err(self.failed(&words, &output)),
        }
    }

    /// Sets `mcp.servers.codeswarm`, or removes it.
    pub async fn set_entry(&self, entry: Option<&Value>) -> Result<(), Failure> {
        match entry {
            Some(entry) => self.must(&["mcp", "set", SERVER, &entry.to_string()]).await?,
            None => self.must(&["mcp", "unset", SERVER]).await?,
        };
        Ok(())
    }

    /// The folder of the skills that all its agents have.
    pub async fn skills_folder(&self) -> Result<PathBuf, Failure> {
        let words = ["skills", "list", "--json"];
        let listed = self.json(&words, &self.must(&words).await?)?;
        let folder = listed["managedSkillsDir"].as_str().map(PathBuf::from);
        folder
            .filter(|folder| folder.is_absolute())
            .ok_or_else(|| self.misunderstood("skills list", "no managedSkillsDir"))
    }

    /// Whether its agents are shown our skill: `Some(reason)` if it is there and they are not.
    pub async fn skill_is_hidden(&self) -> Result<Option<String>, Failure> {
        let words = ["skills", "info", SERVER, "--json"];
        let output = self.call(&words).await?;
        if !output.status.success() {
            return Ok(Some("OpenClaw does not find it".to_owned()));
        }
        let skill = self.json(&words, &output)?;
        let is = |key: &str| skill[key] == true;
        Ok(match () {
            () if is("disabled") => Some("it is disabled in OpenClaw".to_owned()),
            () if is("blockedByAllowlist") => Some("OpenClaw's list of allowed skills leaves it out".to_owned()),
            () if skill["eligible"] == false => Some("OpenClaw says that it is not eligible".to_owned()),
            () => None,
        })
    }

    /// Our automation; asks its Gateway.
    pub async fn automation(&self) -> Result<Option<Automation>, Failure> {
        let words = ["automations", "list", "--json"];
        let output = self.call(&words).await?;
        if !output.status.success() {
            return Err(self.unreachable(&words, &output));
        }
        let listed = self.json(&words, &output)?;
        let jobs = listed["jobs"].as_array().cloned().unwrap_or_default();
        Ok(jobs.iter().filter(|job| job["name"] == AUTOMATION).find_map(|job| {
            let command = job["schedule"]["command"].as_array()?.iter();
            Some(Automation {
                id: job["id"].as_str()?.to_owned(),
                command: command.filter_map(|word| word.as_str().map(str::to_owned)).collect(),
            })
        }))
    }

    /// Adds our automation.
    pub async fn add_automation(&self, command: &[String]) -> Result<(), Failure> {
        let words = automation_words(command);
        let mut all = vec!["automations", "add", "--json"];
        all.extend(words.iter().map(String::as_str));
        let output = self.call(&all).await?;
        match output.status.success() {
            true => Ok(()),
            false => Err(self.unreachable(&["automations", "add"], &output)),
        }
    }

    /// Removes an automation.
    pub async fn remove_automation(&self, id: &str) -> Result<(), Failure> {
        let words = ["automations", "rm", id];
        let output = self.call(&words).await?;
        match output.status.success() {
            true => Ok(()),
            false => Err(self.unreachable(&words, &output)),
        }
    }

    /// Has OpenClaw start `codeswarm mcp` and list its tools: `Err` is what it found wrong.
    pub async fn probe(&self) -> Result<Result<(), String>, Failure> {
        let words = ["mcp", "doctor", SERVER, "--probe", "--json"];
        let output = self.call(&words).await?;
        let told = self.json(&words, &output)?;
        if output.status.success() && told["ok"] == true {
            return Ok(Ok(()));
        }
        let issues = told["servers"].as_array().into_iter().flatten();
        let issues = issues.filter_map(|server| server["issues"].as_array()).flatten();
        let sentences: Vec<String> = issues
            .map(|issue| {
                let text = issue.as_str().or(issue["message"].as_str());
                text.map_or_else(|| issue.to_string(), str::to_owned)
            })
            .collect();
        Ok(Err(match sentences.is_empty() {
            true => said(&output),
            false => sentences.join("; "),
        }))
    }

    async fn call(&self, words: &[&str]) -> Result<Output, Failure> {
        call(&self.path, words).await.map_err(|error| {
            let what = format!("openclaw {} did not run: {error}", words.join(" "));
            Failure::new(Exit::Failed, what, "try it by hand")
        })
    }

    async fn must(&self, words: &[&str]) -> Result<Output, Failure> {
        let output = self.call(words).await?;
        match output.status.success() {
            true => Ok(output),
            false => Err(self.failed(words, &output)),
        }
    }

    /// The object on standard output; warnings may stand before it.
    fn json(&self, words: &[&str], output: &Output) -> Result<Value, Failure> {
        let text = String::from_utf8_lossy(&output.stdout);
        let object = text
            .find('{')
            .and_then(|begin| serde_json::from_str(text.get(begin..)?).ok());
        object.ok_or_else(|| match output.status.success() {
            true => self.misunderstood(&words.join(" "), &text),
            false => self.failed(words, output),
        })
    }

    fn failed(&self, words: &[&str], output: &Output) -> Failure {
        let what = format!("openclaw {} failed: {}", short(words), said(output));
        Failure::new(
            Exit::Failed,
            what,
            "openclaw doctor tells what is wrong with OpenClaw itself",
        )
    }

    fn unreachable(&self, words: &[&str], output: &Output) -> Failure {
        let said = said(output);
        if said.contains("not reachable") || said.contains("ECONNREFUSED") {
            let what = format!("OpenClaw's Gateway does not answer, which keeps the automations: {said}");
            return Failure::new(
                Exit::Unreachable,
                what,
                "start it (openclaw gateway run), and try again",
            );
        }
        self.failed(words, output)
    }

    fn misunderstood(&self, words: &str, text: &str) -> Failure {
        let text: String = text.chars().take(200).collect();
        let what = format!("what openclaw {words} says cannot be read ({}): {text}", self.version);
        Failure::new(Exit::Failed, what, "this version of OpenClaw may be too old or too new")
    }
}

async fn call(program: &Path, words: &[&str]) -> io::Result<Output> {
    let mut command = Command::new(program);
    command
        .args(words)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    match tokio::time::timeout(PATIENCE, command.output()).await {
        Ok(output) => output,
        Err(_) => Err(io::Error::other(format!(
            "it did not end within {} s",
            PATIENCE.as_secs()
        ))),
    }
}

/// A value may be long, and is nobody's business in an error.
fn short(words: &[&str]) -> String {
    words
        .iter()
        .filter(|word| !word.starts_with(['{', '[']))
        .copied()
        .collect::<Vec<_>>()
        .join(" ")
}

/// What a call that failed said: its error's message, else its last words.
fn said(output: &Output) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let object = stdout
        .find('{')
        .and_then(|begin| serde_json::from_str::<Value>(stdout.get(begin..)?).ok());
    let message = object.and_then(|object| Some(object["error"]["message"].as_str()?.to_owned()));
    let words = message.unwrap_or_else(|| {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let text = if stderr.trim().is_empty() { stdout } else { stderr };
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        lines[lines.len().saturating_sub(3)..].join("; ")
    });
    let clean: String = words
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(500)
        .collect();
    match clean.is_empty() {
        true => output.status.to_string(),
        false => clean,
    }
}
