//! Whose turn it is: each waits once, in the order of coming.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// A queue in which each key stands once. Whoever wants more than one turn stands in line again, so a busy file
/// delays a quiet one by one turn for each busy file and no more.
#[derive(Debug)]
pub struct FairQueue<K> {
    order: VecDeque<(u64, K)>,
    /// With which number each one waits; a place in `order` with another number was left.
    waiting: HashMap<K, u64>,
    numbers: u64,
}

impl<K: Clone + Eq + Hash> FairQueue<K> {
    /// Nobody waits.
    pub fn new() -> Self {
        Self {
            order: VecDeque::new(),
            waiting: HashMap::new(),
            numbers: 0,
        }
    }

    /// Stands in line, unless it already does.
    pub fn push(&mut self, key: K) {
        if !self.waiting.contains_key(&key) {
            self.numbers += 1;
            self.waiting.insert(key.clone(), self.numbers);
            self.order.push_back((self.numbers, key));
        }
    }

    /// The next one.
    pub fn pop(&mut self) -> Option<K> {
        while let Some((number, key)) = self.order.pop_front() {
            if self.waiting.get(&key) == Some(&number) {
                self.waiting.remove(&key);
                return Some(key);
            }
        }
        None
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Leaves the line.
    pub fn remove(&mut self, key: &K) {
        self.waiting.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_one_turn_before_anyone_has_two() {
        let mut queue = FairQueue::new();
        for key in ["hot", "a", "hot", "b", "hot"] {
            queue.push(key);
        }
        let mut turns = Vec::new();
        for _ in 0..5 {
            let key = queue.pop().unwrap();
            turns.push(key);
            if key == "hot" {
                queue.push(key);
            }
        }
        assert_eq!(turns, ["hot", "a", "b", "hot", "hot"]);
    }

    #[test]
    fn who_leaves_and_comes_back_stands_at_the_end() {
        let mut queue = FairQueue::new();
        queue.push(1);
        queue.push(2);
        queue.remove(&1);
        assert_eq!(queue.len(), 1);
        queue.push(1);
        assert_eq!((queue.pop(), queue.pop(), queue.pop()), (Some(2), Some(1), None));
    }
}
