//! The local backend: what workers need of this machine.

use codeswarm_configs::Config;
use codeswarm_mailbox::Mailbox;

use crate::check::{Name, Verdict};
use crate::facts::{HostFacts, WorkspaceFacts};
use crate::judge;
use crate::probe;
use crate::run::Doctor;

impl Doctor<'_> {
    pub(crate) async fn local(&mut self, config: &Config) {
        self.begin(Name::Workspace);
        let mailbox = Mailbox::at(config.mailbox_root());
        let looked = tokio::task::spawn_blocking(move || probe::workspace::look(&mailbox)).await;
        match looked {
            Ok(seen) => self.workspace_here(&seen),
            Err(error) => self.end(Name::Workspace, Verdict::failure(error.to_string(), "please report it")),
        }
        self.begin(Name::Agent);
        let agent = config.agent.clone();
        let looked = tokio::task::spawn_blocking(move || probe::host::look(&agent)).await;
        match looked {
            Ok(seen) => self.host_here(config, &seen),
            Err(error) => self.end(Name::Agent, Verdict::failure(error.to_string(), "please report it")),
        }
    }

    fn workspace_here(&mut self, seen: &WorkspaceFacts) {
        let unusable = seen.refused.is_some();
        self.end(Name::Workspace, judge::workspace::folders(seen, "codeswarm"));
        if unusable {
            return self.skip(&[Name::Storage, Name::Mailbox], "the workspace cannot be used");
        }
        self.end(Name::Storage, judge::workspace::storage(seen));
        let held = seen.held_by.as_deref();
        let verdict = match held {
            Some(_) => judge::workspace::mailbox(held),
            None => Verdict::ok("nobody holds it"),
        };
        self.end(Name::Mailbox, verdict);
    }

    fn host_here(&mut self, config: &Config, seen: &HostFacts) {
        let whose = "this machine";
        self.end(
            Name::Agent,
            judge::node::agent(config.agent.kind.as_str(), whose, &seen.agent),
        );
        self.end(Name::ComputeNode, Verdict::all(judge::node::machine(seen)));
        self.end(Name::Credentials, judge::node::credentials_here(&seen.agent));
        self.end(
            Name::ModelEndpoint,
            judge::node::model_endpoint(whose, seen.endpoint.as_ref()),
        );
        if codeswarm_agents::preflight::needs_user_namespaces(&config.agent) {
            self.end(Name::Sandbox, judge::node::sandbox(whose, seen.user_namespaces));
        }
    }
}
