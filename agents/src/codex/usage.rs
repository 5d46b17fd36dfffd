//! A turn's tokens from a thread's totals.
//!
//! Codex tells the thread's total after every model response, and once more for the old turn when a thread is resumed.
//! So a turn's tokens are a difference, and a total is believed only for the turn that it names.

use codeswarm_protocol::turn::Usage;
use serde::Deserialize;

/// One count of tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Tokens {
    input_tokens: u64,
    cached_input_tokens: u64,
    output_tokens: u64,
    reasoning_output_tokens: u64,
}

impl Tokens {
    fn less(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_sub(other.input_tokens),
            cached_input_tokens: self.cached_input_tokens.saturating_sub(other.cached_input_tokens),
            output_tokens: self.output_tokens.saturating_sub(other.output_tokens),
            reasoning_output_tokens: self
                .reasoning_output_tokens
                .saturating_sub(other.reasoning_output_tokens),
        }
    }
}

/// `tokenUsage` of `thread/tokenUsage/updated`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenUsage {
    total: Tokens,
    #[serde(default)]
    last: Tokens,
    #[serde(default)]
    model_context_window: Option<u64>,
}

/// Counts the running turn.
#[derive(Debug, Default)]
pub struct Meter {
    /// The thread's total as last told.
    known: Option<Tokens>,
    /// The thread's total before the running turn.
    before: Option<Tokens>,
    /// The thread's total as told within the running turn.
    within: Option<TokenUsage>,
}

impl Meter {
    /// A thread that is new has used nothing.
    pub fn new_thread(&mut self) {
        self.known = Some(Tokens::default());
    }

    /// A turn begins.
    pub fn begin(&mut self) {
        self.before = self.known;
        self.within = None;
    }

    /// A total came, for the running turn (`ours`) or for another.
    pub fn told(&mut self, usage: TokenUsage, ours: bool) {
        self.known = Some(usage.total);
        if ours {
            // A resumed thread whose total nobody told: the first response's own count tells what was before it.
            self.before.get_or_insert_with(|| usage.total.less(usage.last));
            self.within = Some(usage);
        } else if self.within.is_none() {
            self.before = Some(usage.total);
        }
    }

    /// The turn's tokens; none when no model response was counted.
    pub fn turn(&self) -> Option<Usage> {
        let within = self.within?;
        let turn = within.total.less(self.before.unwrap_or_default());
        // Codex's own sum of the two is no count: it is set to the size of the context window when that is full.
        let total_tokens = turn.input_tokens + turn.output_tokens;
        (total_tokens > 0).then_some(Usage {
            total_tokens,
            input_tokens: turn.input_tokens,
            cached_input_tokens: turn.cached_input_tokens,
            output_tokens: turn.output_tokens,
            reasoning_output_tokens: turn.reasoning_output_tokens,
            model_context_window: within.model_context_window,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(total: u64, last: u64) -> TokenUsage {
        let tokens = |count| Tokens {
            input_tokens: count,
            ..Tokens::default()
        };
        TokenUsage {
            total: tokens(total),
            last: tokens(last),
            model_context_window: Some(9),
        }
    }

    fn turn(meter: &Meter) -> Option<u64> {
        meter.turn().map(|usage| usage.total_tokens)
    }

    #[test]
    fn turns_are_differences_of_totals() {
        let mut meter = Meter::default();
        meter.new_thread();
        meter.begin();
        assert_eq!(turn(&meter), None);
        meter.told(usage(10, 10), true);
        meter.told(usage(25, 15), true);
        assert_eq!(turn(&meter), Some(25));
        meter.begin();
        meter.told(usage(30, 5), true);
        assert_eq!(turn(&meter), Some(5));
    }

    #[test]
    fn a_resumed_thread_s_earlier_turns_do_not_count() {
        let mut meter = Meter::default();
        meter.told(usage(100, 7), false);
        meter.begin();
        meter.told(usage(103, 3), true);
        assert_eq!(turn(&meter), Some(3));

        let mut meter = Meter::default();
        meter.begin();
        meter.told(usage(100, 7), false);
        meter.told(usage(103, 3), true);
        assert_eq!(turn(&meter), Some(3));

        let mut meter = Meter::default();
        meter.begin();
        meter.told(usage(103, 3), true);
        meter.told(usage(105, 2), true);
        assert_eq!(turn(&meter), Some(5));
    }
}
