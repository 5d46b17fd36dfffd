//! A played swarm whose mailbox is behind a login node: a real sshd, the real link, and the follower as a process of its own.

use serde_json::json;

use super::played::PlayedSwarm;
use crate::cluster::TestCluster;
use crate::login_node::{LoginNode, LoginOptions};
use crate::requires;
use crate::workspace::Workspace;

/// The swarm and its login node.
pub struct RemoteSwarm {
    /// Where Codeswarm's ssh goes.
    pub login: LoginNode,
    /// The swarm.
    pub swarm: PlayedSwarm,
}

impl RemoteSwarm {
    /// One of so many nodes. Needs what a test cluster needs.
    pub fn new(nodes: u32) -> Self {
        let cluster = TestCluster::get();
        let mut login = None;
        let swarm = PlayedSwarm::made(nodes, "inotify", |workspace: Workspace, programs| {
            let options = LoginOptions {
                programs: Some(programs.to_owned()),
                ..LoginOptions::default()
            };
            let node = login.insert(LoginNode::start(&cluster, workspace.path(), &options));
            let config_file = node.ssh_config();
            workspace.configured(|config| {
                config["ssh"] = json!({"login_alias": LoginNode::ALIAS, "config_file": config_file});
                config["cluster"]["remote_binary"] = json!(requires::codeswarm());
            })
        });
        match login {
            Some(login) => Self { login, swarm },
            None => panic!("no login node was made"),
        }
    }
}
