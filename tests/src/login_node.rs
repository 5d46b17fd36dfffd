//! A login node for one test: an sshd of its own in front of the test cluster, which the test can kill, freeze and start
//! again, and whose sessions it can list.

mod files;

pub use files::free_port;

pub(crate) use files::make_key;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::PATIENCE;
use crate::cli::{Output, run};
use crate::cluster::TestCluster;
use crate::processes::{self, Process};
use crate::workspace::wait_until;

/// In the environment of all that the sessions run, with the login node's folder.
const MARK: &str = "LOGIN_NODE_OF_TEST";

/// How one is set up.
#[derive(Debug, Default, Clone)]
pub struct LoginOptions {
    /// A folder that comes first on the sessions' PATH: see [`Fakes::programs`](crate::fakes::Fakes::programs).
    pub programs: Option<PathBuf>,
    /// Further variables of the sessions, or other values for those that they have.
    pub environment: Vec<(String, String)>,
    /// What the login shell prints before it runs a command, as a profile that greets its user does.
    pub noise: Option<String>,
    /// Asks for a second factor behind the key.
    pub second_factor: bool,
    /// Further lines for sshd's configuration, such as `MaxSessions 1`. The first of several with the same keyword
    /// counts, and these come first.
    pub sshd_lines: Vec<String>,
}

/// The login node. Its sshd and all that its sessions run are ended when it is dropped.
pub struct LoginNode {
    cluster: TestCluster,
    folder: PathBuf,
    workspace: PathBuf,
    port: u16,
    sshd: Option<Child>,
}

impl LoginNode {
    /// The alias in [`LoginNode::ssh_config`].
    pub const ALIAS: &str = "testlogin";

    /// Starts one whose files are in a new folder `login` of a test's workspace folder, and whose sessions have `home`
    /// and `tmp` there as HOME and TMPDIR.
    pub fn start(cluster: &TestCluster, workspace: &Path, options: &LoginOptions) -> Self {
        let mut login = Self {
            cluster: cluster.clone(),
            folder: workspace.join("login"),
            workspace: workspace.to_owned(),
            port: 0,
            sshd: None,
        };
        login.make_keys();
        // A port that was free may not be any more.
        for _ in 0..5 {
            login.port = files::free_port();
            login.configure(options);
            if login.spawn() {
                return login;
            }
        }
        panic!("sshd does not start:\n{}", login.log());
    }

    /// Its port on 127.0.0.1, the same for its whole life.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The ssh configuration that knows it.
    pub fn ssh_config(&self) -> PathBuf {
        self.folder.join("ssh_config")
    }

    /// What its sshd says about connections.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("sshd.log")).unwrap_or_default()
    }

    /// A connection of its own, apart from Codeswarm's, that runs a command of the remote shell.
    pub fn ssh(&self, command: &str) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.arg("-F").arg(self.ssh_config()).args([Self::ALIAS, command]);
        ssh
    }

    /// Runs a command there to its end.
    pub fn run(&self, command: &str) -> Output {
        run(self.ssh(command), b"")
    }

    /// What its sessions run, or have left running: not sshd itself, and not the jobs that they have submitted.
    pub fn processes(&self) -> Vec<Process> {
        let folder = self.folder.display().to_string();
        processes::all(|pid| {
            processes::variable(pid, MARK).as_deref() == Some(&folder)
                && processes::variable(pid, "SLURM_JOB_ID").is_none()
        })
    }

    /// Those of them whose command line contains `part`.
    pub fn processes_named(&self, part: &str) -> Vec<Process> {
        let mut found = self.processes();
        found.retain(|process| process.command_line.contains(part));
        found
    }

    /// sshd's own processes for the connections that there are: at least one for each.
    pub fn sessions(&self) -> Vec<Process> {
        Self::sessions_of(self.listener())
    }

    /// Waits until its sessions run nothing any more and nobody is connected.
    pub fn wait_until_quiet(&self) {
        wait_until("nothing is left on the login node", || {
            match (self.processes(), self.sessions()) {
                (running, sessions) if running.is_empty() && sessions.is_empty() => Ok(()),
                left => Err(format!("{left:#?}")),
            }
        });
    }

    /// Cuts all connections at once; new ones are taken. What the sessions run hears of it as it would anywhere: its
    /// pipes are closed.
    pub fn cut(&self) {
        for session in self.sessions() {
            self.send(&session, Signal::KILL);
        }
    }

    /// The node dies: sshd, its connections, and all that its sessions run.
    pub fn kill(&mut self) {
        self.refuse();
        for process in self.processes() {
            self.send(&process, Signal::KILL);
        }
    }

    /// Cuts all connections and takes no new ones, as a network that is down; what the sessions ran lives as long as it
    /// likes. [`LoginNode::start_again`] ends it.
    pub fn refuse(&mut self) {
        let Some(mut sshd) = self.sshd.take() else { return };
        let listener = i32::try_from(sshd.id()).ok();
        self.signal_listener(listener, Signal::STOP);
        let sessions = Self::sessions_of(listener);
        let _ = sshd.kill();
        let _ = sshd.wait();
        for session in &sessions {
            self.send(session, Signal::KILL);
        }
    }

    /// sshd takes connections again, on the same port, after [`LoginNode::kill`] or [`LoginNode::refuse`].
    pub fn start_again(&mut self) {
        assert!(self.sshd.is_none(), "sshd runs");
        assert!(self.spawn(), "sshd does not start again:\n{}", self.log());
    }

    /// The same in another set-up; connections are cut.
    pub fn start_again_with(&mut self, options: &LoginOptions) {
        self.refuse();
        self.configure(options);
        self.start_again();
    }

    /// Nothing goes through the connections any more, and none is closed: as a network that swallows everything.
    pub fn freeze(&self) {
        self.send_to_sshd(Signal::STOP);
    }

    /// Everything that was sent meanwhile goes through.
    pub fn thaw(&self) {
        self.send_to_sshd(Signal::CONT);
    }

    fn send_to_sshd(&self, signal: Signal) {
        // The listener first: it starts nothing while the others are looked for.
        self.signal_listener(self.listener(), signal);
        for session in self.sessions() {
            self.send(&session, signal);
        }
    }

    fn listener(&self) -> Option<i32> {
        i32::try_from(self.sshd.as_ref()?.id()).ok()
    }

    /// It is a child that was not waited for, so its id is its own.
    fn signal_listener(&self, listener: Option<i32>, signal: Signal) {
        if let Some(pid) = listener.and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    fn sessions_of(listener: Option<i32>) -> Vec<Process> {
        let mut found = listener.map(processes::descendants).unwrap_or_default();
        found.retain(|process| process.command_line.starts_with("sshd: "));
        found
    }

    /// A signal for a process that was just listed.
    fn send(&self, process: &Process, signal: Signal) {
        processes::signal_if(process, signal, |pid| {
            processes::all(|other| other == pid)
                .iter()
                .any(|now| now.command_line == process.command_line)
        });
    }

    /// Starts sshd; says whether it listens.
    fn spawn(&mut self) -> bool {
        let log = std::fs::File::options()
            .append(true)
            .create(true)
            .open(self.folder.join("sshd.log"))
            .unwrap_or_else(|error| panic!("{}: {error}", self.folder.display()));
        let mut command = self.cluster.on_the_login_side(files::sshd());
        command
            .args(["-D", "-e", "-f"])
            .arg(self.folder.join("sshd_config"))
            .env("WORKSPACE_OF_TEST", &self.workspace)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let mut sshd = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let deadline = Instant::now() + PATIENCE;
        loop {
            if sshd.try_wait().is_ok_and(|status| status.is_some()) {
                return false;
            }
            if std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                self.sshd = Some(sshd);
                return true;
            }
            assert!(Instant::now() < deadline, "sshd does not listen:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for LoginNode {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "-- on the login node: {:#?}\n-- sshd:\n{}",
                self.processes(),
                self.log()
            );
        }
        self.kill();
    }
}
