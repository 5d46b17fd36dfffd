//! Says which tests this run leaves out, and how to run them: the list behind the single lines that those tests write.

use std::io::Write;
use std::path::Path;

use codeswarm_tests::requires::{Requirement, everything_is_required};

#[test]
fn what_is_missing_is_said_and_nothing_may_be_when_all_is_required() {
    let (mut missing, mut may_not_be) = (String::new(), false);
    for requirement in Requirement::ALL {
        let tests = tests_that_call(requirement.function());
        if requirement.find().is_none() && !tests.is_empty() {
            may_not_be |= !requirement.may_be_missing();
            missing.push_str(&format!("{} tests need {}\n", tests.len(), requirement.how()));
            missing.extend(tests.iter().map(|test| format!("    {test}\n")));
        }
    }
    if !missing.is_empty() {
        // Past the test runner's capture, which hides what a passing test prints.
        let _ = write!(std::io::stderr(), "\nleft out of this run:\n{missing}\n");
    }
    assert!(
        !may_not_be || !everything_is_required(),
        "CODESWARM_TESTS=all, but\n{missing}"
    );
}

#[test]
fn the_list_finds_the_tests() {
    let tests = tests_that_call("codex");
    assert!(
        tests.contains(&"model_server::a_megabyte_arrives_whole".to_owned()),
        "{tests:?}"
    );
}

/// The tests beside this file whose text calls a function of `requires`, as `file::test`.
fn tests_that_call(function: &str) -> Vec<String> {
    let call = format!("requires::{function}()");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rs") || path.ends_with("left_out.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let file = path.file_stem().unwrap().to_str().unwrap().to_owned();
        // Functions of a file start at the margin; what stands before the first one is no test.
        for item in text.split("\n#[test]\n").skip(1) {
            let body = item.split("\n}\n").next().unwrap();
            if body.contains(&call) {
                let name = body.trim_start_matches("fn ").split('(').next().unwrap();
                found.push(format!("{file}::{name}"));
            }
        }
    }
    found.sort();
    found
}
