//! The test cluster itself: what `tests/cluster/up` brings up, login nodes, fakes, and views of a shared filesystem.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::{Duration, Instant};

use codeswarm_tests::cli::run;
use codeswarm_tests::cluster::NODES;
use codeswarm_tests::fakes::{Answer, words};
use codeswarm_tests::login_node::LoginNode;
use codeswarm_tests::requires;
use codeswarm_tests::slurm_workspace::SlurmWorkspace;
use codeswarm_tests::ssh_trouble::SshTrouble;
use codeswarm_tests::workspace::wait_until;
use rustix::fs::inotify;

/// A batch script that writes a line for each task, then waits to be ended.
const EACH_TASK: &str = "#!/bin/bash\n\
    srun bash -c 'echo \"$SLURMD_NODENAME $SLURM_PROCID ${SLURM_RESTART_COUNT:-0}\"; exec sleep 600'\n";

#[test]
fn a_job_runs_on_all_nodes_and_is_requeued_under_its_id() {
    let Some(cluster) = requires::cluster() else { return };
    let cluster = cluster.alone();
    cluster.wait_for_idle_nodes(NODES);
    let workspace = SlurmWorkspace::echo(&cluster);
    let options = ["--nodes=4", "--requeue", "--open-mode=append", "--output=out"];
    let job = cluster.submit(workspace.path(), &options, EACH_TASK);
    let lines_of = |life: &str| {
        wait_until("a line of each task", || {
            let text = std::fs::read_to_string(workspace.path().join("out")).unwrap_or_default();
            let lines: BTreeSet<String> = text
                .lines()
                .filter(|line| line.ends_with(life))
                .map(str::to_owned)
                .collect();
            if lines.len() == NODES as usize {
                Ok(lines)
            } else {
                Err(text)
            }
        })
    };
    let first = lines_of(" 0");
    for node in 0..NODES {
        assert!(
            first.iter().any(|line| line.starts_with(&format!("node{node} "))),
            "{first:?}"
        );
        assert!(
            first.iter().any(|line| line.contains(&format!(" {node} "))),
            "{first:?}"
        );
    }
    assert_eq!(workspace.jobs(), [job.as_str()]);

    cluster.requeue(&job);
    lines_of(" 1");
    cluster.wait_for_state(&job, "RUNNING");
    drop(workspace);
    assert_ne!(cluster.state(&job), "RUNNING");
    cluster.wait_for_idle_nodes(NODES);
}

#[test]
fn a_lost_node_and_a_restarted_controller_are_real() {
    let Some(cluster) = requires::cluster() else { return };
    let cluster = cluster.alone();
    let workspace = SlurmWorkspace::echo(&cluster);
    let job = cluster.submit(
        workspace.path(),
        &["--nodelist=node3", "--no-requeue"],
        "#!/bin/sh\nsleep 600\n",
    );
    cluster.wait_for_state(&job, "RUNNING");
    cluster.restart_slurmctld();
    cluster.wait_for_state(&job, "RUNNING");
    cluster.stop_slurmctld();
    let output = workspace.login.run("squeue");
    assert_eq!(output.stderr, words::NO_CONTROLLER);
    cluster.start_slurmctld();
    cluster.node_down("node3");
    cluster.wait_for_state(&job, "NODE_FAIL");
    cluster.node_resume("node3");
    cluster.wait_for_idle_nodes(NODES);
}

#[test]
fn a_login_node_lists_what_its_sessions_run_and_can_be_cut() {
    let Some(cluster) = requires::cluster() else { return };
    let mut workspace = SlurmWorkspace::echo(&cluster);
    let login = &mut workspace.login;
    let output = login.run("echo \"$HOME\"; squeue --noheader --me; exec sh -c 'exit 7'");
    assert_eq!(output.code(), 7, "{output:#?}");
    login.wait_until_quiet();

    let begin = |login: &LoginNode| {
        let mut child = login.ssh("exec sleep 600").spawn().unwrap();
        let listed = || match login.processes_named("sleep 600") {
            found if found.len() == 1 => Ok(()),
            _ => Err(format!("{:?}", login.processes())),
        };
        wait_until("the command is listed", listed);
        assert!(!login.sessions().is_empty());
        assert!(child.try_wait().unwrap().is_none());
        child
    };
    let mut child = begin(login);
    login.cut();
    assert_eq!(child.wait().unwrap().code(), Some(255));
    assert!(login.run("true").status.success(), "new connections are taken");

    // `sleep` does not read, so it does not hear that it was cut off.
    assert_eq!(login.processes_named("sleep 600").len(), 1);
    login.kill();
    wait_until("the node is dead", || match login.processes() {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    });
    assert_eq!(login.run("true").code(), 255);
    let port = login.port();
    login.start_again();
    assert_eq!(login.port(), port);

    let mut child = begin(login);
    login.freeze();
    std::thread::sleep(Duration::from_millis(200));
    assert!(child.try_wait().unwrap().is_none());
    login.thaw();
    assert!(login.run("true").status.success());
    login.refuse();
    assert_eq!(child.wait().unwrap().code(), Some(255));
    assert_eq!(
        login.processes_named("sleep 600").len(),
        1,
        "a network that is down ends no process"
    );
    login.start_again();
}

#[test]
fn jobs_are_not_what_a_login_node_runs() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let folder = workspace.path().display();
    let command = format!("cd {folder} && sbatch --parsable --output=out --wrap 'srun sleep 601'");
    let job = workspace.login.run(&command).success().stdout.trim().to_owned();
    wait_until("the job's process", || match workspace.processes_named("sleep 601") {
        found if found.iter().any(|process| process.command_line.ends_with("/sleep 601")) => Ok(()),
        found => Err(format!("{found:?}")),
    });
    workspace.login.wait_until_quiet();
    assert_eq!(workspace.jobs(), [job.as_str()]);
    let path = workspace.path().to_owned();
    drop(workspace);
    assert!(codeswarm_tests::processes::of(&path).is_empty());
    assert!(cluster.jobs_in(&path).is_empty());
    assert!(!path.exists());
}

#[test]
fn a_login_node_greets_and_asks() {
    let Some(cluster) = requires::cluster() else { return };
    let mut workspace = SlurmWorkspace::echo(&cluster);
    let mut options = SlurmWorkspace::login_options(&workspace.fakes);
    options.noise = Some("Welcome to this cluster!\n\n".to_owned());
    workspace.login.start_again_with(&options);
    let output = workspace.login.run("cat; echo 'it'\\''s'");
    assert_eq!(output.success().stdout, "Welcome to this cluster!\n\nit's\n");

    options.noise = None;
    options.second_factor = true;
    workspace.login.start_again_with(&options);
    let output = workspace.login.run("true");
    assert!(
        output.stderr.contains("Permission denied (keyboard-interactive)"),
        "{output:#?}"
    );
}

#[test]
fn ssh_fails_for_real() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    for trouble in SshTrouble::ALL {
        let mut command = std::process::Command::new("ssh");
        command.arg("-F").arg(trouble.ssh_config(&workspace.login));
        command.args([LoginNode::ALIAS, "true"]);
        let output = run(command, b"");
        assert_eq!(output.code(), 255, "{trouble:?}: {output:#?}");
        assert!(output.stderr.contains(trouble.words()), "{trouble:?}: {output:#?}");
    }
}

#[test]
fn fakes_say_what_the_real_ones_seldom_do() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let (login, fakes) = (&workspace.login, &workspace.fakes);
    // Without a word the real one answers.
    assert!(
        login
            .run("sinfo --noheader --format=%P")
            .success()
            .stdout
            .contains("compute*")
    );

    for state in [
        "PREEMPTED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "BOOT_FAIL",
        "TIMEOUT",
        "QUITE_NEW",
    ] {
        fakes.set("squeue", Answer::out(&format!("17 {state}\n")).when("^--jobs 17"));
        assert_eq!(login.run("squeue --jobs 17").success().stdout, format!("17 {state}\n"));
    }
    assert!(login.run("squeue").success().stdout.contains("JOBID"), "not meant");

    fakes.set("squeue", Answer::nothing());
    assert_eq!(login.run("squeue").success().stdout, "");
    fakes.set("squeue", Answer::edited("JOBID", "PREEMPTED"));
    assert!(login.run("squeue").success().stdout.contains("PREEMPTED"));

    fakes.set("scancel", Answer::fails(words::SCANCEL_NO_CONTROLLER).code(8).times(1));
    let output = login.run("scancel 17");
    assert_eq!(
        (output.code(), output.stderr.as_str()),
        (8, words::SCANCEL_NO_CONTROLLER)
    );
    let output = login.run("scancel 17");
    assert!(!output.stderr.contains("Unable to contact"), "{output:#?}");

    fakes.set("sinfo", Answer::late(Duration::from_millis(700)));
    let began = Instant::now();
    login.run("sinfo").success();
    assert!(began.elapsed() >= Duration::from_millis(700));

    let calls = fakes.calls("scancel");
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0].arguments, ["17"]);
}

#[test]
fn a_submission_can_happen_without_an_answer() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    workspace.fakes.set("sbatch", Answer::done_but_not_told().times(1));
    let script = "#!/bin/sh\nsleep 600\n";
    let submit = format!("cd {} && sbatch --parsable --output=out", workspace.path().display());
    let output = run(workspace.login.ssh(&submit), script.as_bytes());
    assert_eq!((output.code(), output.stdout.as_str()), (255, ""), "{output:#?}");
    assert_eq!(workspace.jobs().len(), 1);
    assert_eq!(workspace.fakes.calls("sbatch")[0].stdin, script);
    run(workspace.login.ssh(&submit), script.as_bytes()).success();
    assert_eq!(workspace.jobs().len(), 2);
}

#[test]
fn an_ssh_can_die_in_mid_stream() {
    let Some(cluster) = requires::cluster() else { return };
    let workspace = SlurmWorkspace::echo(&cluster);
    let fake = |command: &str| {
        let mut ssh = workspace.login.ssh(command);
        workspace.put_fakes_before(&mut ssh);
        run(ssh, b"")
    };
    assert_eq!(fake("echo real").success().stdout, "real\n");
    let cut_short = "real \"$@\" </dev/null | head -c 3; exit 255";
    workspace.fakes.set("ssh", Answer::script(cut_short));
    let output = fake("echo real");
    assert_eq!((output.code(), output.stdout.as_str()), (255, "rea"));
    assert_eq!(workspace.fakes.calls("ssh").len(), 2);
}

#[test]
fn two_views_of_a_filesystem_share_files_and_no_events() {
    let Some(cluster) = requires::cluster_views() else {
        return;
    };
    let (login, compute) = (cluster.work_on_the_login_side(), cluster.work_on_the_compute_side());
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    let all = inotify::WatchFlags::CREATE | inotify::WatchFlags::MODIFY;
    inotify::add_watch(&watch, &login, all).unwrap();
    let heard = || {
        let mut buffer = [std::mem::MaybeUninit::uninit(); 1024];
        let mut reader = inotify::Reader::new(&watch, &mut buffer);
        reader.next().is_ok()
    };

    std::fs::write(compute.join("from-compute"), "hello").unwrap();
    assert_eq!(std::fs::read_to_string(login.join("from-compute")).unwrap(), "hello");
    assert!(cluster.work().join("from-compute").is_file());
    std::thread::sleep(Duration::from_millis(300));
    assert!(!heard(), "inotify goes from one view to the other");
    std::fs::write(login.join("from-login"), "hello").unwrap();
    assert!(heard(), "inotify does not work within a view");

    // A reader that has reached the end sees what the other side appends, late.
    let mut reader = std::fs::File::open(login.join("from-compute")).unwrap();
    std::io::read_to_string(&mut reader).unwrap();
    let mut writer = std::fs::File::options()
        .append(true)
        .open(compute.join("from-compute"))
        .unwrap();
    writer.write_all(b", again").unwrap();
    wait_until("the appended text", || {
        match std::io::read_to_string(&mut reader).unwrap() {
            text if text == ", again" => Ok(()),
            text => Err(text),
        }
    });

    // The same for sessions and jobs.
    let workspace = SlurmWorkspace::echo(&cluster);
    let shared = workspace.path().join("shared");
    let root = std::fs::read_link(&shared).unwrap();
    let submit = format!(
        "cd {} && echo hello >asked && sbatch --parsable --wait --output=out --wrap 'cat asked >answered'",
        root.display()
    );
    workspace.login.run(&submit).success();
    let look = format!("cat {0}/answered; stat --file-system --format %T {0}", root.display());
    let output = workspace.login.run(&look);
    assert!(output.stdout.starts_with("hello\nfuse"), "{output:#?}");
    assert_eq!(std::fs::read_to_string(shared.join("answered")).unwrap(), "hello\n");
}
