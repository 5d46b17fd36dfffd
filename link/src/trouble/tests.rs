//! ssh's words, and what they are taken for. Those that an sshd on this machine can cause were said by OpenSSH 9.2, and
//! `tests/over_ssh/troubles.rs` has them said again; those of second factors, of other networks and of macOS are written down
//! from its sources and manuals.

use super::*;

fn connecting(words: &str) -> Trouble {
    of_ssh("hpc", words, Moment::Connecting)
}

#[test]
fn what_a_person_must_mend() {
    use TroubleKind::*;
    let said = [
        (
            "root@127.0.0.1: Permission denied (publickey).",
            PermissionDenied,
            "ssh-add",
        ),
        (
            "u@h: Permission denied (publickey,gssapi-keyex,gssapi-with-mic).",
            PermissionDenied,
            "`ssh hpc` once",
        ),
        (
            "u@h: Permission denied (publickey,keyboard-interactive).",
            PermissionDenied,
            "authorized_keys",
        ),
        (
            "Authenticated using \"publickey\" with partial success.\nu@h: Permission denied (keyboard-interactive).",
            SecondFactor,
            "ssh.control_path",
        ),
        (
            "u@h: Permission denied (password,keyboard-interactive).",
            SecondFactor,
            "ssh.control_path",
        ),
        (
            "Received disconnect from 10.0.0.1 port 22:2: Too many authentication failures\nDisconnected from 10.0.0.1 port 22",
            SecondFactor,
            "key",
        ),
        ("Host key verification failed.", HostKeyUnknown, "fingerprint"),
        (
            "No ED25519 host key is known for [127.0.0.1]:29741 and you have requested strict checking.\nHost key verification failed.",
            HostKeyUnknown,
            "`ssh hpc` once",
        ),
        (
            "ssh: Could not resolve hostname nosuchalias: Name or service not known",
            HostUnknown,
            "login_alias",
        ),
        (
            "command-line: line 0: Bad configuration option: fooo",
            SshConfiguration,
            "mend",
        ),
        (
            "/home/u/.ssh/config: line 1: Bad configuration option: fooo\n/home/u/.ssh/config: terminating, 1 bad configuration options",
            SshConfiguration,
            "mend",
        ),
        (
            "Can't open user config file nosuch: No such file or directory",
            SshConfiguration,
            "mend",
        ),
        (
            "Bad owner or permissions on /home/u/.ssh/config",
            KeyFileTooOpen,
            "chmod 600",
        ),
    ];
    for (words, kind, advice) in said {
        let trouble = connecting(words);
        assert_eq!(trouble.kind, kind, "{words}");
        assert!(trouble.kind.is_lasting(), "{words}");
        assert!(trouble.advice.contains(advice), "{words}: {}", trouble.advice);
        assert!(
            trouble.to_string().contains("hpc") || kind == SshConfiguration || kind == KeyFileTooOpen,
            "{trouble}"
        );
    }
}

#[test]
fn what_may_pass() {
    use TroubleKind::*;
    let said = [
        ("ssh: connect to host 127.0.0.1 port 1: Connection refused", Refused),
        (
            "ssh: connect to host 10.255.255.1 port 22: Connection timed out",
            TimedOut,
        ),
        ("ssh: connect to host h port 22: Operation timed out", TimedOut),
        (
            "Connection timed out during banner exchange\nConnection to UNKNOWN port 65535 timed out",
            TimedOut,
        ),
        ("Timeout, server 127.0.0.1 not responding.", TimedOut),
        ("ssh: connect to host h port 22: No route to host", Unreachable),
        ("ssh: connect to host h port 22: Network is unreachable", Unreachable),
        (
            "ssh: Could not resolve hostname hpc: Temporary failure in name resolution",
            Unreachable,
        ),
        (
            "ssh: Could not resolve hostname hpc: nodename nor servname provided, or not known",
            Unreachable,
        ),
        (
            "kex_exchange_identification: read: Connection reset by peer\nConnection reset by 10.0.0.1 port 22",
            Closed,
        ),
        (
            "kex_exchange_identification: Connection closed by remote host\nConnection closed by UNKNOWN port 65535",
            Closed,
        ),
        ("Connection to 127.0.0.1 closed by remote host.", Closed),
        (
            "Exceeded MaxStartups\nkex_exchange_identification: Connection closed by remote host",
            Busy,
        ),
        ("Not allowed at this time", Busy),
        ("something that no ssh has said so far", Unknown),
        ("", Unknown),
    ];
    for (words, kind) in said {
        let trouble = connecting(words);
        assert_eq!(trouble.kind, kind, "{words}");
        assert!(!trouble.kind.is_lasting(), "{words}");
        assert!(trouble.what.contains("hpc"), "{trouble}");
    }
}

#[test]
fn a_changed_host_key_is_never_forgotten_lightly() {
    let words = "@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@\n\
        @    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n\
        @@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@\n\
        Offending ED25519 key in /home/u/.ssh/known_hosts:1\n  remove with:\n  \
        ssh-keygen -f \"/home/u/.ssh/known_hosts\" -R \"[127.0.0.1]:29741\"\n\
        Host key for [127.0.0.1]:29741 has changed and you have requested strict checking.\n\
        Host key verification failed.";
    let trouble = connecting(words);
    assert_eq!(trouble.kind, TroubleKind::HostKeyChanged);
    assert!(trouble.advice.contains("administrators"));
    assert!(
        trouble
            .advice
            .contains("ssh-keygen -f \"/home/u/.ssh/known_hosts\" -R \"[127.0.0.1]:29741\""),
        "{trouble}"
    );
    // macOS and older clients propose no command.
    let trouble = connecting("WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!\nHost key verification failed.");
    assert!(trouble.advice.contains("`ssh-keygen -R hpc`"), "{trouble}");
}

#[test]
fn a_key_file_that_is_too_open_is_named_though_ssh_ends_with_denied() {
    let words = "@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@\n\
        @         WARNING: UNPROTECTED PRIVATE KEY FILE!          @\n\
        @@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@\n\
        Permissions 0644 for '/home/u/.ssh/id_ed25519' are too open.\n\
        It is required that your private key files are NOT accessible by others.\n\
        This private key will be ignored.\nLoad key \"/home/u/.ssh/id_ed25519\": bad permissions\n\
        root@127.0.0.1: Permission denied (publickey).";
    let trouble = connecting(words);
    assert_eq!(trouble.kind, TroubleKind::KeyFileTooOpen);
    assert!(trouble.what.contains("/home/u/.ssh/id_ed25519"), "{trouble}");
}

#[test]
fn a_banner_before_the_telling_line_is_passed_over() {
    let banner = "*".repeat(4000) + "\n* Authorised users only. Connection attempts are logged. *\n";
    let trouble = connecting(&(banner + "u@h: Permission denied (publickey)."));
    assert_eq!(trouble.kind, TroubleKind::PermissionDenied);
    assert!(trouble.what.ends_with("Permission denied (publickey)"), "{trouble}");
}

#[test]
fn a_channel_without_its_master_is_a_broken_connection_and_no_unknown_host() {
    let words = "ssh: Could not resolve hostname none: Name or service not known";
    let trouble = of_ssh("hpc", words, Moment::Channel);
    assert_eq!(trouble.kind, TroubleKind::Closed);
    assert_eq!(
        trouble.what,
        "the connection to hpc broke: the ssh connection has ended"
    );
}

#[test]
fn an_sshd_with_too_few_sessions_is_told_with_its_setting() {
    let words = "mux_client_request_session: session request failed: Session open refused by peer\r\n";
    let trouble = of_ssh("hpc", words, Moment::Channel);
    assert_eq!(trouble.kind, TroubleKind::Busy);
    assert!(trouble.advice.contains("MaxSessions"), "{trouble}");
}

#[test]
fn programs_that_do_not_start() {
    use TroubleKind::*;
    let said = [
        (
            "/r/bin/codeswarm: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found (required by /r/bin/codeswarm)",
            OldCLibrary,
        ),
        (
            "/r/bin/codeswarm: error while loading shared libraries: libfoo.so.1: cannot open shared object file",
            OldCLibrary,
        ),
        (
            "sh: line 1: /r/bin/codeswarm: cannot execute binary file: Exec format error",
            WrongPlatform,
        ),
        ("sh: 1: exec: /r/bin/codeswarm: Exec format error", WrongPlatform),
        ("sh: line 1: /r/bin/codeswarm: Permission denied", ProgramNotExecutable),
        ("cat: write error: No space left on device", Storage),
        ("mkdir: cannot create directory '/r': Disk quota exceeded", Storage),
        ("mkdir: cannot create directory '/r': Read-only file system", Storage),
    ];
    for (words, kind) in said {
        let trouble = of_program("hpc", "/r/bin/codeswarm", words).unwrap();
        assert_eq!(trouble.kind, kind, "{words}");
        assert!(kind.is_lasting() && trouble.to_string().contains("hpc"), "{trouble}");
    }
    let trouble = of_program("hpc", "/r/bin/codeswarm", said[0].0).unwrap();
    assert!(
        trouble.what.contains("GLIBC_2.38") && trouble.advice.contains("static build"),
        "{trouble}"
    );
    assert_eq!(of_program("hpc", "/r/bin/codeswarm", "something else"), None);
}

#[test]
fn others_words_cannot_move_a_terminal() {
    let trouble = connecting("\u{1b}[2Jgone\u{7}");
    assert!(
        !trouble.what.contains('\u{1b}') && !trouble.what.contains('\u{7}'),
        "{trouble:?}"
    );
    assert!(connecting(&"x".repeat(10_000)).what.len() < 400);
}

#[test]
fn wordings_of_one_broken_network_are_one_trouble_and_two_files_are_two() {
    let one = connecting("kex_exchange_identification: Connection closed by remote host");
    let other = connecting("kex_exchange_identification: read: Connection reset by peer");
    assert!(one.is_like(&other) && one != other);
    assert!(!one.is_like(&connecting("ssh: connect to host h port 22: Connection refused")));
    let one = connecting("Bad owner or permissions on /a");
    assert!(!one.is_like(&connecting("Bad owner or permissions on /b")) && one.is_like(&one));
}
