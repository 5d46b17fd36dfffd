//! What really happened, written down by whoever did it: nothing that the router or a file says can change it.

use std::collections::BTreeMap;

use codeswarm_protocol::Place;

/// See the module.
#[derive(Debug, Default)]
pub struct Ledger {
    /// How often an agent ran a prompt, by its first word.
    pub ran: BTreeMap<(Place, String), u32>,
    /// Lines that a worker was told are durable.
    pub durable: BTreeMap<Place, Vec<Vec<u8>>>,
    /// Prompts in the order in which each node's agent ran them.
    pub order: BTreeMap<Place, Vec<String>>,
}

/// The first word of a prompt names it.
pub fn name_of(prompt: &str) -> &str {
    prompt.split(' ').next().unwrap_or_default()
}

impl Ledger {
    /// An agent runs a prompt.
    pub fn ran(&mut self, place: &Place, prompt: &str) {
        let name = name_of(prompt).to_owned();
        let times = self.ran.entry((place.clone(), name.clone())).or_default();
        *times += 1;
        assert_eq!(*times, 1, "P2: prompt {name} was run {times} times at {place}");
        self.order.entry(place.clone()).or_default().push(name);
    }

    /// A worker was told that these lines are durable.
    pub fn durable(&mut self, place: &Place, lines: &[u8]) -> u64 {
        let lines: Vec<Vec<u8>> = lines
            .split_inclusive(|byte| *byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect();
        let count = lines.len() as u64;
        self.durable.entry(place.clone()).or_default().extend(lines);
        count
    }
}
