//! `cluster.slurm.sbatch_args`: whatever sbatch takes, but for what the batch script says itself.

/// Why an option is not passed on, and what to use instead.
struct Ours {
    long: &'static str,
    short: Option<char>,
    why: &'static str,
}

const fn ours(long: &'static str, short: Option<char>, why: &'static str) -> Ours {
    Ours { long, short, why }
}

const FOUND_BY: &str = "codeswarm finds its jobs by it";
const OUTPUT: &str = "output goes to the runs folder of the mailbox, where codeswarm reads it";
const WORKERS: &str = "codeswarm sets the number of workers; use the number of nodes and cluster.slurm.agents_per_node";
const REQUEUE: &str = "a job that Slurm starts again goes on with its agents' threads; to forbid it, use a template of your \
                       own with the directive below {{directives}}";
const ANSWER: &str = "codeswarm reads sbatch's answer and would not get it";
const LAUNCH: &str = "codeswarm submits its own batch script; use a template of your own";

/// What is refused. Order is that of the batch script.
const OURS: &[Ours] = &[
    ours("job-name", Some('J'), FOUND_BY),
    ours("comment", None, FOUND_BY),
    ours("nodes", Some('N'), "use the number of nodes of the launch (--nodes)"),
    ours("ntasks", Some('n'), WORKERS),
    ours("tasks", None, WORKERS),
    ours("ntasks-per-node", None, WORKERS),
    ours("tasks-per-node", None, WORKERS),
    ours(
        "signal",
        None,
        "workers are told to end 60 s before the time limit; lower cluster.slurm.time_limit to have them end earlier",
    ),
    ours("requeue", None, REQUEUE),
    ours("no-requeue", None, REQUEUE),
    ours("open-mode", None, OUTPUT),
    ours("output", Some('o'), OUTPUT),
    ours("error", Some('e'), OUTPUT),
    ours("input", Some('i'), "prompts come through the mailbox"),
    ours(
        "chdir",
        Some('D'),
        "each agent has a working directory of its own in the mailbox; use cluster.workspace_root",
    ),
    ours(
        "workdir",
        None,
        "each agent has a working directory of its own in the mailbox; use cluster.workspace_root",
    ),
    ours(
        "distribution",
        Some('m'),
        "ranks are numbered node after node, so that a rank tells its host",
    ),
    ours("array", Some('a'), "a swarm is one job; launch several swarms"),
    ours(
        "clusters",
        Some('M'),
        "squeue and scancel would not look there; use the login node of that cluster",
    ),
    ours(
        "cluster",
        None,
        "squeue and scancel would not look there; use the login node of that cluster",
    ),
    ours("wrap", None, LAUNCH),
    ours("parsable", None, ANSWER),
    ours("quiet", Some('Q'), ANSWER),
    ours(
        "test-only",
        None,
        "nothing would be submitted; `codeswarm doctor` checks a configuration",
    ),
    ours("wait", Some('W'), "sbatch would not answer before the job's end"),
    ours("help", Some('h'), "nothing would be submitted"),
    ours("usage", Some('u'), "nothing would be submitted"),
    ours("version", Some('V'), "nothing would be submitted"),
];

/// Options that have a setting: as the setting's name, its short letter.
const SETTINGS: &[(&str, char, &str)] = &[
    ("partition", 'p', "cluster.slurm.partition"),
    ("account", 'A', "cluster.slurm.account"),
    ("qos", 'q', "cluster.slurm.qos"),
    ("time", 't', "cluster.slurm.time_limit"),
    ("constraint", 'C', "cluster.slurm.constraint"),
    ("gres", '\0', "cluster.slurm.gres"),
];

/// Short options that take no value, so that another may follow in the same word.
const FLAGS: &str = "hHkOQsuvVW";

/// Whether an option may be passed on. `taken` tells which of [`SETTINGS`] are set already.
pub(super) fn check(argument: &str, taken: impl Fn(&str) -> bool) -> Result<(), String> {
    if argument.contains(char::is_control) {
        return Err("it has a control character".to_owned());
    }
    if let Some(long) = argument.strip_prefix("--") {
        let name = long.split('=').next().unwrap_or_default();
        check_long(argument, name, taken)
    } else if let Some(short) = argument.strip_prefix('-').filter(|rest| !rest.is_empty()) {
        check_short(short, taken)
    } else {
        Err("it is no option; each one is written whole, such as \"--reservation=tuesday\"".to_owned())
    }
}

fn check_long(argument: &str, name: &str, taken: impl Fn(&str) -> bool) -> Result<(), String> {
    if name.is_empty() {
        return Err("it is no option".to_owned());
    }
    if let Some((name, value)) = name.split_once(char::is_whitespace) {
        return Err(format!("write it as \"--{name}={}\"", value.trim()));
    }
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err("its name is none of an option".to_owned());
    }
    // getopt_long(3) takes any beginning that fits only one option.
    if let Some(ours) = OURS.iter().find(|ours| ours.long == name) {
        return Err(ours.why.to_owned());
    }
    if let Some(ours) = OURS.iter().find(|ours| is_short_for(name, ours.long)) {
        return Err(format!("it may stand for --{}: {}", ours.long, ours.why));
    }
    let clash = |(option, _, _): &&(&str, char, &str)| (name == *option || is_short_for(name, option)) && taken(option);
    SETTINGS.iter().find(clash).map_or(Ok(()), |(_, _, setting)| {
        Err(format!(
            "{setting} says it already; give {argument:?} or that, not both"
        ))
    })
}

/// Whether `name` may be an abbreviation. No other option's whole name is the beginning of one of ours.
fn is_short_for(name: &str, long: &str) -> bool {
    long.len() > name.len() && long.starts_with(name)
}

fn check_short(cluster: &str, taken: impl Fn(&str) -> bool) -> Result<(), String> {
    for letter in cluster.chars() {
        if let Some(ours) = OURS.iter().find(|ours| ours.short == Some(letter)) {
            return Err(ours.why.to_owned());
        }
        let clash = |(option, short, _): &&(&str, char, &str)| *short == letter && taken(option);
        if let Some((_, _, setting)) = SETTINGS.iter().find(clash) {
            return Err(format!("{setting} says it already; give one of them, not both"));
        }
        if !FLAGS.contains(letter) {
            break;
        }
    }
    Ok(())
}

/// What srun has to be told too: sbatch does not pass `--no-kill` on to the steps (sbatch(1)).
pub(super) fn for_srun(arguments: &[String]) -> String {
    let no_kill = |argument: &String| matches!(argument.as_str(), "-k" | "--no-kill");
    if arguments.iter().any(no_kill) {
        "--no-kill".to_owned()
    } else {
        String::new()
    }
}
