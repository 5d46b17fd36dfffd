//! How hard frames are compressed: little where the processor is the limit, more where a slow line is.
//!
//! Knows only how long packing and writing took; no clock, frame or file.

use std::time::Duration;

/// zstd's level where the processor is the limit.
const LITTLE: i32 = 1;

/// And where the line is: records become a quarter smaller for about four times the work.
const MORE: i32 = 6;

/// A write below this says nothing about the line: the pipe and the socket take it at once. In bytes.
const TELLING: usize = 64 * 1024;

/// Which level the next frames are compressed at.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Effort {
    line_is_slow: bool,
}

impl Effort {
    /// The level of zstd.
    pub(crate) fn level(self) -> i32 {
        if self.line_is_slow { MORE } else { LITTLE }
    }

    /// So many bytes were packed and then written, in wall-clock time: on a busy machine packing takes longer, and gives way
    /// sooner. More work is begun where it would still take less than half of a core, and ends where it takes more.
    pub(crate) fn sent(&mut self, bytes: usize, packing: Duration, writing: Duration) {
        if bytes < TELLING {
            return;
        }
        if writing > 8 * packing {
            self.line_is_slow = true;
        } else if writing < packing {
            self.line_is_slow = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: usize = 256 * 1024;

    /// Ten writes to a line of so many bytes a second, packed at 40 MB/s of packed bytes with little work on an idle core and at
    /// 10 with more. While one write is on the line the next is packed.
    fn levels(line: f64, share_of_the_core: f64) -> Vec<i32> {
        let mut effort = Effort::default();
        let mut levels = Vec::new();
        for _ in 0..10 {
            let speed = if effort.line_is_slow { 10e6 } else { 40e6 };
            let packing = FULL as f64 / (speed * share_of_the_core);
            let writing = (FULL as f64 / line - packing).max(0.0);
            let [packing, writing] = [packing, writing].map(Duration::from_secs_f64);
            effort.sent(FULL, packing, writing);
            levels.push(effort.level());
        }
        levels
    }

    #[test]
    fn a_slow_line_has_its_bytes_packed_harder_and_stays_so() {
        assert_eq!(levels(2.5e6, 1.0), [MORE; 10]);
    }

    #[test]
    fn a_fast_line_costs_no_more_than_before() {
        assert_eq!(levels(300e6, 1.0), [LITTLE; 10]);
    }

    #[test]
    fn a_busy_core_is_not_asked_for_more() {
        assert_eq!(levels(2.5e6, 0.4), [LITTLE; 10]);
    }

    #[test]
    fn a_line_that_becomes_fast_has_the_effort_go_back() {
        let mut effort = Effort { line_is_slow: true };
        effort.sent(FULL, Duration::from_millis(30), Duration::from_millis(1));
        assert_eq!(effort.level(), LITTLE);
    }

    #[test]
    fn a_small_write_says_nothing() {
        let mut effort = Effort::default();
        effort.sent(TELLING - 1, Duration::ZERO, Duration::from_secs(1));
        assert_eq!(effort.level(), LITTLE);
    }
}
