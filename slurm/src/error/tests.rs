//! Slurm's real words, those of 22.05.8 recorded, others as slurm_strerror(3) of their releases has them.

use super::*;
use crate::call::answer;

fn setting(stderr: &str) -> Option<Setting> {
    match SlurmError::read("sbatch", &answer(1, "", stderr)) {
        SlurmError::Refused { setting, .. } => setting,
        other => panic!("{stderr}: {other:?}"),
    }
}

#[test]
fn a_refusal_names_the_setting_that_it_is_about() {
    for (said, expected) in [
        (
            "sbatch: error: invalid partition specified: nosuch\nsbatch: error: Batch job submission failed: Invalid \
             partition name specified\n",
            Some(Setting::Partition),
        ),
        (
            "sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified\n",
            Some(Setting::Account),
        ),
        (
            "sbatch: error: Batch job submission failed: Invalid qos specification\n",
            Some(Setting::Qos),
        ),
        (
            "sbatch: error: Batch job submission failed: Requested time limit is invalid (missing or exceeds some limit)\n",
            Some(Setting::TimeLimit),
        ),
        (
            "sbatch: error: Invalid --time specification\n",
            Some(Setting::TimeLimit),
        ),
        (
            "sbatch: error: Batch job submission failed: Invalid feature specification\n",
            Some(Setting::Constraint),
        ),
        (
            "sbatch: error: Invalid generic resource (gres) specification\n",
            Some(Setting::Gres),
        ),
        (
            "sbatch: error: Batch job submission failed: Node count specification invalid\n",
            Some(Setting::Nodes),
        ),
        (
            "sbatch: error: Memory specification can not be satisfied\nsbatch: error: Batch job submission failed: \
             Requested node configuration is not available\n",
            Some(Setting::NodeShape),
        ),
        (
            "sbatch: unrecognized option '--bogus'\nTry \"sbatch --help\" for more information\n",
            Some(Setting::SbatchArgs),
        ),
        (
            "sbatch: error: Batch job submission failed: Requested reservation is invalid\n",
            Some(Setting::SbatchArgs),
        ),
        (
            "Invalid time specification (pos=0): lalala\nsbatch: error: Invalid --begin specification\n",
            Some(Setting::SbatchArgs),
        ),
        (
            "sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed: Job violates \
             accounting/QOS policy (job submit limit, user's size and/or time limits)\n",
            Some(Setting::Limits),
        ),
        (
            "sbatch: error: This does not look like a batch script.  The first\nsbatch: error: line must start with #!\n",
            Some(Setting::Template),
        ),
        (
            "sbatch: error: Batch job submission failed: A word of a newer Slurm\n",
            None,
        ),
    ] {
        assert_eq!(setting(said), expected, "{said}");
    }
    let error = SlurmError::read(
        "sbatch",
        &answer(
            1,
            "",
            "sbatch: error: Batch job submission failed: Invalid qos specification\n",
        ),
    );
    assert_eq!(
        error.to_string(),
        "sbatch was refused over cluster.slurm.qos: sbatch: error: Batch job submission failed: Invalid qos specification; \
         `sacctmgr show qos format=name` lists them; set cluster.slurm.qos to one that your account may use"
    );
    assert!(!error.may_pass() && !error.may_have_happened());
}

#[test]
fn a_silent_controller_says_nothing_about_jobs_and_may_yet_have_done_it() {
    for (said, done) in [
        (
            "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n",
            false,
        ),
        (
            "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)\n",
            false,
        ),
        (
            "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n",
            true,
        ),
        ("slurm_load_jobs error: Zero Bytes were transmitted or received\n", true),
        ("slurm_load_partitions: Connection refused\n", false),
        (
            "squeue: error: Munge encode failed: Failed to access \"/run/munge/munge.socket.2\"\n",
            false,
        ),
    ] {
        let error = SlurmError::read("sbatch", &answer(1, "", said));
        assert!(matches!(error, SlurmError::Unreachable { .. }), "{error:?}");
        assert!(error.may_pass());
        assert_eq!(error.may_have_happened(), done, "{said}");
    }
}

#[test]
fn an_unknown_job_is_an_answer_of_its_own() {
    for said in [
        "slurm_load_jobs error: Invalid job id specified\n",
        "scancel: error: Kill job error on job id 99999: Invalid job id specified\n",
    ] {
        let error = SlurmError::read("scontrol", &answer(1, "", said));
        assert!(matches!(error, SlurmError::NoSuchJob { .. }), "{error:?}");
    }
}

#[test]
fn a_missing_command_is_told_apart_from_a_failing_one() {
    let missing = SlurmError::read("sbatch", &answer(127, "", "bash: line 1: sbatch: command not found\n"));
    assert!(
        missing
            .to_string()
            .contains("sbatch cannot be run on the login node (bash: line 1:"),
        "{missing}"
    );
    assert!(matches!(missing, SlurmError::MissingCommand { .. }));

    let unclear = SlurmError::read("squeue", &answer(3, "", ""));
    assert_eq!(
        unclear.to_string(),
        "squeue ended with exit code 3 and said nothing; run the same command on the login node by hand; if that works, \
         try again"
    );
    let killed = SlurmError::read("squeue", &Answer::default());
    assert!(killed.to_string().contains("did not come to its end"), "{killed}");
    assert!(killed.may_have_happened());
    // A site's own word, as a cli_filter plugin says it: nothing was submitted, whatever it means.
    for code in [1, 255] {
        let filter = SlurmError::read(
            "sbatch",
            &answer(code, "", "sbatch: error: interactive time is for courses only"),
        );
        assert!(
            matches!(filter, SlurmError::Unclear { .. }) && !filter.may_have_happened(),
            "{filter}"
        );
    }
    for code in [0, 137] {
        assert!(SlurmError::read("sbatch", &answer(code, "", "")).may_have_happened());
    }
}

#[test]
fn a_banner_a_colour_and_a_book_do_not_hide_the_last_word() {
    let text = format!(
        "{}\n\u{1b}[31msbatch: error: Invalid qos specification\n",
        "welcome ".repeat(500)
    );
    let SlurmError::Refused { said, setting, .. } = SlurmError::read("sbatch", &answer(1, "", &text)) else {
        panic!("not refused");
    };
    assert_eq!(setting, Some(Setting::Qos));
    assert!(
        said.starts_with('…') && said.ends_with("Invalid qos specification"),
        "{said}"
    );
    assert!(!said.contains('\u{1b}'));
}
