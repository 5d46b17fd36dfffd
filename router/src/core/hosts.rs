//! The machines of a job: which of its nodes are on which, and which Slurm has taken away from a job that goes on without
//! them (`--no-kill`, sbatch(1)). A machine that fails leaves the job's list, and is never put back into it.

use std::num::NonZeroU32;
use std::time::Duration;

use codeswarm_protocol::JobId;
use codeswarm_protocol::event::NodeState;
use codeswarm_slurm::{Answer, hostnames};

use super::job::News;
use super::{Change, Context, Core, Errand, NotAnswered};

impl Core {
    /// The job runs on these machines, as Slurm said when it was asked.
    pub(super) fn look_at_hosts(&mut self, job_id: &JobId, news: &News, asked: Duration, context: &mut Context<'_>) {
        let Some(swarm) = self.live_swarm_of(job_id) else {
            return;
        };
        let Some(job) = &swarm.job else { return };
        let places = self.places(&swarm.swarm_id);
        let nameless = places
            .iter()
            .filter_map(|place| self.nodes.get(place))
            .any(|node| node.host.is_none());
        let list = (job.restarts, news.nodes.clone());
        let lacks = news.node_count.is_some_and(|count| {
            let agents = u64::from(count) * u64::from(job.agents_per_node.max(1));
            agents < places.len() as u64
        });
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
        let Some(swarm) = self.live_swarm_of(job_id) else {
            return;
        };
        // An answer about an earlier life is none.
        if swarm.job.as_ref().is_none_or(|job| job.restarts != list.0) {
            return;
        }
        let per_node = swarm.job.as_ref().map_or(1, |job| job.agents_per_node);
        let per_node = NonZeroU32::new(per_node).unwrap_or(NonZeroU32::MIN);
        let places = self.places(&swarm.swarm_id.clone());
        let is_whole = hosts.len().saturating_mul(per_node.get() as usize) >= places.len();
        let mut speaks_still = false;
        for place in &places {
            let Some(node) = self.nodes.get_mut(place) else {
                continue;
            };
            match &node.host {
                // One that has not said anything yet has a host all the same.
                None if is_whole => {
                    node.host = hostnames::host_of(&hosts, place.node_id, per_node).map(str::to_owned);
                    self.save_node(place, context);
                }
                Some(host) if !is_whole && !hosts.contains(host) => {
                    if node.heard > asked && !node.is_over() {
                        speaks_still = true;
                        continue;
                    }
                    let reason = format!(
                        "Slurm has taken {host} out of the job, which goes on without it: the machine has failed, or is \
                         down or not to be reached"
                    );
                    if self.may_go_on(place) {
                        // Its worker was told to end, and no further life of this job will have another on that machine.
                        self.end_all_of(place, "node_lost", &reason, context);
                    }
                    self.worker_gone(place.clone(), NodeState::Lost, reason, context);
                }
                _ => {}
            }
        }
        let Some(job) = self.live_job(job_id).filter(|_| !is_whole && !speaks_still) else {
            return;
        };
        if job.hosts.as_ref() != Some(&list) {
            job.hosts = Some(list);
            if let Some(swarm) = self.live_swarm_of(job_id) {
                context.save(Change::of_swarm(swarm.clone()));
            }
        }
    }
}
