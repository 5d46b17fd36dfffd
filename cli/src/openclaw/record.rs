//! What install has done, kept for uninstall: one file for all OpenClaws of this user, by their configuration files.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use codeswarm_configs::Environment;
use serde::{Deserialize, Serialize};

use super::plan::Record;
use crate::exit::Exit;
use crate::failure::Failure;

/// The file's format.
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Text {
    version: u32,
    installs: BTreeMap<String, Record>,
}

/// The file.
#[derive(Debug)]
pub struct Records {
    path: PathBuf,
    installs: BTreeMap<String, Record>,
}

impl Records {
    /// Reads it from this user's state folder.
    pub fn read() -> Result<Self, Failure> {
        let Some(state) = Environment::of_process().state_home() else {
            let what = "there is no place for a record of what is installed: neither HOME nor XDG_STATE_HOME is set";
            return Err(Failure::new(Exit::Config, what, "set HOME"));
        };
        Self::at(state.join("codeswarm/openclaw.json"))
    }

    fn at(path: PathBuf) -> Result<Self, Failure> {
        let installs = match fs::read_to_string(&path) {
            Ok(text) => match serde_json::from_str::<Text>(&text) {
                Ok(text) if text.version == VERSION => text.installs,
                Ok(text) => return Err(unreadable(&path, &format!("its version is {}", text.version))),
                Err(error) => return Err(unreadable(&path, &error.to_string())),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(unreadable(&path, &error.to_string())),
        };
        Ok(Self { path, installs })
    }

    /// What was done to the OpenClaw with this configuration file.
    pub fn of(&self, config_file: &str) -> Record {
        self.installs.get(config_file).cloned().unwrap_or_default()
    }

    /// Keeps it; an empty one goes.
    pub fn keep(&mut self, config_file: &str, record: Record) -> Result<(), Failure> {
        if record.is_empty() {
            self.installs.remove(config_file);
        } else {
            self.installs.insert(config_file.to_owned(), record);
        }
        self.write().map_err(|error| {
            let what = format!(
                "what is installed cannot be recorded in {}: {error}",
                self.path.display()
            );
            Failure::new(
                Exit::Failed,
                what,
                "uninstall will not know of it; mend that and install again",
            )
        })
    }

    fn write(&self) -> io::Result<()> {
        let text = Text {
            version: VERSION,
            installs: self.installs.clone(),
        };
        if let Some(folder) = self.path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let new = self.path.with_extension("json.new");
        let mut file = fs::File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(serde_json::to_string_pretty(&text)?.as_bytes())?;
        file.sync_all()?;
        fs::rename(new, &self.path)
    }
}

fn unreadable(path: &Path, why: &str) -> Failure {
    let what = format!(
        "the record of what is installed, {}, cannot be read: {why}",
        path.display()
    );
    Failure::new(
        Exit::Failed,
        what,
        "move it away; then nothing of an earlier install can be undone",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openclaw::plan::Mine;

    #[test]
    fn a_record_is_read_back_and_goes_when_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("codeswarm/openclaw.json");
        let mut records = Records::at(path.clone()).unwrap();
        let record = Record {
            skill: Some(Mine {
                wrote: "text".into(),
                before: None,
            }),
            ..Record::default()
        };
        records.keep("/a/openclaw.json", record.clone()).unwrap();
        assert_eq!(Records::at(path.clone()).unwrap().of("/a/openclaw.json"), record);
        assert!(Records::at(path.clone()).unwrap().of("/b/openclaw.json").is_empty());
        records.keep("/a/openclaw.json", Record::default()).unwrap();
        assert!(Records::at(path.clone()).unwrap().installs.is_empty());
        fs::write(&path, "{\"version\":2,\"installs\":{}}").unwrap();
        assert!(Records::at(path).unwrap_err().what.contains("version is 2"));
    }
}
