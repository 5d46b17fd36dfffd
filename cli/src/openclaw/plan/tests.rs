use super::*;
use serde_json::json;

use crate::openclaw::wanted::wanted;

fn fresh() -> Found {
    Found {
        skill_file: "/s/codeswarm/SKILL.md".into(),
        ..Found::default()
    }
}

fn parts(changes: &[Change]) -> Vec<Part> {
    changes.iter().map(|change| change.part).collect()
}

/// What OpenClaw has, and what is recorded, after an install.
fn installed(wanted: &Wanted, found: &Found, earlier: &Record) -> (Found, Record) {
    let record = Record {
        entry: Some(Mine::after(
            earlier.entry.as_ref(),
            found.entry.clone(),
            wanted.entry.clone(),
        )),
        skill: Some(Mine::after(
            earlier.skill.as_ref(),
            found.skill.clone(),
            wanted.skill.to_owned(),
        )),
        automation: wanted.automation.clone().map(|command| Mine {
            wrote: Automation {
                id: "a1".into(),
                command,
            },
            before: None,
        }),
    };
    let now = Found {
        entry: Some(wanted.entry.clone()),
        skill: Some(wanted.skill.to_owned()),
        automation: record.automation.clone().map(|mine| mine.wrote),
        ..found.clone()
    };
    (now, record)
}

#[test]
fn a_fresh_openclaw_gets_what_is_wanted_and_nothing_twice() {
    let with = wanted("/c", None, true, |_| None);
    assert_eq!(
        parts(&install(&with, &fresh())),
        [Part::Entry, Part::Skill, Part::Automation]
    );
    let without = wanted("/c", None, false, |_| None);
    assert_eq!(parts(&install(&without, &fresh())), [Part::Entry, Part::Skill]);
    let (now, _) = installed(&with, &fresh(), &Record::default());
    assert_eq!(install(&with, &now), []);
    assert_eq!(
        install(&without, &now),
        [],
        "an automation that is there is no reason to act"
    );
}

#[test]
fn uninstall_undoes_all_of_it_and_leaves_what_was_changed_since() {
    let wanted = wanted("/c", None, true, |_| None);
    let (mut now, record) = installed(&wanted, &fresh(), &Record::default());
    let (changes, kept) = uninstall(&record, &now);
    assert_eq!(parts(&changes), [Part::Entry, Part::Skill, Part::Automation]);
    assert!(changes.iter().all(|change| change.after.is_none()));
    assert_eq!(kept, []);
    now.entry = Some(json!({"command": "/mine"}));
    now.automation.as_mut().unwrap().command.push("--quiet".into());
    now.skill = None;
    let (changes, kept) = uninstall(&record, &now);
    assert_eq!(changes, []);
    assert_eq!(kept, [Part::Entry, Part::Automation]);
}

#[test]
fn what_was_there_before_the_first_install_comes_back() {
    let mine = json!({"command": "/by/hand"});
    let by_hand = Found {
        entry: Some(mine.clone()),
        ..fresh()
    };
    let first = wanted("/old", None, false, |_| None);
    let (now, record) = installed(&first, &by_hand, &Record::default());
    let second = wanted("/new", None, false, |_| None);
    let (now, record) = installed(&second, &now, &record);
    let (changes, _) = uninstall(&record, &now);
    assert_eq!(changes[0].after, Some(format!("{mine:#}\n")));
}

#[test]
fn what_was_right_before_the_install_stays() {
    let wanted = wanted("/c", None, false, |_| None);
    let right = Found {
        entry: Some(wanted.entry.clone()),
        ..fresh()
    };
    let (now, record) = installed(&wanted, &right, &Record::default());
    let (changes, kept) = uninstall(&record, &now);
    assert_eq!((parts(&changes), kept), (vec![Part::Skill], vec![]));
}
