//! Two clients of one file, played against a server in memory.

use super::*;

const LIFE: Duration = Duration::from_secs(3);

/// The server: the file's bytes, and how often it was changed.
#[derive(Default)]
struct Server {
    bytes: Vec<u8>,
    changes: u64,
}

impl Server {
    fn version(&self) -> Version {
        Version {
            changes: self.changes,
            modified: 0,
            size: self.bytes.len() as u64,
        }
    }

    fn carry_out(&mut self, step: &Step) {
        self.changes += 1;
        match step {
            Step::Grow(size) => {
                let size = usize::try_from(*size).unwrap().max(self.bytes.len());
                self.bytes.resize(size, 0);
            }
            Step::Write(offset, bytes) => {
                let offset = usize::try_from(*offset).unwrap();
                let size = self.bytes.len().max(offset + bytes.len());
                self.bytes.resize(size, 0);
                self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
            }
        }
    }

    fn land(&mut self, view: &mut FileView, now: Instant) {
        for step in view.landing(now) {
            let before = self.version();
            self.carry_out(&step);
            view.landed(&step, before, self.version());
        }
    }
}

/// Reads as the shell does: asks for attributes when they are old, and for pages that are missing.
fn read(view: &mut FileView, server: &Server, now: Instant) -> Vec<u8> {
    if view.believed_for(now, LIFE).is_zero() {
        view.told(server.version(), now);
    }
    for page in view.missing(0, 1 << 20) {
        let from = usize::try_from(page * PAGE).unwrap().min(server.bytes.len());
        let to = (from + usize::try_from(PAGE).unwrap()).min(server.bytes.len());
        view.keep(page, server.bytes[from..to].to_vec());
    }
    view.read(0, 1 << 20)
}

fn settings(late: u64, gap: u64) -> Settings {
    Settings {
        late: Duration::from_millis(late),
        gap: Duration::from_millis(gap),
        ..Settings::default()
    }
}

fn after(began: Instant, milliseconds: u64) -> Instant {
    began + Duration::from_millis(milliseconds)
}

#[test]
fn a_write_is_the_writers_alone_until_it_is_synced_and_the_reader_asks_again() {
    let (mut server, began) = (Server::default(), Instant::now());
    let (mut writer, mut reader) = (FileView::default(), FileView::default());
    assert_eq!(read(&mut reader, &server, began), b"");
    writer.told(server.version(), began);
    writer.write(0, b"one\n", began);
    assert_eq!(read(&mut writer, &server, began), b"one\n");
    reader.told(server.version(), began);
    assert_eq!(read(&mut reader, &server, began), b"");
    assert_eq!(writer.send(began, &settings(0, 0)), began);
    server.land(&mut writer, began);
    assert_eq!(server.bytes, b"one\n");
    assert!(!writer.is_pending());
    assert_eq!(
        read(&mut reader, &server, after(began, 2999)),
        b"",
        "it still believes the old size"
    );
    assert_eq!(read(&mut reader, &server, after(began, 3000)), b"one\n");
}

#[test]
fn what_is_late_is_synced_for_its_writer_and_not_there_for_others() {
    let (mut server, began) = (Server::default(), Instant::now());
    let mut writer = FileView::default();
    writer.told(server.version(), began);
    writer.write(0, b"one\n", began);
    assert_eq!(writer.send(began, &settings(500, 0)), began, "the sync does not wait");
    server.land(&mut writer, after(began, 499));
    assert_eq!(server.bytes, b"");
    writer.write(4, b"two\n", after(began, 499));
    assert_eq!(writer.end_to_append(), 8);
    assert_eq!(read(&mut writer, &server, after(began, 499)), b"one\ntwo\n");
    assert_eq!(writer.next_landing(), Some(after(began, 500)));
    server.land(&mut writer, after(began, 500));
    assert_eq!(server.bytes, b"one\n");
    assert!(writer.is_dirty());
}

#[test]
fn a_file_grows_before_its_bytes_come_and_the_reader_keeps_the_nuls_until_it_asks_again() {
    let (mut server, began) = (Server::default(), Instant::now());
    let (mut writer, mut reader) = (FileView::default(), FileView::default());
    writer.told(server.version(), began);
    writer.write(0, b"{}\n", began);
    assert_eq!(writer.send(began, &settings(0, 50)), after(began, 50), "the sync waits");
    server.land(&mut writer, began);
    assert_eq!(read(&mut reader, &server, began), b"\0\0\0");
    assert_eq!(read(&mut writer, &server, began), b"{}\n", "never to the writer");
    server.land(&mut writer, after(began, 50));
    assert_eq!(
        read(&mut reader, &server, after(began, 50)),
        b"\0\0\0",
        "its page is believed"
    );
    // As open(2) does.
    reader.told(server.version(), after(began, 60));
    assert_eq!(read(&mut reader, &server, after(began, 60)), b"{}\n");
}

#[test]
fn a_failed_sync_forgets_and_the_next_one_has_nothing_to_do() {
    let (server, began) = (Server::default(), Instant::now());
    let mut writer = FileView::default();
    writer.told(server.version(), began);
    writer.write(0, b"lost\n", began);
    assert_eq!(writer.fail(Loss::Everything), []);
    assert_eq!(writer.send(began, &settings(0, 0)), began);
    assert!(!writer.is_pending());
    assert_eq!(read(&mut writer, &server, began), b"");
}

#[test]
fn a_sync_that_fails_half_way_leaves_holes_before_its_last_page() {
    let (mut server, began) = (Server::default(), Instant::now());
    let mut writer = FileView::default();
    writer.told(server.version(), began);
    writer.write(10, &[b'x'; 9000], began);
    for step in writer.fail(Loss::EveryOtherPage) {
        server.carry_out(&step);
    }
    let page = usize::try_from(PAGE).unwrap();
    assert_eq!(server.bytes.len(), 9010);
    assert!(server.bytes[10..page].iter().all(|byte| *byte == b'x'));
    assert!(server.bytes[page..2 * page].iter().all(|byte| *byte == 0));
    assert!(server.bytes[2 * page..].iter().all(|byte| *byte == b'x'));
}

#[test]
fn what_was_sent_before_a_file_is_cut_does_not_come_after_it() {
    let (mut server, began) = (Server::default(), Instant::now());
    let mut writer = FileView::default();
    writer.told(server.version(), began);
    writer.write(0, b"old text", began);
    writer.send(began, &settings(500, 0));
    writer.write(8, b", more", began);
    for step in writer.everything() {
        server.carry_out(&step);
    }
    assert_eq!(server.bytes, b"old text, more");
    server.bytes.clear();
    writer.cut(server.version(), began);
    writer.write(0, b"new", began);
    assert_eq!(read(&mut writer, &server, began), b"new");
    writer.send(began, &settings(500, 0));
    server.land(&mut writer, after(began, 500));
    assert_eq!(server.bytes, b"new");
}

#[test]
fn an_old_write_is_sent_of_itself() {
    let began = Instant::now();
    let mut writer = FileView::default();
    let settings = settings(0, 0);
    assert!(!writer.is_overdue(began, &settings));
    writer.write(0, b"x", began);
    writer.write(1, b"y", after(began, 4000));
    assert!(!writer.is_overdue(after(began, 4999), &settings));
    assert_eq!(writer.next_write_back(&settings), Some(after(began, 5000)));
    assert!(writer.is_overdue(after(began, 5000), &settings));
}

#[test]
fn what_one_has_written_oneself_is_not_forgotten_for_it() {
    let (mut server, began) = (Server::default(), Instant::now());
    let mut writer = FileView::default();
    writer.told(server.version(), began);
    writer.write(0, b"one\n", began);
    writer.send(began, &settings(0, 0));
    server.land(&mut writer, began);
    assert_eq!(writer.size(), 4, "known without asking");
    // Another client's bytes come between.
    server.carry_out(&Step::Write(4, b"other\n".to_vec()));
    writer.write(4, b"two\n", began);
    writer.send(began, &settings(0, 0));
    server.land(&mut writer, began);
    assert_eq!(
        server.bytes, b"one\ntwo\nr\n",
        "two appenders destroy each other's bytes"
    );
}

/// One writer that appends and syncs, and a reader with its caches: whatever the times, the reader sees a prefix of the
/// file with NULs in it, never another byte, and in the end everything.
#[test]
fn a_reader_sees_a_prefix_or_nuls_and_in_the_end_everything() {
    for seed in 0..300 {
        let mut draws = crate::faults::Draws::new(seed);
        let settings = settings(draws.below(3) * 40, draws.below(3) * 30);
        let (mut server, began) = (Server::default(), Instant::now());
        let (mut writer, mut reader) = (FileView::default(), FileView::default());
        let (mut now, mut written) = (began, Vec::new());
        for _ in 0..60 {
            now += Duration::from_millis(draws.below(40));
            match draws.below(4) {
                0 | 1 => {
                    writer.told(server.version(), now);
                    let place = writer.end_to_append();
                    assert_eq!(place, written.len() as u64, "seed {seed}");
                    let line = vec![
                        b'a' + u8::try_from(draws.below(26)).unwrap();
                        usize::try_from(draws.below(3000)).unwrap()
                    ];
                    writer.write(place, &line, now);
                    written.extend_from_slice(&line);
                }
                2 => now = writer.send(now, &settings),
                _ => {}
            }
            server.land(&mut writer, now);
            let seen = read(&mut reader, &server, now);
            assert!(seen.len() <= written.len(), "seed {seed}");
            assert!(
                seen.iter().zip(&written).all(|(is, ought)| is == ought || *is == 0),
                "seed {seed}"
            );
            assert_eq!(read(&mut writer, &server, now), written, "seed {seed}: its own writes");
        }
        writer.send(now, &settings);
        server.land(&mut writer, now + settings.late + settings.gap);
        assert!(!writer.is_pending(), "seed {seed}");
        assert_eq!(
            read(&mut reader, &server, now + LIFE + settings.late + settings.gap),
            written,
            "seed {seed}"
        );
    }
}
