//! `recall`: a client that knows only a request's name.

use super::*;

async fn answers(desk: &mut Desk, ear: &mut Ear, recall: Value, file: &[u8]) -> Vec<Value> {
    desk.says(ear, recall);
    for down in desk.asked().await {
        if let Downward::Read { ticket, .. } = down {
            desk.server.follower_said(Upward::Part {
                ticket,
                offset: 0,
                next: file.len() as u64,
                done: true,
                error: None,
                may_pass: false,
                late: false,
                data: Bytes::copy_from_slice(file),
            });
        }
    }
    desk.commit().await;
    ear.until("caught_up").await
}

#[tokio::test]
async fn all_that_was_comes_then_the_word_that_it_was_all_then_what_happens() {
    let mut desk = Desk::new();
    let mut asker = desk.client(1 << 20);
    let place = desk.swarm(&asker).await;
    desk.commit().await;
    let inject =
        json!({"command": "inject", "request_id": "p", "job_id": place.job_id, "nodes": "all", "content": "x"});
    desk.says(&asker, inject);
    let id = acknowledged(&mut desk, &mut asker).await;
    let word = json!({"type": "assistant", "content": "so far", "seq": 1, "injection_id": id});
    let said = line(&place, 0, word);
    let Upward::Chunk { data, .. } = &said else { panic!() };
    let file = data.clone();
    desk.server.follower_said(said);
    desk.commit().await;

    let mut other = desk.client(1 << 20);
    let recall = json!({"command": "recall", "request_id": "look", "of": "p"});
    let events = answers(&mut desk, &mut other, recall, &file).await;
    let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        ["recalled", "inject_ack", "inject_delivered", "assistant", "caught_up"]
    );
    assert_eq!(events[0]["injections"][0]["injection_id"], json!(id));
    for (event, name) in events.iter().zip(["look", "p", "p", "p", "look"]) {
        assert_eq!(event["request_id"], name, "{event}");
    }
    let end = json!({"type": "turn_complete", "status": "completed", "duration_ms": 1, "seq": 2, "injection_id": id});
    desk.server.follower_said(line(&place, file.len() as u64, end));
    desk.commit().await;
    assert_eq!(
        count(&other.until("turn_complete").await, "assistant"),
        0,
        "nothing comes twice"
    );
}

#[tokio::test]
async fn what_caused_no_prompt_is_caught_up_with_at_once() {
    let mut desk = Desk::new();
    let asker = desk.client(1 << 20);
    let place = desk.swarm(&asker).await;
    desk.says(
        &asker,
        json!({"command": "interrupt", "request_id": "stop", "job_id": place.job_id, "nodes": "all"}),
    );
    desk.commit().await;
    let mut other = desk.client(1 << 20);
    let recall = json!({"command": "recall", "request_id": "look", "of": "stop"});
    let events = answers(&mut desk, &mut other, recall, &[]).await;
    assert_eq!(count(&events, "recalled"), 1);
    desk.says(
        &other,
        json!({"command": "recall", "request_id": "look", "of": "never"}),
    );
    desk.commit().await;
    let refused = other.until("command_rejected").await.pop().unwrap();
    assert_eq!(
        (&refused["code"], &refused["field"]),
        (&json!("unknown_request"), &json!("of"))
    );
}
