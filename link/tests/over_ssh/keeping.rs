//! A link that keeps itself up.

use std::process::Command;
use std::time::{Duration, Instant};

use codeswarm_link::{Binary, Call, Follower, Link, LinkEvent, LinkSettings, Listen, RunError, TroubleKind, WatchMode};
use codeswarm_protocol::frame::Upward;

use super::{Bench, program};

fn start(bench: &Bench, binary: Binary) -> Link {
    Link::start(LinkSettings {
        login: bench.login(),
        root: bench.root(),
        binary,
        watch: WatchMode::Auto,
        doorbell: Listen::Off,
    })
}

/// The follower of the next time the link is up, and its process id there.
async fn up(link: &mut Link) -> (Follower, u32) {
    let next = async {
        loop {
            match link.events.recv().await {
                Some(LinkEvent::Up { mut follower, .. }) => {
                    let Some(Upward::Hello { pid, .. }) = follower.events.recv().await else {
                        panic!("no greeting")
                    };
                    return (follower, pid);
                }
                Some(other) => println!("{other:?}"),
                None => panic!("the link has ended"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), next).await.unwrap()
}

/// Sends a signal to a process.
fn signal(name: &str, pid: u32) {
    assert!(
        Command::new("kill")
            .args([name, &pid.to_string()])
            .status()
            .unwrap()
            .success()
    );
}

/// The processes whose command line has this in it.
fn found(pattern: &str) -> Vec<u32> {
    let output = Command::new("pgrep").args(["-f", "--", pattern]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

fn lives(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

#[tokio::test]
async fn whatever_is_killed_the_link_comes_back() {
    let Some(bench) = Bench::new() else { return };
    let mut link = start(&bench, bench.installed());
    let (mut follower, mut pid) = up(&mut link).await;
    let sockets = bench.path("s").to_str().unwrap().to_owned();
    for victim in ["follower", "channel", "master", "sshd"] {
        let which = match victim {
            "follower" => pid,
            // The channel's command line has the follower's; the master's has `-M`.
            "channel" => found(&format!("^ssh -S {sockets}.*follower"))[0],
            "master" => found(&format!("^ssh -M .*{sockets}"))[0],
            _ => parent_of(pid),
        };
        let began = Instant::now();
        signal("-KILL", which);
        let events = async { while follower.events.recv().await.is_some() {} };
        tokio::time::timeout(Duration::from_secs(5), events).await.unwrap();
        let heard = began.elapsed();
        let next = up(&mut link).await;
        println!(
            "{victim} killed: told after {heard:?}, up again after {:?}",
            began.elapsed()
        );
        // It has given the mailbox back, or the next one could not have it; its process may need a moment more.
        let since = Instant::now();
        while lives(pid) {
            assert!(since.elapsed() < Duration::from_secs(3), "the earlier follower stays");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        (follower, pid) = next;
    }
    drop((follower, link.events));
    link.task.await.unwrap();
}

fn parent_of(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let behind = stat.rsplit_once(')').unwrap().1;
    behind.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn nothing_is_left_when_nobody_listens_any_more() {
    let Some(bench) = Bench::new() else { return };
    let mut link = start(&bench, bench.installed());
    let (follower, pid) = up(&mut link).await;
    let sshd = parent_of(pid);
    let began = Instant::now();
    // The follower is still held by somebody who has forgotten it.
    drop(link.events);
    link.task.await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    while lives(pid) || lives(sshd) {
        assert!(
            began.elapsed() < Duration::from_secs(3),
            "something is left on the login node"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("nothing left after {:?}", began.elapsed());
    let left: Vec<_> = std::fs::read_dir(bench.path("s")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    drop(follower);
}

#[tokio::test]
async fn a_follower_that_stands_still_is_noticed_and_its_mailbox_taken_when_it_ends() {
    let Some(bench) = Bench::new() else { return };
    let mut link = start(&bench, bench.installed());
    let (mut follower, pid) = up(&mut link).await;
    signal("-STOP", pid);
    let began = Instant::now();
    while follower.events.recv().await.is_some() {}
    println!("told after {:?}", began.elapsed());
    assert!((18..30).contains(&began.elapsed().as_secs()));
    let Some(LinkEvent::Down(trouble)) = link.events.recv().await else {
        panic!("not told")
    };
    assert_eq!(trouble.kind, TroubleKind::Silent, "{trouble}");
    tokio::time::sleep(Duration::from_secs(3)).await;
    signal("-CONT", pid);
    let (_follower, next) = up(&mut link).await;
    assert_ne!(next, pid);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!lives(pid), "the old one has given the mailbox back and ended");
}

#[tokio::test]
async fn commands_run_while_the_connection_stands_and_certainly_not_before() {
    let Some(bench) = Bench::new() else { return };
    let mut link = start(&bench, bench.installed());
    let call = Call {
        program: "hostname".into(),
        ..Call::default()
    };
    let soon = Duration::from_secs(10);
    let error = link.login_node.run(&call, soon).await.unwrap_err();
    assert!(matches!(error, RunError::NotConnected { .. }), "{error}");
    let (_follower, _) = up(&mut link).await;
    assert_eq!(link.login_node.run(&call, soon).await.unwrap().exit_code, 0);
}

#[tokio::test]
async fn a_lasting_trouble_is_told_once_and_anew_to_whoever_asks() {
    let Some(bench) = Bench::new() else { return };
    let later = bench.path("later");
    let mut link = start(&bench, Binary::Installed(later.to_str().unwrap().to_owned()));
    let Some(LinkEvent::Down(trouble)) = link.events.recv().await else {
        panic!("not told")
    };
    assert_eq!(trouble.kind, TroubleKind::ProgramMissing, "{trouble}");
    let again = tokio::time::timeout(Duration::from_secs(3), link.events.recv()).await;
    assert!(again.is_err(), "the same is told once: {again:?}");
    // Somebody may have mended it: who asks hears how it is now, also if that is as before.
    link.login_node.retry_now();
    let asked = tokio::time::timeout(Duration::from_secs(10), link.events.recv()).await;
    assert!(matches!(asked, Ok(Some(LinkEvent::Down(_)))), "{asked:?}");
    std::os::unix::fs::symlink(program(), &later).unwrap();
    link.login_node.retry_now();
    let (_follower, _) = tokio::time::timeout(Duration::from_secs(5), up(&mut link))
        .await
        .unwrap();
}

#[tokio::test]
async fn the_program_is_deployed_on_the_way() {
    let Some(bench) = Bench::new() else { return };
    let mut link = start(&bench, Binary::Deploy { file: program() });
    let (_follower, _) = up(&mut link).await;
    assert_eq!(std::fs::read_dir(bench.path("root/bin")).unwrap().count(), 1);
}

#[tokio::test]
async fn a_link_that_is_let_go_while_it_connects_leaves_no_process() {
    let Some(bench) = Bench::new() else { return };
    let mark = "sleep 86399";
    let link = Link::start(LinkSettings {
        login: bench.login_with(&format!("ProxyCommand {mark}")),
        root: bench.root(),
        binary: bench.installed(),
        watch: WatchMode::Auto,
        doorbell: Listen::Off,
    });
    let sockets = bench.path("s").to_str().unwrap().to_owned();
    while found(&format!("^{mark}")).is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(link.events);
    link.task.await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(found(&format!("^{mark}")).is_empty());
    assert!(found(&format!("^ssh -M .*{sockets}")).is_empty());
}
