#![cfg(target_os = "linux")]

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use super::*;

const LONG: Duration = Duration::from_secs(30 * 24 * 3600);

/// Only events wake.
fn events_only() -> Option<Limits> {
    Some(Limits {
        hot: LONG,
        warm: LONG,
        cold: LONG,
        ..Limits::with_events()
    })
}

fn place(node: u32) -> Place {
    Place::from_stem(&format!("27_{node:02}")).unwrap()
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

async fn gathered(wakes: &mut Wakes) -> HashSet<Place> {
    let mut places = Vec::new();
    tokio::time::timeout(Duration::from_secs(60), wakes.gather(&mut places))
        .await
        .unwrap();
    places.into_iter().collect()
}

/// Watches a folder with so many files, each of which has been looked at.
async fn watching(files: u32) -> (tempfile::TempDir, Wakes) {
    let folder = tempfile::tempdir().unwrap();
    let paths = [folder.path().to_owned()];
    let mut wakes = Wakes::with_limits(WatchMode::Inotify, FilesystemKind::Local, &paths, events_only()).unwrap();
    for node in 0..files {
        wakes.add(place(node));
    }
    let mut all = HashSet::new();
    while all.len() < files as usize {
        for place in gathered(&mut wakes).await {
            wakes.looked(&place, Outcome::Nothing, Duration::ZERO);
            all.insert(place);
        }
    }
    // Each is new to the schedule as well, which looks at one at once.
    while let Ok(place) = wakes.take() {
        wakes.looked(&place, Outcome::Nothing, Duration::ZERO);
    }
    (folder, wakes)
}

#[tokio::test]
async fn all_that_moved_meanwhile_is_gathered_at_once_and_our_own_reading_is_no_news() {
    let (folder, mut wakes) = watching(50).await;
    let path = |node: u32| folder.path().join(format!("{}.jsonl", place(node).stem()));
    append(&folder.path().join("notes.txt"), "no file of ours");
    for node in 0..40 {
        append(&path(node), "one\n");
        append(&path(node), "two\n");
    }
    let moved: HashSet<Place> = (0..40).map(place).collect();
    assert_eq!(gathered(&mut wakes).await, moved);
    for node in 0..40 {
        std::fs::read(path(node)).unwrap();
    }
    // Nothing has moved, so it waits; and what then moves ends the waiting.
    let waiting = tokio::spawn(async move { gathered(&mut wakes).await });
    tokio::task::yield_now().await;
    append(&path(3), "three\n");
    assert_eq!(waiting.await.unwrap(), HashSet::from([place(3)]));
}

#[tokio::test]
async fn a_file_that_is_watched_itself_is_told_by_its_own_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("27_04.jsonl");
    append(&path, "one\n");
    let mut events = Events::of(std::slice::from_ref(&path)).unwrap();
    assert_eq!(events.take().unwrap(), []);
    append(&path, "two\n");
    events.come().await.unwrap();
    assert_eq!(events.take().unwrap(), [News::Of(place(4))]);
    std::fs::remove_file(&path).unwrap();
    events.come().await.unwrap();
    assert!(events.take().unwrap().contains(&News::Of(place(4))));
}

#[tokio::test]
async fn when_events_were_lost_all_files_are_looked_at() {
    let (folder, mut wakes) = watching(100).await;
    let room = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let room: usize = room.trim().parse().unwrap();
    let other = folder.path().join("other");
    for _ in 0..=room / 2 {
        append(&other, "");
        std::fs::remove_file(&other).unwrap();
    }
    assert_eq!(gathered(&mut wakes).await, (0..100).map(place).collect());
}

#[tokio::test]
async fn when_events_can_no_longer_be_read_files_are_polled_and_it_is_said_why() {
    let folder = tempfile::tempdir().unwrap();
    let nothing = std::fs::File::open(folder.path()).unwrap();
    let regular = folder.path().join("regular");
    append(&regular, "no events\n");
    let regular = std::fs::File::open(regular).unwrap();
    for queue in [nothing, regular] {
        let (_folder, mut wakes) = watching(20).await;
        wakes.events = Some(Events::from(crate::inotify::Inotify::reading(queue.into()), &[]));
        assert_eq!(gathered(&mut wakes).await, (0..20).map(place).collect());
        assert!(!wakes.has_events());
        assert!(wakes.why_polling().unwrap().contains("cannot be read any more"));
    }
}

#[tokio::test]
async fn p4_a_writer_that_connects_before_its_file_is_watched_is_looked_for_once_and_polled_when_it_has_gone() {
    let place = Place::from_stem("27_03").unwrap();
    let mut wakes = Wakes::new(WatchMode::Poll, FilesystemKind::Local, &[]).unwrap();
    let rings = wakes.rings();
    rings.connected(&place);
    wakes.collect();
    wakes.add(place.clone());
    let rests = |wakes: &mut Wakes| match wakes.schedule.next(Instant::now()) {
        Next::Wait(until) => until > Instant::now() + Duration::from_secs(60),
        Next::Look(_) | Next::Idle => false,
    };
    assert_eq!(wakes.next().await, place, "for what it did before");
    wakes.looked(&place, Outcome::Nothing, Duration::ZERO);
    wakes.hint(&place);
    assert!(rests(&mut wakes), "its writer will ring");
    rings.rang(&place, 7);
    assert_eq!(wakes.next().await, place);
    wakes.read_to(&place, 7);
    wakes.looked(&place, Outcome::Data, Duration::ZERO);
    assert!(rests(&mut wakes));

    rings.gone(&place);
    assert_eq!(wakes.next().await, place, "what it did last may not have been rung for");
    wakes.looked(&place, Outcome::Nothing, Duration::ZERO);
    assert!(!rests(&mut wakes), "it is polled");
    rings.rang(&place, 8);
    wakes.collect();
    wakes.remove(&place);
    wakes.add(place.clone());
    assert_eq!(wakes.next().await, place);
    wakes.looked(&place, Outcome::Nothing, Duration::ZERO);
    assert!(!rests(&mut wakes), "that it was connected once is forgotten");
}
