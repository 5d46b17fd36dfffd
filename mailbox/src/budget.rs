//! How many looks that find nothing may be made: never more than the cap in any second, all files together.
//!
//! Before a look nobody knows what it will find, so each must be affordable as an empty one; what it cost is given back
//! if it brings data. The cap has two sides. *Cold* looks are spaced evenly by whoever asks, at [`Budget::cold_rate`]; the
//! others draw on a bucket of tokens that fills at four fifths of their side's rate and holds one fifth of a second's
//! worth, so that a burst is allowed and no window of a second sees more than the side's rate. A window over both sides
//! holds the cap itself, whatever else is wrong. On a filesystem that answers slowly both sides have less
//! ([`crate::pace`]). Pure: the clock is handed in.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::pace::Pace;

/// The cap counts over this long.
pub(crate) const WINDOW: Duration = Duration::from_secs(1);

/// The two sides, of which the lively one has two kinds of looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Files whose writers say that they have grown: a look costs nothing of the bucket unless it turns out to be empty.
    Rung,
    /// Files that move, or did lately.
    Lively,
    /// Files that have been quiet for long.
    Cold,
}

#[derive(Debug)]
pub(crate) struct Budget {
    /// Empty looks a second, configured.
    cap: u32,
    /// How much of it the filesystem bears.
    pace: Pace,
    /// Tokens of the lively side, and when they were counted.
    tokens: f64,
    counted: Option<Instant>,
    /// When looks of the last second turned out to be empty.
    empty: VecDeque<Instant>,
    /// Looks that are under way and may turn out so.
    under_way: usize,
    /// When a look was last asked for.
    asked: Option<Instant>,
}

impl Budget {
    pub(crate) fn new(cap: u32, busy_permille: u32) -> Self {
        let cap = cap.max(1);
        Self {
            cap,
            pace: Pace::new(cap, busy_permille),
            tokens: f64::MAX,
            counted: None,
            empty: VecDeque::new(),
            under_way: 0,
            asked: None,
        }
    }

    /// Cold looks a second, if a round over `files` of them need not be faster than `round`. Of `all` that are polled they have
    /// their part of the side's share: a round takes no longer than if all were cold, and no shorter.
    #[expect(clippy::cast_precision_loss, reason = "numbers of files")]
    pub(crate) fn cold_rate(&self, files: usize, all: usize, round: Duration) -> f64 {
        let needed = files as f64 / round.as_secs_f64().max(0.001);
        needed.min(self.pace.allowed() * 0.6 * files as f64 / all.max(1) as f64)
    }

    /// Looks a second for safety, at files whose writers would ring: one in each `round`, and at most a fifth of all.
    pub(crate) fn swept_rate(&self, files: usize, round: Duration) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a number of files")]
        let needed = files as f64 / round.as_secs_f64().max(0.001);
        needed.min(self.pace.allowed() * 0.2)
    }

    /// What remains for the others.
    fn lively_rate(&self, cold_rate: f64) -> f64 {
        (self.pace.allowed() - cold_rate).max(0.2)
    }

    /// When a look of this side can be afforded: now or later. `cold_rate` is what the cold side is spaced at.
    pub(crate) fn free_at(&mut self, side: Side, cold_rate: f64, now: Instant) -> Instant {
        self.asked = Some(now);
        self.forget_old(now);
        if self.empty.len() + self.under_way >= self.cap as usize {
            // With none in the window, only a report of those under way can free a place.
            return self.empty.front().map_or(now + WINDOW, |oldest| *oldest + WINDOW);
        }
        if side == Side::Cold {
            return now;
        }
        let rate = self.lively_rate(cold_rate);
        let gained = self.counted.map_or(0.0, |then| {
            now.saturating_duration_since(then).as_secs_f64() * rate * 0.8
        });
        self.counted = Some(now);
        self.tokens = (self.tokens + gained).min((rate * 0.2).max(1.0));
        if self.tokens >= 1.0 {
            now
        } else {
            // A hair later, so that rounding never asks for a wait of nothing.
            now + Duration::from_secs_f64((1.0 - self.tokens) / (rate * 0.8)) + Duration::from_micros(10)
        }
    }

    /// A look begins.
    pub(crate) fn begin(&mut self, side: Side) {
        self.under_way += 1;
        if side == Side::Lively {
            self.tokens -= 1.0;
        }
    }

    /// A look will have no report, since its file was forgotten: taken for an empty one.
    pub(crate) fn forget(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
        self.empty.extend(self.asked);
    }

    /// A look ended, and took that long.
    pub(crate) fn end(&mut self, side: Side, brought_data: bool, took: Duration, now: Instant) {
        self.under_way = self.under_way.saturating_sub(1);
        self.pace.answered(took, brought_data, now);
        if !brought_data {
            self.empty.push_back(now);
        }
        match side {
            Side::Lively if brought_data => self.tokens += 1.0,
            Side::Rung if !brought_data => self.tokens = (self.tokens - 1.0).max(0.0),
            _ => {}
        }
    }

    fn forget_old(&mut self, now: Instant) {
        while self
            .empty
            .front()
            .is_some_and(|time| now.saturating_duration_since(*time) >= WINDOW)
        {
            self.empty.pop_front();
        }
    }
}
