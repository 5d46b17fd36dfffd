//! Arguments, mounts, and the end.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use codeswarm_hostfs::faults::{Command, Faults};
use codeswarm_hostfs::host::Host;
use codeswarm_hostfs::settings::{LockKind, Settings};
use codeswarm_hostfs::{control, mount};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit};

/// Mounts one folder several times, each mount as an NFS client with caches of its own.
#[derive(Parser)]
#[command(name = "codeswarm-hostfs", version)]
struct Program {
    /// The folder that is the server.
    #[arg(long, value_name = "DIR")]
    backing: PathBuf,
    /// A client and where it is mounted; as often as there are clients.
    #[arg(long = "client", value_name = "NAME=DIR", required = true)]
    clients: Vec<String>,
    /// How long a file's attributes are believed.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    attributes_seconds: Duration,
    /// How long a folder's names are believed, also that there is no such name.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    names_seconds: Duration,
    /// How long a write stays with its client if nobody syncs or closes the file.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    write_back_seconds: Duration,
    /// How long after a sync or close its bytes come to the server; with 0 a sync waits for it.
    #[arg(long, value_name = "MS", default_value = "0", value_parser = milliseconds)]
    late_ms: Duration,
    /// How long a file that grows has NULs in the place of its new bytes.
    #[arg(long, value_name = "MS", default_value = "0", value_parser = milliseconds)]
    nul_gap_ms: Duration,
    /// What flock(2) is worth: local, absent or coherent.
    #[arg(long, value_name = "KIND", default_value = "local")]
    locks: LockKind,
    /// A unix socket for commands; see the library's `faults::Command`.
    #[arg(long, value_name = "SOCKET")]
    control: Option<PathBuf>,
    /// A command in force from the start; as often as there are such.
    #[arg(long = "fault", value_name = "COMMAND")]
    faults: Vec<String>,
    /// Ends when this process has ended.
    #[arg(long = "for", value_name = "PID")]
    owner: Option<i32>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .map(Duration::from_millis)
        .map_err(|_| "not a whole number".to_owned())
}

pub(crate) fn main() -> ExitCode {
    match run(&Program::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("codeswarm-hostfs: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(program: &Program) -> Result<(), String> {
    let mut clients = Vec::new();
    for client in &program.clients {
        let (name, at) = client
            .split_once('=')
            .ok_or(format!("--client {client}: NAME=DIR is wanted"))?;
        clients.push((name.to_owned(), PathBuf::from(at)));
    }
    let mut faults = Faults::default();
    for line in &program.faults {
        match line.parse()? {
            Command::Add(rule) => faults.add(rule),
            Command::Blow(weather) => faults.blow(weather),
            Command::Heal | Command::Told => return Err(format!("--fault {line}: it is none")),
        }
    }
    let settings = Settings {
        attributes: program.attributes_seconds,
        names: program.names_seconds,
        write_back: program.write_back_seconds,
        late: program.late_ms,
        gap: program.nul_gap_ms,
        locks: program.locks,
    };
    // Each file that a kernel knows is open here.
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let _ = rustix::process::setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    );
    // It asks for rights as whoever is served asks for them.
    rustix::process::umask(rustix::fs::Mode::empty());
    let names = clients.iter().map(|(name, _)| name.clone()).collect();
    let host = Host::new(&program.backing, names, settings, faults);
    let host = Arc::new(host.map_err(|error| format!("{}: {error}", program.backing.display()))?);
    if let Some(socket) = &program.control {
        control::listen(&host, socket).map_err(|error| format!("{}: {error}", socket.display()))?;
    }
    let mut sessions = Vec::new();
    for (client, (_, at)) in clients.iter().enumerate() {
        let session = mount::mount(&host, client, at);
        sessions.push(session.map_err(|error| format!("{} cannot be mounted: {error}", at.display()))?);
    }
    let carrier = Arc::clone(&host);
    std::thread::spawn(move || carrier.carry());
    // Whoever started this waits for it.
    println_ready();
    if let Some(owner) = program.owner {
        wait_for_end(owner);
        drop(sessions);
        return Ok(());
    }
    for session in sessions {
        session.join().map_err(|error| error.to_string())?;
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a program's own output")]
fn println_ready() {
    println!("ready");
}

/// Waits until a process has ended, however it does.
fn wait_for_end(owner: i32) {
    let Some(pid) = Pid::from_raw(owner) else { return };
    let Ok(pidfd) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else {
        return;
    };
    let mut ends = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
    while rustix::event::poll(&mut ends, None).is_err() {}
}
