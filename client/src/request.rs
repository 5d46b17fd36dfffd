//! A command on its way to the router. It has a name, so that sending it again after a lost connection does nothing twice.

use codeswarm_protocol::RequestId;
use codeswarm_protocol::command::Command;

/// A command and its name.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The name; answers carry it.
    pub id: RequestId,
    /// What is asked.
    pub command: Command,
}

impl Request {
    /// A command with a name of its own.
    pub fn new(names: &mut dyn Names, command: Command) -> Self {
        Self {
            id: names.next(),
            command,
        }
    }

    /// The line for the router, newline included.
    pub fn to_line(&self) -> Result<Vec<u8>, serde_json::Error> {
        #[derive(serde::Serialize)]
        struct Line<'a> {
            request_id: &'a RequestId,
            #[serde(flatten)]
            command: &'a Command,
        }
        let mut line = serde_json::to_vec(&Line {
            request_id: &self.id,
            command: &self.command,
        })?;
        line.push(b'\n');
        Ok(line)
    }
}

/// Where names of commands come from.
pub trait Names {
    /// A name that was never given before.
    fn next(&mut self) -> RequestId;
}

/// Names that differ from those of all other clients.
#[derive(Debug, Clone, Copy, Default)]
pub struct RandomNames;

impl Names for RandomNames {
    #[expect(
        clippy::expect_used,
        reason = "the alphabet and length of a UUID with its prefix are those of a request id"
    )]
    fn next(&mut self) -> RequestId {
        RequestId::new(&format!("cli-{}", uuid::Uuid::now_v7())).expect("a UUID is a request id")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codeswarm_protocol::command::{self, Inject, SwarmList, Target};

    #[test]
    fn the_line_reads_back_as_the_command() {
        let commands = [
            Command::SwarmList(SwarmList {}),
            Command::Inject(Inject {
                target: Target {
                    swarm_id: Some("s1".parse().unwrap()),
                    nodes: Some("0,2-4".parse().unwrap()),
                    ..Target::default()
                },
                content: "a\n\"b\"".into(),
                steer: true,
            }),
        ];
        for asked in commands {
            let request = Request::new(&mut RandomNames, asked.clone());
            let line = request.to_line().unwrap();
            let read = command::Request::parse(line.strip_suffix(b"\n").unwrap()).unwrap();
            assert_eq!((read.request_id, read.command), (Some(request.id), asked));
        }
    }
}
