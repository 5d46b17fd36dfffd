# The files that a test cluster's programs read, written by `up` into $dir: slurm.conf, sshd_config, ssh_config, env.sh
# and an example configuration of Codeswarm. Needs $dir, $user, $sshd_port, $slurmctld_port, $nodes, $node_ports and $fuse.

write_slurm_conf() {
  local host node
  host=$(hostname -s)
  {
    cat <<TEXT
# Nodes on one machine: each slurmd has its own name, port and spool folder.
ClusterName=testcluster
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$slurmctld_port
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
CredType=cred/munge
# The second: how long a requeued job is held back, 120 seconds otherwise.
AuthInfo=socket=$dir/munge/socket,cred_expire=5
# Loopback only.
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation=$dir/slurm/state
SlurmdSpoolDir=$dir/slurm/spool/%n
SlurmctldPidFile=$dir/slurm/slurmctld.pid
SlurmdPidFile=$dir/slurm/%n.pid
MailProg=/bin/true
MpiDefault=none
SwitchType=switch/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
PropagateResourceLimits=NONE
# A node whose slurmd was away is back with it; one that was set down is not.
ReturnToService=1
SlurmdTimeout=60
KillWait=5
MinJobAge=60
# A job starts within a second.
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
# Nodes may claim more than the machine has.
SlurmdParameters=config_overrides
TEXT
    for ((node = 0; node < nodes; node++)); do
      echo "NodeName=node$node NodeHostname=$host NodeAddr=127.0.0.1 Port=${node_ports[node]} CPUs=4 RealMemory=2000" \
        "Feature=loopback State=UNKNOWN"
    done
    cat <<TEXT
# short: to see a time limit pass. closed: where jobs only wait.
PartitionName=compute Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=YES
PartitionName=short Nodes=ALL MaxTime=00:01:00 State=UP OverSubscribe=YES
PartitionName=closed Nodes=ALL MaxTime=INFINITE State=DOWN
TEXT
  } >"$dir/slurm.conf"
}

# Sessions have a home of their own: what a person's ~/.bashrc does, or waits for, is no matter of this cluster.
write_sshd_config() {
  mkdir -p "$dir/home"
  cat >"$dir/ssh/sshd_config" <<TEXT
Port $sshd_port
ListenAddress 127.0.0.1
HostKey $dir/ssh/host_key
PidFile none
AuthorizedKeysFile $dir/ssh/authorized_keys
StrictModes no
UsePAM no
UseDNS no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PrintMotd no
PrintLastLog no
Subsystem sftp internal-sftp
SetEnv SLURM_CONF=$dir/slurm.conf $mark=$dir HOME=$dir/home
TEXT
}

write_ssh_config() {
  cat >"$dir/ssh_config" <<TEXT
Host testcluster
  HostName 127.0.0.1
  Port $sshd_port
  User $user
  IdentityFile $dir/ssh/identity
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile $dir/ssh/known_hosts
  GlobalKnownHostsFile none
  StrictHostKeyChecking yes
  BatchMode yes
  LogLevel ERROR
TEXT
  printf '[127.0.0.1]:%s %s\n' "$sshd_port" "$(cut -d ' ' -f 1,2 "$dir/ssh/host_key.pub")" >"$dir/ssh/known_hosts"
}

write_env_sh() {
  cat >"$dir/env.sh" <<TEXT
# For a shell that wants to use the cluster's Slurm directly: . $dir/env.sh
export SLURM_CONF=$dir/slurm.conf
export CODESWARM_TEST_CLUSTER=$dir
TEXT
}

write_config_json() {
  cat >"$dir/config.json" <<TEXT
{
  "ssh": {"login_alias": "testcluster", "config_file": "$dir/ssh_config"},
  "cluster": {
    "backend": "slurm",
    "workspace_root": "$dir/work",
    "cluster_subdir": "codeswarm",
    "slurm": {"partition": "compute"}
  },
  "agent": {"kind": "echo"},
  "worker": {"shutdown_grace_seconds": 4},
  "router": {"state_dir": "$dir/state"}
}
TEXT
}
