//! The exchange folder, `runs/<NAME>/`: the two sides of a shared filesystem write to each other there. Everything in it is
//! made before the job is submitted, so that nobody waits for a name to appear.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use codeswarm_protocol::JobId;
use serde::{Deserialize, Serialize};

use crate::facts::Ask;

/// Begins the name of each.
const PREFIX: &str = "doctor-";

/// A name for an exchange.
pub fn name(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix(PREFIX).ok_or("it begins with doctor-")?;
    let plain = !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric());
    plain
        .then(|| text.to_owned())
        .ok_or_else(|| "letters and digits only".to_owned())
}

/// A new name.
pub fn new_name() -> String {
    let unique = uuid::Uuid::new_v4().simple().to_string();
    format!("{PREFIX}{}", unique.get(..12).unwrap_or(&unique))
}

/// The folder.
#[derive(Debug, Clone)]
pub struct Exchange {
    runs: PathBuf,
    folder: PathBuf,
    /// Its name, by which both sides know that they mean the same.
    pub name: String,
}

/// What was prepared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// What the job runs in the place of a worker.
    pub worker: String,
    /// What it takes for its launch file.
    pub launch_file: String,
}

/// What was found when it was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cleaned {
    /// The last lines of the job's standard error.
    pub errors: String,
}

impl Exchange {
    /// Below a mailbox's root.
    pub fn of(root: &Path, name: &str) -> Self {
        let runs = root.join("runs");
        let folder = runs.join(name);
        Self {
            runs,
            folder,
            name: name.to_owned(),
        }
    }

    /// What the login node says.
    pub fn login(&self) -> PathBuf {
        self.folder.join("login")
    }

    /// What the compute node says.
    pub fn node(&self) -> PathBuf {
        self.folder.join("node")
    }

    /// What the login node locks.
    pub fn lock(&self) -> PathBuf {
        self.folder.join("lock")
    }

    /// What both are asked.
    pub fn ask(&self) -> PathBuf {
        self.folder.join("ask.json")
    }

    /// Makes it, with the program that stands in for a worker: whatever a launch's template does with its worker, it does
    /// with this one.
    pub fn prepare(&self, ask: &Ask) -> Result<Prepared, String> {
        let root = self.runs.parent().unwrap_or(&self.runs);
        let worker = self.folder.join("worker");
        let script = format!(
            "#!/bin/sh\n# Stands in for a worker in the short job of codeswarm doctor; at the end of its task it has nothing to say.\n\
             case \" $* \" in *' --task-ended '*) exit ;; esac\nexec {} probe node --root {} --exchange {}\n",
            quoted(&ask.program),
            quoted(&root.display().to_string()),
            self.name
        );
        let text = serde_json::to_vec_pretty(ask).map_err(|error| error.to_string())?;
        let made = (|| {
            DirBuilder::new().mode(0o700).create(&self.folder)?;
            for file in [self.login(), self.node(), self.lock()] {
                write(&file, 0o600, b"")?;
            }
            write(&self.ask(), 0o600, &text)?;
            write(&worker, 0o700, script.as_bytes())
        })();
        made.map_err(|error: io::Error| format!("could not make {}: {error}", self.folder.display()))?;
        Ok(Prepared {
            worker: worker.display().to_string(),
            launch_file: self.ask().display().to_string(),
        })
    }

    /// Removes it, and the output of its job.
    pub fn clean(&self, job: Option<&JobId>) -> Cleaned {
        const SHOWN: usize = 12;
        let mut errors = String::new();
        if let Some(job) = job {
            let file = self.runs.join(format!("{job}.err"));
            let text = fs::read(&file).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).into_owned();
            let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
            errors = lines[lines.len().saturating_sub(SHOWN)..].join("\n");
            for file in [file, self.runs.join(format!("{job}.out"))] {
                let _may_not_be_there = fs::remove_file(file);
            }
        }
        let _may_not_be_there = fs::remove_dir_all(&self.folder);
        Cleaned { errors }
    }
}

/// A new file, on the disk.
fn write(path: &Path, mode: u32, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

/// Adds a line to a file of the exchange, on the disk.
pub fn say(path: &Path, line: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    let mut file = OpenOptions::new().append(true).open(path)?;
    file.write_all(&text)?;
    file.sync_all()
}

/// The whole lines of a file of the exchange. It is opened anew, since that is what asks a server (nfs(5)).
pub fn heard(path: &Path) -> io::Result<Vec<serde_json::Value>> {
    let text = io::read_to_string(File::open(path)?)?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    Ok(whole
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect())
}

/// One word for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_whole_and_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("runs")).unwrap();
        let exchange = Exchange::of(root.path(), &new_name());
        let ask = Ask {
            nonce: exchange.name.clone(),
            program: "/bin/it's".into(),
            agent: codeswarm_protocol::launch::AgentSpec::default(),
            patience_seconds: 1,
        };
        let prepared = exchange.prepare(&ask).unwrap();
        let script = fs::read_to_string(&prepared.worker).unwrap();
        assert!(script.contains(r"exec '/bin/it'\''s' probe node --root '"), "{script}");
        assert_eq!(heard(&exchange.node()).unwrap(), Vec::<serde_json::Value>::new());
        say(&exchange.node(), &serde_json::json!({"a": 1})).unwrap();
        fs::write(exchange.login(), "{\"b\":2}\n{\"torn").unwrap();
        assert_eq!(heard(&exchange.node()).unwrap().len(), 1);
        assert_eq!(heard(&exchange.login()).unwrap().len(), 1);

        let job: JobId = "17".parse().unwrap();
        fs::write(root.path().join("runs/17.err"), "one\n\ntwo\n").unwrap();
        assert_eq!(exchange.clean(Some(&job)).errors, "one\ntwo");
        assert_eq!(fs::read_dir(root.path().join("runs")).unwrap().count(), 0);
        assert_eq!(exchange.clean(Some(&job)).errors, "");
    }

    #[test]
    fn a_name_leads_nowhere_else() {
        let new = new_name();
        assert_eq!(name(&new), Ok(new));
        for other in ["doctor-", "doctor-../x", "x", "doctor-a/b"] {
            assert!(name(other).is_err(), "{other}");
        }
    }
}
