//! The examples at the end of each help text. A test parses every one of them.

use crate::exit::EXIT_CODES;

/// The end of `codeswarm --help`.
pub fn overview() -> String {
    format!("{OVERVIEW}\n\n{EXIT_CODES}")
}

const OVERVIEW: &str = "\
Examples:
  codeswarm run --nodes 4 --prompt \"hello\"                     four agents answer, then end
  codeswarm launch --nodes 4 --config configs/hpcfund.json     a swarm that stays
  codeswarm inject <swarm> --nodes 0,2-3 --prompt \"Go on.\"     to some of its nodes
  codeswarm attach <swarm>                                     see all that it says
  codeswarm terminate <swarm>";

/// Of `run`.
pub const RUN: &str = "\
Examples:
  codeswarm run --nodes 4 --prompt \"hello\"
  codeswarm run --nodes 2 --prompt-file task.md --config configs/local-codex.json
  codeswarm run --agent codex --prompt \"What is in this folder?\"
  git diff | codeswarm run --prompt-file - --json | jq -r 'select(.type==\"assistant\").content'

Ends with 0 if every turn completed. Ctrl-C ends the swarm and waits for that; once more leaves it alone.";

/// Of `launch`.
pub const LAUNCH: &str = "\
Examples:
  swarm=$(codeswarm launch --nodes 4 --config configs/hpcfund.json)
  codeswarm launch --nodes 4 --prompt \"You are a distributed agent.\" --wait
  codeswarm launch --nodes 8 --agents-per-node 2 --time-limit 02:00:00 --partition gpu
  codeswarm launch --nodes 4 --immediate

Prints the swarm's id as soon as its job is submitted (with --wait: when all nodes are up).";

/// Of `adopt`.
pub const ADOPT: &str = "\
Examples:
  swarm=$(codeswarm adopt 272900 --config configs/hpcfund.json)

The job's workers must use the mailbox that the configuration names.";

/// Of `list`.
pub const LIST: &str = "\
Examples:
  codeswarm list
  codeswarm list --json | jq -r '.swarms | keys[]'";

/// Of `status`.
pub const STATUS: &str = "\
Examples:
  codeswarm status <swarm>
  codeswarm status <swarm> --json | jq '.nodes[] | select(.state==\"lost\")'";

/// Of `inject`.
pub const INJECT: &str = "\
Examples:
  codeswarm inject <swarm> --prompt \"Optimize GEMM tiling.\"
  codeswarm inject <swarm> --nodes 0,2-4 --prompt-file task.md
  codeswarm inject <swarm> --nodes 1 --no-wait < task.md
  codeswarm inject <swarm> --nodes 1 --steer --prompt \"Leave the tests alone.\"

Follows the turns to their end and ends with 0 if all completed. Ctrl-C leaves; the turns go on.";

/// Of `attach`.
pub const ATTACH: &str = "\
Examples:
  codeswarm attach <swarm>                  from now on
  codeswarm attach <swarm> --since 0        from the beginning
  codeswarm attach <swarm> --json

Ctrl-C leaves and prints the --since to come back with. Ends by itself when the swarm ends.";

/// Of `events`.
pub const EVENTS: &str = "\
Examples:
  codeswarm events                                                  what has happened in all swarms
  codeswarm events <swarm> --follow                                 one swarm, from now on, until it ends
  codeswarm events --follow --json --consumer openclaw              for an automation: each event once, over all restarts
  codeswarm events --json --consumer nightly --since 24h            a script that runs now and then: what is new since the last time
  codeswarm events --json --kind turn_complete,assistant | jq -r 'select(.type==\"assistant\").content'

What is told unless --kind says otherwise: turn_complete, inject_failed, approval_required, node_ready, node_lost, agent_exit,
worker_error, worker_exit, swarm_launched, swarm_adopted, swarm_status, swarm_terminated. --kind default,assistant adds the answers.
After a crash the few lines that may have been told already come again, with \"repeated\":true.";

/// Of `interrupt`.
pub const INTERRUPT: &str = "\
Examples:
  codeswarm interrupt <swarm> --nodes 2
  codeswarm interrupt <swarm> --injection <id> --nodes 2";

/// Of `approve`.
pub const APPROVE: &str = "\
Examples:
  codeswarm approve <swarm> --node 0 --call 7
  codeswarm approve <swarm> --node 0 --call 7 decline

The question, with its node and call, is shown by inject and attach.";

/// Of `terminate`.
pub const TERMINATE: &str = "\
Examples:
  codeswarm terminate <swarm>
  codeswarm terminate <swarm> --no-wait";

/// Of `ping`.
pub const PING: &str = "\
Examples:
  codeswarm ping            ends with 75 if no router runs";

/// Of `shutdown`.
pub const SHUTDOWN: &str = "\
Examples:
  codeswarm shutdown        the next command starts a router again, which finds all swarms";

/// Of `doctor`.
pub const DOCTOR: &str = "\
Examples:
  codeswarm doctor --config configs/hpcfund.json
  codeswarm doctor --config configs/hpcfund.json --nodes 4 --wait 300
  codeswarm doctor --config configs/hpcfund.json --json | jq -r 'select(.status==\"failure\").advice'

Ends with 0 if a launch can work. A short job of one node looks at the compute node's side; --no-job leaves it out.";

/// Of `probe`.
pub const PROBE: &str = "\
Examples:
  codeswarm probe workspace --root ~/workspace/codeswarm";

/// Of `openclaw`.
pub const OPENCLAW: &str = "\
Examples:
  codeswarm openclaw install --config configs/hpcfund.json     shows what it would change, and asks
  codeswarm openclaw install --automation --yes                also wakes the main session when turns end
  codeswarm openclaw doctor                                    whether OpenClaw has the tools, and reaches them
  codeswarm openclaw uninstall                                 undoes it

Changes OpenClaw's entry for the MCP server codeswarm, a skill, and with --automation an automation; nothing else.
Ends with 72 if there is no OpenClaw. docs/OPENCLAW.md goes on from there.";

/// Of `completions`.
pub const COMPLETIONS: &str = "\
Examples:
  codeswarm completions bash > ~/.local/share/bash-completion/completions/codeswarm
  codeswarm completions zsh  > \"${fpath[1]}/_codeswarm\"
  codeswarm completions fish > ~/.config/fish/completions/codeswarm.fish";

/// Of `router`.
pub const ROUTER: &str = "\
Examples:
  codeswarm router --config configs/local.json < commands.jsonl
  codeswarm router --config configs/hpcfund.json --daemon";

/// Of `follower`.
pub const FOLLOWER: &str = "\
Examples:
  codeswarm follower --lines ~/workspace/codeswarm/mailbox/outbox
  codeswarm follower --root ~/workspace/codeswarm --watch poll      what a router starts on a login node";

/// Of `worker`.
pub const WORKER: &str = "\
Examples:
  codeswarm worker                                   in a Slurm job: its place comes from the environment
  codeswarm worker --keep --launch FILE              the same, and started again when it dies
  codeswarm worker --root DIR --job-id 7 --node-id 0";

/// Of `mcp`.
pub const MCP: &str = "\
Examples:
  codeswarm mcp --config ~/.config/codeswarm/hpc.json

Started by a client (Claude Code, Codex, Cursor, OpenClaw), one for each of its sessions; all of them speak with the same router.
For Claude Code: claude mcp add codeswarm -- /path/to/codeswarm mcp. docs/MCP.md has the lines for the others.";
