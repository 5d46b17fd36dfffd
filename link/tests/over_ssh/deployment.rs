//! Bringing the program there.

use std::os::unix::fs::PermissionsExt;

use codeswarm_link::{Binary, Listen, TroubleKind, WatchMode};

use super::{Bench, program};

#[tokio::test]
async fn two_routers_deploy_the_same_program_at_once() {
    let Some(bench) = Bench::new() else { return };
    let (one, other) = tokio::join!(bench.connect(), bench.connect());
    let binary = Binary::Deploy { file: program() };
    let root = bench.root();
    let (first, second) = tokio::join!(one.deploy(&root, &binary), other.deploy(&root, &binary));
    let path = first.unwrap();
    assert_eq!(path, second.unwrap());
    assert!(std::fs::read(&path).unwrap() == std::fs::read(program()).unwrap());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    let there: Vec<_> = std::fs::read_dir(bench.path("root/bin")).unwrap().collect();
    assert_eq!(there.len(), 1, "{there:?}");
    let written = std::fs::metadata(&path).unwrap().modified().unwrap();
    assert_eq!(one.deploy(&root, &binary).await.unwrap(), path);
    assert_eq!(
        std::fs::metadata(&path).unwrap().modified().unwrap(),
        written,
        "it was there"
    );

    let remote = one.follow(&path, &root, WatchMode::Auto, Listen::Off).await.unwrap();
    assert!(remote.root.ends_with("/root"));
    let held = other
        .follow(&path, &root, WatchMode::Auto, Listen::Off)
        .await
        .unwrap_err();
    assert_eq!(held.kind, TroubleKind::MailboxHeld, "{held}");
    assert!(held.what.contains("process"), "{held}");
    one.close().await;
    other.close().await;
}

#[tokio::test]
async fn what_cannot_be_deployed_is_told() {
    let Some(bench) = Bench::new() else { return };
    let session = bench.connect().await;
    let refused = |file: Binary, root: String| {
        let session = session.clone();
        async move { session.deploy(&root, &file).await.unwrap_err() }
    };
    let script = bench.path("script");
    std::fs::write(&script, "#!/bin/sh\n").unwrap();
    let trouble = refused(Binary::Deploy { file: script }, bench.root()).await;
    assert_eq!(trouble.kind, TroubleKind::ProgramFile, "{trouble}");

    let mut other = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\xb7\0".to_vec();
    other.resize(4096, 0);
    let arm = bench.path("arm");
    std::fs::write(&arm, other).unwrap();
    let trouble = refused(Binary::Deploy { file: arm }, bench.root()).await;
    assert_eq!(trouble.kind, TroubleKind::WrongPlatform, "{trouble}");
    assert!(trouble.what.contains("aarch64"), "{trouble}");

    let trouble = refused(Binary::Deploy { file: program() }, "/proc/nowhere".into()).await;
    assert_eq!(trouble.kind, TroubleKind::Storage, "{trouble}");
    // Writing fails, as on a full disk, after the folder could be made.
    let full = bench.path("full");
    std::fs::create_dir_all(&full).unwrap();
    std::fs::write(full.join("bin"), "a file where a folder should be").unwrap();
    let trouble = refused(Binary::Deploy { file: program() }, full.to_str().unwrap().to_owned()).await;
    assert_eq!(trouble.kind, TroubleKind::Storage, "{trouble}");
    session.close().await;
}

#[tokio::test]
async fn a_program_that_does_not_start_says_why() {
    let Some(bench) = Bench::new() else { return };
    let session = bench.connect().await;
    let put = |name: &str, text: &str, mode: u32| {
        let path = bench.path(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let older = "#!/bin/sh\nprintf '#codeswarm-frames 1\\n{\"f\":\"hello\",\"version\":\"0.0.1\",\"host\":\"h\",\"pid\":1,\"root\":\"/r\"}\\n'\nsleep 9\n";
    let glibc =
        "#!/bin/sh\necho \"$0: /lib/libc.so.6: version \\`GLIBC_9.9' not found (required by $0)\" >&2; exit 1\n";
    let cases = [
        (
            bench.path("nowhere").to_str().unwrap().to_owned(),
            TroubleKind::ProgramMissing,
        ),
        (
            bench.path("").to_str().unwrap().to_owned(),
            TroubleKind::ProgramNotExecutable,
        ),
        (put("plain", "x", 0o600), TroubleKind::ProgramNotExecutable),
        (put("older", older, 0o700), TroubleKind::VersionsDiffer),
        (put("glibc", glibc, 0o700), TroubleKind::OldCLibrary),
        (put("loader", "#!/no/such/loader\n", 0o700), TroubleKind::OldCLibrary),
        (
            put("elf", "\x7fELF\x02\x01\x01 for another machine\n", 0o700),
            TroubleKind::WrongPlatform,
        ),
        (put("other", "#!/bin/sh\necho hello\n", 0o700), TroubleKind::NoGreeting),
    ];
    for (program, kind) in cases {
        let trouble = session
            .follow(&program, &bench.root(), WatchMode::Auto, Listen::Off)
            .await
            .unwrap_err();
        println!("{trouble}");
        assert_eq!(trouble.kind, kind, "{program}: {trouble}");
    }
    session.close().await;
}
