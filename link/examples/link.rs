//! Keeps a link up and prints what happens to it, to watch by hand what ssh and the login node do:
//! `cargo run -p codeswarm-link --example link -- CONTROL_DIR ALIAS ROOT PROGRAM [SSH_CONFIG]`. PROGRAM is a path there, or
//! `deploy:FILE`.
#![expect(clippy::print_stdout, reason = "it is there to print")]

use std::time::Instant;

use codeswarm_link::{Binary, Link, LinkEvent, LinkSettings, Listen, Login, Ssh, WatchMode};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut words = std::env::args().skip(1);
    let mut word = || words.next().unwrap_or_default();
    let (control_dir, login_alias, root, program) = (word(), word(), word(), word());
    let binary = match program.strip_prefix("deploy:") {
        Some(file) => Binary::Deploy { file: file.into() },
        None => Binary::Installed(program),
    };
    let mut link = Link::start(LinkSettings {
        login: Login {
            ssh: Ssh {
                login_alias,
                config_file: words.next().map(Into::into),
                control_path: std::env::var_os("CONTROL_PATH").map(Into::into),
            },
            control_dir: control_dir.into(),
        },
        root,
        binary,
        watch: WatchMode::Auto,
        doorbell: Listen::Auto,
    });
    let began = Instant::now();
    while let Some(event) = link.events.recv().await {
        let at = began.elapsed().as_secs_f64();
        match event {
            LinkEvent::Up {
                follower,
                host,
                root,
                binary,
            } => {
                println!("{at:8.3} up: {binary} on {host} at {root}");
                tokio::spawn(async move {
                    let mut follower = follower;
                    while let Some(event) = follower.events.recv().await {
                        println!("         {event:?}");
                    }
                    drop(follower);
                });
            }
            LinkEvent::Down(trouble) => println!("{at:8.3} down ({:?}): {trouble}", trouble.kind),
            LinkEvent::Progress(what) => println!("{at:8.3} {what}"),
        }
    }
}
