//! Where the mailbox's files lie, how its folders are made, and who may touch them.
//!
//! ```text
//! <root>/mailbox/inbox/<JOB>_<NN>.jsonl       written by the follower, read by the worker
//! <root>/mailbox/outbox/<JOB>_<NN>.jsonl      written by the worker, read by the follower
//! <root>/mailbox/archive/<JOB>_<NN>.jsonl     the outbox, renamed by its worker at the end
//! <root>/mailbox/doorbell.json                where the follower hears hints of the workers, if it does
//! <root>/launch/<SWARM>.json                  what a swarm is launched with, written before its job has a number
//! <root>/runs/<JOB>/launch.json               what a local job was launched with
//! <root>/runs/<JOB>/node_<NN>/                the agent's working directory
//! <root>/runs/<JOB>/node_<NN>.heartbeat       the worker lives
//! <root>/runs/<JOB>/node_<NN>.session/        what resuming the agent's conversation needs
//! ```
//!
//! Names are made from checked ids only, so none can leave its folder.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use codeswarm_protocol::{JobId, Place, SwarmId};

use crate::error::MailboxError;
use crate::filesystem::FilesystemKind;
use crate::storage::{Disk, Storage};

/// Who may touch the mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// Its owner: folders 0700, files 0600.
    #[default]
    Owner,
    /// Its owner and the folder's group: folders 2770, files 0660. The group can then run code as the owner.
    Group,
}

impl Access {
    pub(crate) fn folder_mode(self) -> u32 {
        match self {
            Self::Owner => 0o700,
            Self::Group => 0o2770,
        }
    }

    /// The mode of a new file.
    pub(crate) fn file_mode(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::Group => 0o660,
        }
    }

    /// The mode bits that nobody else may have.
    pub(crate) fn forbidden(self) -> u32 {
        match self {
            Self::Owner => 0o022,
            Self::Group => 0o002,
        }
    }
}

/// Where an outbox is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Located {
    /// In `outbox/`.
    Outbox,
    /// In `archive/`.
    Archive,
    /// Under neither name.
    Nowhere,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    access: Access,
    kind: OnceLock<FilesystemKind>,
    storage: Arc<dyn Storage>,
}

/// A mailbox by its root folder. Cheap to clone; making one touches no file.
#[derive(Debug, Clone)]
pub struct Mailbox(Arc<Inner>);

impl Mailbox {
    /// The mailbox under `<workspace_root>/<cluster_subdir>`, for its owner alone.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self::with_access(root, Access::Owner)
    }

    /// The same, and who may touch it.
    pub fn with_access(root: impl Into<PathBuf>, access: Access) -> Self {
        Self(Arc::new(Inner {
            root: root.into(),
            access,
            kind: OnceLock::new(),
            storage: Arc::new(Disk),
        }))
    }

    /// The same mailbox, taken to be on this kind of filesystem whatever statfs(2) says.
    #[must_use]
    pub fn on(self, kind: FilesystemKind) -> Self {
        Self(Arc::new(Inner {
            root: self.0.root.clone(),
            access: self.0.access,
            kind: OnceLock::from(kind),
            storage: self.0.storage.clone(),
        }))
    }

    /// The same mailbox on a filesystem that somebody else plays.
    #[must_use]
    pub fn stored_on(self, storage: Arc<dyn Storage>) -> Self {
        Self(Arc::new(Inner {
            root: self.0.root.clone(),
            access: self.0.access,
            kind: self.0.kind.clone(),
            storage,
        }))
    }

    /// The filesystem that its files are on.
    pub fn storage(&self) -> &dyn Storage {
        &*self.0.storage
    }

    /// The root folder.
    pub fn root(&self) -> &Path {
        &self.0.root
    }

    /// Who may touch it.
    pub fn access(&self) -> Access {
        self.0.access
    }

    /// The filesystem it is on; asked once. A filesystem that cannot be asked is taken for a shared one, which is the
    /// careful guess.
    pub fn filesystem(&self) -> FilesystemKind {
        match self.0.kind.get() {
            Some(kind) => *kind,
            None => match FilesystemKind::of(&self.0.root) {
                Ok(kind) => *self.0.kind.get_or_init(|| kind),
                Err(_) => FilesystemKind::Network("unknown"),
            },
        }
    }

    /// `mailbox/`.
    pub fn folder(&self) -> PathBuf {
        self.0.root.join("mailbox")
    }

    /// `mailbox/inbox/`.
    pub fn inbox_folder(&self) -> PathBuf {
        self.0.root.join("mailbox/inbox")
    }

    /// `mailbox/outbox/`.
    pub fn outbox_folder(&self) -> PathBuf {
        self.0.root.join("mailbox/outbox")
    }

    /// `mailbox/archive/`.
    pub fn archive_folder(&self) -> PathBuf {
        self.0.root.join("mailbox/archive")
    }

    /// Where the follower says at which address it hears hints.
    pub fn doorbell_file(&self) -> PathBuf {
        self.0.root.join("mailbox/doorbell.json")
    }

    /// The file that the router side writes and this place's worker reads.
    pub fn inbox(&self, place: &Place) -> PathBuf {
        self.file("inbox", &place.stem())
    }

    /// The file that this place's worker writes.
    pub fn outbox(&self, place: &Place) -> PathBuf {
        self.file("outbox", &place.stem())
    }

    /// The same file's name after its worker ended.
    pub fn archive(&self, place: &Place) -> PathBuf {
        self.file("archive", &place.stem())
    }

    fn file(&self, folder: &str, stem: &str) -> PathBuf {
        self.0.root.join(format!("mailbox/{folder}/{stem}.jsonl"))
    }

    /// `runs/<JOB>/`.
    pub fn job_dir(&self, job: &JobId) -> PathBuf {
        self.0.root.join("runs").join(job.as_str())
    }

    /// The agent's working directory.
    pub fn run_dir(&self, place: &Place) -> PathBuf {
        self.job_dir(&place.job_id)
            .join(format!("node_{}", place.node_id.padded()))
    }

    /// `launch/`.
    pub fn launch_folder(&self) -> PathBuf {
        self.0.root.join("launch")
    }

    /// What a swarm is launched with, where its job has no number yet when that is written.
    pub fn swarm_launch_file(&self, swarm: &SwarmId) -> PathBuf {
        self.launch_folder().join(format!("{swarm}.json"))
    }

    /// What the job was launched with.
    pub fn launch_file(&self, job: &JobId) -> PathBuf {
        self.job_dir(job).join("launch.json")
    }

    /// The worker's heartbeat, outside the agent's working directory.
    pub fn heartbeat(&self, place: &Place) -> PathBuf {
        self.job_dir(&place.job_id)
            .join(format!("node_{}.heartbeat", place.node_id.padded()))
    }

    /// What resuming the agent's conversation needs.
    pub fn session_dir(&self, place: &Place) -> PathBuf {
        self.job_dir(&place.job_id)
            .join(format!("node_{}.session", place.node_id.padded()))
    }

    /// Makes the folders that are missing and checks the others: real folders, owned by us, that nobody else may write.
    /// Whoever opens a mailbox calls it first.
    pub fn create(&self) -> Result<(), MailboxError> {
        let root = &self.0.root;
        if let Some(above) = root.parent().filter(|above| !above.as_os_str().is_empty()) {
            fs::create_dir_all(above).map_err(MailboxError::io("create", above))?;
        }
        for folder in [
            root.clone(),
            self.folder(),
            self.inbox_folder(),
            self.outbox_folder(),
            self.archive_folder(),
            root.join("runs"),
            self.launch_folder(),
        ] {
            self.make_folder(&folder)?;
        }
        Ok(())
    }

    /// Makes one folder below the root (its parent exists), or checks the one that is there.
    pub fn make_folder(&self, folder: &Path) -> Result<(), MailboxError> {
        if self.storage().make_folder(folder, self.0.access)?
            && let Some(above) = folder.parent().filter(|above| !above.as_os_str().is_empty())
        {
            self.storage().sync_folder(above)?;
        }
        Ok(())
    }

    /// Makes the empty inbox and outbox of ranks `0..node_count`, so that nobody waits for a name to appear (their
    /// absence is cached for up to a minute). An outbox that is in `archive/` stays there. The names are durable after.
    pub fn prepare(&self, job: &JobId, node_count: u32) -> Result<(), MailboxError> {
        let node = |rank| {
            codeswarm_protocol::NodeId::new(rank)
                .map_err(|error| MailboxError::refused(&self.outbox_folder(), format!("rank {rank} {error}")))
        };
        // The last one first, so that a count that cannot be makes no file.
        node(node_count.saturating_sub(1))?;
        let archived = self.archived(job)?;
        for rank in 0..node_count {
            let node = node(rank)?;
            let place = Place::new(job.clone(), node);
            self.storage().make_file(&self.inbox(&place), self.0.access)?;
            if !archived.contains(&node) {
                self.storage().make_file(&self.outbox(&place), self.0.access)?;
            }
        }
        self.make_folder(&self.job_dir(job))?;
        self.storage().sync_folder(&self.inbox_folder())?;
        self.storage().sync_folder(&self.outbox_folder())
    }

    /// The ranks of a job whose outbox is in the archive: one reading of the folder instead of a look-up a rank.
    fn archived(&self, job: &JobId) -> Result<HashSet<codeswarm_protocol::NodeId>, MailboxError> {
        let folder = self.archive_folder();
        let mut ranks = HashSet::new();
        for name in self
            .storage()
            .names(&folder)
            .map_err(MailboxError::io("read", &folder))?
        {
            if let Some(place) = place_of_file_name(Path::new(&name))
                && place.job_id == *job
            {
                ranks.insert(place.node_id);
            }
        }
        Ok(ranks)
    }

    /// Where an outbox is now. Looks at both names; one that is empty in `outbox/` counts only if `archive/` has none,
    /// since somebody may have prepared it after the worker had archived its own.
    pub fn locate(&self, place: &Place) -> Result<Located, MailboxError> {
        self.locate_file(place).map(|(located, ..)| located)
    }

    /// How long a node's inbox is now, in bytes, whatever this machine's caches say; 0 if it has none yet.
    pub fn inbox_length(&self, place: &Place) -> Result<u64, MailboxError> {
        let path = self.inbox(place);
        let size = self.storage().size(&path, self.filesystem().is_network());
        Ok(size.map_err(MailboxError::io("look at", &path))?.unwrap_or(0))
    }

    /// The same with the name it was found under (which may have the rank unpadded) and its size in bytes.
    pub fn locate_file(&self, place: &Place) -> Result<(Located, PathBuf, u64), MailboxError> {
        let found = self.locate_stem(&place.stem())?;
        let plain = format!("{}_{}", place.job_id, place.node_id);
        if found.0 == Located::Nowhere && plain != place.stem() {
            let unpadded = self.locate_stem(&plain)?;
            if unpadded.0 != Located::Nowhere {
                return Ok(unpadded);
            }
        }
        Ok(found)
    }

    fn locate_stem(&self, stem: &str) -> Result<(Located, PathBuf, u64), MailboxError> {
        let fresh = self.filesystem().is_network();
        let (outbox, archive) = (self.file("outbox", stem), self.file("archive", stem));
        let size = |path: &Path| {
            self.storage()
                .size(path, fresh)
                .map_err(MailboxError::io("look at", path))
        };
        let in_outbox = size(&outbox)?;
        if let Some(bytes) = in_outbox.filter(|bytes| *bytes > 0) {
            return Ok((Located::Outbox, outbox, bytes));
        }
        match (size(&archive)?, in_outbox) {
            (Some(bytes), None) => Ok((Located::Archive, archive, bytes)),
            (Some(bytes), Some(_)) if bytes > 0 => Ok((Located::Archive, archive, bytes)),
            (_, Some(bytes)) => Ok((Located::Outbox, outbox, bytes)),
            // Renamed back between the two looks?
            (None, None) => Ok(match size(&outbox)? {
                Some(bytes) => (Located::Outbox, outbox, bytes),
                None => (Located::Nowhere, outbox, 0),
            }),
        }
    }
}

/// Whose file this is, by its name (`<JOB>_<NN>.jsonl`, the rank padded or not); `None` for any other name.
pub fn place_of_file_name(path: &Path) -> Option<Place> {
    let name = path.file_name()?.to_str()?;
    Place::from_stem(name.strip_suffix(".jsonl")?).ok()
}
