# The processes of a test cluster, for `up` and `down`: each is recorded when it starts, so that it can be ended later
# by whoever knows the folder, and nothing else can be ended by mistake. Needs $dir, the cluster's folder.

PATH=$PATH:/usr/sbin:/sbin

# In the environment of everything that belongs to the cluster. What a daemon left behind is found by it.
mark=TEST_CLUSTER_PROCESS

# started_at PID: when the process started, in the kernel's own count; fails when it does not run (any more). Together
# with the pid that is a name which is never given to another process.
started_at() {
  local stat fields
  { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
  read -ra fields <<<"${stat##*) }"
  [[ ${fields[0]} != Z ]] && printf '%s\n' "${fields[19]}"
}

# start NAME COMMAND...: in the background, in a session of its own, with its output in logs/NAME.log. The command is
# kept, so that it can be started again.
start() {
  local name=$1
  shift
  printf '%q ' "$@" >"$dir/commands/$name"
  env "$mark=$dir" setsid "$@" </dev/null >>"$dir/logs/$name.log" 2>&1 &
  printf '%s %s\n' "$!" "$(started_at $!)" >"$dir/pids/$name"
}

# pid_of NAME: the recorded process, if it still runs.
pid_of() {
  local pid began
  { read -r pid began <"$dir/pids/$1"; } 2>/dev/null || return 1
  [[ -n $began && $(started_at "$pid") == "$began" ]] && printf '%s\n' "$pid"
}

# names: the names of all recorded processes.
names() {
  local file
  for file in "$dir"/pids/*; do
    [[ -f $file ]] && printf '%s\n' "${file##*/}"
  done
}

# end NAME...: asks all of them to end, and kills those that have not after three seconds.
end() {
  local name pid signal=TERM tries
  for ((tries = 0; tries < 80; tries++)); do
    local left=no
    for name in "$@"; do
      pid=$(pid_of "$name") || continue
      left=yes
      if ((tries == 0 || tries == 60)); then
        kill "-$signal" "$pid" 2>/dev/null || true
        # One that was stopped gets its signal only when it goes on.
        kill -CONT "$pid" 2>/dev/null || true
      fi
    done
    [[ $left == no ]] && break
    ((tries == 59)) && signal=KILL
    sleep 0.05
  done
  for name in "$@"; do
    pid_of "$name" >/dev/null || rm -f "$dir/pids/$name"
  done
}

# marked: the pids of all processes that carry the cluster's mark, but for this one and its ancestors: who runs `down`
# from a session on the login node wants to read what it says.
marked() {
  local pid=$$ stat fields ancestors=" "
  while ((pid > 1)); do
    ancestors+="$pid "
    { stat=$(<"/proc/$pid/stat"); } 2>/dev/null || break
    read -ra fields <<<"${stat##*) }"
    pid=${fields[1]}
  done
  local environment
  for environment in $(grep --null-data --line-regexp --fixed-strings --files-with-matches --no-messages \
    "$mark=$dir" /proc/[0-9]*/environ); do
    pid=${environment#/proc/}
    pid=${pid%/environ}
    [[ $ancestors == *" $pid "* ]] || printf '%s\n' "$pid"
  done
}
