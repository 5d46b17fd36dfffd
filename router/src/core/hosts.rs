//! The machines of a job: which of its nodes are on which, and which Slurm has taken away from a job that goes on without
//! them (`--no-kill`, sbatch(1)). A machine that fails leaves the job's list, and is never put back into it.

use std::num::NonZeroU32;
use std::time::Duration;

use codeswarm_protocol::event::NodeState;
use codeswarm_protocol::{JobId, NodeId, Place};
use codeswarm_slurm::{Answer, hostnames};

use super::job::News;
use super::model::{JobNow, Node};
use super::{Change, Context, Core, Errand, NotAnswered};

impl Core {
    /// The job runs on these machines, as Slurm said when it was asked.
    pub(super) fn look_at_hosts(&mut self, job_id: &JobId, news: &News, asked: Duration, context: &mut Context<'_>) {
        let nameless = self.nodes_of(job_id).any(|(_, node)| node.host.is_none());
        let agents = self.nodes_of(job_id).count() as u64;
        let Some(job) = self.live_job(job_id) else { return };
        let list = (job.restarts, news.nodes.clone());
        let lacks = news
            .node_count
            .is_some_and(|count| u64::from(count) * u64::from(job.agents_per_node.max(1)) < agents);
        let is_news = lacks && job.hosts.as_ref() != Some(&list);
        if is_news && news.restarts.is_none() {
            // squeue does not tell in which life the job has these machines.
            return self.show_job(job_id, context);
        }
        if (nameless || is_news)
            && let Some(call) = hostnames::show(&news.nodes)
        {
            Self::call(Errand::Hosts(job_id.clone(), list, asked), call, context);
        }
    }

    /// The names of a job's machines; `list`: where they stand, and in which life.
    pub(super) fn hosts(
        &mut self,
        (job_id, list, asked): (&JobId, (u32, String), Duration),
        outcome: Result<Answer, NotAnswered>,
        context: &mut Context<'_>,
    ) {
        let Some(hosts) = outcome.ok().and_then(|answer| hostnames::read(&answer).ok()) else {
            return;
        };
        // An answer about an earlier life is none.
        let Some(job) = self.live_job(job_id).filter(|job| job.restarts == list.0) else {
            return;
        };
        let per_node = NonZeroU32::new(job.agents_per_node).unwrap_or(NonZeroU32::MIN);
        if hosts.len().saturating_mul(per_node.get() as usize) >= self.nodes_of(job_id).count() {
            return self.name_hosts(job_id, &hosts, per_node, context);
        }
        let mut speaks_still = false;
        let nodes = self.nodes_of(job_id).filter_map(|(place, node)| {
            let host = node.host.clone().filter(|host| !hosts.contains(host))?;
            Some((place.clone(), host, node.heard > asked && !node.is_over()))
        });
        for (place, host, speaks) in nodes.collect::<Vec<_>>() {
            if speaks {
                speaks_still = true;
                continue;
            }
            let reason = format!(
                "Slurm has taken {host} out of the job, which goes on without it: the machine has failed, or is down or \
                 not to be reached"
            );
            if self.may_go_on(&place) {
                // Its worker was told to end, and no further life of this job will have another on that machine.
                self.end_all_of(&place, "node_lost", &reason, context);
            }
            self.worker_gone(place, NodeState::Lost, reason, context);
        }
        let is_news = |job: &&mut JobNow| !speaks_still && job.hosts.as_ref() != Some(&list);
        if let Some(job) = self.live_job(job_id).filter(is_news) {
            job.hosts = Some(list);
            self.save_swarm_of(job_id, context);
        }
    }

    /// A node that has not said anything yet has a host all the same.
    fn name_hosts(&mut self, job_id: &JobId, hosts: &[String], per_node: NonZeroU32, context: &mut Context<'_>) {
        let of_job = |(place, _): &(&Place, &mut Node)| place.job_id == *job_id;
        let nodes = self.nodes.range_mut(Place::new(job_id.clone(), NodeId::FIRST)..);
        for (place, node) in nodes.take_while(of_job).filter(|(_, node)| node.host.is_none()) {
            node.host = hostnames::host_of(hosts, place.node_id, per_node).map(str::to_owned);
            context.save(Change::Node(place.clone(), Box::new(node.clone())));
        }
    }
}
