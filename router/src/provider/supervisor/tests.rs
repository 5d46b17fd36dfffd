//! Supervisors of real processes: shell scripts in the place of workers.

use codeswarm_protocol::{JobId, NodeId};

use super::*;

/// A supervisor of a shell script, and what it says.
struct Watched {
    mailbox: Mailbox,
    place: Place,
    known: watch::Sender<Option<Process>>,
    terminate: watch::Sender<Option<Duration>>,
    events: mpsc::Receiver<ProviderEvent>,
    supervising: tokio::task::JoinHandle<()>,
    folder: tempfile::TempDir,
}

impl Watched {
    fn start(script: &str, known: Option<Process>) -> Self {
        Self::start_program(&["sh", "-c", script], known)
    }

    fn start_program(command: &[&str], known: Option<Process>) -> Self {
        Self::start_told(command, known, None)
    }

    /// It may be told to end before it has begun.
    fn start_told(command: &[&str], known: Option<Process>, told: Option<Duration>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mailbox = Mailbox::at(folder.path());
        mailbox.create().unwrap();
        let place = Place::new(JobId::new("job").unwrap(), NodeId::new(0).unwrap());
        std::fs::create_dir_all(mailbox.run_dir(&place)).unwrap();
        let (known, its_known) = watch::channel(known);
        let (terminate, its_terminate) = watch::channel(told);
        let (its_events, events) = mpsc::channel(16);
        let supervisor = Supervisor {
            place: place.clone(),
            mailbox: mailbox.clone(),
            command: command.iter().map(OsString::from).collect(),
            known: its_known,
            terminate: its_terminate,
            events: its_events,
        };
        let supervising = tokio::spawn(supervisor.run());
        Self {
            mailbox,
            place,
            known,
            terminate,
            events,
            supervising,
            folder,
        }
    }

    async fn event(&mut self) -> ProviderEvent {
        tokio::time::timeout(Duration::from_secs(60), self.events.recv())
            .await
            .unwrap()
            .unwrap()
    }

    /// The reason with which the worker is lost.
    async fn lost(&mut self) -> String {
        match self.event().await {
            ProviderEvent::WorkerLost { reason, .. } => reason,
            other => panic!("{other:?}"),
        }
    }
}

/// A process that this test started itself, as an earlier life of the router would have.
fn sleeper() -> (std::process::Child, Process) {
    let child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    let process = Process {
        pid: child.id(),
        started: process::started(child.id()),
    };
    (child, process)
}

#[tokio::test]
async fn a_worker_that_crashes_is_started_again_and_its_last_words_are_told() {
    // The first one leaves a mark and dies; the second one finds it and ends in order.
    let script = "if [ -e \"$0.mark\" ]; then exit 0; fi; touch \"$0.mark\"; echo it is broken >&2; exit 1";
    let mark = tempfile::tempdir().unwrap();
    let name = mark.path().join("worker");
    let mut watched = Watched::start_program(&["sh", "-c", script, name.to_str().unwrap()], None);
    match watched.event().await {
        ProviderEvent::WorkerRestarting { reason, .. } => assert!(reason.contains("it is broken"), "{reason}"),
        other => panic!("{other:?}"),
    }
    let place = watched.place.clone();
    assert_eq!(watched.event().await, ProviderEvent::WorkerEnded { place });
}

#[tokio::test]
async fn a_worker_that_refuses_to_run_is_not_started_again() {
    let mut watched = Watched::start("echo agent.model is unknown >&2; exit 78", None);
    let reason = watched.lost().await;
    assert!(
        reason.contains("78") && reason.contains("agent.model is unknown"),
        "{reason}"
    );
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let mut watched = Watched::start_program(&["/nowhere/codeswarm-worker"], None);
    let reason = watched.lost().await;
    assert!(reason.contains("could not be started"), "{reason}");
}

#[tokio::test]
async fn p7_a_worker_is_asked_to_end_and_one_that_does_not_is_killed() {
    let deaf = "trap '' TERM; touch \"$0.up\"; while :; do sleep 0.05; done";
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().join("worker");
    let mut watched = Watched::start_program(&["sh", "-c", deaf, name.to_str().unwrap()], None);
    let up = folder.path().join("worker.up");
    for _ in 0..6000 {
        if up.exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    watched.terminate.send_replace(Some(Duration::from_millis(50)));
    let reason = watched.lost().await;
    assert!(reason.contains("signal: 9"), "{reason}");
}

#[tokio::test]
async fn a_worker_of_an_earlier_life_is_found_and_ended_and_no_second_one_is_started() {
    let (mut child, process) = sleeper();
    let mut watched = Watched::start("exit 1", Some(process));
    watched.terminate.send_replace(Some(Duration::from_secs(30)));
    let reason = watched.lost().await;
    assert!(reason.contains("the worker died"), "{reason}");
    assert!(!process.is_alive());
    child.wait().unwrap();
    assert!(watched.folder.path().exists());
}

#[tokio::test]
async fn a_worker_that_is_found_after_its_end_was_in_order_if_its_outbox_is_in_the_archive() {
    let (mut child, process) = sleeper();
    let mut watched = Watched::start("exit 1", Some(process));
    std::fs::write(watched.mailbox.archive(&watched.place), "").unwrap();
    process.signal(Signal::TERM);
    child.wait().unwrap();
    let place = watched.place.clone();
    assert_eq!(watched.event().await, ProviderEvent::WorkerEnded { place });
}

#[tokio::test]
async fn a_worker_whose_process_is_not_known_yet_is_found_when_it_says_so() {
    let (mut child, process) = sleeper();
    let mut watched = Watched::start("exit 75", None);
    assert!(matches!(watched.event().await, ProviderEvent::WorkerRestarting { .. }));
    watched.known.send_replace(Some(process));
    watched.terminate.send_replace(Some(Duration::from_secs(30)));
    watched.lost().await;
    assert!(!process.is_alive());
    child.wait().unwrap();
}

/// A script that leaves a line in a file at each of its starts, and dies; and how often that was.
struct Starts(tempfile::TempDir);

impl Starts {
    const SCRIPT: &str = "echo >> \"$0\"; echo out of luck >&2; exit 1";

    fn file(&self) -> String {
        self.0.path().join("starts").to_str().unwrap().to_owned()
    }

    fn count(&self) -> usize {
        std::fs::read_to_string(self.file()).map_or(0, |text| text.lines().count())
    }
}

#[tokio::test]
async fn a_worker_that_dies_again_and_again_is_given_up_with_its_last_words() {
    let starts = Starts(tempfile::tempdir().unwrap());
    let mut watched = Watched::start_program(&["sh", "-c", Starts::SCRIPT, &starts.file()], None);
    for _ in 1..MAX_CRASHES {
        assert!(matches!(watched.event().await, ProviderEvent::WorkerRestarting { .. }));
    }
    let reason = watched.lost().await;
    assert!(
        reason.contains("out of luck") && reason.contains("given up"),
        "{reason}"
    );
    assert_eq!(starts.count(), MAX_CRASHES as usize);
}

#[tokio::test]
async fn a_router_that_is_gone_starts_no_worker_again() {
    let starts = Starts(tempfile::tempdir().unwrap());
    let watched = Watched::start_program(&["sh", "-c", Starts::SCRIPT, &starts.file()], None);
    drop(watched.events);
    let ended = tokio::time::timeout(Duration::from_secs(60), watched.supervising).await;
    ended.unwrap().unwrap();
    assert_eq!(starts.count(), 1, "the next router is the one to start it");
}

#[tokio::test]
async fn p7_p11_a_worker_that_does_not_run_is_not_started_in_order_to_be_ended() {
    let starts = Starts(tempfile::tempdir().unwrap());
    let command = ["sh", "-c", Starts::SCRIPT, &starts.file()];
    let mut watched = Watched::start_told(&command, None, Some(Duration::from_secs(30)));
    let reason = watched.lost().await;
    assert!(reason.contains("not running when it was told to end"), "{reason}");
    assert_eq!(starts.count(), 0);
}

#[tokio::test]
async fn a_worker_without_a_program_is_lost_with_that_reason() {
    let mut watched = Watched::start_program(&[], None);
    let reason = watched.lost().await;
    assert!(reason.contains("no worker program is known"), "{reason}");
}

#[tokio::test]
async fn a_program_that_is_just_being_written_is_started_when_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("worker");
    std::fs::copy("/bin/true", &program).unwrap();
    let written = OpenOptions::new().append(true).open(&program).unwrap();
    let mut watched = Watched::start_program(&[program.to_str().unwrap()], None);
    match watched.event().await {
        ProviderEvent::WorkerRestarting { reason, .. } => {
            assert!(
                reason.contains("could not be started") && reason.contains("busy"),
                "{reason}"
            );
        }
        other => panic!("{other:?}"),
    }
    drop(written);
    // A test beside this one may be starting a process, which holds the file until it runs its own program.
    loop {
        match watched.event().await {
            ProviderEvent::WorkerRestarting { reason, .. } => assert!(reason.contains("busy"), "{reason}"),
            event => {
                let place = watched.place.clone();
                assert_eq!(event, ProviderEvent::WorkerEnded { place });
                return;
            }
        }
    }
}
