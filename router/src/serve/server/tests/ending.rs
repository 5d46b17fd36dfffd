//! What ends a server, what does not, and what those get who are still there when it ends.

use codeswarm_link::LinkEvent;
use tokio::io::AsyncReadExt;

use super::*;

#[tokio::test]
async fn a_router_whose_own_follower_ends_says_so_and_ends() {
    for in_the_middle_of_a_command in [false, true] {
        let mut desk = Desk::new();
        let ear = desk.client(1 << 20);
        desk.says(&ear, json!({"command": "swarm_launch", "nodes": 1}));
        let Desk {
            server,
            told_follower,
            _follower_says: says,
            stopped,
            stop: _not_told,
            ..
        } = desk;
        // Its end is seen at whichever side is looked at first.
        let _kept = if in_the_middle_of_a_command {
            drop(told_follower);
            (None, Some(says))
        } else {
            drop(says);
            (Some(told_follower), None)
        };
        let ended = tokio::time::timeout(Duration::from_secs(60), server.run(stopped)).await;
        assert!(matches!(ended, Ok(Err(ServeError::FollowerEnded))), "{ended:?}");
    }
}

#[tokio::test]
async fn p1_a_follower_that_takes_nothing_more_ends_no_router_behind_a_link_and_the_next_one_is_told_all_of_it() {
    let mut desk = Desk::new();
    let mut ear = desk.client(1 << 20);
    let (happens, events) = mpsc::channel(16);
    desk.server.link = Some(Link {
        login_node: LoginNode::here(),
        events,
        task: tokio::spawn(std::future::ready(())),
    });
    desk.says(&ear, json!({"command": "swarm_launch", "nodes": 1}));
    desk.says(&ear, json!({"command": "ping"}));
    let Desk {
        server,
        told_follower,
        _follower_says: says,
        stop,
        stopped,
        ..
    } = desk;
    drop(told_follower);
    let running = tokio::spawn(server.run(stopped));
    ear.until("pong").await;
    drop(says);
    let (commands, mut told) = mpsc::channel(16);
    let (_says, events) = mpsc::channel(16);
    let task = tokio::spawn(std::future::ready(()));
    let up = LinkEvent::Up {
        follower: Follower { commands, events, task },
        host: "login1".to_owned(),
        root: "/w".to_owned(),
        binary: "/w/bin/codeswarm".to_owned(),
    };
    happens.send(up).await.unwrap();
    let down = tokio::time::timeout(Duration::from_secs(60), told.recv()).await;
    assert!(matches!(down, Ok(Some(Downward::Prepare { .. }))), "{down:?}");
    stop.send_replace(Stop::Now);
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn p4_a_client_gets_its_last_lines_from_a_router_that_ends_with_more_commands_waiting_than_it_takes() {
    let mut desk = Desk::new();
    let (mut ours, theirs) = tokio::io::duplex(1 << 16);
    let (source, sink) = tokio::io::split(theirs);
    let (id, queue) = (ClientId(77), ClientQueue::with_limit(100));
    desk.server.audience.join(id);
    desk.server.outputs.join(id, queue.clone());
    let sender = desk.server.client_sender.clone();
    let writer = client_io::start(id, source, Sink::stream(sink), queue.clone(), 1000, sender.clone());
    desk.server.client_tasks.spawn(async move { drop(writer.await) });
    queue.push(Bytes::from(vec![b'x'; 1000]));
    assert!(!queue.has_room(0), "its writer tells when there is room");
    queue.push(Bytes::from_static(b"last"));
    while sender.try_send(FromClient::Room(ClientId(0))).is_ok() {}
    desk.stop.send_replace(Stop::Now);
    desk.server.run(desk.stopped).await.unwrap();
    // Now the process ends: what is not written yet never is.
    let mut read = Vec::new();
    tokio::select! {
        biased;
        all = ours.read_to_end(&mut read) => drop(all.unwrap()),
        () = std::future::ready(()) => {}
    }
    assert!(read.ends_with(b"xlast"), "{} bytes", read.len());
}

#[tokio::test]
async fn a_daemons_program_that_has_said_its_last_is_let_go_though_an_answer_is_owed() {
    let mut desk = Desk::new();
    let launcher = desk.client(1 << 20);
    let place = desk.swarm(&launcher).await;
    desk.commit().await;
    let swarm_id = desk.server.core.swarm_of(&place.job_id).unwrap().clone();
    let Desk {
        server,
        mut told_follower,
        stop,
        stopped,
        ..
    } = desk;
    let door = server.door();
    let running = tokio::spawn(server.run(stopped));
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let (source, sink) = tokio::io::split(theirs);
    let (told, end) = oneshot::channel();
    door.enter_pipes(source, Sink::stream(sink), true, told).await.unwrap();
    let (_reads, mut commands) = tokio::io::split(ours);
    let status = json!({"command": "swarm_status", "swarm_id": swarm_id});
    commands.write_all(format!("{status}\n").as_bytes()).await.unwrap();
    // The follower is asked, and never answers.
    loop {
        let down = tokio::time::timeout(Duration::from_secs(60), told_follower.recv()).await;
        if matches!(down.unwrap().unwrap(), Downward::Heartbeats { .. }) {
            break;
        }
    }
    commands.shutdown().await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(60), end).await;
    assert_eq!(ended.unwrap().unwrap(), ClientEnd { failed: false });
    stop.send_replace(Stop::Now);
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_a_client_said_before_it_went_makes_no_client_of_it_again() {
    let mut desk = Desk::new();
    let (launcher, gone) = (desk.client(1 << 20), desk.client(1 << 20));
    let place = desk.swarm(&launcher).await;
    desk.server.client_said(FromClient::Gone(gone.id));
    for command in [
        json!({"command": "subscribe", "since": 0}),
        json!({"command": "ping"}),
        json!({"command": "inject", "job_id": place.job_id, "nodes": "all", "content": "x"}),
    ] {
        desk.says(&gone, command);
        desk.commit().await;
        assert_eq!(desk.server.audience.ids(), [launcher.id]);
    }
}
