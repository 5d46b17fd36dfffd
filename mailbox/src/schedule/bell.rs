//! What the doorbell means for one file: whose writer is connected rings when it has grown, so it need not be looked at
//! otherwise. That is believed as long as it holds: a ring that says a size which does not come is followed a bounded
//! number of times, and then the file is polled like others until the bytes have come.

/// How many looks in a row a ring may cause that find less than it has said. With pauses that double from
/// [`Limits::hot`](super::Limits) to [`Limits::warm`](super::Limits), a write has about six seconds to come to this machine.
const IN_VAIN: u32 = 10;

/// A writer that is connected.
#[derive(Debug, Default)]
pub(super) struct Bell {
    /// The size that it has said.
    said: u64,
    /// Looks since the last that brought data, each because of a ring, and each too early or for nothing.
    in_vain: u32,
}

/// What a look means for a file whose writer is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// All that was said is read: nothing is due until the next ring.
    Rest,
    /// Less is there than was said. This is the number of looks that found nothing meanwhile.
    Again(u32),
    /// The ring is not believed any more, nor are others until data comes: the file is polled as if nobody were connected.
    Poll,
}

impl Bell {
    /// It rings. Whether that is a reason to look at once, when everything up to `read` has been read. While bytes that were
    /// said before have not come, looks for them are due already: a stream that comes late does not use them up.
    pub(super) fn rings(&mut self, size: u64, read: u64) -> bool {
        let news = size > self.said.max(read);
        self.said = self.said.max(size);
        news && self.in_vain == 0
    }

    /// Whether its silence means that nothing has come.
    pub(super) fn is_believed(&self) -> bool {
        self.in_vain < IN_VAIN
    }

    /// A look has brought the reading up to `read`. What was said is never forgotten: as long as it is more than what was
    /// read, the file is not at rest.
    pub(super) fn looked(&mut self, brought_data: bool, read: u64) -> Then {
        if brought_data {
            self.in_vain = 0;
        }
        if self.said <= read {
            self.in_vain = 0;
            return Then::Rest;
        }
        if !brought_data {
            self.in_vain = (self.in_vain + 1).min(IN_VAIN);
        }
        match self.is_believed() {
            true => Then::Again(self.in_vain),
            false => Then::Poll,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_is_followed_until_what_it_said_is_read() {
        let mut bell = Bell::default();
        assert!(bell.rings(100, 0));
        assert!(!bell.rings(100, 0), "said twice");
        assert_eq!(bell.looked(false, 0), Then::Again(1), "not visible yet");
        assert_eq!(bell.looked(true, 60), Then::Again(0), "a part of it");
        assert_eq!(bell.looked(true, 100), Then::Rest);
        assert!(!bell.rings(80, 100), "late");
        assert!(bell.rings(101, 100));
    }

    #[test]
    fn whoever_lies_is_polled() {
        let mut bell = Bell::default();
        let looks = (1_000..2_000).filter(|size| {
            // Each ring says more, so that each is news.
            let looks = bell.rings(*size, 0);
            looks && bell.looked(false, 0) == Then::Again(1)
        });
        assert_eq!(looks.count(), 1, "one look at once, and those that are due after it");
        for number in 2..IN_VAIN {
            assert_eq!(bell.looked(false, 0), Then::Again(number));
        }
        for _ in 0..100 {
            assert_eq!(bell.looked(false, 0), Then::Poll);
        }
        assert!(!bell.is_believed());
        assert_eq!(bell.looked(true, 2_000), Then::Rest, "it is believed again");
        assert!(bell.rings(2_001, 2_000));
    }

    #[test]
    fn p4_a_stream_that_comes_late_and_in_parts_is_never_taken_for_read() {
        let mut bell = Bell::default();
        for size in 1..=50 {
            bell.rings(size * 10, 0);
            bell.looked(false, 0);
        }
        // Nothing has come for long, then the first half of it.
        while bell.looked(false, 0) != Then::Poll {}
        assert_eq!(bell.looked(true, 250), Then::Again(0));
        assert_eq!(bell.looked(false, 250), Then::Again(1));
        assert_eq!(bell.looked(true, 500), Then::Rest);
    }
}
