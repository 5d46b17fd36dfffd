//! Names of things: ids, places, positions, timestamps, node ranges.

use std::path::Path;

use codeswarm_mailbox::Mailbox;
use codeswarm_mailbox::layout::place_of_file_name;
use codeswarm_protocol::ids::MAX_NODE;
use codeswarm_protocol::nodes::SelectorError;
use codeswarm_protocol::{InjectionId, JobId, NodeId, NodeSelector, Place, Position, RequestId, SwarmId, Timestamp};

use crate::lines;

/// A name that is accepted is written as it was, cannot leave its folder, and a place made of it is found again from its
/// file's name.
pub fn names(data: &[u8]) {
    for text in lines(data) {
        let text = String::from_utf8_lossy(text);
        one_name(&text);
    }
}

fn one_name(text: &str) {
    let is_tame = |id: &str| {
        assert_eq!(id, text);
        assert!(!id.is_empty() && id.len() <= 128 && !id.starts_with('.'), "{id:?}");
        assert!(!id.contains(['/', '\\', '\0', ' ', '\n', '$', '~', ';']), "{id:?}");
    };
    if let Ok(job) = JobId::new(text) {
        is_tame(job.as_str());
        for rank in [0, 7, 100, MAX_NODE] {
            stays_in_its_folder(&Place::new(job.clone(), NodeId::new(rank).unwrap()));
        }
    }
    if let Ok(swarm) = SwarmId::new(text) {
        is_tame(swarm.as_str());
        let mailbox = Mailbox::at("/m");
        assert_eq!(
            mailbox.swarm_launch_file(&swarm).parent(),
            Some(mailbox.launch_folder().as_path())
        );
    }
    if let Ok(injection) = InjectionId::new(text) {
        is_tame(injection.as_str());
    }
    if let Ok(request) = RequestId::new(text) {
        assert_eq!(request.as_str(), text);
        assert!(!text.contains(char::is_control) && text.len() <= 128);
    }
    if let Ok(node) = text.parse::<NodeId>() {
        assert!(node.rank() <= MAX_NODE);
        assert_eq!(node.to_string().parse(), Ok(node));
        assert_eq!(node.padded().parse(), Ok(node));
    }
    if let Ok(place) = Place::from_stem(text) {
        stays_in_its_folder(&place);
    }
    if let Some(place) = place_of_file_name(Path::new(text)) {
        stays_in_its_folder(&place);
    }
    if let Ok(position) = text.parse::<Position>() {
        assert_eq!(position.to_string().parse(), Ok(position));
        let spelled = serde_json::to_string(&position).unwrap();
        assert_eq!(serde_json::from_str::<Position>(&spelled).unwrap(), position);
    }
    if let Ok(moment) = Timestamp::try_from(text.to_owned()) {
        assert_eq!(Timestamp::try_from(moment.to_string()).unwrap(), moment, "{text:?}");
    }
}

fn stays_in_its_folder(place: &Place) {
    let mailbox = Mailbox::at("/m");
    assert_eq!(Place::from_stem(&place.stem()).as_ref(), Ok(place));
    for (file, folder) in [
        (mailbox.inbox(place), mailbox.inbox_folder()),
        (mailbox.outbox(place), mailbox.outbox_folder()),
        (mailbox.archive(place), mailbox.archive_folder()),
    ] {
        assert_eq!(file.parent(), Some(folder.as_path()));
        assert_eq!(place_of_file_name(&file).as_ref(), Some(place), "{}", file.display());
    }
    for path in [
        mailbox.run_dir(place),
        mailbox.session_dir(place),
        mailbox.heartbeat(place),
    ] {
        assert!(path.starts_with("/m"));
        let ordinary = |part: std::path::Component<'_>| !matches!(part, std::path::Component::ParentDir);
        assert!(path.components().all(ordinary), "{}", path.display());
    }
}

/// Ranges and lists of nodes: what is accepted is written shorter or the same and reads back; a few bytes never name more
/// ranks than there are.
pub fn node_selectors(data: &[u8]) {
    for line in lines(data) {
        let text = String::from_utf8_lossy(line);
        let parsed = [
            text.parse::<NodeSelector>(),
            serde_json::from_slice(line).map_err(|_| no_json()),
        ];
        for parsed in parsed {
            let selector = match parsed {
                Ok(selector) => selector,
                Err(error) => {
                    assert!(error.to_string().len() < 2000);
                    continue;
                }
            };
            if let NodeSelector::Ranks(ranks) = &selector {
                assert!(ranks.iter().next().is_some());
            }
            let printed = selector.to_string();
            assert_eq!(printed.parse::<NodeSelector>().as_ref(), Ok(&selector));
            let spelled = serde_json::to_string(&selector).unwrap();
            assert_eq!(serde_json::from_str::<NodeSelector>(&spelled).unwrap(), selector);
            for node_count in [1, 5, 300] {
                match selector.resolve(node_count) {
                    Ok(ranks) => assert!(ranks.len() <= node_count as usize),
                    Err(error) => assert!(error.to_string().len() < 300, "{error}"),
                }
            }
        }
    }
}

fn no_json() -> SelectorError {
    SelectorError::Spelling(String::new())
}
