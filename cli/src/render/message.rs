//! One node's answer: pieces are shown as they come, and the whole message adds only what the pieces did not say.

/// The message that a node is in the midst of, as far as it was shown.
#[derive(Debug, Default)]
pub struct Message {
    item_id: Option<String>,
    shown: String,
}

/// What a piece or a whole message adds to the screen.
#[derive(Debug, PartialEq, Eq)]
pub struct Addition {
    /// The message before it has to be closed first.
    pub starts_anew: bool,
    /// The text to add; may be empty.
    pub text: String,
}

impl Message {
    /// A piece.
    pub fn delta(&mut self, item_id: Option<&str>, content: &str) -> Addition {
        let starts_anew = !self.shown.is_empty() && self.item_id.as_deref() != item_id;
        if starts_anew {
            self.shown.clear();
        }
        self.item_id = item_id.map(str::to_owned);
        self.shown.push_str(content);
        Addition {
            starts_anew,
            text: content.to_owned(),
        }
    }

    /// The whole. What was shown is its beginning, or its end for someone who came late; otherwise pieces were lost and it
    /// is shown again. Afterwards nothing is in the midst.
    pub fn whole(&mut self, item_id: Option<&str>, content: &str) -> Addition {
        let shown = std::mem::take(&mut self.shown);
        let same = self.item_id.take().as_deref() == item_id;
        if shown.is_empty() || !same {
            return Addition {
                starts_anew: !shown.is_empty(),
                text: content.to_owned(),
            };
        }
        if let Some(rest) = content
            .strip_prefix(&shown)
            .or_else(|| content.strip_prefix(shown.trim_end()))
        {
            return Addition {
                starts_anew: false,
                text: rest.to_owned(),
            };
        }
        if content.trim_end().ends_with(shown.trim_end()) {
            return Addition {
                starts_anew: false,
                text: String::new(),
            };
        }
        Addition {
            starts_anew: true,
            text: content.to_owned(),
        }
    }

    /// The turn is over, whether or not the whole message came.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adds(text: &str) -> Addition {
        Addition {
            starts_anew: false,
            text: text.into(),
        }
    }

    #[test]
    fn text_that_was_streamed_is_not_shown_twice() {
        let mut message = Message::default();
        assert_eq!(message.delta(Some("m"), "Hello "), adds("Hello "));
        assert_eq!(message.delta(Some("m"), "you"), adds("you"));
        assert_eq!(message.whole(Some("m"), "Hello you"), adds(""));
        assert_eq!(message.whole(Some("n"), "no pieces"), adds("no pieces"));
    }

    #[test]
    fn the_whole_adds_what_is_missing() {
        let mut message = Message::default();
        message.delta(None, "Hello");
        assert_eq!(message.whole(None, "Hello you"), adds(" you"));
        message.delta(None, "you\n");
        assert_eq!(message.whole(None, "Hello you"), adds(""), "came late, saw its end");
        message.delta(None, "Hexlo");
        assert_eq!(
            message.whole(None, "Hello"),
            Addition {
                starts_anew: true,
                text: "Hello".into()
            }
        );
    }

    #[test]
    fn another_item_starts_anew() {
        let mut message = Message::default();
        message.delta(Some("a"), "one");
        assert!(message.delta(Some("b"), "two").starts_anew);
        assert!(message.whole(Some("c"), "three").starts_anew);
    }
}
