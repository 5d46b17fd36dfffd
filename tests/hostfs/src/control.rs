//! The socket on which a test commands what goes wrong and asks what was told: a line for a line.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;

use crate::faults::Command;
use crate::host::Host;

/// Listens until the process ends.
pub fn listen(host: &Arc<Host>, socket: &Path) -> std::io::Result<()> {
    let listener = UnixListener::bind(socket)?;
    let host = Arc::clone(host);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // One command after the other: whoever has its answer knows that it is in force.
            if let Err(error) = serve(&host, &stream) {
                eprintln!("codeswarm-hostfs: control socket: {error}");
            }
        }
    });
    Ok(())
}

fn serve(host: &Host, mut stream: &UnixStream) -> std::io::Result<()> {
    for line in BufReader::new(stream).lines() {
        let answer = match line?.parse() {
            Ok(command) => carry_out(host, command),
            Err(complaint) => format!("error: {complaint}"),
        };
        writeln!(stream, "{answer}")?;
    }
    Ok(())
}

fn carry_out(host: &Host, command: Command) -> String {
    match command {
        Command::Add(rule) => {
            host.faults().add(rule);
            "ok".to_owned()
        }
        Command::Blow(weather) => {
            host.faults().blow(weather);
            "ok".to_owned()
        }
        Command::Heal => format!("faults={}", host.faults().heal()),
        Command::Told => {
            let faults = host.faults().done();
            format!("{} faults={faults}", host.told())
        }
    }
}
