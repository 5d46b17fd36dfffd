//! `codeswarm-model-server [PORT]`: the tests' model server by itself, for trying configurations of Codex by hand.

use std::io::Write;
use std::process::ExitCode;

use codeswarm_tests::model_server::{KEY, KEY_VARIABLE, ModelServer};

fn main() -> ExitCode {
    let port = match std::env::args().nth(1).map(|word| word.parse()) {
        None => 0,
        Some(Ok(port)) => port,
        Some(Err(_)) => return usage(),
    };
    let server = match ModelServer::bind(port) {
        Ok(server) => server,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "port {port} of 127.0.0.1 cannot be used: {error}");
            return ExitCode::FAILURE;
        }
    };
    let _ = write!(
        std::io::stdout(),
        "# Serving {} until interrupted. A config.toml for Codex, to be run with {KEY_VARIABLE}={KEY}:\n{}",
        server.base_url(),
        server.codex_config_toml()
    );
    loop {
        std::thread::park();
    }
}

fn usage() -> ExitCode {
    let _ = writeln!(
        std::io::stderr(),
        "usage: codeswarm-model-server [PORT]\n\nA model server on 127.0.0.1 that answers as the markers in a prompt ask, such as [[exec pwd]]."
    );
    ExitCode::from(2)
}
