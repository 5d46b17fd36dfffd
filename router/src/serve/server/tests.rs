//! The server with a follower and a provider that are played by hand: what is told when, and to whom.

use bytes::Bytes;
use codeswarm_protocol::event::ProviderInfo;
use codeswarm_protocol::frame::Upward;
use codeswarm_protocol::launch::{AgentSpec, WorkerSpec};
use codeswarm_protocol::record::{Word, WorkerRecord};
use codeswarm_protocol::{Epoch, JobId, NodeId, Place, Seq, Timestamp};
use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt, DuplexStream};

use codeswarm_follower::FollowerConfig;
use tokio::sync::oneshot;

use super::*;
use crate::core::Settings;
use crate::serve::{LineReader, ReadLine, Sink};

mod ending;
mod failed_reads;
mod follower_words;
mod recalls;
mod slow_clients;
mod unreadable_state;

/// Everything that a server has to do with, in the hands of a test.
struct Desk {
    server: Server,
    told_follower: mpsc::Receiver<Downward>,
    _follower_says: mpsc::Sender<Upward>,
    _told_provider: mpsc::Receiver<ProviderCommand>,
    _provider_says: mpsc::Sender<ProviderEvent>,
    stop: watch::Sender<Stop>,
    stopped: watch::Receiver<Stop>,
    _folder: tempfile::TempDir,
}

/// A client's end.
struct Ear {
    id: ClientId,
    events: LineReader<tokio::io::ReadHalf<DuplexStream>>,
    _commands: tokio::io::WriteHalf<DuplexStream>,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            inject_timeout: Duration::from_secs(60),
            max_prompt_bytes: 1000,
            max_nodes: 8,
            providers: vec![ProviderInfo {
                name: "local".to_owned(),
                default: true,
                description: String::new(),
            }],
            agent: AgentSpec::default(),
            worker: WorkerSpec::default(),
            pid: 1,
            slurm: None,
            link: crate::core::Link::here(String::new()),
        };
        let options = Options {
            settings,
            database: folder.path().join("state.sqlite"),
            mailbox: MailboxAt::Here(FollowerConfig::at(folder.path())),
            worker_command: Vec::new(),
            idle_exit: None,
        };
        let (commands, told_follower) = mpsc::channel(1024);
        let (follower_says, events) = mpsc::channel(1024);
        let task = tokio::spawn(async {});
        let (provider, told_provider) = mpsc::channel(1024);
        let (provider_says, provider_events) = mpsc::channel(1024);
        let state = State::open(&options.database).unwrap();
        let follower = Follower { commands, events, task };
        let loaded = state.load().unwrap();
        let names = Box::new(RandomNames::after(loaded.last_number));
        let clock = Clock::Ours(Instant::now());
        let server = Server::assemble(
            options,
            (Box::new(state), loaded),
            (names, clock),
            (Some(follower), None),
            (provider, provider_events),
        )
        .unwrap();
        let (stop, stopped) = watch::channel(Stop::No);
        Self {
            server,
            told_follower,
            _follower_says: follower_says,
            _told_provider: told_provider,
            _provider_says: provider_says,
            stop,
            stopped,
            _folder: folder,
        }
    }

    /// Another client, whose connection holds so many bytes that it does not read.
    fn client(&mut self, holds: usize) -> Ear {
        let (ours, theirs) = tokio::io::duplex(holds);
        let (source, sink) = tokio::io::split(theirs);
        self.server.join(Connection {
            source: Box::new(source),
            sink: Sink::stream(sink),
            pipes: None,
        });
        let (events, commands) = tokio::io::split(ours);
        Ear {
            id: ClientId(self.server.last_client),
            events: LineReader::new(events, usize::MAX),
            _commands: commands,
        }
    }

    fn says(&mut self, client: &Ear, command: Value) {
        let line = ReadLine::Line(Bytes::from(command.to_string()));
        self.server.client_said(FromClient::Sent(client.id, line));
    }

    async fn commit(&mut self) {
        self.server.finish_batch(&mut self.stopped).await;
    }

    /// What the follower was told since the last time.
    async fn asked(&mut self) -> Vec<Downward> {
        self.commit().await;
        let mut asked: Vec<Downward> = self.server.down.drain(..).collect();
        while let Ok(down) = self.told_follower.try_recv() {
            asked.push(down);
        }
        asked
    }

    /// A swarm of one node, whose mailbox files are there.
    async fn swarm(&mut self, client: &Ear) -> Place {
        self.says(client, json!({"command": "swarm_launch", "nodes": 1}));
        for down in self.asked().await {
            if let Downward::Prepare { ticket, job_id, .. } = down {
                self.server.follower_said(Upward::Prepared { ticket, error: None });
                return Place::new(job_id, NodeId::new(0).unwrap());
            }
        }
        panic!("no files were asked for")
    }
}

impl Ear {
    /// Events up to one of this type.
    async fn until(&mut self, kind: &str) -> Vec<Value> {
        let mut events = Vec::new();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        loop {
            let next = tokio::time::timeout_at(deadline, self.events.next()).await;
            let Ok(Ok(ReadLine::Line(line))) = next else {
                panic!("no {kind} came: {events:#?}")
            };
            let event: Value = serde_json::from_slice(&line).unwrap();
            let last = event["type"] == kind;
            events.push(event);
            if last {
                return events;
            }
        }
    }

    /// Events up to the end of the connection.
    async fn rest(&mut self) -> Vec<Value> {
        let mut events = Vec::new();
        while let Ok(ReadLine::Line(line)) = self.events.next().await {
            events.push(serde_json::from_slice(&line).unwrap());
        }
        events
    }
}

fn count(events: &[Value], kind: &str) -> usize {
    events.iter().filter(|event| event["type"] == kind).count()
}

/// A record as the follower brings it.
fn chunk(place: &Place, seq: u64, offset: u64, word: Word) -> (Upward, u64) {
    let record = WorkerRecord {
        word,
        seq: Seq(seq),
        epoch: Epoch(1),
        timestamp: Timestamp(0),
        job_id: JobId::clone(&place.job_id),
        node_id: place.node_id,
        injection_id: None,
    };
    let mut line = Vec::new();
    record.write_line(&mut line).unwrap();
    let end = offset + line.len() as u64;
    let chunk = Upward::Chunk {
        place: place.clone(),
        offset,
        data: Bytes::from(line),
    };
    (chunk, end)
}

#[tokio::test]
async fn p10_a_word_that_is_not_stored_yet_reaches_a_client_that_catches_up() {
    let mut desk = Desk::new();
    let (mut one, mut other) = (desk.client(1 << 20), desk.client(1 << 20));
    let place = desk.swarm(&one).await;
    let inject =
        json!({"command": "inject", "request_id": "r", "job_id": place.job_id, "nodes": "all", "content": "x"});
    desk.says(&one, inject.clone());
    desk.says(&other, inject);
    desk.commit().await;
    for ear in [&mut one, &mut other] {
        desk.says(ear, json!({"command": "ping"}));
        desk.commit().await;
        let events = ear.until("pong").await;
        assert_eq!(count(&events, "inject_ack"), 1, "{events:#?}");
    }
}

#[tokio::test]
async fn p10_words_said_while_a_part_is_read_come_once_and_in_their_place() {
    let mut desk = Desk::new();
    let (launcher, mut one) = (desk.client(1 << 20), desk.client(1 << 20));
    let place = desk.swarm(&launcher).await;
    let notice = || Word::Notice {
        message: "n".to_owned(),
    };
    let (first, end) = chunk(&place, 1, 0, notice());
    desk.server.follower_said(first.clone());
    desk.commit().await;
    desk.says(&one, json!({"command": "subscribe", "since": 0}));
    let Some(Downward::Read { ticket, until, .. }) = desk.asked().await.pop() else {
        panic!("nothing was read back")
    };
    // While the part is on its way, bytes that are no record come, and the router says something.
    let (garbage, length) = ("torn".to_owned(), 10);
    desk.server.follower_said(Upward::Skipped {
        place: place.clone(),
        offset: end,
        length,
        head: garbage,
    });
    desk.says(
        &one,
        json!({"command": "inject", "job_id": place.job_id, "nodes": "all", "content": "x"}),
    );
    let Upward::Chunk { data, .. } = first else { panic!() };
    desk.server.follower_said(Upward::Part {
        ticket,
        offset: 0,
        next: until,
        done: true,
        error: None,
        may_pass: false,
        late: false,
        data,
    });
    for down in desk.asked().await {
        if let Downward::Append { ticket, .. } = down {
            desk.server.follower_said(Upward::Appended {
                ticket,
                offset: 0,
                end: 1,
                already: false,
            });
        } else if let Downward::Read { ticket, .. } = down {
            desk.server.follower_said(Upward::Part {
                ticket,
                offset: end,
                next: end + length,
                done: true,
                error: None,
                may_pass: false,
                late: false,
                data: Bytes::new(),
            });
        }
    }
    let (second, _) = chunk(&place, 2, end + length, notice());
    desk.server.follower_said(second);
    desk.says(&one, json!({"command": "ping"}));
    desk.commit().await;
    let events = one.until("pong").await;
    let stream: Vec<&str> = events
        .iter()
        .filter(|event| event["seq"].as_u64().is_some())
        .filter_map(|event| event["type"].as_str())
        .collect();
    assert_eq!(
        stream,
        ["notice", "inject_ack", "inject_delivered", "notice"],
        "{events:#?}"
    );
}

#[tokio::test]
async fn p1_p9_nothing_is_told_that_was_not_stored() {
    let mut desk = Desk::new();
    let mut ear = desk.client(1 << 20);
    desk.server.state.refuse_writes(true);
    desk.says(
        &ear,
        json!({"command": "swarm_launch", "nodes": 1, "system_prompt": "x"}),
    );
    let Desk {
        server, stop, stopped, ..
    } = desk;
    let running = tokio::spawn(server.run(stopped));
    let trouble = ear.until("router_trouble").await;
    assert_eq!(trouble.len(), 1, "{trouble:#?}");
    stop.send_replace(Stop::Now);
    let rest = ear.rest().await;
    assert_eq!(rest.len(), count(&rest, "router_trouble"), "{rest:#?}");
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn p9_what_could_not_be_stored_is_told_when_it_is() {
    let mut desk = Desk::new();
    let mut ear = desk.client(1 << 20);
    desk.server.state.refuse_writes(true);
    desk.says(
        &ear,
        json!({"command": "swarm_launch", "nodes": 1, "system_prompt": "x"}),
    );
    tokio::select! {
        biased;
        () = desk.server.finish_batch(&mut desk.stopped) => panic!("it was stored"),
        trouble = ear.until("router_trouble") => assert_eq!(trouble.len(), 1),
    }
    desk.server.state.refuse_writes(false);
    desk.commit().await;
    let told = ear.until("inject_ack").await;
    assert_eq!(count(&told, "swarm_launched"), 1, "{told:#?}");
}

#[tokio::test]
async fn p8_an_answer_comes_however_much_is_on_its_way_to_its_client() {
    let mut desk = Desk::new();
    let mut ear = desk.client(1 << 16);
    desk.says(&ear, json!({"command": "subscribe"}));
    for number in 0..9000 {
        desk.says(
            &ear,
            json!({"command": "ping", "request_id": format!("ping {number:0>100}")}),
        );
    }
    assert!(!desk.server.outputs.has_room(ear.id));
    desk.says(
        &ear,
        json!({"command": "swarm_launch", "request_id": "launch", "nodes": 1}),
    );
    desk.commit().await;
    let events = ear.until("swarm_launched").await;
    assert_eq!(events.last().unwrap()["request_id"], "launch");
}

#[tokio::test]
async fn p8_a_daemon_whose_program_does_not_read_leaves_all_the_same() {
    let desk = Desk::new();
    let Desk {
        server, stop, stopped, ..
    } = desk;
    let door = server.door();
    let running = tokio::spawn(server.run(stopped));
    let (ours, theirs) = tokio::io::duplex(64);
    let (source, sink) = tokio::io::split(theirs);
    let (told, end) = oneshot::channel();
    door.enter_pipes(source, Sink::stream(sink), true, told).await.unwrap();
    let (_not_read, mut commands) = tokio::io::split(ours);
    for _ in 0..100 {
        commands.write_all(b"{\"command\":\"ping\"}\n").await.unwrap();
    }
    commands.shutdown().await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(60), end).await;
    assert_eq!(ended.unwrap().unwrap(), ClientEnd { failed: false });
    stop.send_replace(Stop::Now);
    running.await.unwrap().unwrap();
}

async fn acknowledged(desk: &mut Desk, ear: &mut Ear) -> String {
    desk.commit().await;
    let events = ear.until("inject_ack").await;
    events.last().unwrap()["injection_id"].as_str().unwrap().to_owned()
}

/// A batch of one prompt: its client asks for nothing more.
async fn batch(desk: &mut Desk) -> (Place, Ear, String) {
    let launcher = desk.client(1 << 20);
    let place = desk.swarm(&launcher).await;
    desk.commit().await;
    let mut ear = desk.client(1 << 20);
    desk.says(
        &ear,
        json!({"command": "inject", "job_id": place.job_id, "nodes": "all", "content": "x"}),
    );
    desk.server.client_said(FromClient::Sent(ear.id, ReadLine::End));
    let id = acknowledged(desk, &mut ear).await;
    (place, ear, id)
}

fn line(place: &Place, offset: u64, record: Value) -> Upward {
    let mut record = record;
    record["epoch"] = json!(1);
    record["timestamp"] = json!("2026-01-01T00:00:00.000Z");
    (record["job_id"], record["node_id"]) = (json!(place.job_id), json!(place.node_id));
    Upward::Chunk {
        place: place.clone(),
        offset,
        data: Bytes::from(format!("{record}\n")),
    }
}

#[tokio::test]
async fn a_batch_does_not_wait_for_the_usage_of_a_worker_that_died() {
    for restarted in [true, false] {
        let mut desk = Desk::new();
        let (place, mut ear, id) = batch(&mut desk).await;
        let usage = json!({"total_tokens": 1, "input_tokens": 1, "cached_input_tokens": 0, "output_tokens": 0,
            "reasoning_output_tokens": 0});
        let complete = json!({"type": "turn_complete", "status": "completed", "duration_ms": 1, "usage": usage, "seq": 1,
            "injection_id": id});
        desk.server.follower_said(line(&place, 0, complete));
        desk.commit().await;
        assert!(desk.server.audience.client(ear.id).is_some(), "its usage comes next");
        if restarted {
            let start = json!({"type": "worker_start", "v": 1, "version": "0", "host": "h", "pid": 1, "agent": "echo",
                "seq": 2});
            desk.server.follower_said(line(&place, 900, start));
        } else {
            let lost = ProviderEvent::WorkerLost {
                place: place.clone(),
                reason: "killed".to_owned(),
            };
            desk.server.input(Input::Provider(lost));
            for down in desk.asked().await {
                if let Downward::Read { ticket, .. } = down {
                    let next = desk.server.core.stream_end(&place).1;
                    desk.server.follower_said(Upward::Part {
                        ticket,
                        offset: next,
                        next,
                        done: true,
                        error: None,
                        may_pass: false,
                        late: false,
                        data: Bytes::new(),
                    });
                }
            }
        }
        desk.commit().await;
        assert!(desk.server.audience.client(ear.id).is_none());
        assert_eq!(count(&ear.rest().await, "turn_complete"), 1);
    }
}

#[tokio::test]
async fn a_batch_does_not_wait_for_an_end_that_cannot_be_read() {
    let mut desk = Desk::new();
    let (place, _ear, id) = batch(&mut desk).await;
    let complete =
        json!({"type": "turn_complete", "status": "completed", "duration_ms": 1, "seq": 1, "injection_id": id});
    // Another client asks again for what is over, and its file cannot be read.
    let repeat =
        json!({"command": "inject", "request_id": "r", "job_id": place.job_id, "nodes": "all", "content": "y"});
    let mut launcher = desk.client(1 << 20);
    desk.says(&launcher, repeat.clone());
    desk.server.follower_said(line(&place, 0, complete));
    desk.commit().await;
    let second = acknowledged(&mut desk, &mut launcher).await;
    let complete =
        json!({"type": "turn_complete", "status": "completed", "duration_ms": 1, "seq": 2, "injection_id": second});
    desk.server.follower_said(line(&place, 900, complete));
    desk.commit().await;
    let mut ear = desk.client(1 << 20);
    desk.says(&ear, repeat);
    desk.server.client_said(FromClient::Sent(ear.id, ReadLine::End));
    for down in desk.asked().await {
        if let Downward::Read { ticket, .. } = down {
            desk.server.follower_said(Upward::Part {
                ticket,
                offset: 0,
                next: 0,
                done: false,
                error: Some("stale handle".to_owned()),
                may_pass: false,
                late: false,
                data: Bytes::new(),
            });
        }
    }
    desk.commit().await;
    assert_eq!(count(&ear.rest().await, "router_trouble"), 1);
    assert!(desk.server.audience.client(ear.id).is_none());
}
