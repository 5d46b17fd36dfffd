//! What clients say: each line parsed at the border, refused or handed to the core.

use std::time::Instant;

use bytes::Bytes;

use codeswarm_protocol::command::{BadRequest, Command, Request, Spelling};
use codeswarm_protocol::event::{RouterEvent, RouterWord};
use codeswarm_protocol::{Rejection, RejectionCode, RequestId};

use super::client_io::FromClient;
use super::line_reader::ReadLine;
use super::server::{LAST_ANSWERS, Server};
use crate::core::{ClientId, Input, refusal};

/// The refusal of a line of so many bytes.
pub fn too_long(length: u64, limit: usize) -> Rejection {
    let reason = format!("the line has {length} bytes; at most {limit} are taken, and it was read away");
    Rejection::new(RejectionCode::LineTooLong, reason)
}

/// Whether a command waits for the login node, or is answered with what was known before: whoever looks at a swarm is to
/// know that nothing is heard of it now.
fn needs_the_link(command: &Command) -> bool {
    match command {
        Command::SwarmLaunch(_)
        | Command::SwarmAdopt(_)
        | Command::Inject(_)
        | Command::Interrupt(_)
        | Command::ApproveExecution(_)
        | Command::SwarmStatus(_)
        | Command::SwarmTerminate(_) => true,
        Command::SwarmList(_)
        | Command::Recall(_)
        | Command::Subscribe(_)
        | Command::ProvidersList(_)
        | Command::Ping(_)
        | Command::Shutdown(_) => false,
    }
}

impl Server {
    pub(super) fn client_said(&mut self, from: FromClient) {
        match from {
            FromClient::Gone(id) => self.leave(id),
            FromClient::Room(id) => self.pace.forget(id),
            FromClient::Sent(id, ReadLine::End) => {
                if let Some(client) = self.audience.client(id) {
                    client.finished_asking = true;
                    if client.waits_for_nothing {
                        self.leaving.insert(id, Instant::now() + LAST_ANSWERS);
                    }
                }
            }
            FromClient::Sent(id, ReadLine::TooLong(length)) => {
                self.reject(id, None, too_long(length, self.line_limit));
            }
            FromClient::Sent(id, ReadLine::Line(line)) => {
                self.line(id, &line);
                self.outputs.answered(id, line.len());
            }
        }
    }

    fn line(&mut self, id: ClientId, line: &Bytes) {
        if line.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        match Request::parse(line) {
            Err(bad) => {
                self.spell(id, bad.spelling);
                let event = refusal(bad, self.now());
                self.outputs.event(id, self.audience.spelling(id), &event);
            }
            Ok(request) => {
                self.spell(id, request.spelling);
                self.request(id, request);
            }
        }
    }

    fn spell(&mut self, id: ClientId, spelling: Spelling) {
        if let Some(client) = self.audience.client(id) {
            client.spelling = spelling;
        }
    }

    fn request(&mut self, id: ClientId, request: Request) {
        if let Command::Subscribe(wanted) = &request.command {
            match super::subscription::nodes_of(&self.core, wanted) {
                Ok(nodes) => {
                    let begins = nodes
                        .iter()
                        .map(|(node, since)| (node.place.stem(), since.unwrap_or(node.end)));
                    let positions = begins.collect();
                    let mut event = RouterEvent::new(RouterWord::Subscribed { positions }, self.now().wall);
                    event.request_id.clone_from(&request.request_id);
                    event.swarm_id.clone_from(&wanted.swarm_id);
                    self.outputs.event(id, request.spelling, &event);
                    let swarm_id = wanted.swarm_id.as_ref();
                    self.audience
                        .subscribe(id, swarm_id, nodes, request.request_id, request.spelling);
                }
                Err(rejection) => self.reject(id, request.request_id, rejection),
            }
            return;
        }
        if needs_the_link(&request.command) {
            self.tell_if_link_is_down(id);
        }
        let wanted = match &request.command {
            Command::Recall(recall) => Some(&recall.of),
            _ => request.request_id.as_ref(),
        };
        let known = match wanted {
            None => None,
            Some(name) => match self.batch.request(name) {
                Some(known) => Some(known),
                None => match self.state.request(name) {
                    Ok(known) => known,
                    Err(error) => {
                        let rejection = Rejection::new(RejectionCode::State, error.to_string());
                        return self.reject(id, request.request_id.clone(), rejection);
                    }
                },
            },
        };
        self.input(Input::Command {
            client: id,
            request,
            known,
        });
    }

    fn reject(&mut self, id: ClientId, request_id: Option<RequestId>, rejection: Rejection) {
        let spelling = self.audience.spelling(id);
        let bad = BadRequest {
            request_id,
            spelling,
            rejection,
        };
        self.outputs.event(id, spelling, &refusal(bad, self.now()));
    }
}
