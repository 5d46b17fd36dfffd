//! `link-drain`: a full outbox on the login node, through ssh.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use codeswarm_follower::wire::{Decoder, Encoder};
use codeswarm_mailbox::Mailbox;
use codeswarm_protocol::Place;
use codeswarm_protocol::frame::{Downward, Upward};
use serde_json::json;

use super::drain::drain;
use super::figures::{Figures, Unit};
use super::inject_rtt::Master;
use super::outboxes;
use super::played::JOB;
use super::remote::RemoteSwarm;
use super::report::{Report, Table};
use super::slow_link::{self, Line};
use super::usage::Killed;
use super::{Experiment, Lab};
use crate::login_node::LoginNode;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "link-drain",
    about: "a full outbox through ssh: on loopback, and over a line of 20 Mbit/s and 40 ms",
    cluster: true,
    run,
};

/// 20 Mbit/s; 40 ms there and back.
const HOME: Line = Line {
    rate: 20e6 / 8.0,
    delay: Duration::from_millis(20),
};

const WAYS: [&str; 4] = [
    "the follower's frames, decoded (what a router receives)",
    "the same to events on the router's standard output",
    "ssh host cat, on a control master",
    "ssh -C host cat (its own compression)",
];

fn run(lab: &Lab) -> Report {
    let mut report = Report::default();
    let loopback = measure(lab, &mut report, "loopback", lab.size(256_000_000, 1_000_000), None);
    let slow = measure(
        lab,
        &mut report,
        "20 Mbit/s, 40 ms",
        lab.size(16_000_000, 300_000),
        Some(HOME),
    );
    let why = "On loopback a core is the limit: compressing, decompressing and ssh's own cipher of the compressed bytes share the \
        machine's processors with the reader.";
    report.target(
        "the follower's frames at least twice as fast as `ssh host cat`",
        loopback,
        Unit::Times,
        loopback >= 2.0,
        why,
    );
    let why = "The ratio is what zstd at level 1 makes of these bytes; ssh -C is told beside it.";
    report.target(
        "at least 8 times as fast over 20 Mbit/s",
        slow,
        Unit::Times,
        slow >= 8.0,
        why,
    );
    report.note(netem());
    report.note("The outbox's text is drawn from a list of 64 words, and so compresses about as deltas and build logs do, and less than source code that is printed twice.");
    report
}

/// Whether the kernel could shape a link itself, which is said either way.
fn netem() -> String {
    let try_it = "ip link set lo up && tc qdisc add dev lo root netem delay 1ms";
    let tried = Command::new("unshare")
        .args(["-n", "sh", "-c", try_it])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let own = "The slow line is played by a relay in front of sshd (tests/src/bench/slow_link.rs), which delays and paces bytes";
    match tried.is_ok_and(|status| status.success()) {
        true => format!(
            "{own}, though this machine's kernel has netem: the relay is the same on every machine, and needs no privilege."
        ),
        false => format!(
            "{own}. A network namespace shaped by tc: not here, this kernel has no netem, or namespaces are not allowed."
        ),
    }
}

struct Setting {
    remote: RemoteSwarm,
    config: PathBuf,
    place: Place,
    file: PathBuf,
    written: outboxes::Written,
}

/// How many times as fast as `cat` the follower is.
fn measure(lab: &Lab, report: &mut Report, name: &str, bytes: u64, line: Option<Line>) -> f64 {
    let remote = RemoteSwarm::new(1);
    let config = match line {
        Some(line) => slow_config(&remote, slow_link::to(remote.login.port(), line)),
        None => remote.login.ssh_config(),
    };
    let mailbox = remote.swarm.mailbox();
    let made = mailbox
        .create()
        .and_then(|()| mailbox.prepare(&remote.swarm.job_id(), 1));
    made.unwrap_or_else(|error| panic!("{error}"));
    let place = outboxes::place(JOB, 0);
    let file = mailbox.outbox(&place);
    let written = outboxes::write(&file, place.clone(), bytes);
    let setting = Setting {
        remote,
        config,
        place,
        file,
        written,
    };
    let master = Master::at(setting.config.clone(), setting.remote.swarm.workspace().path());
    let size = written.bytes as f64;
    let seconds = lab.in_turns::<4>(|way| {
        let seconds = match way {
            0 => frames(lab, &setting, &master, &mailbox),
            1 => through_the_router(&setting),
            2 => {
                drain(
                    &mut master.ssh(&format!("cat {}", setting.file.display())),
                    written.bytes,
                )
                .seconds
            }
            _ => {
                let mut command = Command::new("ssh");
                command.arg("-C").arg("-F").arg(&setting.config).arg(LoginNode::ALIAS);
                drain(command.arg(format!("cat {}", setting.file.display())), written.bytes).seconds
            }
        };
        lab.tell(&format!("{name}, {}: {seconds:.2} s", WAYS[way]));
        seconds
    });
    let mut table = Table::new(
        format!(
            "{name}: one outbox of {:.0} MB with {} records.",
            size / 1e6,
            written.records
        ),
        &["way", "speed", "beside `ssh host cat`"],
    );
    let speeds = seconds.map(|seconds| seconds.iter().map(|seconds| size / seconds).collect::<Vec<_>>());
    let medians: Vec<f64> = speeds
        .iter()
        .map(|speeds| Figures::new(speeds.clone(), Unit::BytesPerSecond).median())
        .collect();
    for ((name, speeds), median) in WAYS.iter().zip(speeds).zip(&medians) {
        table.row([
            (*name).into(),
            Figures::new(speeds, Unit::BytesPerSecond).into(),
            Figures::new(vec![median / medians[2]], Unit::Times).into(),
        ]);
    }
    report.table(table);
    medians[0] / medians[2]
}

/// The login node's configuration with another port; its key is known by the old one.
fn slow_config(remote: &RemoteSwarm, port: u16) -> PathBuf {
    let old = remote.login.port();
    let path = remote.login.ssh_config();
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let line = format!("Port {old}\n");
    assert!(text.contains(&line), "{text}");
    let text = text.replace(&line, &format!("Port {port}\n  HostKeyAlias [127.0.0.1]:{old}\n"));
    let slow = path.with_file_name("slow_ssh_config");
    std::fs::write(&slow, text).unwrap_or_else(|error| panic!("{}: {error}", slow.display()));
    slow
}

/// What a router does, without what it makes of it: the frames' bytes.
fn frames(lab: &Lab, setting: &Setting, master: &Master, mailbox: &Mailbox) -> f64 {
    let remote = format!(
        "{} follower --root {}",
        lab.codeswarm.display(),
        mailbox.root().display()
    );
    let mut command = master.ssh(&remote);
    let began = Instant::now();
    let mut child = Killed::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
    let (Some(mut stdin), Some(mut stdout)) = (child.0.stdin.take(), child.0.stdout.take()) else {
        panic!("{command:?} has no pipes");
    };
    let mut bytes = BytesMut::new();
    let watch = Downward::Watch {
        place: setting.place.clone(),
        offset: 0,
    };
    let encoded = Encoder::new().encode(&watch, &mut bytes);
    encoded.unwrap_or_else(|error| panic!("{watch:?}: {error}"));
    stdin
        .write_all(&bytes)
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut decoder = Decoder::<Upward>::behind_a_greeting();
    let mut buffer = BytesMut::new();
    let mut piece = vec![0; 1 << 18];
    let mut got = 0;
    while got < setting.written.bytes {
        let length = stdout
            .read(&mut piece)
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        assert!(
            length > 0,
            "{command:?} ended after {got} of {} bytes",
            setting.written.bytes
        );
        buffer.extend_from_slice(&piece[..length]);
        while let Some(frame) = decoder
            .decode(&mut buffer)
            .unwrap_or_else(|error| panic!("{command:?}: {error}"))
        {
            if let Upward::Chunk { data, .. } = frame {
                got += data.len() as u64;
            }
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    // Its end of the mailbox is free when it has ended.
    drop(stdin);
    while matches!(stdout.read(&mut piece), Ok(1..)) {}
    let _ = child.0.wait();
    seconds
}

/// From the adoption of the job; the connection is made before, as it is in life.
fn through_the_router(setting: &Setting) -> f64 {
    let swarm = &setting.remote.swarm;
    let _ = std::fs::remove_dir_all(swarm.workspace().state_dir());
    point_at(setting);
    let mut router = super::listener::Listener::start(swarm.router_command());
    router.asked(json!({"command": "subscribe"}), "caught_up");
    router.wait_for("the link", |event| event["type"] == "link" && event["up"] == true);
    let began = Instant::now();
    router.ask(json!({"command": "swarm_adopt", "job_id": JOB}));
    let records = setting.written.records;
    let last = router.wait("all records", |heard| {
        (heard.records >= records).then_some(heard.last)?
    });
    router.leave();
    (last - began).as_secs_f64()
}

/// The configuration of the workspace names the fast way.
fn point_at(setting: &Setting) {
    let path = setting.remote.swarm.workspace().config_path();
    let read = std::fs::read(&path)
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok());
    let mut config: serde_json::Value = read.unwrap_or_else(|| panic!("{} cannot be read", path.display()));
    config["ssh"]["config_file"] = json!(setting.config);
    std::fs::write(&path, config.to_string()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
