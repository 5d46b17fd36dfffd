//! This node: who this process is on it, and the folders that the agent gets there.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use codeswarm_mailbox::Mailbox;
use codeswarm_protocol::{Place, VERSION};

use crate::core::Identity;
use crate::error::WorkerError;

/// This process, as `worker_start` names it.
pub fn identity() -> Identity {
    let kernel = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Identity {
        version: VERSION.to_owned(),
        host: host(|name| std::env::var(name).ok(), kernel.trim()),
        pid: std::process::id(),
        pid_started: fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(started),
    }
}

/// Slurm's name for this node, which people know it by; several of its nodes may be one machine. Else the kernel's.
fn host(variable: impl Fn(&str) -> Option<String>, kernel: &str) -> String {
    let set = |name| variable(name).filter(|value| !value.is_empty());
    let kernel = (!kernel.is_empty()).then(|| kernel.to_owned());
    set("SLURMD_NODENAME")
        .or(kernel)
        .or_else(|| set("HOSTNAME"))
        .unwrap_or_else(|| "unknown".to_owned())
}

/// Field 22 of `/proc/PID/stat` (proc_pid_stat(5)). The name, field 2, may hold anything, so it is counted from its end.
pub(crate) fn started(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(19)?.parse().ok()
}

fn failed<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> WorkerError + 'a {
    move |source| WorkerError::Folder {
        doing,
        path: path.to_owned(),
        source,
    }
}

/// Makes the agent's working directory, with `AGENTS.md` in it where the launch gives one. A file that is there stays:
/// an earlier life's agent may have written it.
pub fn working_directory(mailbox: &Mailbox, place: &Place, agents_md: Option<&str>) -> Result<PathBuf, WorkerError> {
    mailbox.make_folder(&mailbox.job_dir(&place.job_id))?;
    let folder = mailbox.run_dir(place);
    mailbox.make_folder(&folder)?;
    if let Some(content) = agents_md {
        let path = folder.join("AGENTS.md");
        if fs::symlink_metadata(&path).is_err() {
            let unfinished = folder.join(".AGENTS.md.new");
            write_private(&unfinished, content).map_err(failed("write", &unfinished))?;
            fs::rename(&unfinished, &path).map_err(failed("rename", &unfinished))?;
        }
    }
    Ok(folder)
}

fn write_private(path: &Path, content: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content.as_bytes())?;
    // On a shared filesystem an error may come as late as this, and later nobody would hear of it (write(2), close(2)).
    file.sync_all()
}

/// The agent's home, on a disk of this node: `<TMPDIR or /tmp>/codeswarm-<uid>/<JOB>_<NN>`, for its owner alone.
#[derive(Debug)]
pub struct Home(PathBuf);

impl Home {
    /// Where it would be.
    pub fn path_for(temporary: &Path, place: &Place) -> PathBuf {
        let user = rustix::process::geteuid().as_raw();
        temporary.join(format!("codeswarm-{user}")).join(place.stem())
    }

    /// Makes it, or takes the one that an earlier life left here.
    pub fn make(temporary: &Path, place: &Place) -> Result<Self, WorkerError> {
        let user = rustix::process::geteuid().as_raw();
        let home = Self::path_for(temporary, place);
        let base = temporary.join(format!("codeswarm-{user}"));
        make_own(&base, user)?;
        if make_own(&home, user).is_err() {
            // Another worker's end may have removed the folder above in between.
            make_own(&base, user)?;
            make_own(&home, user)?;
        }
        Ok(Self(home))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Removes it, at an orderly end.
    pub fn remove(self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(home = %self.0.display(), %error, "the agent's home could not be removed");
        }
        // The folder above goes with the last home in it.
        if let Some(base) = self.0.parent() {
            let _ = fs::remove_dir(base);
        }
    }
}

/// Makes a folder in a place where others may make folders too: what is there already must be ours.
fn make_own(folder: &Path, user: u32) -> Result<(), WorkerError> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed("make the folder", folder)(error)),
    }
    let seen = fs::symlink_metadata(folder).map_err(failed("look at", folder))?;
    let why = if !seen.is_dir() {
        "it is no folder".to_owned()
    } else if seen.uid() != user {
        format!("it belongs to user {}, who could read the agent's keys", seen.uid())
    } else if seen.mode() & 0o077 != 0 {
        format!("others may enter it (mode {:o})", seen.mode() & 0o7777)
    } else {
        return Ok(());
    };
    Err(WorkerError::Configuration(format!(
        "the folder {} for agents' homes is refused: {why}; remove it, or set TMPDIR to another folder of this node",
        folder.display()
    )))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use codeswarm_protocol::{JobId, NodeId};

    use super::*;

    fn place() -> Place {
        Place::new(JobId::new("7").unwrap(), NodeId::new(0).unwrap())
    }

    #[test]
    fn the_start_time_is_found_behind_any_name() {
        let stat = "12 (a ) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21";
        assert_eq!(started(stat), Some(4711));
        assert_eq!(started("12 (x) S 1"), None);
        assert!(identity().pid_started.is_some() || !cfg!(target_os = "linux"));
    }

    #[test]
    fn a_node_has_the_name_that_slurm_gives_it() {
        let in_slurm = |name: &str| (name == "SLURMD_NODENAME").then(|| "node3".to_owned());
        assert_eq!(host(in_slurm, "login1"), "node3");
        assert_eq!(host(|_| Some(String::new()), "login1"), "login1");
        assert_eq!(host(|_| None, "login1"), "login1");
        assert_eq!(host(|_| None, ""), "unknown");
    }

    #[test]
    fn a_home_is_private_and_goes_at_the_end() {
        let here = tempfile::tempdir().unwrap();
        let home = Home::make(here.path(), &place()).unwrap();
        fs::write(home.path().join("key"), "x").unwrap();
        let mode = fs::metadata(home.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let again = Home::make(here.path(), &place()).unwrap();
        assert!(again.path().join("key").exists(), "an earlier life's home is kept");
        again.remove();
        assert_eq!(fs::read_dir(here.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_home_that_others_may_enter_or_that_leads_elsewhere_is_refused() {
        let here = tempfile::tempdir().unwrap();
        let base = here
            .path()
            .join(format!("codeswarm-{}", rustix::process::geteuid().as_raw()));
        std::os::unix::fs::symlink("/", &base).unwrap();
        assert!(
            Home::make(here.path(), &place())
                .unwrap_err()
                .to_string()
                .contains("no folder")
        );
        fs::remove_file(&base).unwrap();
        fs::create_dir(&base).unwrap();
        fs::set_permissions(&base, fs::Permissions::from_mode(0o755)).unwrap();
        let refused = Home::make(here.path(), &place()).unwrap_err();
        assert!(refused.to_string().contains("mode 755"), "{refused}");
    }

    #[test]
    fn a_home_that_others_may_enter_is_refused_also_below_a_folder_of_ours() {
        let here = tempfile::tempdir().unwrap();
        let home = Home::make(here.path(), &place()).unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o750)).unwrap();
        let refused = Home::make(here.path(), &place()).unwrap_err();
        assert!(refused.to_string().contains("mode 750"), "{refused}");
    }

    #[test]
    fn a_home_of_another_user_is_refused_and_so_is_one_that_cannot_be_made() {
        let here = tempfile::tempdir().unwrap();
        let (us, folder) = (rustix::process::geteuid().as_raw(), here.path().join("home"));
        make_own(&folder, us).unwrap();
        let refused = make_own(&folder, us + 1).unwrap_err();
        assert!(
            refused.to_string().contains(&format!("belongs to user {us}")),
            "{refused}"
        );
        let missing = here.path().join("missing");
        let failed = Home::make(&missing, &place()).unwrap_err().to_string();
        assert!(
            failed.contains("make the folder") && failed.contains("missing"),
            "{failed}"
        );
    }

    #[test]
    fn a_home_that_is_gone_already_does_not_keep_the_folder_above_it() {
        let here = tempfile::tempdir().unwrap();
        let home = Home::make(here.path(), &place()).unwrap();
        fs::remove_dir(home.path()).unwrap();
        home.remove();
        assert_eq!(fs::read_dir(here.path()).unwrap().count(), 0);
    }

    #[test]
    fn agents_md_that_cannot_be_written_is_told_with_its_name() {
        let here = tempfile::tempdir().unwrap();
        let mailbox = Mailbox::at(here.path().join("root"));
        mailbox.create().unwrap();
        let unfinished = mailbox.run_dir(&place()).join(".AGENTS.md.new");
        working_directory(&mailbox, &place(), None).unwrap();
        fs::create_dir(&unfinished).unwrap();
        let failed = working_directory(&mailbox, &place(), Some("be brief"))
            .unwrap_err()
            .to_string();
        assert!(
            failed.contains("write") && failed.contains(".AGENTS.md.new"),
            "{failed}"
        );
    }

    #[test]
    fn agents_md_is_written_once() {
        let here = tempfile::tempdir().unwrap();
        let mailbox = Mailbox::at(here.path().join("root"));
        mailbox.create().unwrap();
        let folder = working_directory(&mailbox, &place(), Some("be brief")).unwrap();
        let path = folder.join("AGENTS.md");
        assert_eq!(fs::read_to_string(&path).unwrap(), "be brief");
        fs::write(&path, "changed by the agent").unwrap();
        working_directory(&mailbox, &place(), Some("be brief")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "changed by the agent");
    }
}
