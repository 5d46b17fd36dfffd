//! The link's ups and downs: a follower comes and goes, the core is told, and so are the clients.

use codeswarm_follower::Follower;
use codeswarm_link::{Link, LinkEvent, Trouble};
use codeswarm_protocol::event::{RouterEvent, RouterWord};
use codeswarm_protocol::frame::{Downward, Upward};
use tokio::sync::mpsc;

use super::server::Server;
use crate::core::{self, ClientId, Effect, Input, LinkTrouble, Whom};

/// What the follower says next; never, while there is none.
pub(super) async fn said_by(follower: &mut Option<Follower>) -> Option<Upward> {
    match follower {
        Some(follower) => follower.events.recv().await,
        None => std::future::pending().await,
    }
}

/// Room for a command to the follower; none ever, while there is no follower.
pub(super) async fn room_at(
    commands: Option<mpsc::Sender<Downward>>,
) -> Result<mpsc::OwnedPermit<Downward>, mpsc::error::SendError<()>> {
    match commands {
        Some(commands) => commands.reserve_owned().await,
        None => std::future::pending().await,
    }
}

/// What happens to the link next; never, where there is none.
pub(super) async fn link_event(link: &mut Option<Link>) -> Option<LinkEvent> {
    match link {
        Some(link) => link.events.recv().await,
        None => std::future::pending().await,
    }
}

/// What everybody is told when the link is up.
pub(super) fn up_word(host: String) -> RouterWord {
    RouterWord::Link {
        up: true,
        host: Some(host),
        reason: None,
        advice: None,
    }
}

impl Server {
    /// The follower on the far side is gone. Why, the link tells next.
    pub(super) fn follower_gone(&mut self) {
        if self.follower.take().is_none() {
            return;
        }
        self.down.clear();
        self.reads.clear();
        for id in self.audience.ids() {
            if let Some(client) = self.audience.client(id) {
                client.reading = false;
            }
        }
        self.input(Input::LinkDown(LinkTrouble {
            what: "the connection to the login node has ended".to_owned(),
            advice: None,
            lasting: false,
        }));
    }

    pub(super) fn link_said(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Up {
                follower,
                host,
                root,
                binary,
            } => {
                self.follower_gone();
                tracing::info!(%host, %root, %binary, "the login node is connected");
                self.follower = Some(follower);
                self.told_down.clear();
                self.input(Input::LinkUp { binary });
                self.tell_everybody(up_word(host));
            }
            LinkEvent::Down(trouble) => self.link_is_down(trouble),
            LinkEvent::Progress(doing) => {
                tracing::info!(doing, "the login node is being connected");
                self.tell_everybody(RouterWord::Link {
                    up: false,
                    host: None,
                    reason: Some(doing),
                    advice: None,
                });
            }
        }
    }

    pub(super) fn link_is_down(&mut self, trouble: Trouble) {
        self.follower_gone();
        tracing::warn!(%trouble, "the login node is not connected");
        let lasting = trouble.kind.is_lasting();
        let Trouble { what, advice, .. } = trouble;
        self.input(Input::LinkDown(LinkTrouble {
            what,
            advice: Some(advice),
            lasting,
        }));
        if let Some(word) = self.link_word() {
            self.tell_everybody(word);
        }
    }

    fn link_word(&self) -> Option<RouterWord> {
        match self.core.link() {
            core::Link::Up { .. } => None,
            core::Link::Down(trouble) => Some(RouterWord::Link {
                up: false,
                host: None,
                reason: Some(trouble.what.clone()),
                advice: trouble.advice.clone(),
            }),
        }
    }

    /// A client asks for something that has to wait for the link: it hears why, and the link is tried at once.
    pub(super) fn tell_if_link_is_down(&mut self, id: ClientId) {
        let (Some(link), Some(word)) = (&self.link, self.link_word()) else {
            return;
        };
        link.login_node.retry_now();
        if self.told_down.insert(id) {
            let event = RouterEvent::new(word, self.now().wall);
            self.tell_client(id, &event);
        }
    }

    pub(super) fn tell_everybody(&mut self, word: RouterWord) {
        let event = RouterEvent::new(word, self.now().wall);
        self.carry_out(vec![Effect::Tell {
            whom: Whom::Everybody,
            event,
        }]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn there_is_room_at_a_follower_that_is_there_and_takes_and_an_error_when_it_has_gone() {
        let room = |commands| tokio::time::timeout(std::time::Duration::from_secs(3600), room_at(commands));
        assert!(room(None).await.is_err(), "no follower: neither room nor an error");
        let (commands, taken) = mpsc::channel(1);
        let permit = room(Some(commands.clone())).await.unwrap().unwrap();
        assert!(room(Some(commands.clone())).await.is_err(), "it is full");
        drop(permit);
        assert!(room(Some(commands.clone())).await.unwrap().is_ok());
        drop(taken);
        assert!(room(Some(commands)).await.unwrap().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_not_there_says_nothing_and_does_not_end() {
        let long = std::time::Duration::from_secs(3600);
        assert!(tokio::time::timeout(long, said_by(&mut None)).await.is_err());
        assert!(tokio::time::timeout(long, link_event(&mut None)).await.is_err());
    }
}
