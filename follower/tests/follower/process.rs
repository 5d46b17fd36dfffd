//! The follower as a process: it speaks frames, and it always ends.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Instant;

use bytes::BytesMut;
use codeswarm_follower::WatchMode;
use codeswarm_follower::wire::{Decoder, Encoder, Frame, GREETING};
use codeswarm_protocol::frame::{Downward, Ticket, Upward};

use crate::room::{DEADLINE, Room, append, place, record, records};

/// A follower's process and its two pipes.
struct Process {
    child: Child,
    decoder: Decoder<Upward>,
    buffer: BytesMut,
}

impl Process {
    fn start(room: &Room, more: &[&str]) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_codeswarm-follower"))
            .arg("--root")
            .arg(room.mailbox.root())
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            child,
            decoder: Decoder::behind_a_greeting(),
            buffer: BytesMut::new(),
        }
    }

    fn tell(&mut self, command: &Downward) {
        let mut out = BytesMut::new();
        Encoder::new().encode(command, &mut out).unwrap();
        self.child.stdin.as_mut().unwrap().write_all(&out).unwrap();
    }

    fn listen(&mut self) -> Option<Upward> {
        loop {
            if let Some(event) = self.decoder.decode(&mut self.buffer).unwrap() {
                return Some(event);
            }
            let mut block = [0; 4096];
            let count = self.child.stdout.as_mut().unwrap().read(&mut block).unwrap();
            if count == 0 {
                assert!(
                    self.decoder.at_a_border(&self.buffer),
                    "the output ended inside a frame"
                );
                return None;
            }
            self.buffer.extend_from_slice(&block[..count]);
        }
    }

    fn hello(&mut self) {
        assert!(matches!(self.listen(), Some(Upward::Hello { .. })));
    }

    fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    /// Waits for its end; what it wrote to standard error comes too.
    fn end(mut self) -> (ExitStatus, String) {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if begun.elapsed() > DEADLINE {
                self.child.kill().unwrap();
                panic!("the follower does not end");
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        };
        let mut errors = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        (status, errors)
    }
}

fn ping(number: u64) -> Downward {
    Downward::Ping { ticket: Ticket(number) }
}

#[test]
fn frames_go_both_ways_and_it_ends_when_its_input_ends() {
    let room = Room::new();
    // More than is gathered into one write, and so more than one frame, each compressed.
    let all = records(1..=20_000);
    room.say(&place(0), &all);
    room.archive(&place(0));
    let mut process = Process::start(&room, &[]);
    process.hello();
    process.tell(&Downward::Watch {
        place: place(0),
        offset: 0,
    });
    let mut received = Vec::new();
    loop {
        match process.listen().unwrap() {
            Upward::Chunk { offset, data, .. } => {
                assert_eq!(offset, received.len() as u64);
                received.extend_from_slice(&data);
            }
            Upward::Ended { offset, .. } => {
                assert_eq!(offset, all.len() as u64);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(received == all.as_bytes());

    let line = record(1);
    process.tell(&Downward::Append {
        ticket: Ticket(1),
        place: place(0),
        unless_present: None,
        line: line.clone().into(),
    });
    assert!(matches!(
        process.listen(),
        Some(Upward::Appended { ticket: Ticket(1), .. })
    ));
    assert_eq!(room.inbox(&place(0)), line);

    // What was asked before the end is still answered.
    process.tell(&ping(2));
    drop(process.stdin());
    assert_eq!(process.listen(), Some(Upward::Pong { ticket: Ticket(2) }));
    assert_eq!(process.listen(), None);
    let (status, errors) = process.end();
    assert!(status.success(), "{status} {errors}");
    assert_eq!(errors, "");
}

#[test]
fn a_login_banner_before_the_greeting_is_passed_over() {
    let room = Room::new();
    let script = format!(
        "printf 'Welcome to login1\\nQuota: 93%% used, no newline here'; exec {} --root {}",
        env!("CARGO_BIN_EXE_codeswarm-follower"),
        room.mailbox.root().display()
    );
    let output = Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success());
    let mut buffer = BytesMut::from(output.stdout.as_slice());
    assert!(
        output
            .stdout
            .windows(GREETING.len())
            .any(|part| part == GREETING.as_bytes())
    );
    let event = Decoder::<Upward>::behind_a_greeting().decode(&mut buffer).unwrap();
    assert!(matches!(event, Some(Upward::Hello { .. })), "{event:?}");
}

#[test]
fn it_ends_when_nobody_reads_its_output() {
    let room = Room::new();
    let mut process = Process::start(&room, &[]);
    process.hello();
    process.tell(&Downward::Watch {
        place: place(0),
        offset: 0,
    });
    drop(process.child.stdout.take());
    let input = process.stdin();
    room.say(&place(0), record(1));
    let (status, errors) = process.end();
    assert!(status.success(), "{status} {errors}");
    drop(input);
}

#[test]
fn it_ends_when_it_hears_nothing_for_too_long_and_lives_as_long_as_it_does() {
    let room = Room::new();
    let mut process = Process::start(&room, &["--ping-timeout", "3"]);
    process.hello();
    let begun = Instant::now();
    for number in 0..35 {
        std::thread::sleep(std::time::Duration::from_millis(100));
        process.tell(&ping(number));
        assert_eq!(process.listen(), Some(Upward::Pong { ticket: Ticket(number) }));
    }
    assert!(
        begun.elapsed().as_secs() >= 1,
        "it outlived its timeout while it was pinged"
    );
    let input = process.stdin();
    assert_eq!(process.listen(), None);
    let (status, errors) = process.end();
    assert!(status.success(), "{status} {errors}");
    drop(input);
}

#[test]
fn a_signal_ends_it_in_order() {
    let room = Room::new();
    for signal in ["TERM", "INT", "HUP"] {
        let mut process = Process::start(&room, &[]);
        process.hello();
        let pid = process.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", signal, &pid])
                .status()
                .unwrap()
                .success()
        );
        assert_eq!(process.listen(), None);
        let input = process.stdin();
        let (status, errors) = process.end();
        assert!(status.success(), "{status} {errors}");
        assert_eq!(errors, "");
        drop(input);
    }
}

#[test]
fn a_second_process_on_the_mailbox_is_refused_with_a_status_of_its_own() {
    let room = Room::new();
    let mut first = Process::start(&room, &[]);
    first.hello();
    let holder = first.child.id().to_string();
    let mut second = Process::start(&room, &[]);
    assert_eq!(second.listen_raw(), "");
    let (status, errors) = second.end();
    assert_eq!(status.code(), Some(3), "{errors}");
    assert!(errors.contains(&holder), "{errors}");

    // The lease of one that is killed is free.
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    let mut third = Process::start(&room, &["--watch", "poll"]);
    third.hello();
    drop(third.stdin());
    assert!(third.end().0.success());
}

impl Process {
    /// All of the output, as text.
    fn listen_raw(&mut self) -> String {
        let mut text = String::new();
        self.child.stdout.as_mut().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

/// In the earlier Python system each follower that was killed lost or repeated what it had under way.
#[test]
fn p4_a_follower_killed_again_and_again_loses_and_repeats_nothing() {
    let room = Room::new();
    let all = records(1..=5000);
    let (mailbox, text) = (room.mailbox.clone(), all.clone());
    let worker = std::thread::spawn(move || {
        // Pieces that seldom end with a line.
        for piece in text.as_bytes().chunks(1000) {
            append(&mailbox.outbox(&place(0)), piece);
            std::thread::sleep(std::time::Duration::from_micros(200));
        }
        std::fs::rename(mailbox.outbox(&place(0)), mailbox.archive(&place(0))).unwrap();
    });
    let mut received = Vec::new();
    let mut lives = 0;
    let mut ended = false;
    while !ended {
        lives += 1;
        let mut process = Process::start(&room, &[]);
        process.hello();
        process.tell(&Downward::Watch {
            place: place(0),
            offset: received.len() as u64,
        });
        // Each life ends in the midst of what it has to say; what was not received is asked of the next one.
        for _ in 0..lives * 3 {
            match process.listen().unwrap() {
                Upward::Chunk { offset, data, .. } => {
                    assert_eq!(offset, received.len() as u64);
                    received.extend_from_slice(&data);
                }
                Upward::Ended { offset, .. } => {
                    assert_eq!(offset, all.len() as u64);
                    ended = true;
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        process.child.kill().unwrap();
        process.child.wait().unwrap();
    }
    worker.join().unwrap();
    assert!(received == all.as_bytes());
}

#[test]
fn rubbish_on_its_input_is_named_and_ends_it() {
    let room = Room::new();
    let mut process = Process::start(&room, &[]);
    process.hello();
    process.child.stdin.as_mut().unwrap().write_all(b"rm -rf /\n").unwrap();
    let (status, errors) = process.end();
    assert_eq!(status.code(), Some(1));
    assert!(errors.contains("rm -rf /"), "{errors}");
}

#[tokio::test]
async fn a_process_and_a_library_exclude_each_other_too() {
    let room = Room::new();
    let ear = room.follower(WatchMode::Auto);
    let process = Process::start(&room, &[]);
    let (status, _) = process.end();
    assert_eq!(status.code(), Some(3));
    ear.end().await;
}

#[test]
fn wrong_arguments_are_refused() {
    for wrong in [
        &[][..],
        &["--once"],
        &["--root", "a", "--lines", "b"],
        &["--lines", "x", "--once", "--from-end"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_codeswarm-follower"))
            .args(wrong)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert_eq!(output.stdout, b"");
    }
}

/// The decoder of one direction does not take the frames of the other.
#[test]
fn each_direction_has_its_own_frames() {
    fn bytes<F: Frame>(frame: &F) -> BytesMut {
        let mut out = BytesMut::new();
        Encoder::new().encode(frame, &mut out).unwrap();
        out
    }
    assert!(Decoder::<Upward>::bare().decode(&mut bytes(&ping(1))).is_err());
}
