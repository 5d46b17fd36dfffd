//! The client's books beside the files: what the workers have recorded, and what the agents were asked to say.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde_json::Value;

use super::books::{Books, NOT_STARTED, NodeBook, SwarmBook, fingerprint};
use crate::workspace::Workspace;

/// Differences beyond these are counted and not told one by one.
const TOLD: usize = 20;

/// The ends of turns whose words must all be there up to the last one that the agent has written.
const HEARD_OUT: [&str; 3] = ["completed", "failed: agent_died", "interrupted: other"];

/// Sums over all nodes of all swarms.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Records in the files.
    pub records: u64,
    /// Of these, the client has.
    pub seen: u64,
    /// Records that the client does not have.
    pub lost: u64,
    /// Records that came twice, or stand twice in a file.
    pub doubled: u64,
    /// Records that came after a later one, or behind a gap; numbers of a file that do not go up by one.
    pub out_of_order: u64,
    /// Records that the client has and no file, or that differ.
    pub invented: u64,
    /// Lines of files that are no records: what a writer that died has left of its last one.
    pub torn: u64,
    /// Words that agents have said.
    pub words: u64,
    /// Words of a completed answer that are not there, or gaps before a later word.
    pub words_lost: u64,
    /// Words that stand there twice, or after a later one.
    pub words_doubled: u64,
    /// Prompts whose agents have noted how much they said.
    pub journals: u64,
    /// Prompts that were given.
    pub prompts: u64,
    /// Prompts that were acknowledged.
    pub acknowledged: u64,
    /// Prompts that were started.
    pub started: u64,
    /// Prompts that were started more than once.
    pub started_twice: u64,
    /// Prompts that stand more than once in an inbox.
    pub delivered_twice: u64,
    /// Prompts that have ended.
    pub ended: u64,
    /// Of these, by a completed turn.
    pub completed: u64,
    /// Prompts that have ended more than once.
    pub ended_twice: u64,
    /// Prompts without an end.
    pub never_ended: u64,
    /// Failed as never started, and started or delivered all the same.
    pub started_after_failure: u64,
    /// The differences, the first of them.
    pub told: Vec<String>,
}

/// What the records of one prompt say.
#[derive(Default)]
struct Said {
    started: u64,
    /// The last word.
    word: u64,
    /// The agent's name for the turn.
    turn: Option<String>,
    completed: bool,
}

impl Verdict {
    /// Compares everything. The swarms must have ended. `journal` is the folder of the agents' journals.
    pub fn of(books: &Books, workspace: &Workspace, journal: &Path) -> Self {
        let mut verdict = Self {
            doubled: books.doubled,
            out_of_order: books.out_of_order,
            told: books.complaints.clone(),
            ..Self::default()
        };
        for swarm in &books.swarms {
            let mut said = HashMap::new();
            for (node, book) in swarm.nodes.iter().enumerate() {
                verdict.node(workspace, swarm, node as u32, book, &mut said);
            }
            verdict.prompts(swarm, &said, journal);
        }
        verdict
    }

    /// What must be nothing, by its name.
    pub fn broken(&self) -> Vec<(&'static str, u64)> {
        let counts = [
            ("records lost", self.lost),
            ("records doubled", self.doubled),
            ("records out of order", self.out_of_order),
            ("records invented or changed", self.invented),
            ("words lost", self.words_lost),
            ("words doubled", self.words_doubled),
            ("prompts started twice", self.started_twice),
            ("prompts delivered twice", self.delivered_twice),
            ("prompts ended twice", self.ended_twice),
            ("prompts never ended", self.never_ended),
            ("prompts started although failed", self.started_after_failure),
        ];
        counts.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    fn tell(&mut self, difference: String) {
        if self.told.len() < TOLD {
            self.told.push(difference);
        }
    }

    fn node(
        &mut self,
        workspace: &Workspace,
        swarm: &SwarmBook,
        node: u32,
        book: &NodeBook,
        said: &mut HashMap<String, Said>,
    ) {
        let mut heard = book.records.iter().peekable();
        let mut last = 0;
        for line in lines(workspace, &["outbox", "archive"], &swarm.job_id, node) {
            let Ok(record) = serde_json::from_slice::<Value>(&line) else {
                self.torn += 1;
                continue;
            };
            let seq = record["seq"].as_u64().unwrap_or(0);
            self.records += 1;
            if seq != last + 1 {
                let count = if seq <= last {
                    &mut self.doubled
                } else {
                    &mut self.out_of_order
                };
                *count += 1;
                self.tell(format!("node {node}: the file has {seq} after {last}"));
            }
            last = seq;
            while let Some((_, _)) = heard.next_if(|(number, _)| *number < seq) {
                self.invented += 1;
                self.tell(format!("node {node}: a record before {seq} is in no file"));
            }
            match heard.next_if(|(number, _)| *number == seq) {
                None => {
                    self.lost += 1;
                    self.tell(format!("node {node}: {seq} is lost: {record}"));
                }
                Some((_, mark)) => {
                    self.seen += 1;
                    if *mark != fingerprint(&record) {
                        self.invented += 1;
                        self.tell(format!("node {node}: {seq} came changed: {record}"));
                    }
                }
            }
            self.words(node, &record, said);
        }
        self.invented += heard.count() as u64;
        let mut delivered: Vec<_> = lines(workspace, &["inbox"], &swarm.job_id, node)
            .filter_map(|line| serde_json::from_slice::<Value>(&line).ok())
            .filter_map(|record| record["injection_id"].as_str().map(str::to_owned))
            .collect();
        let all = delivered.len();
        delivered.sort_unstable();
        delivered.dedup();
        self.delivered_twice += (all - delivered.len()) as u64;
    }

    fn words(&mut self, node: u32, record: &Value, said: &mut HashMap<String, Said>) {
        let Some(injection) = record["injection_id"].as_str() else {
            return;
        };
        let said = said.entry(injection.to_owned()).or_default();
        match record["type"].as_str().unwrap_or_default() {
            "turn_started" => said.started += 1,
            "turn_complete" => said.completed |= record["status"] == "completed",
            "assistant_delta" | "reasoning_delta" => {
                let content = record["content"].as_str().unwrap_or_default();
                let item = record["item_id"].as_str().and_then(|item| item.split_once('-'));
                said.turn = item.map(|(_, turn)| turn.to_owned());
                for word in content.split_whitespace() {
                    let number = word.parse().unwrap_or(0);
                    self.words += 1;
                    if number <= said.word {
                        self.words_doubled += 1;
                    } else {
                        self.words_lost += number - said.word - 1;
                    }
                    if number != said.word + 1 && self.told.len() < TOLD {
                        self.told
                            .push(format!("node {node}: word {number} after {}: {record}", said.word));
                    }
                    said.word = number.max(said.word);
                }
            }
            _ => {}
        }
    }

    fn prompts(&mut self, swarm: &SwarmBook, said: &HashMap<String, Said>, journal: &Path) {
        for (request, prompt) in &swarm.prompts {
            self.prompts += 1;
            let nothing = Said::default();
            let said = match &prompt.injection {
                Some(injection) => {
                    self.acknowledged += 1;
                    said.get(injection).unwrap_or(&nothing)
                }
                None => &nothing,
            };
            self.started += u64::from(said.started > 0);
            self.started_twice += u64::from(said.started > 1);
            self.ended += u64::from(!prompt.ends.is_empty());
            self.completed += u64::from(said.completed);
            self.ended_twice += u64::from(prompt.ends.len() > 1);
            self.never_ended += u64::from(prompt.ends.is_empty());
            if said.completed && said.word != prompt.words {
                self.words_lost += prompt.words.saturating_sub(said.word);
                self.tell(format!(
                    "{request}: completed after {} of {} words",
                    said.word, prompt.words
                ));
            }
            // A worker that lives reads what its agent has said to the end, however that ends.
            let heard_out = prompt.ends.iter().any(|end| HEARD_OUT.contains(&end.as_str()));
            let written = said
                .turn
                .as_ref()
                .and_then(|turn| std::fs::read_to_string(journal.join(turn)).ok());
            let written = written.and_then(|number| number.trim().parse().ok()).unwrap_or(0);
            self.journals += u64::from(written > 0 && heard_out);
            if heard_out && said.word < written {
                self.words_lost += written - said.word;
                self.tell(format!(
                    "{request}: {} of {written} words, {:?}",
                    said.word, prompt.ends
                ));
            }
            let failed = prompt.ends.iter().any(|end| end.starts_with(NOT_STARTED));
            if failed && said.started > 0 {
                self.started_after_failure += 1;
                self.tell(format!("{request}: started, and failed as {:?}", prompt.ends));
            }
            if prompt.ends.len() != 1 || said.started > 1 {
                self.tell(format!("{request} to node {}: ends {:?}", prompt.node, prompt.ends));
            }
        }
    }
}

/// The whole lines of a node's file, from the first of these folders that has it.
fn lines(workspace: &Workspace, folders: &[&str], job: &str, node: u32) -> impl Iterator<Item = Vec<u8>> {
    let name = format!("{job}_{node:02}.jsonl");
    let file = folders
        .iter()
        .find_map(|folder| File::open(workspace.mailbox(folder).join(&name)).ok());
    let reader = file.map(|file| BufReader::with_capacity(1 << 16, file));
    let split = reader.into_iter().flat_map(|reader| reader.split(b'\n'));
    split.map_while(Result::ok).filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::super::books::{Prompt, prompt_name};
    use super::*;

    /// What a worker records of a prompt whose agent counts to three.
    fn records() -> Vec<Value> {
        let said = [
            json!({"type": "turn_started"}),
            json!({"type": "reasoning_delta", "content": "1 ", "item_id": "reasoning-t"}),
            json!({"type": "assistant_delta", "content": "2 ", "item_id": "answer-t"}),
            json!({"type": "reasoning_delta", "content": "3 ", "item_id": "reasoning-t"}),
            json!({"type": "turn_complete", "status": "completed"}),
        ];
        let mut records = said.to_vec();
        for (seq, record) in (1..).zip(&mut records) {
            let place = json!({"job_id": "7", "node_id": 0, "injection_id": "i", "seq": seq});
            record
                .as_object_mut()
                .unwrap()
                .extend(place.as_object().unwrap().clone());
        }
        records
    }

    /// A client was told `heard`, and the file holds `file`.
    fn judged(heard: &[Value], file: &[Value]) -> Verdict {
        let workspace = Workspace::echo();
        fs::create_dir_all(workspace.mailbox("archive")).unwrap();
        let lines: String = file.iter().map(|record| format!("{record}\n")).collect();
        fs::write(workspace.mailbox("archive").join("7_00.jsonl"), lines).unwrap();
        let mut books = Books::default();
        let mut swarm = SwarmBook::new("s", "7", 1);
        let prompt = Prompt {
            node: 0,
            words: 3,
            command: json!({"request_id": "r"}),
            injection: None,
            ends: Vec::new(),
        };
        swarm.prompts.insert(prompt_name("r", 0), prompt);
        books.swarms.push(swarm);
        books.take(&json!({"type": "inject_ack", "request_id": "r", "injection_id": "i", "job_id": "7", "node_id": 0, "seq": 0, "sub": 1}));
        for record in heard {
            books.take(record);
        }
        Verdict::of(&books, &workspace, workspace.path())
    }

    #[test]
    fn a_whole_copy_of_a_whole_answer_breaks_nothing() {
        let verdict = judged(&records(), &records());
        assert_eq!(verdict.broken(), [], "{verdict:#?}");
        assert_eq!(
            (verdict.records, verdict.seen, verdict.words, verdict.completed),
            (5, 5, 3, 1)
        );
    }

    #[test]
    fn what_the_client_lacks_has_twice_or_otherwise_is_counted() {
        let mut lacking = records();
        lacking.remove(2);
        assert_eq!(judged(&lacking, &records()).lost, 1);
        let mut twice = records();
        twice.insert(3, records()[2].clone());
        assert_eq!(judged(&twice, &records()).doubled, 1);
        let mut changed = records();
        changed[3]["content"] = json!("4 ");
        assert_eq!(judged(&changed, &records()).invented, 1);
        let mut more = records();
        more.push(json!({"type": "notice", "job_id": "7", "node_id": 0, "seq": 6}));
        assert_eq!(judged(&more, &records()).invented, 1);
        assert_eq!(judged(&records()[..4], &records()).never_ended, 1);
    }

    #[test]
    fn words_that_are_missing_or_doubled_and_a_second_start_are_counted_in_the_files() {
        let mut short = records();
        short[3]["content"] = json!("");
        assert_eq!(judged(&short, &short).words_lost, 1);
        let mut again = records();
        again[3]["content"] = json!("2 3 ");
        assert_eq!(judged(&again, &again).words_doubled, 1);
        let mut twice = records();
        twice[1]["type"] = json!("turn_started");
        assert_eq!(judged(&twice, &twice).started_twice, 1);
    }
}
