//! What keeps us away, in the words of the real ssh.

use std::time::{Duration, Instant};

use codeswarm_link::{TroubleKind, connect_once};

use super::Bench;

#[tokio::test]
async fn each_obstacle_is_named() {
    let Some(bench) = Bench::new() else { return };
    let cases = [
        ("PubkeyAuthentication no", TroubleKind::PermissionDenied),
        ("UserKnownHostsFile /dev/null", TroubleKind::HostKeyUnknown),
        ("HostName no-such-host.invalid", TroubleKind::HostUnknown),
        ("Port 1", TroubleKind::Refused),
        ("ProxyCommand false", TroubleKind::Closed),
        ("ProxyCommand echo not an ssh server", TroubleKind::Closed),
        ("Fooo yes", TroubleKind::SshConfiguration),
    ];
    for (settings, kind) in cases {
        let trouble = connect_once(&bench.login_with(settings)).await.unwrap_err();
        println!("{settings}: {trouble}");
        assert_eq!(trouble.kind, kind, "{settings}: {trouble}");
    }
    let left: Vec<_> = std::fs::read_dir(bench.path("s")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn the_person_s_own_word_about_unknown_hosts_counts() {
    let Some(bench) = Bench::new() else { return };
    let settings = format!(
        "StrictHostKeyChecking accept-new\nUserKnownHostsFile {}",
        bench.path("known").display()
    );
    let session = connect_once(&bench.login_with(&settings)).await.unwrap();
    session.close().await;
    assert!(bench.path("known").exists());
}

#[tokio::test]
async fn a_changed_host_key_is_told_with_the_command_that_forgets_it() {
    let Some(bench) = Bench::new() else { return };
    let settings = format!(
        "StrictHostKeyChecking accept-new\nUserKnownHostsFile {}",
        bench.path("known").display()
    );
    connect_once(&bench.login_with(&settings)).await.unwrap().close().await;
    let known = std::fs::read_to_string(bench.path("known")).unwrap();
    let other = "AAAAC3NzaC1lZDI1NTE5AAAAIFJkJZCk0iqJfM7rO0aYVb5ZJ7Mre0VqXkR7p0V2zD4h";
    let changed: String = known
        .lines()
        .filter(|line| line.contains("ssh-ed25519"))
        .map(|line| format!("{} ssh-ed25519 {other}\n", line.split(' ').next().unwrap()))
        .collect();
    std::fs::write(bench.path("known"), changed).unwrap();
    let trouble = connect_once(&bench.login_with(&settings)).await.unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::HostKeyChanged, "{trouble}");
    assert!(trouble.advice.contains("ssh-keygen"), "{trouble}");
}

#[tokio::test]
async fn what_hangs_ends() {
    let Some(bench) = Bench::new() else { return };
    let began = Instant::now();
    let trouble = connect_once(&bench.login_with("ProxyCommand sleep 97"))
        .await
        .unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::TimedOut, "{trouble}");
    assert!(began.elapsed() < Duration::from_secs(27));
}

#[tokio::test]
async fn a_person_s_connection_is_used_and_never_closed() {
    let Some(bench) = Bench::new() else { return };
    let mut login = bench.login();
    let socket = bench.path("mine");
    login.ssh.control_path = Some(socket.clone());
    let trouble = connect_once(&login).await.unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::ControlPath, "{trouble}");

    let ssh = |options: &[&str]| {
        let mut command = std::process::Command::new("ssh");
        command
            .arg("-F")
            .arg(&bench.config)
            .arg("-S")
            .arg(&socket)
            .args(options);
        command.arg("testcluster").status().unwrap().success()
    };
    assert!(ssh(&["-M", "-f", "-N", "-o", "ControlPersist=yes"]));
    let session = connect_once(&login).await.unwrap();
    let call = codeswarm_link::Call {
        program: "true".into(),
        ..Default::default()
    };
    assert_eq!(session.run(&call, Duration::from_secs(20)).await.unwrap().exit_code, 0);
    session.close().await;
    assert!(ssh(&["-O", "check"]), "it is still open");
    assert!(ssh(&["-O", "exit"]));
}
