//! From a text to a [`Config`]: the passes in their order, then the defaults that depend on other keys.

use std::path::{Path, PathBuf};
use std::time::Duration;

use codeswarm_protocol::doorbell::Listen;
use codeswarm_protocol::launch::{AgentKind, AgentSpec};

use crate::check::{Problem, check, dotted};
use crate::config::{Backend, Cluster, Config, Loaded, Router, SlurmCluster, Ssh};
use crate::environment::{Environment, expand_path, is_variable_name, pieces};
use crate::file::{
    BackendWord, ClusterSection, ConfigFile, DoorbellAddress, DoorbellSetting, DoorbellWord, RouterSection,
    SlurmSection, SshSection,
};
use crate::finding::{ConfigError, Finding, TextPosition};
use crate::located::Located;
use crate::rules;
use crate::shape::file_shape;
use crate::slurm;

/// Reads a configuration from its text.
///
/// `file` is what messages call it; relative paths of this machine are taken from `folder`, which is absolute.
/// All problems of one pass (syntax; keys and types; values and what depends on other keys) are reported together.
pub fn parse(text: &str, file: &Path, folder: &Path, environment: &Environment) -> Result<Loaded, ConfigError> {
    // Some editors begin a file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let findings = |mut problems: Vec<Problem>| -> Vec<Finding> {
        problems.sort_by_key(|problem| problem.offset);
        let finding = |problem: Problem| Finding {
            file: file.to_owned(),
            position: TextPosition::of_offset(text, problem.offset),
            key: problem.key,
            message: problem.message,
        };
        problems.into_iter().map(finding).collect()
    };
    let wrong = |problems| Err(ConfigError::Wrong(findings(problems)));
    let whole_file = |offset, message| {
        wrong(vec![Problem {
            offset,
            key: String::new(),
            message,
        }])
    };

    if text.trim().is_empty() {
        return whole_file(0, "the file is empty; the smallest configuration is `{}`".to_owned());
    }
    let tree = match Located::parse(text) {
        Ok(tree) => tree,
        Err(error) => return whole_file(error.offset, error.message),
    };
    let problems = check(&tree, &file_shape());
    if !problems.is_empty() {
        return wrong(problems);
    }
    let written: ConfigFile = match serde_json::from_str(text) {
        Ok(written) => written,
        // The check above is made from the same types and lets nothing through; should it ever, the file is still refused.
        Err(error) => return whole_file(tree.offset, error.to_string()),
    };
    let mut resolver = Resolver {
        tree: &tree,
        folder,
        environment,
        problems: vec![],
        warnings: vec![],
    };
    match resolver.config(written) {
        Some(config) if resolver.problems.is_empty() => Ok(Loaded {
            config,
            warnings: findings(resolver.warnings),
        }),
        _ => wrong(resolver.problems),
    }
}

struct Resolver<'a> {
    tree: &'a Located,
    folder: &'a Path,
    environment: &'a Environment,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Resolver<'_> {
    /// `None` only after a problem was reported.
    fn config(&mut self, written: ConfigFile) -> Option<Config> {
        let agent_kind = self.tree.member("agent").and_then(|agent| agent.value.member("kind"));
        let kind_is_written = agent_kind.is_some();
        let cluster = self.cluster(written.ssh, written.cluster);
        let agent = self.agent(
            written.agent,
            kind_is_written,
            cluster.as_ref().map(|cluster| &cluster.backend),
        );
        let router = self.router(written.router, cluster.as_ref());
        Some(Config {
            cluster: cluster?,
            router: router?,
            agent,
            worker: written.worker,
        })
    }

    fn cluster(&mut self, ssh: Option<SshSection>, cluster: ClusterSection) -> Option<Cluster> {
        let backend = match (cluster.backend, &ssh) {
            (Some(word), _) => word,
            (None, Some(_)) => BackendWord::Slurm,
            (None, None) => BackendWord::Local,
        };
        if backend == BackendWord::Local {
            let unused: [(&[&str], bool); 4] = [
                (&["ssh"], ssh.is_some()),
                (&["cluster", "slurm"], cluster.slurm.is_some()),
                (&["cluster", "remote_binary"], cluster.remote_binary.is_some()),
                (&["cluster", "binary"], cluster.binary.is_some()),
            ];
            for (path, _) in unused.into_iter().filter(|(_, written)| *written) {
                self.warn(
                    path,
                    "is not used by the local backend; set cluster.backend to \"slurm\", or take it out",
                );
            }
        }
        let is_remote = backend == BackendWord::Slurm && ssh.is_some();
        let workspace_root = match (&cluster.workspace_root, backend) {
            (Some(text), _) => self.shared_path(&["cluster", "workspace_root"], text, is_remote),
            (None, BackendWord::Local) => self.own_state_folder(&["cluster", "workspace_root"]),
            (None, BackendWord::Slurm) => {
                let message = "is missing; with Slurm it is the absolute path of a folder that login node and compute nodes share";
                self.problem(&["cluster", "workspace_root"], message);
                None
            }
        };
        let cluster_subdir = cluster.cluster_subdir.unwrap_or_else(|| match backend {
            BackendWord::Local => "local".to_owned(),
            BackendWord::Slurm => "codeswarm".to_owned(),
        });
        self.hold(&["cluster", "cluster_subdir"], rules::cluster_subdir(&cluster_subdir));
        let remote_binary = match &cluster.remote_binary {
            Some(text) => self.shared_path(&["cluster", "remote_binary"], text, is_remote),
            None => None,
        };
        if cluster.binary.is_some() && cluster.remote_binary.is_some() {
            let message = "stands beside cluster.remote_binary; keep this one to have it deployed, or that one to run what is installed";
            self.problem(&["cluster", "binary"], message);
        }
        let binary = self.optional_own_path(&["cluster", "binary"], cluster.binary.as_deref());
        let doorbell = self.doorbell(&cluster.doorbell);
        let slurm = self.slurm(cluster.slurm.unwrap_or_default());
        let ssh = ssh.and_then(|ssh| self.ssh(ssh));
        let backend = match backend {
            BackendWord::Local => Backend::Local,
            BackendWord::Slurm => Backend::Slurm(SlurmCluster {
                ssh,
                remote_binary,
                binary,
                slurm,
            }),
        };
        Some(Cluster {
            backend,
            workspace_root: workspace_root?,
            // Taking it apart and together drops doubled and trailing slashes.
            cluster_subdir: Path::new(&cluster_subdir).components().collect(),
            watch: cluster.watch,
            doorbell,
        })
    }

    fn doorbell(&mut self, setting: &DoorbellSetting) -> Listen {
        match setting {
            DoorbellSetting::Word(DoorbellWord::Auto) => Listen::Auto,
            DoorbellSetting::Word(DoorbellWord::Off) => Listen::Off,
            DoorbellSetting::At(DoorbellAddress { listen }) => match listen.parse() {
                Ok(listen @ Listen::At(_)) => listen,
                // A word does not belong here.
                _ => {
                    let message = "is no IP address of the login node, with or without a port, such as `10.0.0.7` or `10.0.0.7:4711`";
                    self.problem(&["cluster", "doorbell", "listen"], message);
                    Listen::Off
                }
            },
        }
    }

    fn ssh(&mut self, ssh: SshSection) -> Option<Ssh> {
        self.hold(&["ssh", "login_alias"], rules::login_alias(&ssh.login_alias));
        Some(Ssh {
            control_path: self.optional_own_path(&["ssh", "control_path"], ssh.control_path.as_deref()),
            config_file: self.optional_own_path(&["ssh", "config_file"], ssh.config_file.as_deref()),
            login_alias: ssh.login_alias,
        })
    }

    fn slurm(&mut self, mut slurm: SlurmSection) -> SlurmSection {
        for broken in slurm::broken_rules(&slurm) {
            let index = broken.index.map(|index| index.to_string());
            let path = ["cluster", "slurm", broken.key].into_iter().chain(index.as_deref());
            self.problem(&path.collect::<Vec<_>>(), &broken.message);
        }
        if let Some(template) = slurm.template.take() {
            slurm.template = self.own_path(&["cluster", "slurm", "template"], &template.to_string_lossy());
        }
        slurm
    }

    fn router(&mut self, router: RouterSection, cluster: Option<&Cluster>) -> Option<Router> {
        let state_dir = match &router.state_dir {
            Some(text) => self.own_path(&["router", "state_dir"], text),
            None => {
                let state = self.own_state_folder(&["router", "state_dir"])?;
                Some(state.join(format!("router-{:016x}", mailbox_fingerprint(cluster?))))
            }
        };
        Some(Router {
            inject_timeout: Duration::from_secs(router.inject_timeout_seconds),
            state_dir: state_dir?,
            max_prompt_bytes: router.max_prompt_bytes,
            idle_exit: router.idle_exit_seconds.map(Duration::from_secs),
        })
    }

    fn agent(&mut self, mut agent: AgentSpec, kind_is_written: bool, backend: Option<&Backend>) -> AgentSpec {
        if !kind_is_written && matches!(backend, Some(Backend::Slurm(_))) {
            agent.kind = AgentKind::Codex;
        }
        if let Some(command) = &mut agent.command {
            self.command(command, backend);
            if agent.kind == AgentKind::Echo {
                self.warn(
                    &["agent", "command"],
                    "is not used by the agent \"echo\", which is built in; is agent.kind missing?",
                );
            }
        }
        for (name, value) in &agent.env {
            let path = ["agent", "env", name.as_str()];
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                self.problem(
                    &path,
                    "is not a variable of an environment; a name has no `=`, and neither name nor value a NUL",
                );
            }
            match pieces(value) {
                Err(error) => self.problem(&path, &error.to_string()),
                Ok(_) if rules::names_a_secret(name) && !value.is_empty() && !value.contains("${") => self.warn(
                    &path,
                    &format!(
                        "looks like a secret in a file; write \"${{{name}}}\" and set it in the worker's environment"
                    ),
                ),
                Ok(_) => {}
            }
        }
        if agent.api_key_env.as_ref().is_some_and(|name| !is_variable_name(name)) {
            // The value may be the key itself, so it is not repeated.
            let message = "is not the name of a variable; write the variable's name here, never the key";
            self.problem(&["agent", "api_key_env"], message);
        }
        agent
    }

    /// A bare name is looked up on the PATH where the agent runs; anything else must be a path that is right there.
    fn command(&mut self, command: &mut [String], backend: Option<&Backend>) {
        let program_path = ["agent", "command", "0"];
        match (command.first_mut(), backend) {
            (None, _) => self.problem(&["agent", "command"], "is empty; its first item is the program"),
            (Some(program), _) if program.is_empty() => self.problem(&program_path, "is empty; it is the program"),
            (Some(program), Some(Backend::Local)) if program.contains('/') => {
                if let Some(path) = self.own_path(&program_path, program) {
                    *program = path.to_string_lossy().into_owned();
                }
            }
            (Some(program), Some(Backend::Slurm(_))) if program.contains('/') => {
                let or_bare =
                    |message| format!("{message}; or write a program's name alone, to be found on the PATH there");
                self.hold(&program_path, rules::remote_path(program).map_err(or_bare));
            }
            (Some(_), _) => {}
        }
    }

    /// A path of this machine.
    fn own_path(&mut self, path: &[&str], text: &str) -> Option<PathBuf> {
        expand_path(text, self.folder, self.environment)
            .map_err(|message| self.problem(path, &message))
            .ok()
    }

    /// A path that the nodes know: on the cluster, unless the router itself is there.
    fn shared_path(&mut self, path: &[&str], text: &str, is_remote: bool) -> Option<PathBuf> {
        if !is_remote {
            return self.own_path(path, text);
        }
        self.hold(path, rules::remote_path(text));
        Some(Path::new(text).components().collect())
    }

    /// A path of this machine that may be absent; also `None` after a problem was reported.
    fn optional_own_path(&mut self, path: &[&str], text: Option<&str>) -> Option<PathBuf> {
        self.own_path(path, text?)
    }

    /// `codeswarm` in the user's state folder, the default of `path`.
    fn own_state_folder(&mut self, path: &[&str]) -> Option<PathBuf> {
        let folder = self.environment.state_home().map(|home| home.join("codeswarm"));
        if folder.is_none() {
            self.problem(
                path,
                "has no default, since neither XDG_STATE_HOME nor HOME is an absolute path; set one, or write the key",
            );
        }
        folder
    }

    fn hold(&mut self, path: &[&str], rule: Result<(), String>) {
        if let Err(message) = rule {
            self.problem(path, &message);
        }
    }

    fn problem(&mut self, path: &[&str], message: &str) {
        let problem = self.at(path, message);
        self.problems.push(problem);
    }

    fn warn(&mut self, path: &[&str], message: &str) {
        let warning = self.at(path, message);
        self.warnings.push(warning);
    }

    /// A problem at the value of `path`, or at the innermost object on the way to it that is there.
    fn at(&self, path: &[&str], message: &str) -> Problem {
        let mut here = Some(self.tree);
        let mut offset = self.tree.offset;
        let mut key = String::new();
        for step in path {
            let index = step.parse().ok();
            match index.and_then(|index| here?.item(index)) {
                Some(item) => {
                    key = format!("{key}[{step}]");
                    here = Some(item);
                }
                None => {
                    key = dotted(&key, step);
                    here = here.and_then(|value| value.member(step)).map(|member| &member.value);
                }
            }
            offset = here.map_or(offset, |value| value.offset);
        }
        Problem {
            offset,
            key,
            message: message.to_owned(),
        }
    }
}

/// The same number for the same mailbox, in every version of this software: state found under it must stay found.
/// (64-bit FNV-1a over the parts, each ended by a NUL, which none of them has. An alias of another ssh configuration file
/// is another host, so that file is the fifth part where there is one.)
fn mailbox_fingerprint(cluster: &Cluster) -> u64 {
    let (backend, login_alias) = match &cluster.backend {
        Backend::Local => ("local", ""),
        Backend::Slurm(slurm) => ("slurm", slurm.ssh.as_ref().map_or("", |ssh| ssh.login_alias.as_str())),
    };
    let config_file = match &cluster.backend {
        Backend::Slurm(slurm) => slurm.ssh.as_ref().and_then(|ssh| ssh.config_file.as_deref()),
        Backend::Local => None,
    };
    let parts = [
        login_alias.as_bytes(),
        backend.as_bytes(),
        cluster.workspace_root.as_os_str().as_encoded_bytes(),
        cluster.cluster_subdir.as_os_str().as_encoded_bytes(),
    ];
    let config_file = config_file.map(|file| file.as_os_str().as_encoded_bytes());
    let bytes = parts
        .into_iter()
        .chain(config_file)
        .flat_map(|part| part.iter().chain(&[0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
