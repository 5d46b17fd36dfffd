//! `openclaw install`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::plan::{self, Change, Found, Mine, Part, Record};
use super::program::Program;
use super::record::Records;
use super::wanted::{self, Wanted};
use super::{agreed, show};
use crate::args::Options;
use crate::args::openclaw::Install;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Output, say};

pub async fn install(args: &Install, options: &Options) -> Result<Exit, Failure> {
    let wanted = what_is_wanted(options, args.automation)?;
    let openclaw = Program::find(args.which.openclaw.as_deref()).await?;
    let config_file = openclaw.config_file().await?;
    let mut records = Records::read()?;
    let mut record = records.of(&config_file);
    let found = found(&openclaw, args.automation).await?;
    let changes = plan::install(&wanted, &found);
    let mut output = Output;
    let agreed = if changes.is_empty() {
        false
    } else {
        if !options.json {
            show(&mut output, &format!("{}, {config_file}", openclaw.version), &changes)?;
        }
        agreed(args.consent, options.json)?
    };
    if agreed {
        for part in changes.iter().map(|change| change.part) {
            // What is going to be done is recorded first, so that it can be undone whatever stops this.
            intend(&mut record, part, &wanted, &found);
            records.keep(&config_file, record.clone())?;
            match part {
                Part::Entry => {
                    openclaw.set_entry(Some(&wanted.entry)).await?;
                    // OpenClaw may spell it in its own way.
                    let (Some(mine), Some(wrote)) = (&mut record.entry, openclaw.entry().await?) else {
                        continue;
                    };
                    mine.wrote = wrote;
                }
                Part::Skill => write_skill(Path::new(&found.skill_file), wanted.skill)?,
                Part::Automation => {
                    if let Some(other) = &found.automation {
                        openclaw.remove_automation(&other.id).await?;
                    }
                    openclaw
                        .add_automation(wanted.automation.as_deref().unwrap_or_default())
                        .await?;
                    record.automation = openclaw.automation().await?.map(|wrote| Mine { wrote, before: None });
                }
            }
            records.keep(&config_file, record.clone())?;
        }
    }
    tell(&mut output, options, &openclaw, &config_file, &changes, agreed)?;
    Ok(Exit::Done)
}

fn intend(record: &mut Record, part: Part, wanted: &Wanted, found: &Found) {
    match part {
        Part::Entry => {
            record.entry = Some(Mine::after(
                record.entry.as_ref(),
                found.entry.clone(),
                wanted.entry.clone(),
            ));
        }
        Part::Skill => {
            let wrote = wanted.skill.to_owned();
            record.skill = Some(Mine::after(record.skill.as_ref(), found.skill.clone(), wrote));
        }
        // Its id is not known before.
        Part::Automation => {}
    }
}

fn tell(
    output: &mut Output,
    options: &Options,
    openclaw: &Program,
    config_file: &str,
    changes: &[Change],
    made: bool,
) -> Result<(), Failure> {
    if options.json {
        let line = json!({"type": "openclaw_install", "openclaw": openclaw.version, "config_file": config_file,
            "changes": changes, "made": made});
        return output.line(line.to_string().as_bytes());
    }
    if options.quiet {
        return Ok(());
    }
    match (changes.is_empty(), made) {
        (true, _) => say("nothing to change: OpenClaw has all of it"),
        (_, true) => say("\ndone; new sessions of OpenClaw have the tools. codeswarm openclaw doctor checks them"),
        (_, false) => say("\nnothing was changed"),
    }
    Ok(())
}

/// What this program and the configuration mean.
pub fn what_is_wanted(options: &Options, automation: bool) -> Result<Wanted, Failure> {
    // What cannot be used is told now and not by a tool call.
    let configured = codeswarm_client::configuration::read(options.config.as_deref(), &mut |warning| say(warning))?;
    let program = std::env::current_exe().map_err(|error| {
        let what = format!("this program's own file cannot be found: {error}");
        Failure::new(Exit::Internal, what, "start it by its whole path")
    })?;
    let variable = |name: &str| std::env::var(name).ok();
    let config = configured.router.config.as_deref();
    Ok(wanted::wanted(
        &program.display().to_string(),
        config,
        automation,
        variable,
    ))
}

/// What OpenClaw has.
pub async fn found(openclaw: &Program, with_automation: bool) -> Result<Found, Failure> {
    let file: PathBuf = openclaw.skills_folder().await?.join("codeswarm/SKILL.md");
    // Whatever keeps it from being read will keep it from being written, which tells.
    let skill = fs::read_to_string(&file).ok();
    Ok(Found {
        automation: match with_automation {
            true => openclaw.automation().await?,
            false => None,
        },
        entry: openclaw.entry().await?,
        skill_file: file.display().to_string(),
        skill,
    })
}

/// Writes the skill's file, with its folder.
pub fn write_skill(file: &Path, text: &str) -> Result<(), Failure> {
    let made = file.parent().map_or(Ok(()), fs::create_dir_all);
    made.and_then(|()| fs::write(file, text)).map_err(|error| {
        let what = format!("the skill cannot be written to {}: {error}", file.display());
        Failure::new(Exit::Failed, what, "mend that, and install again")
    })
}
