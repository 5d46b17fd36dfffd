//! What has to change so that OpenClaw has what is wanted, and what undoes it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::wanted::{AUTOMATION, SERVER, Wanted, automation_words};

/// An automation of OpenClaw that has our name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Automation {
    /// OpenClaw's id of it.
    pub id: String,
    /// Its command.
    pub command: Vec<String>,
}

/// What OpenClaw has now.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Found {
    /// `mcp.servers.codeswarm`.
    pub entry: Option<Value>,
    /// Where the skill is, or would be.
    pub skill_file: String,
    /// The skill's text.
    pub skill: Option<String>,
    /// The automation; `None` also if nobody asked for it.
    pub automation: Option<Automation>,
}

/// What install wrote, and what was there before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mine<T> {
    /// As it was read back.
    pub wrote: T,
    /// What was there before the first install.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<T>,
}

/// All that install has done to an OpenClaw.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// The entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<Mine<Value>>,
    /// The skill.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skill: Option<Mine<String>>,
    /// The automation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub automation: Option<Mine<Automation>>,
}

impl<T: Clone + PartialEq> Mine<T> {
    /// Keeps what was there before the first install, however often it is installed again.
    pub fn after(earlier: Option<&Self>, found: Option<T>, wrote: T) -> Self {
        let before = match earlier {
            Some(earlier) => earlier.before.clone(),
            // What is there already and is what is wanted is not ours.
            None => found,
        };
        Self { wrote, before }
    }
}

impl Record {
    /// Whether nothing is left to undo.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Which thing of OpenClaw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// `mcp.servers.codeswarm`.
    Entry,
    /// The skill's file.
    Skill,
    /// The automation.
    Automation,
}

/// A thing that becomes another, as texts that can be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What.
    pub part: Part,
    /// What it is called in OpenClaw.
    pub place: String,
    /// `None`: it is not there.
    pub before: Option<String>,
    /// `None`: it goes.
    pub after: Option<String>,
}

/// What differs from what is wanted.
pub fn install(wanted: &Wanted, found: &Found) -> Vec<Change> {
    let mut changes = Vec::new();
    if found.entry.as_ref() != Some(&wanted.entry) {
        changes.push(entry(found.entry.as_ref(), Some(&wanted.entry)));
    }
    if found.skill.as_deref() != Some(wanted.skill) {
        changes.push(skill(found, Some(wanted.skill)));
    }
    let has = found.automation.as_ref().map(|automation| &automation.command);
    if wanted.automation.is_some() && has != wanted.automation.as_ref() {
        changes.push(automation(has, wanted.automation.as_ref()));
    }
    changes
}

/// What undoes an install: the changes, and the parts that stay since somebody has changed them.
pub fn uninstall(record: &Record, found: &Found) -> (Vec<Change>, Vec<Part>) {
    let (mut changes, mut kept) = (Vec::new(), Vec::new());
    let mut judge = |part, is: Undo, change: Change| match is {
        Undo::Ours => changes.push(change),
        Undo::Changed => kept.push(part),
        Undo::Nothing => {}
    };
    if let Some(mine) = &record.entry {
        let change = entry(found.entry.as_ref(), mine.before.as_ref());
        judge(Part::Entry, Undo::of(mine, found.entry.as_ref()), change);
    }
    if let Some(mine) = &record.skill {
        let change = skill(found, mine.before.as_deref());
        judge(Part::Skill, Undo::of(mine, found.skill.as_ref()), change);
    }
    if let Some(mine) = &record.automation {
        let is = found.automation.as_ref().map(|automation| &automation.command);
        judge(
            Part::Automation,
            Undo::of(mine, found.automation.as_ref()),
            automation(is, None),
        );
    }
    (changes, kept)
}

enum Undo {
    Ours,
    Changed,
    Nothing,
}

impl Undo {
    fn of<T: PartialEq>(mine: &Mine<T>, found: Option<&T>) -> Self {
        match found {
            // Somebody has removed it, or it was there before.
            None => Self::Nothing,
            Some(found) if Some(found) == mine.before.as_ref() => Self::Nothing,
            Some(found) if *found == mine.wrote => Self::Ours,
            Some(_) => Self::Changed,
        }
    }
}

fn entry(before: Option<&Value>, after: Option<&Value>) -> Change {
    let text = |value: &Value| format!("{value:#}\n");
    Change {
        part: Part::Entry,
        place: format!("mcp.servers.{SERVER}"),
        before: before.map(text),
        after: after.map(text),
    }
}

fn skill(found: &Found, after: Option<&str>) -> Change {
    Change {
        part: Part::Skill,
        place: found.skill_file.clone(),
        before: found.skill.clone(),
        after: after.map(str::to_owned),
    }
}

fn automation(before: Option<&Vec<String>>, after: Option<&Vec<String>>) -> Change {
    let text = |command: &Vec<String>| {
        let words = automation_words(command);
        let options = words.chunks(2).map(|option| option.join(" ") + "\n");
        options.collect::<String>()
    };
    Change {
        part: Part::Automation,
        place: format!("automation \"{AUTOMATION}\""),
        before: before.map(text),
        after: after.map(text),
    }
}

#[cfg(test)]
mod tests;
