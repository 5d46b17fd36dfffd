//! Lines of clients, good and bad.

use super::*;

fn refused(line: &str) -> BadRequest {
    Request::parse(line.as_bytes()).unwrap_err()
}

#[test]
fn the_user_guides_lines_are_commands() {
    let line = r#"{"action":"inject","job_id":"272900","node_id":0,"content":"Hello"}"#;
    let request = Request::parse(line.as_bytes()).unwrap();
    let Command::Inject(inject) = request.command else {
        panic!()
    };
    assert_eq!(inject.target.job_id.as_ref().unwrap().as_str(), "272900");
    assert_eq!(inject.target.selector().unwrap().to_string(), "0");

    let line = r#"{"command":"inject","swarm_id":"s1","nodes":0,"content":"Hello"}"#;
    let Command::Inject(inject) = Request::parse(line.as_bytes()).unwrap().command else {
        panic!()
    };
    assert_eq!(inject.target.selector().unwrap().to_string(), "0");
}

#[test]
fn an_envelope_is_a_command_and_answered_in_kind() {
    let line = r#"{"protocol":"codeswarm.router.v1","type":"command","command":"swarm_launch","request_id":"r 1/2","payload":{"nodes":4,"system_prompt":"hi"}}"#;
    let request = Request::parse(line.as_bytes()).unwrap();
    assert_eq!(request.spelling, Spelling::Enveloped);
    assert_eq!(request.request_id.unwrap().as_str(), "r 1/2");
    assert!(matches!(
        request.command,
        Command::SwarmLaunch(SwarmLaunch { nodes: 4, .. })
    ));
}

#[test]
fn bad_lines_name_what_is_wrong() {
    let cases = [
        ("hello", RejectionCode::NotJson, None),
        ("[1]", RejectionCode::NotJson, None),
        ("", RejectionCode::NotJson, None),
        ("{}", RejectionCode::MissingField, Some("command")),
        (
            r#"{"command":"explode"}"#,
            RejectionCode::UnknownCommand,
            Some("command"),
        ),
        (r#"{"command":7}"#, RejectionCode::BadField, Some("command")),
        (
            r#"{"command":"inject","swarm_id":"s","nodes":0}"#,
            RejectionCode::MissingField,
            Some("content"),
        ),
        (
            r#"{"command":"inject","swarm_id":"s","nodes":0,"content":7}"#,
            RejectionCode::BadField,
            Some("content"),
        ),
        (
            r#"{"command":"inject","job_id":"../../etc","node_id":0,"content":"x"}"#,
            RejectionCode::BadField,
            Some("job_id"),
        ),
        (
            r#"{"command":"inject","job_id":"1","node_id":-1,"content":"x"}"#,
            RejectionCode::BadField,
            Some("node_id"),
        ),
        (
            r#"{"command":"inject","job_id":"1","nodes":"4-2","content":"x"}"#,
            RejectionCode::BadField,
            Some("nodes"),
        ),
        (
            r#"{"command":"swarm_launch","nodes":"four"}"#,
            RejectionCode::BadField,
            Some("nodes"),
        ),
        (
            r#"{"command":"subscribe","since":"yesterday"}"#,
            RejectionCode::BadField,
            Some("since"),
        ),
        (
            r#"{"protocol":"v9","type":"command","command":"ping"}"#,
            RejectionCode::BadField,
            Some("protocol"),
        ),
        (
            r#"{"protocol":"codeswarm.router.v1","type":"event","command":"ping"}"#,
            RejectionCode::BadField,
            Some("type"),
        ),
        (
            r#"{"request_id":7,"command":"ping"}"#,
            RejectionCode::BadField,
            Some("request_id"),
        ),
    ];
    for (line, code, field) in cases {
        let bad = refused(line);
        assert_eq!(
            (bad.rejection.code, bad.rejection.field.as_deref()),
            (code, field),
            "{line}: {}",
            bad.rejection
        );
        if let Some(field) = field {
            assert!(bad.rejection.reason.contains(field), "{}", bad.rejection.reason);
        }
    }
}

#[test]
fn a_refusal_carries_the_request_id() {
    let bad = refused(r#"{"request_id":"r9","command":"explode"}"#);
    assert_eq!(bad.request_id.unwrap().as_str(), "r9");
}

#[test]
fn an_answer_that_contradicts_itself_is_refused() {
    let answer = |text: &str| {
        let line = format!(r#"{{"command":"approve_execution","job_id":"1","node_id":0,"call_id":"c"{text}}}"#);
        match Request::parse(line.as_bytes()).unwrap().command {
            Command::ApproveExecution(approval) => approval.decision().map_err(|r| (r.code, r.field)),
            _ => panic!(),
        }
    };
    assert_eq!(answer(r#","approved":true"#), Ok(Decision::Accept));
    assert_eq!(answer(r#","approved":false"#), Ok(Decision::Decline));
    assert_eq!(answer(r#","approved":false,"decision":"cancel""#), Ok(Decision::Cancel));
    assert_eq!(
        answer(r#","approved":true,"decision":"accept_for_session""#),
        Ok(Decision::AcceptForSession)
    );
    let refused = Err((RejectionCode::BadField, Some("approved".to_owned())));
    assert_eq!(answer(r#","approved":false,"decision":"accept""#), refused);
    assert_eq!(answer(r#","approved":true,"decision":"decline""#), refused);
    assert_eq!(
        answer(""),
        Err((RejectionCode::MissingField, Some("decision".to_owned())))
    );
}

#[test]
fn every_command_goes_through_its_own_name() {
    for name in COMMANDS {
        let extra = r#""nodes":1,"swarm_id":"s","job_id":"1","content":"x","call_id":"c","of":"r","approved":true"#;
        let line = format!(r#"{{"command":"{name}",{extra}}}"#);
        assert_eq!(Request::parse(line.as_bytes()).unwrap().command.name(), name);
    }
}
