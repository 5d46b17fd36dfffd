//! From the configuration of a cluster to what the link and the Slurm provider are told; the doctor asks for the same.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use codeswarm_configs::{SlurmCluster, Ssh};
use codeswarm_link::{Binary, LinkSettings, Listen, Login, WatchMode};

use crate::core::SlurmSettings;

/// The template of the batch script cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the template of the batch script, cluster.slurm.template {}, cannot be read: {source}", file.display())]
pub struct TemplateError {
    file: PathBuf,
    source: std::io::Error,
}

/// What the Slurm provider asks for.
pub fn slurm_settings(cluster: &SlurmCluster, root: &Path) -> Result<SlurmSettings, TemplateError> {
    let template = match &cluster.slurm.template {
        Some(file) => Some(std::fs::read_to_string(file).map_err(|source| TemplateError {
            file: file.clone(),
            source,
        })?),
        None => None,
    };
    Ok(SlurmSettings {
        section: cluster.slurm.clone(),
        template,
        root: root.to_string_lossy().into_owned(),
        poll: Duration::from_secs(cluster.slurm.poll_seconds),
    })
}

/// The program on the cluster: one that a site has installed, or a copy of the one that the configuration names, or of the
/// one that starts workers here.
pub fn binary(cluster: &SlurmCluster, worker_command: &[OsString]) -> Binary {
    match (&cluster.remote_binary, &cluster.binary) {
        (Some(installed), _) => Binary::Installed(installed.to_string_lossy().into_owned()),
        (None, Some(file)) => Binary::Deploy { file: file.clone() },
        (None, None) => Binary::Deploy {
            file: match worker_command {
                [program, _worker, ..] => PathBuf::from(program),
                // A worker of its own: the whole installation lies beside it.
                [program] => Path::new(program).with_file_name("codeswarm"),
                [] => PathBuf::from("codeswarm"),
            },
        },
    }
}

/// The way to the login node. Our own control sockets lie below `runtime_dir`, which has a short path.
pub fn login(ssh: &Ssh, runtime_dir: &Path) -> Login {
    Login {
        ssh: codeswarm_link::Ssh {
            login_alias: ssh.login_alias.clone(),
            config_file: ssh.config_file.clone(),
            control_path: ssh.control_path.clone(),
        },
        control_dir: runtime_dir.join("codeswarm-ssh"),
    }
}

/// What the link is told.
pub fn link_settings(login: Login, binary: Binary, root: &Path, watch: WatchMode, doorbell: Listen) -> LinkSettings {
    LinkSettings {
        login,
        root: root.to_string_lossy().into_owned(),
        binary,
        watch,
        doorbell,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_on_the_cluster_is_the_installed_one_or_a_copy_of_the_whole_installation() {
        let whole = |file: &str| Binary::Deploy { file: file.into() };
        let (installed, named) = (Some("/opt/codeswarm"), Some("/home/me/codeswarm"));
        let at_there = Binary::Installed("/opt/codeswarm".to_owned());
        for (remote, local, worker_command, expected) in [
            (
                installed,
                None,
                &["/usr/bin/codeswarm", "worker"] as &[&str],
                at_there.clone(),
            ),
            (installed, None, &[], at_there),
            (
                None,
                named,
                &["/usr/bin/codeswarm", "worker"],
                whole("/home/me/codeswarm"),
            ),
            (
                None,
                None,
                &["/usr/bin/codeswarm", "worker"],
                whole("/usr/bin/codeswarm"),
            ),
            (
                None,
                None,
                &["/usr/lib/cs/codeswarm-worker"],
                whole("/usr/lib/cs/codeswarm"),
            ),
            (None, None, &["codeswarm-worker"], whole("codeswarm")),
            (None, None, &[], whole("codeswarm")),
        ] {
            let cluster = SlurmCluster {
                ssh: None,
                remote_binary: remote.map(PathBuf::from),
                binary: local.map(PathBuf::from),
                slurm: codeswarm_configs::SlurmSection::default(),
            };
            let worker_command: Vec<OsString> = worker_command.iter().map(OsString::from).collect();
            assert_eq!(binary(&cluster, &worker_command), expected, "{worker_command:?}");
        }
    }
}
