//! The test cluster: a real Slurm of four nodes on this machine, as `tests/cluster/up` makes it.
//!
//! `tests/run` brings one up for all tests and says where it is in `CODESWARM_TEST_CLUSTER`. Without that the first
//! test of a process that needs one brings it up, and the last one takes it down.

mod jobs;

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tempfile::TempDir;

use crate::cli::{Output, run};
use crate::small_disk::SmallDisk;
use crate::workspace::wait_until;

/// How many nodes it has: `node0` to `node3`, in the partitions `compute`, `short` (one minute at most) and `closed`
/// (where jobs only wait).
pub const NODES: u32 = 4;

/// The cluster. Its value is the right to use it: other tests use it at the same time, unless this one has it
/// [`alone`](Self::alone). What they run there is their own business, so a test looks at its own jobs only.
#[derive(Clone)]
pub struct TestCluster {
    running: Arc<Running>,
    turn: Arc<Turn>,
}

/// A lock on the cluster's `turn` file: shared, or by the one test that disturbs others.
struct Turn {
    running: Arc<Running>,
    alone: bool,
    _file: File,
}

/// One that is up; taken down when this test process brought it up.
struct Running {
    dir: PathBuf,
    own: Option<TempDir>,
}

/// The one of this process, while a test has it.
static OF_THIS_PROCESS: Mutex<Weak<Running>> = Mutex::new(Weak::new());

impl TestCluster {
    /// What must be installed.
    pub const PROGRAMS: [&str; 6] = ["slurmctld", "slurmd", "sbatch", "munged", "sshd", "ssh"];

    /// The one that is up, or a new one. Waits while another test has it alone.
    pub fn get() -> Self {
        if let Some(dir) = std::env::var_os("CODESWARM_TEST_CLUSTER") {
            let dir = PathBuf::from(dir);
            return Self::of(Arc::new(Running { dir, own: None }));
        }
        let mut slot = OF_THIS_PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
        let running = slot.upgrade().unwrap_or_else(|| Running::up(&[], None, |_| ()).0);
        *slot = Arc::downgrade(&running);
        drop(slot);
        Self::of(running)
    }

    /// One for its caller alone, of so many nodes.
    pub fn of_nodes(count: u32) -> Self {
        Self::of(Running::up(&["--nodes", &count.to_string()], None, |_| ()).0)
    }

    /// One for this test alone, whose nodes see [`TestCluster::work`] through other mounts than the login node does.
    pub fn with_views() -> Self {
        Self::of(Running::up(&["--fuse"], None, |_| ()).0)
    }

    /// The same, where what is shared lies on a small disk.
    pub fn with_views_of_a_small_disk(megabytes: u32) -> (Self, SmallDisk) {
        let on_a_small_disk = |dir: &Path| SmallDisk::mount(&dir.join("work"), megabytes);
        let (running, disk) = Running::up(&["--fuse"], None, on_a_small_disk);
        (Self::of(running), disk)
    }

    /// The same with the vices of NFS: see [`HostFs`](crate::hostfs::HostFs). The options are codeswarm-hostfs's own.
    pub fn hostile(hostfs: &Path, options: &[&str]) -> Self {
        let option = format!("--hostfs={}", options.join(" "));
        Self::of(Running::up(&[&option], Some(hostfs), |_| ()).0)
    }

    fn of(running: Arc<Running>) -> Self {
        let turn = Arc::new(Turn::take(&running, false));
        Self { running, turn }
    }

    /// For a test that disturbs others, such as one that restarts slurmctld: waits until it is the only one. In the end
    /// all daemons run again.
    #[must_use]
    pub fn alone(self) -> Self {
        let Self { running, turn } = self;
        assert_eq!(
            Arc::strong_count(&turn),
            1,
            "a clone of this cluster would wait for itself"
        );
        drop(turn);
        let turn = Arc::new(Turn::take(&running, true));
        Self { running, turn }
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.running.dir
    }

    /// The configuration of its Slurm.
    pub fn slurm_conf(&self) -> PathBuf {
        self.dir().join("slurm.conf")
    }

    /// The ssh configuration with the alias `testcluster` for its own login node. Tests mostly want a
    /// [`LoginNode`](crate::login_node::LoginNode) of their own.
    pub fn ssh_config(&self) -> PathBuf {
        self.dir().join("ssh_config")
    }

    /// The shared folder, by the name that it has everywhere.
    pub fn work(&self) -> PathBuf {
        self.dir().join("work")
    }

    /// Whether login node and compute nodes have views of their own of [`TestCluster::work`].
    pub fn has_views(&self) -> bool {
        self.recorded("fuse-login").is_some()
    }

    /// The shared folder as the login node sees it, from outside.
    pub fn work_on_the_login_side(&self) -> PathBuf {
        self.seen_by("fuse-login")
    }

    /// The shared folder as the nodes see it, from outside.
    pub fn work_on_the_compute_side(&self) -> PathBuf {
        self.seen_by("fuse-compute")
    }

    /// A program where the login node's filesystems are mounted.
    pub fn on_the_login_side(&self, program: impl AsRef<OsStr>) -> Command {
        match self.recorded("fuse-login") {
            Some(pid) => {
                let mut command = Command::new("nsenter");
                command
                    .arg(format!("--mount=/proc/{pid}/ns/mnt"))
                    .arg("--")
                    .arg(program);
                command
            }
            None => Command::new(program),
        }
    }

    fn seen_by(&self, view: &str) -> PathBuf {
        match self.recorded(view) {
            Some(pid) => PathBuf::from(format!("/proc/{pid}/root{}", self.work().display())),
            None => self.work(),
        }
    }

    /// The process that holds a view's mount, in a cluster that has views.
    fn recorded(&self, name: &str) -> Option<u32> {
        let record = std::fs::read_to_string(self.dir().join("pids").join(name)).ok()?;
        record.split_whitespace().next()?.parse().ok()
    }

    /// Runs one of Slurm's commands, and returns what it printed.
    #[track_caller]
    pub fn slurm(&self, command: &[&str]) -> String {
        let output = self.try_slurm(command);
        assert!(output.status.success(), "{command:?}: {output:#?}");
        output.stdout.trim_end().to_owned()
    }

    /// The same for one that may fail.
    #[track_caller]
    pub fn try_slurm(&self, command: &[&str]) -> Output {
        let [program, arguments @ ..] = command else {
            panic!("an empty command");
        };
        let mut command = Command::new(program);
        command.args(arguments).env("SLURM_CONF", self.slurm_conf());
        run(command, b"")
    }

    /// Stops slurmctld; Slurm's commands fail until it is started again.
    pub fn stop_slurmctld(&self) {
        self.daemon("stop", "slurmctld");
    }

    /// Starts slurmctld again, and waits until it answers.
    pub fn start_slurmctld(&self) {
        self.daemon("start", "slurmctld");
        self.wait_until_it_answers();
    }

    /// Ends slurmctld and starts it again at once, and waits until it answers.
    pub fn restart_slurmctld(&self) {
        self.daemon("restart", "slurmctld");
        self.wait_until_it_answers();
    }

    /// Does `stop`, `kill`, `start`, `restart`, `freeze` or `thaw` to a daemon such as `slurmctld` or `node2`.
    pub fn daemon(&self, action: &str, name: &str) {
        let mut command = Command::new(script("daemon"));
        command.arg(self.dir()).args([action, name]);
        run(command, b"").success();
    }

    /// A node is lost to Slurm, which ends or requeues what runs there.
    pub fn node_down(&self, node: &str) {
        let name = format!("nodename={node}");
        self.slurm(&["scontrol", "update", &name, "state=down", "reason=test"]);
    }

    /// The node is back.
    pub fn node_resume(&self, node: &str) {
        let name = format!("nodename={node}");
        // Slurm refuses this for a node that is back already.
        wait_until("the node is back", || {
            let output = self.try_slurm(&["scontrol", "update", &name, "state=resume"]);
            let state = self.slurm(&[
                "sinfo",
                "--noheader",
                "--nodes",
                node,
                "--partition=compute",
                "--format=%T",
            ]);
            if state.starts_with("down") || state.starts_with("drain") {
                Err(format!("{state}: {}", output.stderr))
            } else {
                Ok(())
            }
        });
    }

    /// Waits until this many nodes have nothing to do.
    pub fn wait_for_idle_nodes(&self, count: u32) {
        wait_until("idle nodes", || {
            let states = self.slurm(&["sinfo", "--noheader", "--partition=compute", "--Node", "--format=%N %t"]);
            let idle = states.lines().filter(|line| line.ends_with(" idle")).count();
            if idle == count as usize { Ok(()) } else { Err(states) }
        });
    }

    /// Has all daemons run and all nodes up, whatever a test has left.
    pub fn repair(&self) {
        self.running.repair();
    }

    fn wait_until_it_answers(&self) {
        wait_until("slurmctld answers", || {
            let output = self.try_slurm(&["squeue", "--noheader"]);
            if output.status.success() {
                Ok(())
            } else {
                Err(output.stderr)
            }
        });
    }
}

impl Running {
    /// Brings one up in a new folder, which can be made ready before.
    fn up<T>(options: &[&str], hostfs: Option<&Path>, before: impl FnOnce(&Path) -> T) -> (Arc<Self>, T) {
        let own = tempfile::Builder::new().prefix("cs-cluster-").tempdir();
        let own = own.unwrap_or_else(|error| panic!("no temporary folder: {error}"));
        let dir = own.path().to_owned();
        let made = before(&dir);
        let running = Self { dir, own: Some(own) };
        let mut command = Command::new(script("up"));
        if let Some(hostfs) = hostfs {
            command.env("CODESWARM_HOSTFS", hostfs);
        }
        command
            .args(options)
            .args(["--for", &std::process::id().to_string()])
            .arg(&running.dir);
        run(command, b"").success();
        (Arc::new(running), made)
    }

    /// Fails in no way: it runs also while a test fails.
    fn repair(&self) {
        let succeeds = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
        let nodes = (0..NODES).map(|node| format!("node{node}"));
        for name in std::iter::once("slurmctld".to_owned()).chain(nodes) {
            let act = |action: &str| {
                succeeds(
                    Command::new(script("daemon"))
                        .arg(&self.dir)
                        .args([action, name.as_str()]),
                )
            };
            // What runs can be told to go on; what does not is started.
            let _ = act("thaw") || act("start");
        }
        let slurm = |program: &str, arguments: &[&str]| {
            succeeds(
                Command::new(program)
                    .args(arguments)
                    .env("SLURM_CONF", self.dir.join("slurm.conf")),
            )
        };
        for _ in 0..50 {
            if slurm("squeue", &["--noheader"]) {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        // Refused for those that are up.
        for node in 0..NODES {
            slurm("scontrol", &["update", &format!("nodename=node{node}"), "state=resume"]);
        }
    }
}

impl Turn {
    fn take(running: &Arc<Running>, alone: bool) -> Self {
        let path = running.dir.join("turn");
        let file = File::create(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let locked = if alone { file.lock() } else { file.lock_shared() };
        locked.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self {
            running: Arc::clone(running),
            alone,
            _file: file,
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.alone {
            self.running.repair();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.own.is_some() {
            let outcome = Command::new(script("down")).arg(&self.dir).output();
            if !outcome.is_ok_and(|output| output.status.success()) {
                eprintln!("the cluster in {} could not be taken down", self.dir.display());
            }
        }
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster").join(name)
}
