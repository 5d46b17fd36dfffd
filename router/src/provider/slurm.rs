//! Slurm's commands, run beside Slurm: on the login node through the link, or on this machine. What they are for and what
//! their answers mean is the core's business.

use std::time::Duration;

use codeswarm_link::{LoginNode, RunError};
use codeswarm_slurm::{Answer, Call};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::core::{Errand, NotAnswered, ProviderCommand, ProviderEvent};

/// How long sbatch may take: a busy controller lets it wait.
const SUBMITTING: Duration = Duration::from_secs(120);

/// How long any other command may take.
const ASKING: Duration = Duration::from_secs(30);

/// Commands under way at once; more wait.
const AT_ONCE: usize = 4;

/// The Slurm provider: one task that owns the commands under way.
pub struct SlurmProvider {
    login_node: LoginNode,
    events: mpsc::Sender<ProviderEvent>,
    under_way: JoinSet<()>,
}

impl SlurmProvider {
    /// Starts it; it ends when its commands end, and touches no job.
    pub fn start(login_node: LoginNode) -> (mpsc::Sender<ProviderCommand>, mpsc::Receiver<ProviderEvent>) {
        let (commands, received) = mpsc::channel(256);
        let (events, told) = mpsc::channel(256);
        let provider = Self {
            login_node,
            events,
            under_way: JoinSet::new(),
        };
        tokio::spawn(provider.run(received));
        (commands, told)
    }

    async fn run(mut self, mut commands: mpsc::Receiver<ProviderCommand>) {
        loop {
            tokio::select! {
                command = commands.recv(), if self.under_way.len() < AT_ONCE => match command {
                    Some(ProviderCommand::Call { errand, call }) => self.begin(errand, call),
                    // The others are the local provider's.
                    Some(_) => {}
                    None => return,
                },
                Some(_) = self.under_way.join_next(), if !self.under_way.is_empty() => {}
            }
        }
    }

    fn begin(&mut self, errand: Errand, call: Call) {
        let (login_node, events) = (self.login_node.clone(), self.events.clone());
        self.under_way.spawn(async move {
            let deadline = match errand {
                Errand::Submit(_) => SUBMITTING,
                _ => ASKING,
            };
            tracing::debug!(%call, "run beside Slurm");
            let outcome = run_on(&login_node, &call, deadline).await.map_err(|error| NotAnswered {
                may_have_run: matches!(error, RunError::MayHaveRun { .. } | RunError::TooMuchOutput { .. }),
                error: error.to_string(),
            });
            tracing::debug!(%call, ?outcome, "came back");
            // The server may be ending itself; its next life asks again.
            let _ = events.send(ProviderEvent::Answered { errand, outcome }).await;
        });
    }
}

/// Runs one of Slurm's commands on a login node. A missing one is an answer too, in a shell's way: exit code 127.
///
/// # Errors
/// There is no answer; whether the command has run is told.
pub async fn run_on(login_node: &LoginNode, call: &Call, deadline: Duration) -> Result<Answer, RunError> {
    let mut words = call.words().into_iter();
    let command = codeswarm_link::Call {
        program: words.next().unwrap_or_default(),
        arguments: words.collect(),
        stdin: call.stdin.clone(),
    };
    match login_node.run(&command, deadline).await {
        Ok(answer) => Ok(Answer {
            exit_code: Some(answer.exit_code),
            stdout: answer.stdout,
            stderr: answer.stderr,
        }),
        // Where variables are taken away it is env(1) that does not find it.
        Err(RunError::NotFound { .. }) => Ok(Answer {
            exit_code: Some(127),
            stdout: Vec::new(),
            stderr: format!("{}: command not found", call.program).into_bytes(),
        }),
        Err(error) => Err(error.about(&call.program)),
    }
}
