use std::fs;
use std::time::Duration;

use codeswarm_mailbox::FilesystemKind;
use codeswarm_protocol::ids::Place;

use super::*;

fn mailbox() -> (tempfile::TempDir, Mailbox) {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = Mailbox::at(folder.path().join("root"));
    (folder, mailbox)
}

#[tokio::test]
async fn p2_who_has_lost_the_mailbox_says_to_whom_and_ends() {
    let (_folder, mailbox) = mailbox();
    let config = FollowerConfig::at(mailbox.root());
    let shared = mailbox.clone().on(FilesystemKind::Network("nfs"));
    let mut follower = spawn_on(shared, config).unwrap();
    let theirs =
        "{\"host\":\"login2\",\"pid\":4711,\"holder\":\"the other\",\"taken\":1,\"answered\":0,\"released\":false}";
    let lease = mailbox.folder().join("follower.lease");
    fs::write(&lease, theirs).unwrap();
    let mut said = Vec::new();
    let end = async {
        while let Some(event) = follower.events.recv().await {
            said.push(event);
        }
        follower.task.await.unwrap();
    };
    tokio::time::timeout(Duration::from_secs(60), end).await.unwrap();
    assert!(
        matches!(&said[..], [Upward::Hello { .. }, Upward::Trouble { place: None, error }]
            if error.contains("taken over by the other (process 4711 on login2)")),
        "{said:?}"
    );
    assert_eq!(
        fs::read_to_string(&lease).unwrap(),
        theirs,
        "it is not given back by who has lost it"
    );
}

#[test]
fn what_cannot_be_watched_is_named_and_polled_if_that_is_left_to_us() {
    let (_folder, mailbox) = mailbox();
    for (watch, polled) in [
        (WatchMode::Inotify, false),
        (WatchMode::Auto, true),
        (WatchMode::Poll, true),
    ] {
        let config = FollowerConfig {
            watch,
            ..FollowerConfig::at(mailbox.root())
        };
        match wakes(&config, &mailbox) {
            Ok(wakes) => assert!(polled && wakes.why_polling().is_some(), "{watch:?}"),
            Err(error) => {
                let told = error.to_string();
                let root = mailbox.root().display().to_string();
                assert!(
                    !polled && told.contains(&root) && told.contains("--watch poll"),
                    "{told}"
                );
            }
        }
    }
}

#[tokio::test]
async fn p9_a_filesystem_that_stalls_is_told_as_far_as_there_is_room() {
    let (_folder, mailbox) = mailbox();
    let (orders, _order) = mpsc::channel(1);
    let (requests, _request) = mpsc::channel(1);
    let (events, mut told) = mpsc::channel(1);
    let holding = Holding::begin(false, Instant::now());
    let inboxes = Inboxes::start(&mailbox, &holding, 1, &Stalls::default(), &Doorbell::default(), &events).unwrap();
    let desk = Desk {
        orders,
        requests,
        inboxes,
        events,
    };
    let trouble = |rank: u32| {
        let place = Place::from_stem(&format!("7_{rank}")).unwrap();
        let error = "it stalls".to_owned();
        Upward::Trouble {
            place: Some(place),
            error,
        }
    };
    desk.tell(vec![trouble(0), trouble(1)]);
    assert_eq!(told.try_recv(), Ok(trouble(0)));
    assert!(
        told.try_recv().is_err(),
        "the desk does not wait for who does not listen"
    );
    desk.tell(vec![trouble(2)]);
    assert_eq!(told.try_recv(), Ok(trouble(2)));
}
