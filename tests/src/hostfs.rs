//! The hostile filesystem below a test cluster's workspace: the login node and the compute nodes are clients of one server,
//! with caches of their own, and what goes wrong is commanded here.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use crate::cluster::TestCluster;

/// The filesystem of a cluster that [`TestCluster::hostile`] has made.
pub struct HostFs {
    socket: PathBuf,
}

impl HostFs {
    /// The one of this cluster.
    pub fn of(cluster: &TestCluster) -> Self {
        Self::at(&cluster.dir().join("hostfs.sock"))
    }

    /// One whose control socket this is.
    pub fn at(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// Something is to go wrong from now on, in the words of `codeswarm_hostfs::faults::Command`. The clients are
    /// `login` and `compute`.
    #[track_caller]
    pub fn command(&self, line: &str) {
        let answer = self.answer(line);
        assert_eq!(answer, "ok", "{line}");
    }

    /// All is well from now on. Fails if nothing has gone wrong since the filesystem was mounted.
    #[track_caller]
    pub fn heal(&self) {
        let answer = self.answer("heal");
        assert_ne!(answer, "faults=0", "nothing has gone wrong");
    }

    /// How often something has gone wrong, and how often clients were told what was not so any more, by name:
    /// `faults`, `stale_sizes`, `stale_absences`, `stale_names`, `nul_reads`.
    pub fn told(&self) -> BTreeMap<String, u64> {
        let answer = self.answer("told");
        let counts = answer.split_whitespace().filter_map(|count| count.split_once('='));
        counts
            .map(|(name, count)| {
                let count = count
                    .parse()
                    .unwrap_or_else(|_| panic!("codeswarm-hostfs said {answer:?}"));
                (name.to_owned(), count)
            })
            .collect()
    }

    /// Fails unless clients were deceived in each of these ways: what was not met was not withstood.
    #[track_caller]
    pub fn assert_told(&self, names: &[&str]) {
        let told = self.told();
        for name in names {
            assert!(told[*name] > 0, "no {name}: {told:?}");
        }
        println!("{told:?}");
    }

    fn answer(&self, line: &str) -> String {
        let talk = || {
            let mut stream = UnixStream::connect(&self.socket)?;
            writeln!(stream, "{line}")?;
            let mut answer = String::new();
            BufReader::new(stream).read_line(&mut answer)?;
            std::io::Result::Ok(answer.trim_end().to_owned())
        };
        talk().unwrap_or_else(|error| panic!("{}: {line}: {error}", self.socket.display()))
    }
}
