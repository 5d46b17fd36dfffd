//! What a model reads: one JSON object, short enough for every client.

use std::collections::BTreeSet;

use codeswarm_client::plain::plain;
use codeswarm_protocol::{NodeId, RejectionCode, RequestId};
use serde_json::Value;

use crate::asking::Trouble;

/// The longest reply, in characters. OpenClaw shows a model 16,000 of a result at least.
pub const LONGEST: usize = 12_000;

/// What a call comes to.
pub type Reply = Result<Value, String>;

/// As a model reads it.
pub fn text(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}

/// Whether a reply is short enough.
pub fn fits(value: &Value) -> bool {
    text(value).chars().count() <= LONGEST
}

/// `count` items at most as they fit: takes away from `value`'s list named `list` until it does. Returns how many are left.
pub fn shortened(value: &mut Value, list: &str) -> usize {
    loop {
        let fits = fits(value);
        let Some(items) = value.get_mut(list).and_then(Value::as_array_mut) else {
            return 0;
        };
        if fits || items.is_empty() {
            return items.len();
        }
        items.truncate(items.len() * 9 / 10);
    }
}

/// The beginning of a text, without what would move a cursor; and whether it is all of it.
pub fn head(content: &str, characters: usize) -> (String, bool) {
    let content = plain(content);
    match content.char_indices().nth(characters) {
        Some((at, _)) => (format!("{}…", content.get(..at).unwrap_or_default()), false),
        None => (content.into_owned(), true),
    }
}

/// Ranks as they are typed: `0-3,7`.
pub fn ranks(nodes: &BTreeSet<NodeId>) -> String {
    let mut told = String::new();
    let mut rest = nodes.iter().map(|node| node.rank()).peekable();
    while let Some(first) = rest.next() {
        let mut last = first;
        while let Some(next) = rest.next_if(|next| *next == last + 1) {
            last = next;
        }
        let comma = if told.is_empty() { "" } else { "," };
        match first == last {
            true => told += &format!("{comma}{first}"),
            false => told += &format!("{comma}{first}-{last}"),
        }
    }
    told
}

/// Whether a text of [`ranks`] names this node. Anything else names none.
pub fn names(ranks: &str, node: NodeId) -> bool {
    ranks.split(',').any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let rank = |text: &str| text.trim().parse::<u32>();
        matches!((rank(first), rank(last)), (Ok(first), Ok(last)) if (first..=last).contains(&node.rank()))
    })
}

/// The same for a question about the request named `of`.
pub fn sorry_about(of: &RequestId, trouble: Trouble, late: &str) -> String {
    match trouble {
        Trouble::Refused(RejectionCode::UnknownRequest, _) => format!(
            "nothing was asked here under the idempotency_key {:?}, or its launch is still on its way; prompt and launch return the key to wait for",
            of.as_str()
        ),
        trouble => sorry(trouble, late),
    }
}

/// The sentence for a call that has no answer. `late` says what to do if it only takes long.
pub fn sorry(trouble: Trouble, late: &str) -> String {
    match trouble {
        Trouble::Refused(_, sentence) | Trouble::Failed(sentence) => sentence,
        Trouble::Late => late.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ranks_read_back() {
        let node = |rank| NodeId::new(rank).unwrap();
        let nodes: BTreeSet<NodeId> = [0, 1, 2, 5, 7, 8].map(node).into();
        assert_eq!(ranks(&nodes), "0-2,5,7-8");
        for rank in 0..10 {
            assert_eq!(names("0-2,5,7-8", node(rank)), nodes.contains(&node(rank)), "{rank}");
        }
        assert_eq!(ranks(&BTreeSet::new()), "");
        for nonsense in ["", "all", "-", "3-1", "1-", "9999999999", "é"] {
            assert!(!names(nonsense, node(1)), "{nonsense}");
        }
    }

    #[test]
    fn a_reply_is_shortened_until_it_fits() {
        let mut value = json!({"news": vec!["é".repeat(100); 1000], "cursor": "x"});
        let left = shortened(&mut value, "news");
        assert!(fits(&value) && left > 50, "{left}");
        assert_eq!(value["news"].as_array().unwrap().len(), left);
        assert_eq!(shortened(&mut json!({"news": [1, 2]}), "news"), 2);
    }

    #[test]
    fn a_head_says_whether_it_is_all() {
        assert_eq!(head("hé\u{1b}[2Jllo", 5), ("héllo".to_owned(), true));
        assert_eq!(head("héllo", 2), ("hé…".to_owned(), false));
    }
}
