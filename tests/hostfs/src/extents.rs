//! Bytes at places of a file, such as those that were written and not synced: later ones replace earlier ones.

use std::collections::BTreeMap;

/// The bytes, by where they begin; no two pieces overlap or touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extents {
    pieces: BTreeMap<u64, Vec<u8>>,
}

impl Extents {
    /// Puts bytes at a place.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len() as u64;
        let mut start = offset;
        let mut joined = Vec::new();
        // The piece that begins before and reaches here, or touches.
        if let Some((&before, piece)) = self.pieces.range(..=offset).next_back()
            && before + piece.len() as u64 >= offset
        {
            start = before;
            joined = self.pieces.remove(&before).unwrap_or_default();
        }
        let tail = joined.split_off(usize::try_from(offset - start).unwrap_or(usize::MAX).min(joined.len()));
        joined.extend_from_slice(bytes);
        if tail.len() > bytes.len() {
            joined.extend_from_slice(&tail[bytes.len()..]);
        }
        while let Some((&next, _)) = self.pieces.range(offset..=end).next() {
            let piece = self.pieces.remove(&next).unwrap_or_default();
            let have = start + joined.len() as u64;
            if next + piece.len() as u64 > have {
                let skip = usize::try_from(have.saturating_sub(next)).unwrap_or(usize::MAX);
                joined.extend_from_slice(&piece[skip..]);
            }
        }
        self.pieces.insert(start, joined);
    }

    /// Copies what falls on `offset..offset + into.len()` over `into`.
    pub fn lay_over(&self, offset: u64, into: &mut [u8]) {
        for (start, piece) in &self.pieces {
            lay_over(*start, piece, offset, into);
        }
    }

    /// The byte after the last; 0 if there is none.
    pub fn end(&self) -> u64 {
        self.pieces
            .iter()
            .next_back()
            .map_or(0, |(start, piece)| start + piece.len() as u64)
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.pieces.values().map(Vec::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The pieces in the order of their places.
    pub fn into_pieces(self) -> impl Iterator<Item = (u64, Vec<u8>)> {
        self.pieces.into_iter()
    }
}

/// Copies of `piece`, which begins at `start`, what falls on the bytes of `into`, which begin at `offset`.
pub(crate) fn lay_over(start: u64, piece: &[u8], offset: u64, into: &mut [u8]) {
    let (from, to) = (
        start.max(offset),
        (start + piece.len() as u64).min(offset + into.len() as u64),
    );
    if from >= to {
        return;
    }
    let at = |place: u64, base: u64| usize::try_from(place - base).unwrap_or(usize::MAX);
    into[at(from, offset)..at(to, offset)].copy_from_slice(&piece[at(from, start)..at(to, start)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(extents: &Extents) -> Vec<(u64, Vec<u8>)> {
        extents.clone().into_pieces().collect()
    }

    #[test]
    fn pieces_that_touch_or_overlap_become_one_and_the_later_bytes_stand() {
        let mut extents = Extents::default();
        extents.write(10, b"cc");
        extents.write(4, b"aa");
        assert_eq!(pieces(&extents), [(4, b"aa".to_vec()), (10, b"cc".to_vec())]);
        extents.write(6, b"bbbb");
        assert_eq!(pieces(&extents), [(4, b"aabbbbcc".to_vec())]);
        extents.write(5, b"X");
        assert_eq!(pieces(&extents), [(4, b"aXbbbbcc".to_vec())]);
        extents.write(2, b"12345678901234");
        assert_eq!(pieces(&extents), [(2, b"12345678901234".to_vec())]);
        assert_eq!((extents.end(), extents.len()), (16, 14));
    }

    #[test]
    fn a_thousand_writes_at_random_are_those_of_a_flat_file() {
        let mut flat = vec![0; 300];
        let mut extents = Extents::default();
        let mut draw = crate::faults::Draws::new(7);
        for _ in 0..1000 {
            let (offset, length) = (draw.below(200), draw.below(60) + 1);
            let byte = u8::try_from(draw.below(255) + 1).unwrap();
            let bytes = vec![byte; usize::try_from(length).unwrap()];
            extents.write(offset, &bytes);
            lay_over(offset, &bytes, 0, &mut flat);
            let mut seen = vec![0; 300];
            extents.lay_over(0, &mut seen);
            assert_eq!(seen, flat);
            let ends: Vec<_> = pieces(&extents)
                .iter()
                .map(|(s, p)| (*s, *s + p.len() as u64))
                .collect();
            assert!(ends.windows(2).all(|pair| pair[0].1 < pair[1].0), "{ends:?}");
        }
    }
}
