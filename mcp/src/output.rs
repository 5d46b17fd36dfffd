//! `output`: what one node said to one prompt, page by page.

use std::time::Duration;

use codeswarm_client::event::{Event, Said};
use codeswarm_client::plain::plain;
use codeswarm_client::request::Request;
use codeswarm_protocol::NodeId;
use codeswarm_protocol::record::Word;
use serde_json::json;
use tokio::time::Instant;

use crate::asking::{Desk, Heard, Question};
use crate::parameters::Output;
use crate::reply::{LONGEST, Reply, fits, head, ranks, sorry_about};
use crate::turns::Turns;
use crate::wait::Recalling;

/// Reading a long past takes a while.
const PATIENCE: Duration = Duration::from_secs(50);
/// Characters of a page, if nothing is said, and at most.
const PAGE: u32 = 6_000;
const LONGEST_PAGE: u32 = 8_000;
/// So much of what a command printed is shown.
const PRINTED: usize = 2_000;

/// Collects one page of one node's text while a recall tells the past; only the page is kept.
struct Reading<'a, F> {
    recalling: Recalling<'a, F>,
    wanted: Option<NodeId>,
    detail: bool,
    page: Page,
}

/// Some characters of a text that comes in pieces.
#[derive(Debug, Default)]
struct Page {
    offset: u64,
    limit: u64,
    /// How long the text is so far.
    length: u64,
    text: String,
}

impl Page {
    fn add(&mut self, piece: &str) {
        for character in piece.chars() {
            if self.length >= self.offset && self.length < self.offset + self.limit {
                self.text.push(character);
            }
            self.length += 1;
        }
    }

    fn paragraph(&mut self, paragraph: &str) {
        if self.length > 0 {
            self.add("\n\n");
        }
        self.add(plain(paragraph).trim_end());
    }
}

impl<F: FnMut(&Turns) -> bool> Question for Reading<'_, F> {
    type Answer = ();

    fn begin(&mut self) -> Vec<Request> {
        let Page { offset, limit, .. } = self.page;
        self.page = Page {
            offset,
            limit,
            ..Page::default()
        };
        self.recalling.begin()
    }

    fn until(&self) -> Instant {
        self.recalling.until()
    }

    fn hear(&mut self, event: &Event) -> Heard<()> {
        let of_node = self.wanted.is_none_or(|wanted| event.head.node_id == Some(wanted));
        if of_node
            && event.head.injection_id.is_some()
            && let Said::Worker(word) = event.said()
        {
            match word {
                Word::Assistant { content, .. } => self.page.paragraph(&content),
                Word::CommandCompleted {
                    command,
                    exit_code,
                    output,
                    ..
                } if self.detail => {
                    let code = exit_code.map(|code| format!(" [exit code {code}]")).unwrap_or_default();
                    self.page
                        .paragraph(&format!("$ {}{code}\n{}", command.trim_end(), head(&output, PRINTED).0));
                }
                Word::FileChange { changes, .. } if self.detail => {
                    let paths = changes.iter().map(|change| change.path.as_str());
                    self.page
                        .paragraph(&format!("changed {}", paths.collect::<Vec<_>>().join(", ")));
                }
                _ => {}
            }
        }
        self.recalling.hear(event)
    }
}

pub async fn output(desk: &Desk, output: Output) -> Reply {
    let mut turns = Turns::default();
    let limit = output.limit.unwrap_or(PAGE).clamp(1, LONGEST_PAGE);
    let until = Instant::now() + PATIENCE;
    let mut reading = Reading {
        recalling: Recalling::new(output.prompt.clone(), &mut turns, (until, until), |_: &Turns| true),
        wanted: output.node,
        detail: output.detail,
        page: Page {
            offset: output.offset,
            limit: limit.into(),
            ..Page::default()
        },
    };
    let asked = desk.ask(&mut reading).await;
    let page = reading.page;
    asked.map_err(|trouble| {
        sorry_about(
            &output.prompt,
            trouble,
            "what the node said could not be read in 50 s; call output again with the same arguments",
        )
    })?;
    let nodes = turns.each().map(|(node, _)| node).collect();
    let of_one = match (output.node, turns.count()) {
        (_, 0) => return Err("this request gave no prompt to any node".to_owned()),
        (None, 1) => turns.each().next(),
        (None, _) => {
            return Err(format!(
                "the prompt went to nodes {}; say which one as node",
                ranks(&nodes)
            ));
        }
        (Some(wanted), _) => turns.each().find(|(node, _)| *node == wanted),
    };
    let Some((node, turn)) = of_one else {
        return Err(format!(
            "the prompt did not go to that node; it went to {}",
            ranks(&nodes)
        ));
    };
    let status = turn.end.as_ref().map_or("running", |end| end.how);
    let mut text = page.text;
    // Newlines and quotes take two characters in a reply.
    loop {
        let next = page.offset + text.chars().count() as u64;
        let read_all = next >= page.length;
        let value = json!({
            "prompt": output.prompt,
            "node": node,
            "status": status,
            "why": turn.end.as_ref().and_then(|end| end.why.as_ref()),
            "text": text,
            "offset": page.offset,
            "next_offset": next,
            "length": page.length,
            "eof": read_all && turn.end.is_some(),
        });
        if fits(&value) || text.is_empty() {
            return Ok(value);
        }
        let keep = text.chars().count().min(LONGEST) * 9 / 10;
        text = text.chars().take(keep).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_make_the_text_and_hold_no_more() {
        let whole = {
            let mut page = Page {
                limit: u64::MAX,
                ..Page::default()
            };
            for piece in ["héllo", "wörld\n", "x"] {
                page.paragraph(piece);
            }
            page.text
        };
        assert_eq!(whole, "héllo\n\nwörld\n\nx");
        for limit in 1..20 {
            let mut text = String::new();
            loop {
                let mut page = Page {
                    offset: text.chars().count() as u64,
                    limit,
                    ..Page::default()
                };
                for piece in ["héllo", "wörld\n", "x"] {
                    page.paragraph(piece);
                }
                assert_eq!(page.length, whole.chars().count() as u64);
                assert!(page.text.chars().count() as u64 <= limit);
                if page.text.is_empty() {
                    break;
                }
                text += &page.text;
            }
            assert_eq!(text, whole);
        }
    }
}
