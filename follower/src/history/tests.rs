use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use codeswarm_mailbox::heartbeat;

use super::*;
use crate::tests::Faults;

fn prepared() -> (tempfile::TempDir, Mailbox, Place) {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = Mailbox::at(folder.path().join("root"));
    mailbox.create().unwrap();
    let place = Place::from_stem("7_00").unwrap();
    mailbox.prepare(&place.job_id, 3).unwrap();
    (folder, mailbox, place)
}

fn line(seq: u64) -> String {
    format!("{{\"type\":\"notice\",\"message\":\"x\",\"seq\":{seq},\"epoch\":1}}\n")
}

fn part(mailbox: &Mailbox, place: &Place, from: ReadFrom, until: u64) -> (Bytes, bool, Option<String>) {
    let request = Request::Read {
        ticket: Ticket(1),
        place: place.clone(),
        from,
        until,
        max_bytes: 1000,
    };
    match carry_out(mailbox, request) {
        Upward::Part { data, done, error, .. } => (data, done, error),
        other => panic!("{other:?}"),
    }
}

#[test]
fn heartbeats_are_told_of_those_who_wrote_one_that_can_be_read() {
    let (_folder, mailbox, place) = prepared();
    heartbeat::write(&mailbox, &place, b"{\"seq\":1}").unwrap();
    let beat_of = |rank| mailbox.heartbeat(&Place::new(place.job_id.clone(), NodeId::new(rank).unwrap()));
    fs::write(beat_of(1), "{\"seq\":\n2}").unwrap();
    symlink(beat_of(0), beat_of(2)).unwrap();
    let asked = Request::Heartbeats {
        ticket: Ticket(4),
        job_id: place.job_id.clone(),
        node_count: 9,
    };
    let told = Upward::Heartbeats {
        ticket: Ticket(4),
        data: Bytes::from_static(b"{\"node_id\":0,\"beat\":{\"seq\":1}}\n"),
    };
    assert_eq!(carry_out(&mailbox, asked), told);
}

#[test]
fn a_launch_file_is_written_or_it_is_told_why_not() {
    let (_folder, mailbox, _) = prepared();
    let swarm_id = SwarmId::new("s-1").unwrap();
    let launch = |data: &'static [u8]| Request::Launch {
        ticket: Ticket(1),
        swarm_id: SwarmId::new("s-1").unwrap(),
        data: Bytes::from_static(data),
    };
    let Upward::Prepared { error: None, .. } = carry_out(&mailbox, launch(b"one")) else {
        panic!("it was not written")
    };
    fs::create_dir(mailbox.launch_folder().join("s-1.new")).unwrap();
    let Upward::Prepared { error: Some(error), .. } = carry_out(&mailbox, launch(b"two")) else {
        panic!("it was written")
    };
    assert!(error.contains("s-1.new"), "{error}");
    assert_eq!(fs::read(mailbox.swarm_launch_file(&swarm_id)).unwrap(), b"one");
}

#[test]
fn an_outbox_that_is_nowhere_or_leads_elsewhere_is_told_as_that() {
    let (folder, mailbox, place) = prepared();
    fs::remove_file(mailbox.outbox(&place)).unwrap();
    for from in [ReadFrom::Offset(0), ReadFrom::AfterSeq(Seq(0))] {
        let (_, _, error) = part(&mailbox, &place, from, 100);
        assert!(error.unwrap().contains("there is no outbox of 7_00"));
    }
    let elsewhere = folder.path().join("elsewhere");
    fs::write(&elsewhere, line(1)).unwrap();
    symlink(&elsewhere, mailbox.outbox(&place)).unwrap();
    for from in [ReadFrom::Offset(0), ReadFrom::AfterSeq(Seq(0))] {
        let (data, _, error) = part(&mailbox, &place, from, 100);
        assert!(data.is_empty() && error.is_some());
    }
}

#[test]
fn p4_an_outbox_of_an_unpadded_name_is_read_after_a_seq_as_well() {
    let (_folder, mailbox, place) = prepared();
    fs::remove_file(mailbox.outbox(&place)).unwrap();
    fs::write(mailbox.outbox_folder().join("7_0.jsonl"), line(1) + &line(2)).unwrap();
    let (data, _, error) = part(&mailbox, &place, ReadFrom::AfterSeq(Seq(1)), 1000);
    assert_eq!((error, &data[..]), (None, line(2).as_bytes()));
}

#[test]
fn p4_what_cannot_be_read_yet_is_no_history_and_nothing_behind_it_is_told_before_it() {
    let (_folder, mailbox, place) = prepared();
    let bytes = [line(1).as_bytes(), b"{\"type\0\0\0}\n", line(2).as_bytes()].concat();
    let length = bytes.len() as u64;
    fs::write(mailbox.outbox(&place), bytes).unwrap();
    let first = line(1).len() as u64;
    let (data, done, error) = part(&mailbox, &place, ReadFrom::Offset(first), u64::MAX);
    assert!(data.is_empty() && !done, "it is waited for by whoever follows the file");
    assert!(error.unwrap().contains("have not come yet"));
    // Of what the asker has seen itself, the gap was given up once.
    let (data, done, _) = part(&mailbox, &place, ReadFrom::Offset(first), length);
    assert_eq!((&data[..], done), (line(2).as_bytes(), true));
    let (data, ..) = part(&mailbox, &place, ReadFrom::Offset(length + 10), length + 100);
    assert!(data.is_empty(), "beyond its end is nothing");
}

#[test]
fn p4_an_outbox_that_is_renamed_while_it_is_opened_is_found_and_one_that_is_gone_is_told() {
    let (_folder, mailbox, place) = prepared();
    let faults = Faults::default();
    let mailbox = mailbox.stored_on(Arc::new(faults.clone()));
    fs::write(mailbox.outbox(&place), line(1) + &line(2)).unwrap();
    faults.next_opens(1);
    let (data, _, error) = part(&mailbox, &place, ReadFrom::AfterSeq(Seq(1)), 1000);
    assert_eq!((error, &data[..]), (None, line(2).as_bytes()));
    faults.next_opens(2);
    let (data, done, error) = part(&mailbox, &place, ReadFrom::AfterSeq(Seq(1)), 1000);
    assert!(data.is_empty() && !done);
    assert!(error.unwrap().contains("there is no outbox of 7_00"));
}

#[test]
fn p4_a_handle_that_is_stale_while_a_record_is_looked_for_may_pass_and_names_file_and_record() {
    let (_folder, mailbox, place) = prepared();
    let faults = Faults::default();
    let mailbox = mailbox.stored_on(Arc::new(faults.clone()));
    fs::write(mailbox.outbox(&place), line(1) + &line(2)).unwrap();
    faults.next_reads(1);
    let Err((0, unread)) = read(&mailbox, &place, ReadFrom::AfterSeq(Seq(1)), 1000, 1000) else {
        panic!("it was read")
    };
    assert!(unread.may_pass && !unread.late);
    let named = unread.error.contains("the record after 1 ") && unread.error.contains("7_00");
    assert!(named, "{}", unread.error);
    let (data, _, error) = part(&mailbox, &place, ReadFrom::AfterSeq(Seq(1)), 1000);
    assert_eq!((error, &data[..]), (None, line(2).as_bytes()));
}

#[tokio::test]
async fn more_requests_than_are_worked_on_at_once_are_all_answered() {
    let (_folder, mailbox, place) = prepared();
    let (requests, asked) = mpsc::channel(64);
    let (events, mut answers) = mpsc::channel(64);
    let work = tokio::spawn(answer(mailbox.clone(), asked, Stalls::default(), events));
    for number in 0..20 {
        let swarm_id = SwarmId::new(&format!("s-{number}")).unwrap();
        let (ticket, data) = (Ticket(number), Bytes::from_static(b"{}"));
        requests.send(Request::Launch { ticket, swarm_id, data }).await.unwrap();
        let (ticket, job_id) = (Ticket(100 + number), place.job_id.clone());
        let asked = Request::Heartbeats {
            ticket,
            job_id,
            node_count: 1,
        };
        requests.send(asked).await.unwrap();
    }
    drop(requests);
    let mut answered = Vec::new();
    while let Some(answer) = answers.recv().await {
        match answer {
            Upward::Prepared { ticket, error: None } | Upward::Heartbeats { ticket, .. } => answered.push(ticket.0),
            other => panic!("{other:?}"),
        }
    }
    work.await.unwrap();
    answered.sort_unstable();
    assert_eq!(answered, (0..20).chain(100..120).collect::<Vec<u64>>());
    for number in 0..20 {
        let file = mailbox.swarm_launch_file(&SwarmId::new(&format!("s-{number}")).unwrap());
        assert_eq!(fs::read(file).unwrap(), b"{}");
    }
}
