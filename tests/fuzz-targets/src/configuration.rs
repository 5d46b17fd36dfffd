//! Configurations, what a launch changes in one, and launch files.

use std::path::Path;

use codeswarm_configs::{ConfigError, Environment, SlurmSection, parse};
use codeswarm_protocol::launch::LaunchSpec;
use codeswarm_worker::launch_file;
use serde_json::{Map, Value};

/// A text is a configuration with absolute paths, or it is refused with at least one finding that lies within it.
pub fn configurations(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let environment = Environment::from_iter([("HOME", "/home/ada"), ("SCRATCH", "/scratch/ada")]);
    let read = || parse(text, Path::new("c.json"), Path::new("/etc/swarm"), &environment);
    match read() {
        Ok(loaded) => {
            let config = &loaded.config;
            assert!(config.mailbox_root().is_absolute() && config.router.state_dir.is_absolute());
            let inside = |part: std::path::Component<'_>| matches!(part, std::path::Component::Normal(_));
            assert!(config.cluster.cluster_subdir.components().all(inside));
            if let Some(ssh) = config.ssh() {
                assert!(!ssh.login_alias.is_empty() && !ssh.login_alias.starts_with('-'));
                assert!(!ssh.login_alias.contains(char::is_whitespace) && !ssh.login_alias.contains(char::is_control));
            }
            assert_eq!(read().unwrap(), loaded);
        }
        Err(ConfigError::Wrong(findings)) => {
            assert!(!findings.is_empty());
            let lines = text.split('\n').count();
            for finding in &findings {
                assert!(!finding.message.is_empty());
                assert!((1..=lines).contains(&finding.position.line) && finding.position.column >= 1);
                assert!(
                    finding.message.len() <= 8 * text.len() + 4096,
                    "{} bytes",
                    finding.message.len()
                );
            }
        }
        Err(error @ ConfigError::Unreadable { .. }) => panic!("{error}"),
    }
}

/// What a launch asks of Slurm beyond the configuration: taken over it without changing what it does not name, or refused
/// with every problem at its key. Taken twice it is the same.
pub fn launch_parameters(data: &[u8]) {
    let Ok(parameters) = serde_json::from_slice::<Map<String, Value>>(data) else {
        return;
    };
    let section = SlurmSection {
        partition: Some("compute".into()),
        ..SlurmSection::default()
    };
    match section.with(&parameters) {
        Ok(changed) => {
            assert_eq!(changed.with(&parameters).unwrap(), changed);
            assert_eq!(
                (changed.poll_seconds, &changed.template),
                (section.poll_seconds, &section.template)
            );
            if !parameters.contains_key("partition") {
                assert_eq!(changed.partition, section.partition);
            }
            let written = serde_json::to_vec(&changed).unwrap();
            assert_eq!(serde_json::from_slice::<SlurmSection>(&written).unwrap(), changed);
        }
        Err(refused) => {
            assert!(!refused.0.is_empty());
            for problem in &refused.0 {
                assert!(!problem.key.is_empty() && !problem.message.is_empty(), "{problem}");
                assert!(problem.to_string().len() <= 8 * data.len() + 4096);
            }
        }
    }
}

/// A worker's launch file is read whole and written back the same, or refused with what is wrong.
pub fn launch_files(data: &[u8]) {
    match launch_file::parse(data) {
        Ok(spec) => {
            let written = serde_json::to_vec(&spec).unwrap();
            assert_eq!(launch_file::parse(&written).as_ref(), Ok(&spec));
        }
        Err(why) => assert!(!why.is_empty() && why.len() <= 8 * data.len() + 4096),
    }
    // The router reads the same file without asking for its version.
    if let Ok(spec) = serde_json::from_slice::<LaunchSpec>(data) {
        let written = serde_json::to_vec(&spec).unwrap();
        assert_eq!(serde_json::from_slice::<LaunchSpec>(&written).unwrap(), spec);
    }
}
