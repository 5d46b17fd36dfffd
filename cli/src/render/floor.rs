//! Who speaks: several nodes stream at once, and a person can follow one at a time.
//!
//! One node has the floor and its text appears as it comes. What the others say meanwhile is kept, and shown whole when
//! they get the floor: when the holder's turn is over, when it pauses, or when they have waited long enough and the
//! holder is at the end of a line or at least of a word. A header tells each change. Time is handed in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Once someone has waited this long the holder gives way at the end of a line.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Once someone has waited this long the holder gives way between words.
const LONG_PATIENCE: Duration = Duration::from_secs(4);
/// A holder that says nothing for this long gives way wherever it is.
const PAUSE: Duration = Duration::from_millis(700);
/// More than this is never kept, in bytes over all nodes; the holder gives way at once.
const MOST_KEPT: usize = 256 * 1024;

/// The text of several speakers, put into an order.
#[derive(Debug)]
pub struct Floor<Speaker> {
    speakers: BTreeMap<Speaker, Kept>,
    /// Who has text that is not shown, since when.
    waiting: BTreeSet<(Duration, Speaker)>,
    holder: Option<Speaker>,
    last_spoke: Duration,
    kept: usize,
    out: String,
    mid_line: bool,
}

#[derive(Debug, Default)]
struct Kept {
    text: String,
    since: Duration,
    /// In the midst of a turn: more will follow.
    open: bool,
}

impl<Speaker> Default for Floor<Speaker> {
    fn default() -> Self {
        Self {
            speakers: BTreeMap::new(),
            waiting: BTreeSet::new(),
            holder: None,
            last_spoke: Duration::ZERO,
            kept: 0,
            out: String::new(),
            mid_line: false,
        }
    }
}

impl<Speaker: Ord + Clone> Floor<Speaker> {
    /// A piece of a message; more will follow.
    pub fn stream(&mut self, speaker: &Speaker, text: &str, now: Duration, header: &dyn Fn(&Speaker) -> String) {
        self.keep(speaker, text, now);
        if let Some(kept) = self.speakers.get_mut(speaker) {
            kept.open = true;
        }
        self.settle(now, header);
    }

    /// Whole lines, each with its newline; a line that was begun is ended first.
    pub fn lines(&mut self, speaker: &Speaker, text: &str, now: Duration, header: &dyn Fn(&Speaker) -> String) {
        if self.is_mid_line(speaker) {
            self.keep(speaker, "\n", now);
        }
        self.keep(speaker, text, now);
        self.settle(now, header);
    }

    /// The end of a message: the next text starts on a new line.
    pub fn end_line(&mut self, speaker: &Speaker, now: Duration) {
        if self.is_mid_line(speaker) {
            self.keep(speaker, "\n", now);
        }
    }

    /// The end of a turn: whoever waits comes next.
    pub fn release(&mut self, speaker: &Speaker, now: Duration, header: &dyn Fn(&Speaker) -> String) {
        self.end_line(speaker, now);
        if let Some(kept) = self.speakers.get_mut(speaker) {
            kept.open = false;
        }
        self.settle(now, header);
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Duration, header: &dyn Fn(&Speaker) -> String) {
        self.settle(now, header);
    }

    /// Shows everything that is still kept.
    pub fn finish(&mut self, now: Duration, header: &dyn Fn(&Speaker) -> String) {
        while let Some(next) = self.longest_waiting() {
            self.pass_to(next, now, header);
        }
        if self.mid_line {
            self.out.push('\n');
            self.mid_line = false;
        }
    }

    /// Whether someone waits, so that [`Self::tick`] is needed.
    pub fn someone_waits(&self) -> bool {
        self.kept > 0
    }

    /// Whether what was shown ends in the middle of a line.
    pub fn mid_line(&self) -> bool {
        self.mid_line
    }

    /// What is to be shown now.
    pub fn take(&mut self) -> String {
        std::mem::take(&mut self.out)
    }

    fn is_mid_line(&self, speaker: &Speaker) -> bool {
        match self.speakers.get(speaker) {
            Some(kept) if !kept.text.is_empty() => !kept.text.ends_with('\n'),
            _ => self.holder.as_ref() == Some(speaker) && self.mid_line,
        }
    }

    fn keep(&mut self, speaker: &Speaker, text: &str, now: Duration) {
        let kept = self.speakers.entry(speaker.clone()).or_default();
        if text.is_empty() {
            return;
        }
        if kept.text.is_empty() {
            kept.since = now;
            self.waiting.insert((now, speaker.clone()));
        }
        kept.text.push_str(text);
        self.kept += text.len();
        if self.holder.as_ref() == Some(speaker) {
            self.show_holder(now);
        }
    }

    fn show_holder(&mut self, now: Duration) {
        let Some(holder) = self.holder.clone() else { return };
        let Some(kept) = self.speakers.get_mut(&holder).filter(|kept| !kept.text.is_empty()) else {
            return;
        };
        self.waiting.remove(&(kept.since, holder));
        self.kept -= kept.text.len();
        self.mid_line = !kept.text.ends_with('\n');
        self.out.push_str(&kept.text);
        kept.text.clear();
        self.last_spoke = now;
    }

    fn settle(&mut self, now: Duration, header: &dyn Fn(&Speaker) -> String) {
        while let Some(next) = self.longest_waiting() {
            if !self.gives_way(&next, now) {
                break;
            }
            self.pass_to(next, now, header);
        }
    }

    fn longest_waiting(&self) -> Option<Speaker> {
        self.waiting.first().map(|(_, speaker)| speaker.clone())
    }

    fn gives_way(&self, next: &Speaker, now: Duration) -> bool {
        let Some(holder) = self.holder.as_ref().and_then(|holder| self.speakers.get(holder)) else {
            return true;
        };
        let waited = self
            .speakers
            .get(next)
            .map_or(Duration::ZERO, |kept| now.saturating_sub(kept.since));
        let between_words = !self.mid_line || self.out.ends_with(char::is_whitespace) || self.out.is_empty();
        !holder.open
            || now.saturating_sub(self.last_spoke) >= PAUSE
            || self.kept > MOST_KEPT
            || (waited >= PATIENCE && !self.mid_line)
            || (waited >= LONG_PATIENCE && between_words)
    }

    fn pass_to(&mut self, next: Speaker, now: Duration, header: &dyn Fn(&Speaker) -> String) {
        if self.holder.as_ref() != Some(&next) {
            if self.mid_line {
                self.out.push('\n');
            }
            self.out.push_str(&header(&next));
            self.out.push('\n');
            self.mid_line = false;
            self.holder = Some(next);
        }
        self.show_holder(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(speaker: &u8) -> String {
        format!("[{speaker}]")
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn one_node_streams_as_it_speaks() {
        let mut floor = Floor::default();
        floor.stream(&0, "Hel", ms(0), &header);
        assert_eq!(floor.take(), "[0]\nHel");
        floor.stream(&0, "lo", ms(1), &header);
        assert_eq!(floor.take(), "lo");
        floor.release(&0, ms(2), &header);
        assert_eq!(floor.take(), "\n");
        floor.stream(&0, "again", ms(3), &header);
        assert_eq!(floor.take(), "again", "no header while the speaker stays");
    }

    #[test]
    fn others_wait_until_the_turn_is_over_and_come_whole() {
        let mut floor = Floor::default();
        for word in ["a ", "b ", "c "] {
            for node in 0..3 {
                floor.stream(&node, word, ms(0), &header);
            }
        }
        assert!(floor.someone_waits());
        for node in 0..3 {
            floor.release(&node, ms(1), &header);
        }
        assert_eq!(floor.take(), "[0]\na b c \n[1]\na b c \n[2]\na b c \n");
        assert!(!floor.someone_waits());
    }

    #[test]
    fn a_pause_passes_the_floor_and_the_rest_comes_under_a_new_header() {
        let mut floor = Floor::default();
        floor.stream(&0, "begun", ms(0), &header);
        floor.lines(&1, "ready\n", ms(1), &header);
        floor.tick(ms(100), &header);
        assert_eq!(floor.take(), "[0]\nbegun");
        floor.tick(ms(800), &header);
        floor.stream(&0, " on", ms(900), &header);
        floor.finish(ms(900), &header);
        assert_eq!(floor.take(), "\n[1]\nready\n[0]\n on\n");
    }

    #[test]
    fn a_talkative_node_gives_way_at_the_end_of_a_line() {
        let mut floor = Floor::default();
        floor.lines(&1, "x\n", ms(0), &header);
        for at in 0..40u64 {
            floor.stream(&0, if at % 10 == 9 { "end\n" } else { "word " }, ms(at * 100), &header);
            if at == 0 {
                floor.stream(&1, "waits", ms(1), &header);
            }
        }
        let shown = floor.take();
        let at = shown.find("waits").unwrap();
        assert!(shown[..at].ends_with("end\n[1]\n"), "{shown}");
    }

    #[test]
    fn one_endless_line_gives_way_between_words_and_memory_stays_bounded() {
        let mut floor = Floor::default();
        floor.stream(&0, "word ", ms(0), &header);
        floor.stream(&1, "me ", ms(0), &header);
        for at in 1..100u64 {
            floor.stream(&0, "word ", ms(at * 100), &header);
        }
        assert!(floor.take().contains("word \n[1]\nme "));

        let mut floor = Floor::default();
        let piece = "y".repeat(1024);
        floor.stream(&0, "x", ms(0), &header);
        for at in 0..2000 {
            floor.stream(&0, "x", ms(0), &header);
            floor.stream(&1, &piece, ms(0), &header);
            assert!(floor.kept <= MOST_KEPT + 1024, "at {at}");
        }
    }

    #[test]
    fn nothing_is_lost_whatever_the_order() {
        let mut floor = Floor::default();
        let mut said: BTreeMap<u8, String> = BTreeMap::new();
        for at in 0..5000u64 {
            let node = u8::try_from(at * 7919 % 5).unwrap();
            let word = format!("w{at} ");
            floor.stream(&node, &word, ms(at * 37), &header);
            said.entry(node).or_default().push_str(&word);
            if at % 11 == 0 {
                floor.release(&node, ms(at * 37), &header);
            }
        }
        floor.finish(ms(0), &header);
        let shown = floor.take();
        let mut heard: BTreeMap<u8, String> = BTreeMap::new();
        let mut speaker = 0;
        for line in shown.lines() {
            match line.strip_prefix('[') {
                Some(rest) => speaker = rest.trim_end_matches(']').parse().unwrap(),
                None => heard.entry(speaker).or_default().push_str(line),
            }
        }
        assert_eq!(heard, said);
    }
}
