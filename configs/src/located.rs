//! A JSON text as a tree that remembers where everything stood.
//!
//! serde_json does all the reading: every member is first taken as a [`RawValue`], a slice of the text, whose address
//! tells its offset.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// A value and the byte where it starts.
#[derive(Debug, PartialEq)]
pub(crate) struct Located {
    pub offset: usize,
    pub node: Node,
}

/// What stands there.
#[derive(Debug, PartialEq)]
pub(crate) enum Node {
    /// Members in their order, duplicates included.
    Object(Vec<Member>),
    Array(Vec<Located>),
    /// A string, a number, a truth value or null.
    Scalar(Value),
}

/// A member of an object.
#[derive(Debug, PartialEq)]
pub(crate) struct Member {
    pub key: String,
    /// Where the key's opening quote stands.
    pub key_offset: usize,
    pub value: Located,
}

/// Why a text is not JSON: the byte, and what is wrong there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    pub offset: usize,
    pub message: String,
}

impl Located {
    /// Reads a whole text.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        // The first pass finds every error of syntax and bounds the depth; after it the second cannot fail.
        let outcome = serde_json::from_str::<Value>(text)
            .and_then(|_| serde_json::from_str::<&RawValue>(text))
            .and_then(|raw| Self::of_raw(text, raw));
        outcome.map_err(|error| SyntaxError::new(text, &error))
    }

    fn of_raw(text: &str, raw: &RawValue) -> Result<Self, serde_json::Error> {
        let node = match raw.get().as_bytes().first() {
            Some(b'{') => {
                let RawMembers(members) = serde_json::from_str(raw.get())?;
                let member = |(key, value): (&RawValue, &RawValue)| {
                    Ok(Member {
                        key: serde_json::from_str(key.get())?,
                        key_offset: offset_in(text, key.get()),
                        value: Self::of_raw(text, value)?,
                    })
                };
                Node::Object(
                    members
                        .into_iter()
                        .map(member)
                        .collect::<Result<_, serde_json::Error>>()?,
                )
            }
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(raw.get())?;
                Node::Array(
                    items
                        .into_iter()
                        .map(|item| Self::of_raw(text, item))
                        .collect::<Result<_, _>>()?,
                )
            }
            _ => Node::Scalar(serde_json::from_str(raw.get())?),
        };
        Ok(Self {
            offset: offset_in(text, raw.get()),
            node,
        })
    }

    /// The member of this name, if this is an object that has it.
    pub fn member(&self, key: &str) -> Option<&Member> {
        match &self.node {
            Node::Object(members) => members.iter().find(|member| member.key == key),
            _ => None,
        }
    }

    /// Item `index`, if this is an array that has it.
    pub fn item(&self, index: usize) -> Option<&Located> {
        match &self.node {
            Node::Array(items) => items.get(index),
            _ => None,
        }
    }

    /// Whether it is a string.
    pub fn is_text(&self) -> bool {
        matches!(self.node, Node::Scalar(Value::String(_)))
    }

    /// What it is, in the words of an error message.
    pub fn describe(&self) -> String {
        match &self.node {
            Node::Object(_) => "an object".to_owned(),
            Node::Array(_) => "a list".to_owned(),
            Node::Scalar(Value::String(text)) => format!("the string {}", shortened(text)),
            Node::Scalar(Value::Number(number)) => format!("the number {number}"),
            Node::Scalar(value) => format!("`{value}`"),
        }
    }
}

/// A text in quotes, cut if it is long.
pub(crate) fn shortened(text: &str) -> String {
    const LONGEST: usize = 40;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}", format!("{}…", &text[..end])),
        None => format!("{text:?}"),
    }
}

/// Where `part`, a slice of `text`, starts in it.
fn offset_in(text: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize)
}

/// The members of an object as slices of the text, keys with their quotes.
struct RawMembers<'t>(Vec<(&'t RawValue, &'t RawValue)>);

impl<'t> Deserialize<'t> for RawMembers<'t> {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'t> Visitor<'t> for MembersVisitor {
            type Value = RawMembers<'t>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(RawMembers(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}

impl SyntaxError {
    fn new(text: &str, error: &serde_json::Error) -> Self {
        let line_start = match error.line() {
            0 | 1 => 0,
            line => text
                .match_indices('\n')
                .nth(line - 2)
                .map_or(text.len(), |(newline, _)| newline + 1),
        };
        let mut offset = (line_start + error.column().saturating_sub(1)).min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let said = error.to_string();
        let said = said
            .rsplit_once(" at line ")
            .map_or(said.as_str(), |(message, _)| message);
        let hint = match text[offset..].chars().next() {
            Some('/' | '#') => "; JSON has no comments",
            Some('\'') => "; JSON takes double quotes only",
            _ if error.is_eof() => "; a bracket, a brace or a quote is not closed",
            _ => "",
        };
        Self {
            offset,
            message: format!("is not JSON: {said}{hint}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_and_key_knows_its_offset() {
        let text = " {\"a\\u0062\" : [ 1 ,\n {\"µ\":\"€\"}],\"a\":null, \"a\" : true} ";
        let tree = Located::parse(text).unwrap();
        assert_eq!(tree.offset, 1);
        let first = tree.member("ab").unwrap();
        assert_eq!(first.key_offset, 2);
        assert_eq!(first.value.offset, text.find('[').unwrap());
        assert_eq!(first.value.item(0).unwrap().offset, text.find('1').unwrap());
        let inner = first.value.item(1).unwrap();
        assert_eq!(inner.offset, text.rfind('{').unwrap());
        assert_eq!(inner.member("µ").unwrap().value.offset, text.find("\"€").unwrap());
        let Node::Object(members) = &tree.node else {
            panic!("not an object")
        };
        assert_eq!(
            members.iter().map(|m| m.key.as_str()).collect::<Vec<_>>(),
            ["ab", "a", "a"]
        );
        assert_eq!(members[2].key_offset, text.rfind("\"a\"").unwrap());
    }

    #[test]
    fn depth_is_bounded() {
        let deep = "[".repeat(100_000);
        assert!(Located::parse(&deep).unwrap_err().message.contains("recursion limit"));
    }

    #[test]
    fn errors_stand_where_the_text_goes_wrong() {
        let at = |text| Located::parse(text).map_err(|e| (e.offset, e.message));
        assert_eq!(
            at("{\"a\": // no\n1}"),
            Err((6, "is not JSON: expected value; JSON has no comments".into()))
        );
        assert_eq!(at("{} x"), Err((3, "is not JSON: trailing characters".into())));
        assert_eq!(at("{\"a\":1,}"), Err((7, "is not JSON: trailing comma".into())));
        assert_eq!(at("{\"µ\": 'x'}").unwrap_err().0, 7);
        assert!(at("{\"a\":").unwrap_err().1.ends_with("is not closed"));
    }
}
