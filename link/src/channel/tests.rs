//! What the end of a channel is taken for, and the two directions over pipes in this process.

use super::ending::{Ended, Start, after_it_worked, at_start};
use super::*;
use bytes::Bytes;
use codeswarm_follower::wire::Encoder;
use codeswarm_protocol::frame::{Downward, Ticket};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncWriteExt, duplex};

fn start(code: Option<i32>, stderr: &str, stdout: &str) -> Trouble {
    at_start(&Start {
        alias: "hpc",
        program: "/r/bin/codeswarm",
        code,
        stderr,
        stdout,
    })
}

#[test]
fn why_no_follower_greets() {
    use TroubleKind::*;
    let held = "codeswarm follower: the mailbox /r is held by codeswarm follower (process 7 on login2); end that process, or use it";
    let cases = [
        (
            Some(66),
            "codeswarm-link: missing\n",
            "",
            ProgramMissing,
            "/r/bin/codeswarm",
        ),
        (
            Some(66),
            "codeswarm-link: not executable\n",
            "",
            ProgramNotExecutable,
            "noexec",
        ),
        (Some(3), held, "", MailboxHeld, "process 7 on login2"),
        (
            Some(2),
            "error: unexpected argument '--watch' found\n\nUsage: codeswarm\n",
            "",
            VersionsDiffer,
            "--watch",
        ),
        (
            Some(1),
            "codeswarm follower: cannot make /r: Permission denied",
            "",
            FollowerFailed,
            "Permission denied",
        ),
        (
            Some(1),
            "codeswarm follower: cannot make /r: No space left on device (os error 28)",
            "",
            Storage,
            "df -h",
        ),
        (
            Some(127),
            "sh: 1: exec: /r/bin/codeswarm: not found",
            "",
            OldCLibrary,
            "static build",
        ),
        (
            Some(1),
            "x: /lib/libc.so.6: version `GLIBC_2.38' not found",
            "",
            OldCLibrary,
            "GLIBC_2.38",
        ),
        (
            Some(1),
            "",
            "This account is currently not available.\n",
            NoGreeting,
            "not available",
        ),
        (Some(0), "", "", NoGreeting, "said nothing"),
        (None, "", "", Closed, "made again"),
    ];
    for (code, stderr, stdout, kind, part) in cases {
        let trouble = start(code, stderr, stdout);
        assert_eq!(trouble.kind, kind, "{stderr}{stdout}");
        assert!(trouble.to_string().contains(part), "{trouble}");
    }
}

#[test]
fn a_follower_that_ends_is_started_again_soon() {
    for ended in [
        Ended::ByItself { code: None, stderr: "" },
        Ended::ByItself {
            code: Some(1),
            stderr: "codeswarm follower: the mailbox was taken over",
        },
        Ended::Silent("answers nothing any more"),
        Ended::NoFrames("a frame's header does not read".into()),
        Ended::NotWanted,
    ] {
        assert!(!after_it_worked("login1", ended).kind.is_lasting());
    }
}

fn pong(number: u64) -> Upward {
    Upward::Pong { ticket: Ticket(number) }
}

#[tokio::test]
async fn a_banner_is_passed_over_our_pings_stay_here_and_the_router_s_do_not() {
    let (mut there, here) = duplex(64);
    let (event, mut events) = mpsc::channel(1);
    let alive = Arc::default();
    let reader = tokio::spawn(read(here, Decoder::behind_a_greeting(), BytesMut::new(), event, alive));
    let mut bytes = BytesMut::from(&b"Welcome\nto the cluster\n"[..]);
    let mut encoder = Encoder::new();
    Encoder::greet(&mut bytes);
    for frame in [pong(1), pong((1 << 63) + 1), pong(2)] {
        encoder.encode(&frame, &mut bytes).unwrap();
    }
    there.write_all(&bytes).await.unwrap();
    drop(there);
    assert_eq!(events.recv().await, Some(pong(1)));
    assert_eq!(events.recv().await, Some(pong(2)));
    assert_eq!(events.recv().await, None);
    assert!(matches!(reader.await.unwrap(), Stop::Ended));
}

#[tokio::test(start_paused = true)]
async fn pings_flow_while_nothing_is_asked_and_input_ends_with_the_commands() {
    let (here, mut there) = duplex(64 * 1024);
    let (commands, command) = mpsc::channel(8);
    let writer = tokio::spawn(write(here, command, Arc::default()));
    commands.send(Downward::Ping { ticket: Ticket(7) }).await.unwrap();
    tokio::time::sleep(PING_EVERY * 3 + PING_EVERY / 2).await;
    drop(commands);
    let mut bytes = BytesMut::new();
    while there.read_buf(&mut bytes).await.unwrap() > 0 {}
    writer.await.unwrap();
    let mut decoder = Decoder::<Downward>::bare();
    let mut tickets = Vec::new();
    while let Some(Downward::Ping { ticket }) = decoder.decode(&mut bytes).unwrap() {
        tickets.push(ticket.0);
    }
    tickets.sort_unstable();
    assert_eq!(tickets.first(), Some(&7));
    assert_eq!(
        tickets.len(),
        5,
        "one at once, one after each three seconds, and the router's: {tickets:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn reading_goes_on_while_a_write_waits_and_the_wait_ends_as_silence() {
    let (there_out, here_in) = duplex(1024);
    let (here_out, there_in) = duplex(1024);
    let (event, mut events) = mpsc::channel(4);
    let (commands, command) = mpsc::channel(8);
    let alive: Arc<Mutex<Liveness>> = Arc::default();
    let task = tokio::spawn(async move {
        let reader = read(here_in, Decoder::bare(), BytesMut::new(), event.clone(), alive.clone());
        let writer = write(here_out, command, alive.clone());
        carry(reader, writer, &event, &alive).await
    });
    // Nothing that compresses.
    let line: Bytes = (0..32_768_u64)
        .flat_map(|number| Sha256::digest(number.to_le_bytes()))
        .collect();
    let place = codeswarm_protocol::ids::Place {
        job_id: "1".parse().unwrap(),
        node_id: "0".parse().unwrap(),
    };
    let append = Downward::Append {
        ticket: Ticket(1),
        place,
        unless_present: None,
        line,
    };
    commands.send(append).await.unwrap();
    // The other side reads nothing and says much.
    let mut there_out = there_out;
    let talk = tokio::spawn(async move {
        let mut encoder = Encoder::new();
        for number in 0..500 {
            let mut bytes = BytesMut::new();
            encoder.encode(&pong(number), &mut bytes).unwrap();
            there_out.write_all(&bytes).await.unwrap();
        }
        there_out
    });
    for number in 0..500 {
        assert_eq!(events.recv().await, Some(pong(number)));
    }
    let _open = talk.await.unwrap();
    assert!(matches!(task.await.unwrap(), Stop::Silent("takes nothing any more")));
    assert_eq!(events.recv().await, None);
    drop(there_in);
}
