//! The prompts that wait, in the order in which they stood in the inbox.

use std::collections::VecDeque;

use codeswarm_protocol::InjectionId;

/// A prompt that was read and not started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Its name.
    pub injection: InjectionId,
    /// The text.
    pub content: String,
    /// Where its line ends in the inbox: what orders prompts.
    pub place: u64,
}

/// Why a prompt may not wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// So many prompts wait already.
    Prompts(usize),
    /// So many bytes of prompts wait already.
    Bytes(usize),
}

/// A bounded queue.
#[derive(Debug)]
pub struct Queue {
    prompts: VecDeque<Prompt>,
    bytes: usize,
    limit: usize,
    limit_bytes: usize,
}

impl Queue {
    /// An empty queue for `limit` prompts of `limit_bytes` together.
    pub fn new(limit: usize, limit_bytes: usize) -> Self {
        Self {
            prompts: VecDeque::new(),
            bytes: 0,
            limit,
            limit_bytes,
        }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.prompts.len()
    }

    /// Whether a prompt of `bytes` may come in; the first one always may.
    pub fn room(&self, bytes: usize) -> Result<(), Full> {
        if self.prompts.len() >= self.limit {
            return Err(Full::Prompts(self.prompts.len()));
        }
        if !self.prompts.is_empty() && self.bytes.saturating_add(bytes) > self.limit_bytes {
            return Err(Full::Bytes(self.bytes));
        }
        Ok(())
    }

    /// Takes a prompt in at its place in the inbox's order. One that was let in before (a steering text that the agent
    /// did not want) comes back without asking for room.
    pub fn insert(&mut self, prompt: Prompt) {
        self.bytes += prompt.content.len();
        let at = self.prompts.partition_point(|waiting| waiting.place < prompt.place);
        self.prompts.insert(at, prompt);
    }

    /// The next one.
    pub fn pop(&mut self) -> Option<Prompt> {
        let prompt = self.prompts.pop_front()?;
        self.bytes -= prompt.content.len();
        Some(prompt)
    }

    /// Takes one out by its name.
    pub fn remove(&mut self, injection: &InjectionId) -> Option<Prompt> {
        let at = self.prompts.iter().position(|prompt| prompt.injection == *injection)?;
        let prompt = self.prompts.remove(at)?;
        self.bytes -= prompt.content.len();
        Some(prompt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(name: &str, place: u64) -> Prompt {
        Prompt {
            injection: InjectionId::new(name).unwrap(),
            content: name.repeat(10),
            place,
        }
    }

    #[test]
    fn a_prompt_that_comes_back_stands_where_it_stood() {
        let mut queue = Queue::new(10, 1000);
        queue.insert(prompt("b", 20));
        queue.insert(prompt("c", 30));
        queue.insert(prompt("a", 10));
        let order: Vec<String> = std::iter::from_fn(|| queue.pop())
            .map(|p| p.injection.to_string())
            .collect();
        assert_eq!(order, ["a", "b", "c"]);
        assert_eq!(queue.bytes, 0);
    }

    #[test]
    fn room_is_bounded_in_prompts_and_bytes() {
        let mut queue = Queue::new(2, 25);
        assert_eq!(queue.room(1_000_000), Ok(()), "the first one always may");
        queue.insert(prompt("a", 1));
        assert_eq!(queue.room(16), Err(Full::Bytes(10)));
        assert_eq!(queue.room(15), Ok(()));
        queue.insert(prompt("b", 2));
        assert_eq!(queue.room(0), Err(Full::Prompts(2)));
        assert!(queue.remove(&InjectionId::new("a").unwrap()).is_some());
        assert!(queue.remove(&InjectionId::new("a").unwrap()).is_none());
        assert_eq!((queue.len(), queue.bytes), (1, 10));
    }
}
