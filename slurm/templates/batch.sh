#!/bin/sh
{{directives}}
#
# The batch script of a swarm: it runs on the first node of the allocation and starts one worker per task. A copy of this
# file with changes can take its place. Names in double braces are filled in, each as one word that is quoted already, so
# no quotes around them:
#
#   directives    the #SBATCH lines, on a line of their own before the first command (needed)
#   worker        the codeswarm program (needed)
#   root          the mailbox's root folder (needed)
#   launch_file   what the workers are told (needed)
#   srun_options  options of srun that follow from cluster.slurm.sbatch_args; may be nothing
#   swarm_id      the swarm
#
# What a copy must keep: the workers are started by srun, one for each task of the job; SIGTERM reaches them and not
# srun; the job ends when they have ended, with their exit code.

# Prompts and answers are nobody else's business.
umask 077

# Output is appended when Slurm starts a job again, so each life begins with a line.
echo "codeswarm: job $SLURM_JOB_ID of swarm {{swarm_id}} starts on $SLURM_JOB_NODELIST (restart ${SLURM_RESTART_COUNT:-0})" >&2

# Said once and at once, instead of by each task in Slurm's words. 78: the set-up must be changed first.
if [ ! -x {{worker}} ]; then
    echo "codeswarm: there is no program" {{worker}} "on $(hostname): is the workspace mounted on the compute nodes?" >&2
    exit 78
fi

# Since Slurm 22.05 srun takes no --cpus-per-task from its job, unless it is told this way.
if [ -n "${SLURM_CPUS_PER_TASK:-}" ]; then
    export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"
fi

# What Slurm runs on a node after a task there has ended: if nobody is left to tell it, this tells in the node's outbox. If that
# cannot be, Slurm's own complaint would only hide in the job's error file why the task ended: hence the last two characters.
task_ended={{launch_file}}.task_ended
cat >"$task_ended" <<'END'
#!/bin/sh
{{worker}} worker --task-ended --root {{root}} --launch {{launch_file}} ||:
END
chmod 700 "$task_ended"

# --kill-on-bad-exit=0   a worker that fails must not take the others with it, whatever the cluster's default is,
# --wait=0               nor may one that has ended: some clusters kill the rest some seconds later.
# --export=ALL           the agents' keys are in the environment; a job submitted with --export=NONE would hide even ours.
# --input=none           nothing of the batch script is for the agents to read.
# --label                standard error of all tasks is one file; each line tells its rank. srun also sets SLURM_LABELIO,
#                        which would put numbers into what an agent's own srun prints, so env(1) takes it away again.
# --distribution=block   ranks are numbered node after node, so that a rank tells its host.
# --overlap              the workers' step holds no CPUs for itself, so that an agent can start steps of its own.
# --mpi=none             there is no MPI, so a cluster's default for it cannot fail.
# --task-epilog          see above; a word of Slurm's own about each task.
# Not --unbuffered: it gives each task a terminal, and workers write whole lines anyway.
#
# exec, so that there is no shell that could die of a signal before its tasks, and srun's exit code, which is the highest
# of the workers', is the job's. When Slurm ends the job (scancel, the time limit, a requeue), the workers get SIGTERM
# and KillWait seconds to archive. `scancel --full --signal=TERM` is not for us: srun, which gets that one too, kills them.
exec srun --kill-on-bad-exit=0 --wait=0 --export=ALL --input=none --label --distribution=block --overlap --mpi=none \
    --task-epilog="$task_ended" \
    {{srun_options}} env -u SLURM_LABELIO {{worker}} worker --keep --root {{root}} --launch {{launch_file}}
