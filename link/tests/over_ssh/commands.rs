//! Short commands.

use std::time::{Duration, Instant};

use codeswarm_link::{Call, LoginNode, RunError};

use super::Bench;

const SOON: Duration = Duration::from_secs(20);

fn call(program: &str, arguments: &[&str]) -> Call {
    Call {
        program: program.into(),
        arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
        stdin: Vec::new(),
    }
}

/// Arguments that a shell would like to read.
const HOSTILE: [&str; 14] = [
    "",
    " ",
    "-n",
    "--",
    "a b",
    "'",
    "\"\\\"",
    "$(reboot)",
    "`reboot`; reboot & reboot | reboot > /dev/null",
    "two\nlines\n",
    "!!",
    "~root/*",
    "Größe 🦀 \u{202e}",
    "\u{1b}[31m\t\\0",
];

#[tokio::test]
async fn arguments_arrive_as_they_are() {
    let Some(bench) = Bench::new() else { return };
    let session = bench.connect().await;
    let mut arguments = vec!["%s\\0"];
    arguments.extend(HOSTILE);
    for place in [Some(&session), None] {
        let call = call("printf", &arguments);
        let answer = match place {
            Some(session) => session.run(&call, SOON).await,
            None => LoginNode::here().run(&call, SOON).await,
        }
        .unwrap();
        let said = String::from_utf8(answer.stdout).unwrap();
        let arrived: Vec<&str> = said.split_terminator('\0').collect();
        assert_eq!(arrived, HOSTILE);
        assert_eq!(answer.exit_code, 0);
    }
    session.close().await;
}

#[tokio::test]
async fn input_output_and_status_of_a_command() {
    let Some(bench) = Bench::new() else { return };
    let session = bench.connect().await;
    let mut bytes: Vec<u8> = (0..=255).cycle().take(2_000_000).collect();
    bytes.extend("\u{0}$(reboot)\n'\"🦀".bytes());
    let mut echo = call("sh", &["-c", "cat; echo so >&2; exit 7"]);
    echo.stdin = bytes.clone();
    let answer = session.run(&echo, SOON).await.unwrap();
    assert_eq!((answer.exit_code, answer.stderr.as_slice()), (7, &b"so\n"[..]));
    assert!(answer.stdout == bytes, "{} bytes came back", answer.stdout.len());

    let unread = Call {
        stdin: bytes,
        ..call("true", &[])
    };
    assert_eq!(session.run(&unread, SOON).await.unwrap().exit_code, 0);
    session.close().await;
}

#[tokio::test]
async fn what_does_not_answer_is_told_apart() {
    let Some(bench) = Bench::new() else { return };
    let session = bench.connect().await;
    let error = session.run(&call("sbatsch", &["-V"]), SOON).await.unwrap_err();
    assert!(matches!(error, RunError::NotFound { .. }), "{error}");

    let began = Instant::now();
    let error = session
        .run(&call("sleep", &["60"]), Duration::from_secs(1))
        .await
        .unwrap_err();
    assert!(matches!(error, RunError::MayHaveRun { .. }), "{error}");
    assert!(began.elapsed() < Duration::from_secs(3));

    let error = session
        .run(&call("sh", &["-c", "yes | head -c 5000000"]), SOON)
        .await
        .unwrap_err();
    assert!(matches!(error, RunError::TooMuchOutput { .. }), "{error}");

    // Most login shells become the command, and then the channel has no status; csh and fish start it, and have one.
    let killed = session.run(&call("sh", &["-c", "kill -9 $$"]), SOON).await;
    let is_told = match &killed {
        Ok(answer) => answer.exit_code == 137,
        Err(error) => matches!(error, RunError::MayHaveRun { .. }),
    };
    assert!(is_told, "{killed:?}");

    let other = session.clone();
    let running = tokio::spawn(async move { other.run(&call("sleep", &["60"]), SOON).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let kept = session.clone();
    session.close().await;
    let error = running.await.unwrap().unwrap_err();
    assert!(matches!(error, RunError::MayHaveRun { .. }), "{error}");
    let error = kept.run(&call("true", &[]), SOON).await.unwrap_err();
    assert!(matches!(error, RunError::NotConnected { .. }), "{error}");
}

#[tokio::test]
async fn more_commands_than_channels_wait_for_their_turn() {
    let Some(bench) = Bench::new() else { return };
    let session = bench.connect().await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..24 {
        let session = session.clone();
        tasks.spawn(async move { (number, session.run(&call("echo", &[&number.to_string()]), SOON).await) });
    }
    while let Some(done) = tasks.join_next().await {
        let (number, answer) = done.unwrap();
        assert_eq!(answer.unwrap().stdout, format!("{number}\n").into_bytes());
    }
    session.close().await;
}
