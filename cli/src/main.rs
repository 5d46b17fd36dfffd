//! The `codeswarm` command.

fn main() -> std::process::ExitCode {
    codeswarm_cli::run()
}
