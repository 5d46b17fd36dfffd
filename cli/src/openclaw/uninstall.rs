//! `openclaw uninstall`.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::json;

use super::plan::{self, Part, Record};
use super::program::Program;
use super::record::Records;
use super::{agreed, install, show};
use crate::args::Options;
use crate::args::openclaw::Uninstall;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Output, say};

pub async fn uninstall(args: &Uninstall, options: &Options) -> Result<Exit, Failure> {
    let openclaw = Program::find(args.which.openclaw.as_deref()).await?;
    let config_file = openclaw.config_file().await?;
    let mut records = Records::read()?;
    let mut record = records.of(&config_file);
    let found = install::found(&openclaw, record.automation.is_some()).await?;
    let (changes, kept) = plan::uninstall(&record, &found);
    let mut output = Output;
    if !changes.is_empty() && !options.json {
        show(&mut output, &format!("{}, {config_file}", openclaw.version), &changes)?;
    }
    let agreed = changes.is_empty() && !args.consent.dry_run || agreed(args.consent, options.json)?;
    if agreed {
        for part in changes.iter().map(|change| change.part) {
            match part {
                Part::Entry => {
                    let before = record.entry.as_ref().and_then(|mine| mine.before.as_ref());
                    openclaw.set_entry(before).await?;
                    record.entry = None;
                }
                Part::Skill => {
                    let before = record.skill.as_ref().and_then(|mine| mine.before.as_deref());
                    restore_skill(Path::new(&found.skill_file), before)?;
                    record.skill = None;
                }
                Part::Automation => {
                    if let Some(automation) = &found.automation {
                        openclaw.remove_automation(&automation.id).await?;
                    }
                    record.automation = None;
                }
            }
            records.keep(&config_file, record.clone())?;
        }
        // What was changed since belongs to whoever changed it.
        if !records.of(&config_file).is_empty() {
            records.keep(&config_file, Record::default())?;
        }
    }
    if options.json {
        let line = json!({"type": "openclaw_uninstall", "openclaw": openclaw.version, "config_file": config_file,
            "changes": changes, "kept": kept, "made": agreed && !changes.is_empty()});
        output.line(line.to_string().as_bytes())?;
    } else if !options.quiet {
        for part in &kept {
            say(&format!(
                "{} was changed since it was installed, and stays",
                word(*part)
            ));
        }
        match (changes.is_empty(), agreed) {
            (true, _) => say("nothing to undo"),
            (_, true) => say("\ndone"),
            (_, false) => say("\nnothing was changed"),
        }
    }
    Ok(Exit::Done)
}

fn word(part: Part) -> &'static str {
    match part {
        Part::Entry => "the entry",
        Part::Skill => "the skill",
        Part::Automation => "the automation",
    }
}

/// The skill as it was before; its folders go if they are empty.
fn restore_skill(file: &Path, before: Option<&str>) -> Result<(), Failure> {
    let Some(before) = before else {
        match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let what = format!("{} cannot be removed: {error}", file.display());
                return Err(Failure::new(Exit::Failed, what, "remove it by hand"));
            }
            _ => {}
        }
        // `skills/codeswarm`, and `skills` if nothing else is in it; whatever is in them stays.
        for folder in file.ancestors().skip(1).take(2) {
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
        return Ok(());
    };
    install::write_skill(file, before)
}
