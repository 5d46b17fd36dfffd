//! One connection of a worker, as it is heard: who it is, what it rings, and when it is not listened to any more. No socket,
//! no clock.

use std::time::Instant;

use codeswarm_protocol::doorbell::{Line, Malformed, Secret, Splitter, WhichBox};
use codeswarm_protocol::ids::Place;

/// Lines a second that are listened to, in the long run. A worker sends at most a hundred.
const LINES_PER_SECOND: u64 = 200;

/// Lines that may come at once.
const AT_ONCE: u64 = 400;

/// A connection that has sent so many lines that are not listened to is ended.
const IN_VAIN: u32 = 1_000;

/// Why something was not listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// It began with something else than a hello that has the token.
    Stranger,
    /// A line is none of ours.
    Malformed,
    /// A ring for a file that is another worker's, or that its worker does not write.
    Forged,
    /// More lines than anybody needs.
    Flood,
}

/// What was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// It is this worker; it is to be welcomed.
    Welcome(Place),
    /// Its outbox has this size, in bytes.
    Rang(u64),
    /// It wants to know whether we live.
    Pong,
    /// Something was not listened to.
    Dropped(Fault),
}

/// A connection.
#[derive(Debug)]
pub struct Guest {
    splitter: Splitter,
    hearing: Hearing,
}

#[derive(Debug)]
struct Hearing {
    /// Absent before the hello.
    place: Option<Place>,
    /// Lines that may come now, in thousandths; and when that was counted.
    credit: u64,
    counted: Instant,
    in_vain: u32,
}

impl Guest {
    /// Somebody has connected.
    pub fn new(now: Instant) -> Self {
        Self {
            splitter: Splitter::default(),
            hearing: Hearing {
                place: None,
                credit: AT_ONCE * 1000,
                counted: now,
                in_vain: 0,
            },
        }
    }

    /// What has come in. Of several rings only the last word is passed on.
    ///
    /// # Errors
    /// The connection is to be ended, and this is to be counted; what was heard before stands in `acts`.
    pub fn hear(&mut self, data: &[u8], token: &Secret, now: Instant, acts: &mut Vec<Act>) -> Result<(), Fault> {
        let Self { splitter, hearing } = self;
        hearing.earn(now);
        let (mut end, mut said) = (None, None);
        let fed = splitter.feed(data, |line| {
            let heard = match &hearing.place {
                None => hearing.first(line, token).map(Some),
                Some(_) => hearing.line(line, &mut said),
            };
            match heard {
                Ok(act) => acts.extend(act),
                Err(fault) => end = Some(fault),
            }
            end.is_none()
        });
        acts.extend(said.map(Act::Rang));
        match (end, fed) {
            (Some(fault), _) => Err(fault),
            (None, Err(Malformed)) if hearing.place.is_none() => Err(Fault::Stranger),
            (None, Err(Malformed)) => Err(Fault::Malformed),
            (None, Ok(())) => Ok(()),
        }
    }
}

impl Hearing {
    fn first(&mut self, line: &[u8], token: &Secret) -> Result<Act, Fault> {
        match Line::parse(line) {
            Ok(Line::Hello { token: theirs, place }) if theirs.is(token) => {
                self.place = Some(place.clone());
                Ok(Act::Welcome(place))
            }
            _ => Err(Fault::Stranger),
        }
    }

    fn line(&mut self, line: &[u8], said: &mut Option<u64>) -> Result<Option<Act>, Fault> {
        let pays = self.credit.checked_sub(1000);
        self.credit = pays.unwrap_or(self.credit);
        let heard = match Line::parse(line) {
            Ok(Line::Ring(ring)) if ring.which == WhichBox::Outbox && Some(&ring.place) == self.place.as_ref() => {
                // It costs nothing to keep the last word, also of one who says too much.
                *said = (*said).max(Some(ring.size));
                Ok(None)
            }
            Ok(Line::Ring(_)) => Err(Fault::Forged),
            Ok(Line::Ping) => Ok(Some(Act::Pong)),
            _ => Err(Fault::Malformed),
        };
        let fault = match heard {
            Ok(act) if pays.is_some() => return Ok(act),
            Ok(_) => Fault::Flood,
            Err(fault) => fault,
        };
        self.in_vain += 1;
        match self.in_vain {
            0..IN_VAIN => Ok(Some(Act::Dropped(fault))),
            _ => Err(fault),
        }
    }

    fn earn(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.counted);
        self.counted = now;
        let micros = u64::try_from(passed.as_micros()).unwrap_or(u64::MAX);
        let earned = micros.saturating_mul(LINES_PER_SECOND) / 1000;
        self.credit = self.credit.saturating_add(earned).min(AT_ONCE * 1000);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use codeswarm_protocol::doorbell::Ring;

    use super::*;

    fn place(rank: u32) -> Place {
        Place::from_stem(&format!("27_{rank}")).unwrap()
    }

    fn token() -> Secret {
        Secret::of([5; 24])
    }

    fn hello() -> Vec<u8> {
        let line = Line::Hello {
            token: token(),
            place: place(3),
        };
        line.to_line()
    }

    fn ring(which: WhichBox, rank: u32, size: u64) -> Vec<u8> {
        let place = place(rank);
        Line::Ring(Ring { which, place, size }).to_line()
    }

    fn outbox(size: u64) -> Vec<u8> {
        ring(WhichBox::Outbox, 3, size)
    }

    fn hear(guest: &mut Guest, data: &[u8], now: Instant) -> (Vec<Act>, Option<Fault>) {
        let mut acts = Vec::new();
        let end = guest.hear(data, &token(), now, &mut acts).err();
        (acts, end)
    }

    fn welcomed(now: Instant) -> Guest {
        let mut guest = Guest::new(now);
        assert_eq!(hear(&mut guest, &hello(), now), (vec![Act::Welcome(place(3))], None));
        guest
    }

    #[test]
    fn who_says_hello_is_welcomed_and_rings_for_its_own_outbox() {
        let now = Instant::now();
        let mut guest = Guest::new(now);
        let all = [hello(), outbox(10), outbox(30), outbox(20), Line::Ping.to_line()].concat();
        let (acts, end) = hear(&mut guest, &all, now);
        assert_eq!(acts, [Act::Welcome(place(3)), Act::Pong, Act::Rang(30)]);
        assert_eq!(end, None);
    }

    #[test]
    fn p12_who_does_not_say_hello_first_is_not_listened_to() {
        let now = Instant::now();
        let another = Line::Hello {
            token: Secret::of([6; 24]),
            place: place(3),
        };
        for first in [
            outbox(10),
            another.to_line(),
            b"GET / HTTP/1.1\r\n".to_vec(),
            vec![b'x'; 4096],
        ] {
            let mut guest = Guest::new(now);
            let all = [first, hello(), outbox(10)].concat();
            assert_eq!(hear(&mut guest, &all, now), (vec![], Some(Fault::Stranger)));
        }
    }

    #[test]
    fn forged_and_malformed_rings_are_dropped_and_counted() {
        let now = Instant::now();
        for (line, fault) in [
            (ring(WhichBox::Outbox, 4, 10), Fault::Forged),
            (ring(WhichBox::Inbox, 3, 10), Fault::Forged),
            (b"{\"say\":\"run\"}\n".to_vec(), Fault::Malformed),
            (hello(), Fault::Malformed),
        ] {
            let mut guest = welcomed(now);
            let (acts, end) = hear(&mut guest, &[line.clone(), outbox(7)].concat(), now);
            assert_eq!(acts, [Act::Dropped(fault), Act::Rang(7)]);
            assert_eq!(end, None);
            let (acts, end) = hear(&mut guest, &line.repeat(5_000), now);
            assert_eq!(end, Some(fault), "not for ever");
            assert!(acts.len() < 1_000, "{}", acts.len());
        }
        assert_eq!(
            hear(&mut welcomed(now), &[b'x'; 4096], now),
            (vec![], Some(Fault::Malformed))
        );
    }

    #[test]
    fn a_flood_is_counted_and_ended_and_the_usual_pace_is_neither() {
        let begin = Instant::now();
        let mut guest = welcomed(begin);
        for number in 1..=60_000 {
            let now = begin + Duration::from_millis(10) * number;
            let size = u64::from(number);
            assert_eq!(hear(&mut guest, &outbox(size), now), (vec![Act::Rang(size)], None));
        }
        let now = begin + Duration::from_secs(3_600);
        let mut size = 1_000_000;
        let mut dropped = 0;
        loop {
            size += 1;
            let (acts, end) = hear(&mut guest, &outbox(size), now);
            if end.is_some() {
                assert_eq!(end, Some(Fault::Flood));
                break;
            }
            dropped += acts.iter().filter(|act| **act == Act::Dropped(Fault::Flood)).count();
            assert!(acts.contains(&Act::Rang(size)), "the last word is kept");
        }
        assert_eq!(dropped, 999);
    }
}
