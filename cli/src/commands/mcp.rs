//! `mcp`.

use codeswarm_mcp::Desk;

use crate::args::Options;
use crate::exit::Exit;
use crate::failure::Failure;

/// Serves one client of the Model Context Protocol until it closes standard input.
pub async fn run(options: Options) -> Result<Exit, Failure> {
    let configured = codeswarm_client::configuration::read(options.config.as_deref(), &mut |warning| {
        tracing::warn!("{warning}");
    })?;
    let program = std::env::current_exe()
        .map_err(|error| Failure::new(Exit::Internal, format!("this program cannot be found: {error}"), ""))?;
    let named = configured.router.config.iter();
    let options = named
        .flat_map(|file| ["--config".to_owned(), file.display().to_string()])
        .collect();
    let desk = Desk {
        configured,
        program,
        options,
    };
    let served = codeswarm_mcp::serve(desk, tokio::io::stdin(), tokio::io::stdout()).await;
    served.map(|()| Exit::Done).map_err(|what| {
        let advice = "codeswarm mcp is started by a client such as Claude Code, Codex, Cursor or OpenClaw; docs/MCP.md has the lines for each";
        Failure::new(Exit::Usage, what, advice)
    })
}
