//! What is done to the system, in which order: decided by a seed alone, before anything starts.

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// SIGKILL to the router.
    RouterKill,
    /// SIGTERM to the router.
    RouterTerm,
    /// SIGSTOP to the router, SIGCONT later.
    RouterStop,
    /// SIGKILL to the process that passes another client's lines on to the router.
    RelayKill,
    /// SIGSTOP to it, SIGCONT later.
    RelayStop,
    /// A client reads nothing for a while.
    ClientPause,
    /// SIGKILL to ssh's control master.
    MasterKill,
    /// SIGSTOP to ssh's control master, SIGCONT later.
    MasterStop,
    /// SIGKILL to the ssh that carries the follower's channel.
    ChannelKill,
    /// SIGKILL to the follower.
    FollowerKill,
    /// SIGTERM to the follower.
    FollowerTerm,
    /// SIGSTOP to the follower, SIGCONT later.
    FollowerStop,
    /// All connections to the login node are cut; new ones are taken.
    LinkCut,
    /// The login node takes no connections for a while.
    LinkDown,
    /// Nothing goes through the connections for a while, and none is closed.
    LinkFrozen,
    /// All processes on the login node die, sshd among them.
    LoginDies,
    /// SIGKILL to a worker.
    WorkerKill,
    /// SIGTERM to a worker: its node ends in order.
    WorkerTerm,
    /// SIGSTOP to a worker, SIGCONT later.
    WorkerStop,
    /// SIGKILL to a worker's keeper: its node ends.
    KeeperKill,
    /// SIGKILL to an agent.
    AgentKill,
    /// SIGTERM to an agent.
    AgentTerm,
    /// SIGSTOP to an agent, SIGCONT later.
    AgentStop,
    /// The shared filesystem is full for a while.
    DiskFull,
    /// The filesystem with the router's state is full for a while.
    StateFull,
    /// The mailbox can be opened for reading alone for a while, and the follower or a worker starts again meanwhile.
    DiskReadOnly,
    /// SIGKILL to the router, the relay, ssh, the follower and all workers at once.
    AllKill,
    /// `scontrol requeue`.
    Requeue,
}

impl Fault {
    /// All kinds, with their share of the plan.
    pub const ALL: [(Self, u32); 28] = [
        (Self::RouterKill, 14),
        (Self::RouterTerm, 6),
        (Self::RouterStop, 6),
        (Self::RelayKill, 5),
        (Self::RelayStop, 3),
        (Self::ClientPause, 6),
        (Self::MasterKill, 8),
        (Self::MasterStop, 4),
        (Self::ChannelKill, 8),
        (Self::FollowerKill, 12),
        (Self::FollowerTerm, 6),
        (Self::FollowerStop, 6),
        (Self::LinkCut, 8),
        (Self::LinkDown, 3),
        (Self::LinkFrozen, 4),
        (Self::LoginDies, 4),
        (Self::WorkerKill, 14),
        (Self::WorkerTerm, 4),
        (Self::WorkerStop, 6),
        (Self::KeeperKill, 4),
        (Self::AgentKill, 10),
        (Self::AgentTerm, 6),
        (Self::AgentStop, 6),
        (Self::DiskFull, 6),
        (Self::StateFull, 5),
        (Self::DiskReadOnly, 5),
        (Self::AllKill, 4),
        (Self::Requeue, 5),
    ];

    /// In the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::RouterKill => "router SIGKILL",
            Self::RouterTerm => "router SIGTERM",
            Self::RouterStop => "router SIGSTOP, SIGCONT",
            Self::RelayKill => "relay SIGKILL",
            Self::RelayStop => "relay SIGSTOP, SIGCONT",
            Self::ClientPause => "client reads nothing",
            Self::MasterKill => "ssh control master SIGKILL",
            Self::MasterStop => "ssh control master SIGSTOP, SIGCONT",
            Self::ChannelKill => "ssh channel SIGKILL",
            Self::FollowerKill => "follower SIGKILL",
            Self::FollowerTerm => "follower SIGTERM",
            Self::FollowerStop => "follower SIGSTOP, SIGCONT",
            Self::LinkCut => "link cut",
            Self::LinkDown => "link down for a while",
            Self::LinkFrozen => "link frozen for a while",
            Self::LoginDies => "login node dies",
            Self::WorkerKill => "worker SIGKILL",
            Self::WorkerTerm => "worker SIGTERM",
            Self::WorkerStop => "worker SIGSTOP, SIGCONT",
            Self::KeeperKill => "keeper SIGKILL",
            Self::AgentKill => "agent SIGKILL",
            Self::AgentTerm => "agent SIGTERM",
            Self::AgentStop => "agent SIGSTOP, SIGCONT",
            Self::DiskFull => "disk full",
            Self::StateFull => "router's state full",
            Self::DiskReadOnly => "mailbox read-only",
            Self::AllKill => "all of them SIGKILL at once",
            Self::Requeue => "job requeued",
        }
    }
}

/// One fault of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// What.
    pub fault: Fault,
    /// A number for whatever is left to choose: the node, how long.
    pub dice: u32,
    /// It strikes at once after the one before, which is not over then.
    pub at_once: bool,
}

/// Numbers that look like chance and are the same for the same seed.
#[derive(Debug)]
pub struct Chance(u64);

impl Chance {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below the limit.
    pub fn below(&mut self, limit: u32) -> u32 {
        // splitmix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 32) as u32 % limit.max(1)
    }
}

/// So many faults: each kind that there is room for once, the others by their share, in an order of the seed's.
pub fn plan(seed: u64, faults: u32, left_out: &[Fault]) -> Vec<Planned> {
    let mut chance = Chance::new(seed);
    let kinds: Vec<(Fault, u32)> = Fault::ALL
        .into_iter()
        .filter(|(fault, _)| !left_out.contains(fault))
        .collect();
    let mut firsts: Vec<Fault> = kinds.iter().map(|(fault, _)| *fault).collect();
    shuffle(&mut firsts, &mut chance);
    firsts.truncate(faults as usize);
    let all: u32 = kinds.iter().map(|(_, share)| share).sum();
    while firsts.len() < faults as usize {
        let mut drawn = chance.below(all);
        let kind = kinds.iter().find(|(_, share)| {
            let here = drawn < *share;
            drawn = drawn.saturating_sub(*share);
            here
        });
        firsts.extend(kind.map(|(fault, _)| *fault));
    }
    shuffle(&mut firsts, &mut chance);
    let planned = firsts.into_iter().map(|fault| Planned {
        fault,
        dice: chance.below(1 << 16),
        at_once: chance.below(5) == 0,
    });
    planned.collect()
}

fn shuffle(faults: &mut [Fault], chance: &mut Chance) {
    for last in (1..faults.len()).rev() {
        let other = chance.below(last as u32 + 1) as usize;
        faults.swap(last, other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_the_seed_s_and_has_all_kinds_that_there_is_room_for() {
        let long = plan(7, 200, &[]);
        assert_eq!(long, plan(7, 200, &[]));
        assert_ne!(long, plan(8, 200, &[]));
        assert_eq!(long.len(), 200);
        for (kind, _) in Fault::ALL {
            assert!(long.iter().any(|planned| planned.fault == kind), "{kind:?}");
        }
        let short = plan(7, 16, &[Fault::Requeue]);
        let mut kinds: Vec<_> = short.iter().map(|planned| planned.fault).collect();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!((short.len(), kinds.len()), (16, 16));
        assert!(!kinds.contains(&Fault::Requeue));
    }
}
