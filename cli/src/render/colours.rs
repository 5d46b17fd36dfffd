//! Colours for a terminal, and nothing where there is none.

/// Whether text is painted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Colours {
    on: bool,
}

/// What a text is, which decides how it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Who speaks.
    Header,
    /// Beside the point.
    Dim,
    /// Something failed.
    Bad,
    /// Someone should look.
    Warn,
    /// As it should be.
    Good,
    /// What an agent runs.
    Command,
}

impl Look {
    fn sgr(self) -> &'static str {
        match self {
            Self::Header => "1;36",
            Self::Dim => "2",
            Self::Bad => "31",
            Self::Warn => "33",
            Self::Good => "32",
            Self::Command => "1",
        }
    }
}

impl Colours {
    /// No escape sequences.
    pub const OFF: Self = Self { on: false };

    /// Colours, on a terminal that takes them.
    pub const ON: Self = Self { on: true };

    /// What suits a stream: colours on a terminal, unless the user said `NO_COLOR` (no-color.org: set and not empty) or
    /// the terminal is `dumb`.
    pub fn for_stream(is_terminal: bool) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            on: is_terminal && !refused,
        }
    }

    /// `text` as it should look. It must not contain a newline at its end, or the next line starts in colour.
    pub fn paint(self, look: Look, text: &str) -> String {
        if self.on && !text.is_empty() {
            format!("\x1b[{}m{text}\x1b[0m", look.sgr())
        } else {
            text.to_owned()
        }
    }
}
