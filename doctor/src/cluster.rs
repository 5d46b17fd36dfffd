//! The checks of a cluster in their order, and which cannot be made after another failed.

use std::time::Instant;

use codeswarm_configs::{Config, SlurmCluster};
use codeswarm_link::{Listen, Login, LoginNode, TroubleKind, WatchMode, connect_once, no_greeting};
use codeswarm_router::{cluster, core, endpoint::Endpoint};
use codeswarm_slurm::{partition, ping, settings, trial};

use crate::check::{Name, Status, Verdict};
use crate::facts::WorkspaceFacts;
use crate::judge;
use crate::login::{self, ASKING, NoLook};
use crate::run::Doctor;

/// What cannot be looked at without the login node.
const AFTER_SSH: [Name; 17] = [
    Name::LoginShell,
    Name::Clock,
    Name::SlurmCommands,
    Name::Slurmctld,
    Name::SlurmSettings,
    Name::Partition,
    Name::Program,
    Name::Workspace,
    Name::Storage,
    Name::Mailbox,
    Name::BatchScript,
    Name::ShortJob,
    Name::SharedFilesystem,
    Name::ComputeNode,
    Name::Agent,
    Name::Credentials,
    Name::ModelEndpoint,
];

/// What cannot be looked at without Slurm.
const IN_SLURM: [Name; 7] = [
    Name::BatchScript,
    Name::ShortJob,
    Name::SharedFilesystem,
    Name::ComputeNode,
    Name::Agent,
    Name::Credentials,
    Name::ModelEndpoint,
];

/// What cannot be looked at without a job.
pub(crate) const IN_JOB: [Name; 6] = [
    Name::ShortJob,
    Name::SharedFilesystem,
    Name::ComputeNode,
    Name::Agent,
    Name::Credentials,
    Name::ModelEndpoint,
];

/// What the later checks need of the earlier ones.
pub(crate) struct Reached<'c> {
    pub config: &'c Config,
    pub cluster: &'c SlurmCluster,
    pub slurm: core::SlurmSettings,
    pub node: LoginNode,
}

impl Doctor<'_> {
    pub(crate) async fn slurm(&mut self, config: &Config, cluster: &SlurmCluster, slurm: core::SlurmSettings) {
        let Some(node) = self.reach(config, cluster).await else {
            return self.skip(&AFTER_SSH, "the login node does not run our commands");
        };
        let reached = Reached {
            config,
            cluster,
            slurm,
            node,
        };
        let slurm_works = self.controller(&reached).await;
        let files = self.files(&reached).await;
        if !slurm_works {
            return self.skip(&IN_SLURM, "Slurm does not answer");
        }
        let Some((program, workspace)) = files else {
            return self.skip(&IN_SLURM, "the workspace or the program in it cannot be used");
        };
        if self.status(Name::Partition) == Some(Status::Failure) {
            return self.skip(&IN_SLURM, "its partition would not run it");
        }
        self.begin(Name::BatchScript);
        let verdict = self.batch_script(&reached, &program).await;
        if !self.passed(Name::BatchScript, verdict) {
            return self.skip(&IN_JOB, "Slurm would not take it");
        }
        if !self.plan.job {
            return self.skip(&IN_JOB, "no job was asked for (--no-job)");
        }
        self.short_job(&reached, &program, &workspace).await;
    }

    /// The connection, the shell behind it and its clock.
    async fn reach(&mut self, config: &Config, cluster: &SlurmCluster) -> Option<LoginNode> {
        self.begin(Name::Ssh);
        let began = Instant::now();
        let node = match &cluster.ssh {
            None => LoginNode::here(),
            Some(ssh) => {
                let login: Login = cluster::login(ssh, &Endpoint::for_state(&config.router.state_dir).runtime_dir);
                match connect_once(&login).await {
                    Ok(session) => {
                        self.session = Some(session.clone());
                        LoginNode::through(session)
                    }
                    Err(trouble) => {
                        self.end(Name::Ssh, judge::trouble(&trouble));
                        return None;
                    }
                }
            }
        };
        let connect = began.elapsed().as_secs_f64();
        let ssh = cluster.ssh.as_ref();
        let alias = ssh.map(|ssh| ssh.login_alias.clone());
        let reached = |channel| judge::login::Reached {
            alias: alias.clone(),
            connect,
            channel,
            by_hand: ssh.is_some_and(|ssh| ssh.control_path.is_some()),
        };
        let look = match login::look(&node).await {
            Ok(look) => look,
            Err(NoLook::Connection(verdict)) => {
                self.end(Name::Ssh, verdict);
                return None;
            }
            Err(NoLook::Silent(how)) => {
                self.end(Name::Ssh, judge::login::reached(&reached(None)));
                let host = alias.as_deref().unwrap_or("this machine");
                self.end(Name::LoginShell, judge::trouble(&no_greeting(host, &how)));
                return None;
            }
            Err(NoLook::Shell(verdict)) => {
                self.end(Name::Ssh, judge::login::reached(&reached(None)));
                self.end(Name::LoginShell, verdict);
                return None;
            }
        };
        let seen = reached(Some(look.took));
        self.end(Name::Ssh, judge::login::reached(&seen));
        self.end(Name::LoginShell, judge::login::shell(&look.shell));
        let (before, after) = look.between;
        if ssh.is_some() {
            self.end(
                Name::Clock,
                judge::login::clock(&look.shell.host, look.time, before, after),
            );
        }
        (self.status(Name::LoginShell) != Some(Status::Failure)).then_some(node)
    }

    /// Slurm's commands, slurmctld, its settings, the partition. Whether there is a Slurm that answers.
    async fn controller(&mut self, reached: &Reached<'_>) -> bool {
        let (node, section) = (&reached.node, &reached.slurm.section);
        self.begin(Name::SlurmCommands);
        let verdict = match login::commands(node).await {
            Ok(seen) => judge::login::commands(&seen),
            Err(verdict) => verdict,
        };
        if !self.passed(Name::SlurmCommands, verdict) {
            let why = "Slurm's commands are not there";
            self.skip(&[Name::Slurmctld, Name::SlurmSettings, Name::Partition], why);
            return false;
        }
        self.begin(Name::Slurmctld);
        let verdict = match login::slurm(node, &ping::ping(), ping::read).await {
            Ok(up) => Verdict::ok(up),
            Err(verdict) => verdict,
        };
        if !self.passed(Name::Slurmctld, verdict) {
            self.skip(&[Name::SlurmSettings, Name::Partition], "slurmctld does not answer");
            return false;
        }
        self.begin(Name::SlurmSettings);
        let verdict = match login::slurm(node, &settings::show(), settings::read).await {
            Ok(seen) => judge::slurm::settings(&seen, section, &reached.config.worker),
            Err(verdict) => verdict,
        };
        self.end(Name::SlurmSettings, verdict);
        self.begin(Name::Partition);
        let verdict = match login::slurm(node, &partition::show(), partition::read).await {
            Ok(seen) => {
                self.longest = judge::slurm::longest(section, &seen);
                judge::slurm::partition(section, self.plan.nodes, &seen)
            }
            Err(verdict) => verdict,
        };
        self.end(Name::Partition, verdict);
        true
    }

    /// The program there and the workspace; both, if a launch can use them.
    async fn files(&mut self, reached: &Reached<'_>) -> Option<(String, WorkspaceFacts)> {
        let (node, root) = (&reached.node, &reached.slurm.root);
        self.begin(Name::Program);
        let binary = cluster::binary(reached.cluster, &self.plan.worker_command);
        let program = match node.deploy(root, &binary).await {
            Ok(program) => program,
            // The copy goes into the workspace, so it is that which fails.
            Err(trouble) if trouble.kind == TroubleKind::Storage => {
                self.end(Name::Workspace, judge::trouble(&trouble));
                self.skip(
                    &[Name::Program, Name::Storage, Name::Mailbox],
                    "the workspace cannot be used",
                );
                return None;
            }
            Err(trouble) => return self.no_program(judge::trouble(&trouble)),
        };
        if let Err(trouble) = node.try_program(&program).await {
            return self.no_program(judge::trouble(&trouble));
        }
        let version = codeswarm_protocol::VERSION;
        self.end(
            Name::Program,
            Verdict::ok(format!("codeswarm {version} starts on the login node: {program}")),
        );
        self.begin(Name::Workspace);
        let seen: WorkspaceFacts =
            match login::probe(node, &program, &["workspace", "--root", root], Vec::new(), ASKING).await {
                Ok(seen) => seen,
                Err(verdict) => {
                    self.end(Name::Workspace, verdict);
                    self.skip(&[Name::Storage, Name::Mailbox], "the workspace cannot be used");
                    return None;
                }
            };
        if !self.passed(Name::Workspace, judge::workspace::folders(&seen, &program)) {
            if seen.space.is_some() {
                self.end(Name::Storage, judge::workspace::room(&seen.host, seen.space));
            } else {
                self.skip(&[Name::Storage], "the workspace cannot be used");
            }
            self.skip(&[Name::Mailbox], "the workspace cannot be used");
            return None;
        }
        let stored = self.passed(Name::Storage, judge::workspace::storage(&seen));
        self.begin(Name::Mailbox);
        let verdict = self.mailbox(&seen, &program, root).await;
        let had = self.passed(Name::Mailbox, verdict);
        (stored && had).then_some((program, seen))
    }

    fn no_program<T>(&mut self, verdict: Verdict) -> Option<T> {
        self.end(Name::Program, verdict);
        let why = "they are looked at by the program there";
        self.skip(&[Name::Workspace, Name::Storage, Name::Mailbox], why);
        None
    }

    /// A follower is started as a link does it, unless somebody has the mailbox.
    async fn mailbox(&self, seen: &WorkspaceFacts, program: &str, root: &str) -> Verdict {
        let held = seen.held_by.as_deref();
        let (None, Some(session)) = (held, &self.session) else {
            return match held {
                Some(_) => judge::workspace::mailbox(held),
                None => Verdict::ok("nobody holds it"),
            };
        };
        match session.follow(program, root, WatchMode::Auto, Listen::Off).await {
            // Letting it go ends it.
            Ok(_follower) => judge::workspace::mailbox(None),
            Err(trouble) if trouble.kind == TroubleKind::MailboxHeld => judge::workspace::mailbox(Some(&trouble.what)),
            Err(trouble) => judge::trouble(&trouble),
        }
    }

    async fn batch_script(&self, reached: &Reached<'_>, program: &str) -> Verdict {
        let section = &reached.slurm.section;
        let Ok(swarm_id) = codeswarm_protocol::SwarmId::new("doctor") else {
            return Verdict::skipped("no name for it");
        };
        let job = codeswarm_slurm::BatchJob {
            node_count: self.plan.nodes,
            agents_per_node: section.agents_per_node.unwrap_or(1),
            ..core::batch_job(section, &reached.slurm, &swarm_id, program)
        };
        let call = match trial::test_only(&job) {
            Ok(call) => call,
            Err(error) => return Verdict::failure(error.to_string(), "correct the cluster.slurm section"),
        };
        match login::slurm(&reached.node, &call, trial::read_test).await {
            Ok(told) => judge::slurm::batch_script(self.plan.nodes, Ok(told)),
            Err(verdict) => verdict,
        }
    }
}
