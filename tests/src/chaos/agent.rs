//! An agent that counts: a process that speaks as `codex app-server` does and answers a prompt with numbered words, so that
//! whoever reads them knows whether one was lost, doubled or moved.
//!
//! A prompt `count 2000 at 750` is answered by the words `1 ` to `2000 `, 750 of them a second. Odd numbers are reasoning
//! and even ones the answer, since two deltas of one message that wait in a worker would be joined into one record.
//!
//! Where `COUNTING_JOURNAL` names a folder, a file there with a turn's name holds the last word of it that was written whole:
//! an agent that is killed has said this much, and its worker has to have heard it.

use std::fs::File;
use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Names the folder of journals.
pub const JOURNAL: &str = "COUNTING_JOURNAL";

/// How often it speaks, at most.
const STEP: Duration = Duration::from_millis(8);

/// The prompt for this many words, so many a second.
pub fn prompt(words: u64, per_second: u64) -> String {
    format!("count {words} at {per_second}")
}

/// The words of a prompt, and how many a second.
fn understood(prompt: &str) -> Option<(u64, u64)> {
    let mut words = prompt.split_whitespace();
    let (Some("count"), Some(count), Some("at"), Some(rate)) = (words.next(), words.next(), words.next(), words.next())
    else {
        return None;
    };
    Some((count.parse().ok()?, rate.parse().ok()?))
}

struct Turn {
    id: String,
    said: u64,
    words: u64,
    per_second: u64,
    /// Its pace is counted from here: what a stopped process did not say is said when it goes on.
    began: Instant,
}

struct Agent {
    thread: String,
    cwd: String,
    turns: u64,
    turn: Option<Turn>,
    out: Vec<u8>,
}

/// Speaks on standard input and output until that ends.
pub fn run() {
    let (lines, input) = sync_channel(64);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if lines.send(line).is_err() {
                return;
            }
        }
    });
    Agent {
        thread: String::new(),
        cwd: String::new(),
        turns: 0,
        turn: None,
        out: Vec::new(),
    }
    .serve(&input);
}

impl Agent {
    fn serve(&mut self, input: &Receiver<String>) {
        loop {
            let heard = match self.turn {
                Some(_) => input.recv_timeout(STEP),
                None => input.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match heard {
                Ok(line) => self.hear(&line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.count();
            let mut stdout = std::io::stdout().lock();
            // A worker that is gone needs no more words.
            if stdout.write_all(&self.out).and_then(|()| stdout.flush()).is_err() {
                return;
            }
            self.out.clear();
            self.note();
        }
    }

    /// Notes how far the running turn is, now that it is written.
    fn note(&self) {
        let (Some(folder), Some(turn)) = (std::env::var_os(JOURNAL), &self.turn) else {
            return;
        };
        let path = Path::new(&folder).join(&turn.id);
        // Written over in one piece, so that it is never half a number.
        let number = format!("{:>12}", turn.said);
        let file = File::options().write(true).create(true).truncate(false).open(path);
        // What cannot be noted counts as not said.
        let _ = file.and_then(|mut file| file.write_all(number.as_bytes()));
    }

    fn hear(&mut self, line: &str) {
        let Ok(message) = serde_json::from_str::<Value>(line) else {
            return;
        };
        let (id, params) = (message["id"].clone(), &message["params"]);
        match message["method"].as_str() {
            Some("initialize") => self.answer(&id, json!({"userAgent": "counting"})),
            Some("thread/start") => self.open(&id, "counting", params),
            Some("thread/resume") => {
                let thread = params["threadId"].as_str().unwrap_or("counting").to_owned();
                self.open(&id, &thread, params);
            }
            Some("turn/start") => self.begin(&id, params["input"][0]["text"].as_str().unwrap_or_default()),
            Some("turn/interrupt") => {
                self.answer(&id, json!({}));
                self.end("interrupted");
            }
            _ if !id.is_null() => self.answer(&id, json!({})),
            _ => {}
        }
    }

    fn open(&mut self, id: &Value, thread: &str, params: &Value) {
        thread.clone_into(&mut self.thread);
        params["cwd"].as_str().unwrap_or_default().clone_into(&mut self.cwd);
        let result = json!({
            "thread": {"id": thread, "cliVersion": "0.169.0"},
            "model": "counting",
            "cwd": self.cwd,
            "approvalPolicy": params["approvalPolicy"],
            "sandbox": {"type": params["sandbox"]},
        });
        self.answer(id, result);
    }

    fn begin(&mut self, id: &Value, prompt: &str) {
        self.turns += 1;
        let turn = format!("turn-{}-{}", std::process::id(), self.turns);
        let news = json!({"id": turn, "status": "inProgress"});
        self.answer(id, json!({"turn": news}));
        self.tell("turn/started", json!({"threadId": self.thread, "turn": news}));
        let (words, per_second) = understood(prompt).unwrap_or((1, 1));
        self.turn = Some(Turn {
            id: turn,
            said: 0,
            words,
            per_second,
            began: Instant::now(),
        });
    }

    /// Says the words that are due.
    fn count(&mut self) {
        let Some(turn) = &self.turn else { return };
        let due = turn.began.elapsed().as_secs_f64() * turn.per_second as f64;
        let (first, last) = (turn.said + 1, turn.words.min(due as u64));
        let (id, ended) = (turn.id.clone(), last == turn.words);
        for number in first..=last {
            let (method, item) = match number % 2 {
                1 => ("item/reasoning/summaryTextDelta", "reasoning"),
                _ => ("item/agentMessage/delta", "answer"),
            };
            let piece = json!({"threadId": self.thread, "turnId": id, "itemId": format!("{item}-{id}"), "delta": format!("{number} ")});
            self.tell(method, piece);
        }
        if let Some(turn) = &mut self.turn {
            turn.said = last.max(turn.said);
        }
        if ended {
            self.end("completed");
        }
    }

    fn end(&mut self, status: &str) {
        let Some(turn) = self.turn.take() else { return };
        if status == "completed" {
            let text = format!("counted to {}", turn.said);
            let item = json!({"type": "agentMessage", "id": format!("answer-{}", turn.id), "text": text});
            self.tell(
                "item/completed",
                json!({"threadId": self.thread, "turnId": turn.id, "item": item}),
            );
        }
        let news = json!({"id": turn.id, "status": status});
        self.tell("turn/completed", json!({"threadId": self.thread, "turn": news}));
    }

    fn answer(&mut self, id: &Value, result: Value) {
        self.line(&json!({"id": id, "result": result}));
    }

    fn tell(&mut self, method: &str, params: Value) {
        self.line(&json!({"method": method, "params": params}));
    }

    fn line(&mut self, message: &Value) {
        self.out.extend_from_slice(message.to_string().as_bytes());
        self.out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_understood_as_it_was_written() {
        assert_eq!(understood(&prompt(2000, 750)), Some((2000, 750)));
        assert_eq!(understood("Hello"), None);
    }
}
