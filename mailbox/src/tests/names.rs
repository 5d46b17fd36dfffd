//! Folders, names and who may touch them; the way to the archive and back.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use codeswarm_protocol::{JobId, NodeId, Place};

use crate::archive::{archive, rename_by, rename_to_archive};
use crate::{Access, AppendError, Durability, LineFile, Located, Mailbox, MailboxError, heartbeat, recover};

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn place() -> Place {
    Place::from_stem("27_03").unwrap()
}

fn prepared() -> (tempfile::TempDir, Mailbox) {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = Mailbox::at(folder.path().join("ws/codeswarm"));
    mailbox.create().unwrap();
    mailbox.prepare(&place().job_id, 4).unwrap();
    (folder, mailbox)
}

fn write(path: &Path, text: &str) {
    let mut lines = LineFile::open(path, Durability::Cached).unwrap();
    lines.append(text.as_bytes()).unwrap();
}

#[test]
fn the_layout_is_the_documented_one() {
    let mailbox = Mailbox::at("/ws/cs");
    let place = place();
    for (is, ought) in [
        (mailbox.inbox(&place), "/ws/cs/mailbox/inbox/27_03.jsonl"),
        (mailbox.outbox(&place), "/ws/cs/mailbox/outbox/27_03.jsonl"),
        (mailbox.archive(&place), "/ws/cs/mailbox/archive/27_03.jsonl"),
        (mailbox.run_dir(&place), "/ws/cs/runs/27/node_03"),
        (mailbox.heartbeat(&place), "/ws/cs/runs/27/node_03.heartbeat"),
        (mailbox.session_dir(&place), "/ws/cs/runs/27/node_03.session"),
        (mailbox.launch_file(&place.job_id), "/ws/cs/runs/27/launch.json"),
    ] {
        assert_eq!(is, Path::new(ought));
    }
}

#[test]
fn hostile_names_are_no_places() {
    use crate::layout::place_of_file_name;
    for name in [
        "../../etc/passwd_01.jsonl",
        "..",
        ".jsonl",
        "_01.jsonl",
        "27_.jsonl",
        "27_x.jsonl",
        "27_01.jsonl.tmp",
        ".27_01.jsonl",
        "27_01",
        "a b_01.jsonl",
        "27\n_01.jsonl",
        "27_99999999.jsonl",
    ] {
        let parsed = place_of_file_name(Path::new(name));
        if let Some(place) = &parsed {
            let path = Mailbox::at("/ws").outbox(place);
            assert_eq!(path.parent(), Some(Path::new("/ws/mailbox/outbox")), "{name}");
        }
        assert!(parsed.is_none() || name.starts_with("../"), "{name}: {parsed:?}");
    }
    assert_eq!(
        place_of_file_name(Path::new("27_3.jsonl")),
        Some(place()),
        "the rank may be unpadded"
    );
    assert_eq!(place_of_file_name(Path::new("/any/where/27_03.jsonl")), Some(place()));
}

#[test]
fn folders_and_files_are_for_their_owner_alone() {
    let (_folder, mailbox) = prepared();
    for folder in [
        mailbox.root().to_owned(),
        mailbox.folder(),
        mailbox.inbox_folder(),
        mailbox.outbox_folder(),
        mailbox.archive_folder(),
    ] {
        assert_eq!(mode(&folder), 0o700, "{}", folder.display());
    }
    for rank in 0..4 {
        let place = Place::new(place().job_id, NodeId::new(rank).unwrap());
        assert_eq!(mode(&mailbox.inbox(&place)), 0o600);
        assert_eq!(mode(&mailbox.outbox(&place)), 0o600);
    }
    heartbeat::write(&mailbox, &place(), b"{}").unwrap();
    assert_eq!(mode(&mailbox.heartbeat(&place())), 0o600);
}

#[test]
fn a_group_may_be_let_in() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = Mailbox::with_access(folder.path().join("cs"), Access::Group);
    mailbox.create().unwrap();
    mailbox.prepare(&place().job_id, 4).unwrap();
    assert_eq!(mode(&mailbox.outbox_folder()), 0o2770);
    assert_eq!(mode(&mailbox.outbox(&place())), 0o660);
    mailbox.create().unwrap();
    let alone = Mailbox::at(mailbox.root());
    assert!(
        matches!(alone.create(), Err(MailboxError::Refused { .. })),
        "and is then no owner's"
    );
}

#[test]
fn a_mailbox_that_others_may_write_is_refused() {
    for spoiled in [
        "",
        "mailbox",
        "mailbox/inbox",
        "mailbox/outbox",
        "mailbox/archive",
        "runs",
    ] {
        let (_folder, mailbox) = prepared();
        let path = mailbox.root().join(spoiled);
        for bits in [0o777, 0o770, 0o702] {
            fs::set_permissions(&path, fs::Permissions::from_mode(bits)).unwrap();
            let error = mailbox.create().unwrap_err();
            assert!(
                matches!(error, MailboxError::Refused { .. }) && !error.may_pass(),
                "{spoiled} {bits:o}"
            );
            assert!(error.to_string().contains("chmod 700"), "{error}");
        }
    }
}

#[test]
fn a_mailbox_through_a_symbolic_link_is_refused() {
    for linked in [
        "",
        "mailbox",
        "mailbox/inbox",
        "mailbox/outbox",
        "mailbox/archive",
        "runs",
    ] {
        let (_folder, mailbox) = prepared();
        let path = mailbox.root().join(linked).components().as_path().to_owned();
        let elsewhere = path.with_extension("elsewhere");
        fs::rename(&path, &elsewhere).unwrap();
        symlink(&elsewhere, &path).unwrap();
        let error = mailbox.create().unwrap_err();
        assert!(error.to_string().contains("symbolic link"), "{linked}: {error}");
    }
}

#[test]
fn files_that_lead_elsewhere_or_are_everybodys_are_refused() {
    use crate::{Tail, TailError};
    let (folder, mailbox) = prepared();
    let (outbox, victim) = (mailbox.outbox(&place()), folder.path().join("victim"));
    fs::write(&victim, "{\"secret\":1}\n").unwrap();
    let read = || Tail::outbox(&mailbox, place(), 0).step(1000, std::time::Instant::now());

    fs::remove_file(&outbox).unwrap();
    symlink(&victim, &outbox).unwrap();
    assert!(matches!(
        LineFile::open(&outbox, Durability::Cached),
        Err(AppendError::Open(MailboxError::Refused { .. }))
    ));
    assert!(matches!(read(), Err(TailError::Refused(_))));
    assert!(matches!(
        mailbox.prepare(&place().job_id, 4),
        Err(MailboxError::Refused { .. })
    ));
    assert_eq!(fs::read_to_string(&victim).unwrap(), "{\"secret\":1}\n");

    fs::remove_file(&outbox).unwrap();
    symlink(folder.path().join("not-there"), &outbox).unwrap();
    assert!(
        LineFile::open(&outbox, Durability::Cached).is_err(),
        "nothing is created through a link"
    );
    assert!(!folder.path().join("not-there").exists());

    fs::remove_file(&outbox).unwrap();
    fs::write(&outbox, "{}\n").unwrap();
    fs::set_permissions(&outbox, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(matches!(
        LineFile::open(&outbox, Durability::Cached),
        Err(AppendError::Open(MailboxError::Refused { .. }))
    ));
    assert!(matches!(read(), Err(TailError::Refused(_))));
}

#[cfg(target_os = "linux")]
#[test]
fn a_pipe_under_a_mailbox_name_makes_nobody_wait() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let (_folder, mailbox) = prepared();
    let outbox = mailbox.outbox(&place());
    fs::remove_file(&outbox).unwrap();
    mknodat(CWD, &outbox, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let error = LineFile::open(&outbox, Durability::Cached).unwrap_err();
    assert!(error.to_string().contains("not a regular file"), "{error}");
    assert!(mailbox.prepare(&place().job_id, 4).is_err());
}

#[test]
fn preparing_again_changes_nothing_and_leaves_the_archive_alone() {
    let (_folder, mailbox) = prepared();
    write(&mailbox.outbox(&place()), "{\"seq\":1}\n");
    write(&mailbox.inbox(&place()), "{\"type\":\"shutdown\"}\n");
    mailbox.prepare(&place().job_id, 4).unwrap();
    assert_eq!(fs::read_to_string(mailbox.outbox(&place())).unwrap(), "{\"seq\":1}\n");
    rename_to_archive(&mailbox, &place()).unwrap();
    mailbox.prepare(&place().job_id, 8).unwrap();
    assert!(
        !mailbox.outbox(&place()).exists(),
        "an archived outbox is not made anew"
    );
    assert_eq!(mailbox.locate(&place()).unwrap(), Located::Archive);
    let other = Place::from_stem("27_07").unwrap();
    assert_eq!(mailbox.locate(&other).unwrap(), Located::Outbox);
    assert_eq!(
        mailbox.locate(&Place::from_stem("28_07").unwrap()).unwrap(),
        Located::Nowhere
    );
    assert!(mailbox.prepare(&JobId::new("29").unwrap(), 0).is_ok());
}

#[test]
fn an_outbox_is_archived_and_taken_back() {
    let (_folder, mailbox) = prepared();
    write(&mailbox.outbox(&place()), "{\"seq\":1}\n");
    assert!(
        !recover::reopen_archived(&mailbox, &place()).unwrap(),
        "nothing is archived"
    );
    let mut lines = LineFile::open(mailbox.outbox(&place()), Durability::Cached).unwrap();
    lines.append(b"{\"seq\":2}\n").unwrap();
    archive(&mailbox, lines, &place()).unwrap();
    assert_eq!(mailbox.locate(&place()).unwrap(), Located::Archive);
    rename_to_archive(&mailbox, &place()).unwrap();
    assert_eq!(
        fs::read_to_string(mailbox.archive(&place())).unwrap(),
        "{\"seq\":1}\n{\"seq\":2}\n"
    );
    // Somebody prepared an empty one meanwhile: it is nobody's, and gives way.
    fs::write(mailbox.outbox(&place()), "").unwrap();
    assert_eq!(mailbox.locate(&place()).unwrap(), Located::Archive);
    assert!(recover::reopen_archived(&mailbox, &place()).unwrap());
    assert_eq!(mailbox.locate(&place()).unwrap(), Located::Outbox);
    assert!(!mailbox.archive(&place()).exists());
}

#[test]
fn a_rename_that_reports_failure_and_happened_has_happened() {
    let (_folder, mailbox) = prepared();
    write(&mailbox.outbox(&place()), "{\"seq\":1}\n");
    rename_by(&mailbox, &place(), |from, to| {
        fs::rename(from, to)?;
        Err(io::Error::from_raw_os_error(rustix::io::Errno::NOENT.raw_os_error()))
    })
    .unwrap();
    assert_eq!(mailbox.locate(&place()).unwrap(), Located::Archive);
}

#[test]
fn p7_a_rename_that_had_happened_is_known_although_the_new_name_is_not_seen_or_the_old_one_still_is() {
    let no_such_name = || io::Error::from_raw_os_error(rustix::io::Errno::NOENT.raw_os_error());
    let (folder, mailbox) = prepared();
    write(&mailbox.outbox(&place()), "{\"seq\":1}\n");
    // As if the new name were not seen yet.
    rename_by(&mailbox, &place(), |from, _| {
        fs::rename(from, folder.path().join("unseen"))?;
        Err(no_such_name())
    })
    .unwrap();
    // As if the old one were remembered.
    write(&mailbox.outbox(&place()), "{\"seq\":1}\n");
    fs::remove_file(mailbox.archive(&place())).unwrap_or_default();
    fs::hard_link(mailbox.outbox(&place()), mailbox.archive(&place())).unwrap();
    rename_by(&mailbox, &place(), |_, _| panic!("it has happened")).unwrap();
    // A folder that is missing is no such proof.
    fs::remove_file(mailbox.archive(&place())).unwrap();
    rename_by(&mailbox, &place(), |_, _| Err(no_such_name())).unwrap_err();
}

#[test]
fn a_rename_that_failed_leaves_the_outbox_and_can_be_tried_again() {
    let (_folder, mailbox) = prepared();
    write(&mailbox.outbox(&place()), "{\"seq\":1}\n");
    let error = rename_by(&mailbox, &place(), |_, _| Err(io::ErrorKind::StorageFull.into())).unwrap_err();
    assert!(error.may_pass(), "{error}");
    assert_eq!(mailbox.locate(&place()).unwrap(), Located::Outbox);
    rename_to_archive(&mailbox, &place()).unwrap();
    assert_eq!(mailbox.locate(&place()).unwrap(), Located::Archive);
}

#[test]
fn an_archive_that_has_records_is_never_overwritten() {
    let (_folder, mailbox) = prepared();
    write(&mailbox.outbox(&place()), "{\"seq\":2}\n");
    fs::write(mailbox.archive(&place()), "{\"seq\":1}\n").unwrap();
    let error = rename_to_archive(&mailbox, &place()).unwrap_err();
    assert!(
        matches!(error, MailboxError::Both { .. }) && !error.may_pass(),
        "{error}"
    );
    assert_eq!(fs::read_to_string(mailbox.archive(&place())).unwrap(), "{\"seq\":1}\n");
    assert_eq!(
        mailbox.locate(&place()).unwrap(),
        Located::Outbox,
        "the one that is written is the one that counts"
    );
}

#[test]
fn recovery_reads_whole_lines_wherever_the_outbox_is() {
    let (_folder, mailbox) = prepared();
    assert_eq!(recover::records(&mailbox, &place()).count(), 0);
    assert_eq!(
        recover::records(&mailbox, &Place::from_stem("99_00").unwrap()).count(),
        0,
        "no outbox at all"
    );
    let text = "{\"seq\":1}\nnoise\n{\"seq\":2}\n\0\0\0\n{\"seq\":3}\n{\"seq\":4";
    let expected = vec![
        (0, "{\"seq\":1}".to_owned()),
        (16, "{\"seq\":2}".into()),
        (30, "{\"seq\":3}".into()),
    ];
    for path in [mailbox.outbox(&place()), mailbox.archive(&place())] {
        fs::remove_file(mailbox.outbox(&place())).ok();
        fs::write(&path, text).unwrap();
        let read: Vec<_> = recover::records(&mailbox, &place())
            .map(|line| line.map(|line| (line.offset, String::from_utf8(line.line.to_vec()).unwrap())))
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(read, expected, "{}", path.display());
    }
}

#[test]
fn a_heartbeat_is_written_over_in_place() {
    let (_folder, mailbox) = prepared();
    assert_eq!(heartbeat::read(&mailbox, &place()).unwrap(), None);
    heartbeat::write(&mailbox, &place(), b"{\"seq\":100000,\"busy\":true}").unwrap();
    heartbeat::write(&mailbox, &place(), b"{\"seq\":2}").unwrap();
    assert_eq!(
        heartbeat::read(&mailbox, &place()).unwrap().as_deref(),
        Some(&b"{\"seq\":2}"[..])
    );
    assert_eq!(fs::metadata(mailbox.heartbeat(&place())).unwrap().len(), 1024);
    assert!(heartbeat::write(&mailbox, &place(), &[b'x'; 1024]).is_err());
    fs::write(mailbox.heartbeat(&place()), b"{\"half\":").unwrap();
    assert_eq!(heartbeat::read(&mailbox, &place()).unwrap(), None);
}
