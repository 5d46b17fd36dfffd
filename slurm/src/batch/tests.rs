//! Scripts, whole and refused.

use super::*;
use crate::call::answer;

fn job() -> BatchJob {
    BatchJob {
        swarm_id: "0199-ab".parse().unwrap(),
        node_count: 4,
        agents_per_node: 2,
        partition: None,
        account: None,
        qos: None,
        time_limit: None,
        constraint: None,
        gres: None,
        sbatch_args: Vec::new(),
        root: "/scratch/me/codeswarm".to_owned(),
        worker: "/scratch/me/codeswarm/bin/codeswarm-1".to_owned(),
        launch_file: "/scratch/me/codeswarm/runs/0199-ab.json".to_owned(),
        template: None,
    }
}

fn with(change: impl FnOnce(&mut BatchJob)) -> BatchJob {
    let mut job = job();
    change(&mut job);
    job
}

fn refusal(change: impl FnOnce(&mut BatchJob)) -> String {
    with(change).script().unwrap_err().to_string()
}

fn argument(argument: &str) -> Result<String, BatchError> {
    with(|job| job.sbatch_args = vec![argument.to_owned()]).script()
}

#[test]
fn a_plain_job_is_a_script_on_stdin_and_nothing_on_the_command_line() {
    let call = with(|job| job.partition = Some("compute".to_owned())).submit().unwrap();
    assert_eq!(call.to_string(), "sbatch --parsable");
    assert!(call.unset.iter().any(|name| name == "SBATCH_PARTITION"));
    assert!(
        !call.unset.iter().any(|name| name == "SBATCH_ACCOUNT"),
        "a person's default stays"
    );

    let script = String::from_utf8(call.stdin).unwrap();
    let directives: Vec<_> = script
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with("#SBATCH"))
        .collect();
    assert_eq!(
        directives,
        [
            "#SBATCH --job-name=codeswarm",
            "#SBATCH --comment=codeswarm:0199-ab",
            "#SBATCH --nodes=4",
            "#SBATCH --ntasks=8",
            "#SBATCH --ntasks-per-node=2",
            "#SBATCH --signal=TERM@60",
            "#SBATCH --requeue",
            "#SBATCH --open-mode=append",
            "#SBATCH --output=/scratch/me/codeswarm/runs/%j.out",
            "#SBATCH --error=/scratch/me/codeswarm/runs/%j.err",
            "#SBATCH --chdir=/scratch/me/codeswarm",
            "#SBATCH --partition=compute",
        ]
    );
    assert!(
        script.ends_with(
            " /scratch/me/codeswarm/bin/codeswarm-1 worker --keep --root /scratch/me/codeswarm --launch \
             /scratch/me/codeswarm/runs/0199-ab.json\n"
        ),
        "{script}"
    );
    assert!(!script.contains("{{"), "{script}");
}

#[test]
fn hostile_values_stay_values() {
    let script = with(|job| {
        job.root = "/scratch/it's $(reboot); #1 \"50%\"".to_owned();
        job.worker = "/bin/`reboot`".to_owned();
        job.partition = Some("a b#c;$(reboot)\"'\\".to_owned());
        job.gres = Some("gpu:1 --nodes=99".to_owned());
        job.time_limit = Some("1:00".to_owned());
    })
    .script()
    .unwrap();
    let lines: Vec<_> = script.lines().collect();
    for expected in [
        r##"#SBATCH "--output=/scratch/it's $(reboot); #1 \"50%%\"/runs/%j.out""##,
        r##"#SBATCH "--chdir=/scratch/it's $(reboot); #1 \"50%\"""##,
        r##"#SBATCH "--partition=a b#c;$(reboot)\"'\\""##,
        r##"#SBATCH "--gres=gpu:1 --nodes=99""##,
        "#SBATCH --time=1:00",
    ] {
        assert!(lines.contains(&expected), "{expected}\n{script}");
    }
    assert!(
        script.contains(r##" '/bin/`reboot`' worker --keep --root '/scratch/it'\''s $(reboot); #1 "50%"' --launch "##),
        "{script}"
    );
}

/// The script itself, with a srun that tells what it was given and runs what Slurm would run at the end of a task.
#[test]
fn what_runs_at_the_end_of_a_task_is_the_worker_whatever_the_paths() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("it's $(touch bad) `touch bad` \"50%\"");
    std::fs::create_dir_all(root.join("launch")).unwrap();
    let program = |path: std::path::PathBuf, text: &str| {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let worker = program(root.join("worker"), "#!/bin/sh\nprintf '%s|' \"$@\"\n");
    program(
        folder.path().join("srun"),
        "#!/bin/sh\nfor word; do case $word in --task-epilog=*) exec \"${word#*=}\" ;; esac; done\nexit 3\n",
    );
    let (root, launch) = (
        root.display().to_string(),
        root.join("launch/s-1.json").display().to_string(),
    );
    let script = with(|job| (job.root, job.worker, job.launch_file) = (root.clone(), worker, launch.clone()))
        .script()
        .unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let mut sh = std::process::Command::new("sh");
    sh.args(["-c", &script]).current_dir(&folder).env("PATH", path);
    let output = sh
        .env("SLURM_JOB_ID", "7")
        .env("SLURM_JOB_NODELIST", "n")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        said,
        format!("worker|--task-ended|--root|{root}|--launch|{launch}|"),
        "{output:?}"
    );
    assert!(!folder.path().join("bad").exists());
}

#[test]
fn values_that_cannot_stand_in_a_script_are_named() {
    let newline = refusal(|job| job.partition = Some("a\n#SBATCH --nodes=9".to_owned()));
    assert_eq!(
        newline,
        r##"cluster.slurm.partition "a\n#SBATCH --nodes=9" has a control character"##
    );
    assert!(refusal(|job| job.qos = Some(" ".to_owned())).contains("cluster.slurm.qos \" \" is empty"));
    assert!(refusal(|job| job.worker = "/a\0b".to_owned()).contains("control character"));
    assert!(refusal(|job| job.root = "work".to_owned()).contains("not an absolute path"));
    assert!(refusal(|job| job.root = "/wo\\rk".to_owned()).contains("backslash"));
    assert!(refusal(|job| job.launch_file = String::new()).contains("launch file"));
    assert!(refusal(|job| job.node_count = 0).starts_with("0 nodes with 2 agents each are not possible"));
    assert!(refusal(|job| job.node_count = 500_001).contains("at most 1000000 agents"));
    assert!(with(|job| job.node_count = 500_000).script().is_ok());
}

#[test]
fn options_that_contradict_the_script_are_refused_in_every_spelling() {
    for refused in [
        "--job-name=x",
        "--job=x",
        "-J",
        "-Jx",
        "--comment=x",
        "--com=x",
        "--nodes=2",
        "-N2",
        "-N 2",
        "--ntasks=2",
        "-n2",
        "--ntasks-per-node=2",
        "--ntasks-per-n=2",
        "--signal=USR1",
        "--requeue",
        "--no-requeue",
        "--open-mode=truncate",
        "--output=/dev/null",
        "--out=x",
        "-o/dev/null",
        "-e",
        "--error=x",
        "-Hofile",
        "-D/",
        "--chdir=/",
        "--array=1-9",
        "-a1-9",
        "--wrap=reboot",
        "--parsable",
        "--test-only",
        "-W",
        "--wait",
        "-m",
        "--clusters=x",
        "--help",
        "-V",
        "-kN3",
    ] {
        let error = argument(refused).expect_err(refused).to_string();
        assert!(
            error.starts_with(&format!("cluster.slurm.sbatch_args {refused:?}: ")),
            "{error}"
        );
    }
    for (odd, what) in [
        ("tuesday", "each one is written whole"),
        ("", "each one is written whole"),
        ("-", "each one is written whole"),
        ("--", "no option"),
        ("--reservation tuesday", "write it as \"--reservation=tuesday\""),
        ("--mem=1G\n--x", "control character"),
        ("--me$m=1", "none of an option"),
    ] {
        let error = argument(odd).expect_err(odd).to_string();
        assert!(error.contains(what), "{error}");
    }
}

#[test]
fn all_other_options_pass_and_no_kill_reaches_srun() {
    for passed in [
        "--reservation=tuesday",
        "--mem=16G",
        "--cpus-per-task=8",
        "-c8",
        "--exclusive",
        "--hold",
        "-H",
        "--nodelist=a[1-2]",
        "-w",
        "--nodefile=/x",
        "--ntasks-per-core=1",
        "--wait-all-nodes=1",
        "--mail-type=END",
        "--begin=now+1hour",
        "--dependency=afterok:1",
        "--gpus-per-node=1",
        "--export=NONE",
        "--time-min=10",
        "--partition=x",
        "-px",
        "-Hpx",
        "--option-of-a-newer-slurm",
    ] {
        let script = argument(passed).unwrap();
        assert!(
            script
                .lines()
                .any(|line| line == format!("#SBATCH {}", for_directive(passed))),
            "{passed}"
        );
        assert!(!script.contains("\n    --no-kill "), "{passed}");
    }
    for no_kill in ["--no-kill", "-k"] {
        assert!(
            argument(no_kill)
                .unwrap()
                .contains("\n    --no-kill env -u SLURM_LABELIO /scratch"),
            "{no_kill}"
        );
    }
}

#[test]
fn what_a_setting_says_is_not_said_twice() {
    for twice in ["--partition=b", "--part=b", "-pb", "-Hpb"] {
        let error = refusal(|job| {
            job.partition = Some("a".to_owned());
            job.sbatch_args = vec![twice.to_owned()];
        });
        assert!(error.contains("cluster.slurm.partition says it already"), "{error}");
    }
}

#[test]
fn a_template_of_ones_own_is_filled_in() {
    let template = "#!/bin/bash -l\n# mine\n{{directives}}\nmodule load x\nexec srun {{worker}} worker --root {{root}} \
                    --launch {{launch_file}}\n";
    let script = with(|job| {
        job.template = Some(template.to_owned());
        job.node_count = 1;
    })
    .script()
    .unwrap();
    assert!(
        script.starts_with("#!/bin/bash -l\n# mine\n#SBATCH --job-name=codeswarm\n"),
        "{script}"
    );
    assert!(script.contains("\nmodule load x\nexec srun /scratch/me/"), "{script}");
}

#[test]
fn a_template_that_would_not_work_is_refused_with_what_is_wrong() {
    let body = "{{directives}}\n{{worker}} {{root}} {{launch_file}}\n";
    for (template, why) in [
        (body.to_owned(), "must begin with `#!`"),
        (String::new(), "must begin with `#!`"),
        (format!("#!/bin/sh\r\n{body}"), "DOS line ends"),
        (
            format!("#!/bin/sh\n{body}{{{{workers}}}}"),
            "unknown placeholder {{workers}} in line 4",
        ),
        (format!("#!/bin/sh\n{body}{{{{worker"), "without `}}` in line 4"),
        (
            "#!/bin/sh\n{{directives}}\n{{worker}} {{root}}\n".to_owned(),
            "lacks the placeholder {{launch_file}}",
        ),
        (format!("#!/bin/sh\nset -e\n{body}"), "below a command"),
        (format!("#!/bin/sh\n  {body}"), "on a line of its own"),
        (
            "#!/bin/sh\n{{directives}}\n\"{{worker}}\" {{root}} {{launch_file}}\n".to_owned(),
            "quotes around {{worker}}, which is quoted already",
        ),
    ] {
        let error = refusal(|job| job.template = Some(template.clone()));
        assert!(
            error.starts_with("the batch script's template ") && error.contains(why),
            "{error}"
        );
    }
}

#[test]
fn the_number_of_a_submitted_job_is_found_among_what_a_login_shell_prints() {
    let id = |out: &str, err: &str| read_submitted(&answer(0, out, err)).map(|job| job.to_string());
    assert_eq!(id("272900\n", "").unwrap(), "272900");
    assert_eq!(id("272900;hpc\n", "").unwrap(), "272900");
    assert_eq!(
        id(
            "Welcome! 3 nodes are down.\n272900\n",
            "sbatch: warning: can't run 1 processes on 2 nodes, setting nnodes to 1\n"
        )
        .unwrap(),
        "272900"
    );
    for (out, err) in [("", ""), ("Submitted\n", ""), ("-1\n", "")] {
        let error = read_submitted(&answer(0, out, err)).unwrap_err();
        assert!(error.may_have_happened(), "{error}");
    }
    let cut = Answer {
        stdout: b"272900\n".to_vec(),
        ..Answer::default()
    };
    assert_eq!(read_submitted(&cut).unwrap().as_str(), "272900");
}

#[test]
fn a_failed_submission_is_read_by_its_words() {
    let timed_out = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n";
    let error = read_submitted(&answer(1, "", timed_out)).unwrap_err();
    assert!(
        error.may_have_happened() && error.to_string().contains("squeue --me"),
        "{error}"
    );
    let refused = "sbatch: error: Batch job submission failed: Invalid qos specification\n";
    let error = read_submitted(&answer(1, "", refused)).unwrap_err();
    assert!(!error.may_have_happened(), "{error}");
}
