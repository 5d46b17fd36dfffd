//! Copies what a resume needs to the shared filesystem, beside the conversation and never in its way.

use std::future;
use std::path::PathBuf;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::home;

/// How long the last copy may take; a filesystem may be stalled.
const LAST: Duration = Duration::from_secs(10);

/// Keeps one file, the thread's. At most one copy is under way; a wish that comes meanwhile is served after it.
#[derive(Debug)]
pub struct Keeper {
    home: PathBuf,
    keep: PathBuf,
    file: Option<PathBuf>,
    wanted: bool,
    copying: Option<JoinHandle<Result<(), home::HomeError>>>,
}

impl Keeper {
    /// For files under `home`, copied to `keep`.
    pub fn new(home: PathBuf, keep: PathBuf) -> Self {
        Self {
            home,
            keep,
            file: None,
            wanted: false,
            copying: None,
        }
    }

    /// Has this file copied soon.
    pub fn keep(&mut self, file: PathBuf) {
        self.file = Some(file);
        self.wanted = true;
        self.start();
    }

    /// Waits for a copy to be done, for ever when none is under way; answers with what went wrong.
    pub async fn done(&mut self) -> Option<String> {
        let Some(copying) = &mut self.copying else {
            return future::pending().await;
        };
        let result = copying.await;
        self.copying = None;
        self.start();
        match result {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(trouble(&error.to_string())),
            Err(_) => Some(trouble("the copying was broken off")),
        }
    }

    /// Copies the file once more, now that the agent has ended and it is final.
    pub async fn last(&mut self) -> Option<String> {
        self.wanted = self.file.is_some();
        self.start();
        let copied = async {
            let mut trouble = None;
            while self.copying.is_some() {
                trouble = self.done().await;
            }
            trouble
        };
        match tokio::time::timeout(LAST, copied).await {
            Ok(trouble) => trouble,
            Err(_) => Some(trouble("the shared filesystem takes too long")),
        }
    }

    fn start(&mut self) {
        if self.copying.is_some() || !self.wanted {
            return;
        }
        let Some(file) = self.file.clone() else {
            return;
        };
        self.wanted = false;
        let (home, keep) = (self.home.clone(), self.keep.clone());
        self.copying = Some(tokio::task::spawn_blocking(move || {
            home::keep_file(&home, &file, &keep)
        }));
    }
}

fn trouble(why: &str) -> String {
    format!("the agent's thread could not be kept, so it may not go on elsewhere: {why}")
}
