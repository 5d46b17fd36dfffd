//! Slurm's own words, as slurm_strerror(3) has had them in the releases 21 to 25, in lower case.

use super::Setting;

/// The controller, or the authentication before it, does not answer now.
pub(super) const LATER: &[&str] = &[
    "unable to contact slurm controller",
    "unable to contact slurm",
    "socket timed out",
    "zero bytes were transmitted",
    "connection refused",
    "connection timed out",
    "connection reset",
    "communication connection failure",
    "no route to host",
    "backup controller in standby mode",
    "temporarily unable to accept job",
    "unable to establish configuration source",
    "could not establish a configuration source",
    "unable to create job record, try again",
    "resource temporarily unavailable",
    "munge encode failed",
    "munge decode failed",
    "protocol authentication error",
    "invalid authentication credential",
    "name or service not known",
    "temporary failure in name resolution",
];

/// Those of [`LATER`] after which the request may have been carried out: it was sent, and its answer was not heard.
pub(super) const MAYBE_DONE: &[&str] = &[
    "socket timed out",
    "zero bytes were transmitted",
    "receive failure",
    "connection reset",
    "connection timed out",
];

/// What is refused, and which setting it is about. The first that is found decides, so the particular stands before the
/// general.
pub(super) const REFUSED: &[(&str, Option<Setting>)] = &[
    ("invalid account or account/partition", Some(Setting::Account)),
    ("invalid account", Some(Setting::Account)),
    (
        "user's group not permitted to use this partition",
        Some(Setting::Partition),
    ),
    ("invalid partition", Some(Setting::Partition)),
    (
        "no partition specified or system default partition",
        Some(Setting::Partition),
    ),
    ("required partition not available", Some(Setting::Partition)),
    (
        "requested partition configuration not available",
        Some(Setting::Partition),
    ),
    ("requested nodes not in this partition", Some(Setting::Partition)),
    ("partition is in a drained", Some(Setting::Partition)),
    ("invalid qos", Some(Setting::Qos)),
    ("accounting/qos policy", Some(Setting::Limits)),
    ("accounting/qos limits", Some(Setting::Limits)),
    ("requested time limit is invalid", Some(Setting::TimeLimit)),
    ("invalid --time specification", Some(Setting::TimeLimit)),
    ("invalid time limit specification", Some(Setting::TimeLimit)),
    ("invalid feature specification", Some(Setting::Constraint)),
    ("invalid constraint", Some(Setting::Constraint)),
    ("generic resource", Some(Setting::Gres)),
    ("invalid gres", Some(Setting::Gres)),
    ("node count specification invalid", Some(Setting::Nodes)),
    ("not a valid node count", Some(Setting::Nodes)),
    ("invalid node count", Some(Setting::Nodes)),
    ("more processors requested than permitted", Some(Setting::NodeShape)),
    ("memory specification can not be satisfied", Some(Setting::NodeShape)),
    (
        "requested node configuration is not available",
        Some(Setting::NodeShape),
    ),
    ("unrecognized option", Some(Setting::SbatchArgs)),
    ("invalid option", Some(Setting::SbatchArgs)),
    ("requires an argument", Some(Setting::SbatchArgs)),
    ("doesn't allow an argument", Some(Setting::SbatchArgs)),
    ("is ambiguous", Some(Setting::SbatchArgs)),
    ("requested reservation is invalid", Some(Setting::SbatchArgs)),
    ("access denied to requested reservation", Some(Setting::SbatchArgs)),
    ("invalid license specification", Some(Setting::SbatchArgs)),
    ("invalid node name specified", Some(Setting::SbatchArgs)),
    ("job dependency problem", Some(Setting::SbatchArgs)),
    ("does not look like a batch script", Some(Setting::Template)),
    ("batch script is empty", Some(Setting::Template)),
    ("batch script contains dos line breaks", Some(Setting::Template)),
    ("pathname of a file, directory or other parameter too long", None),
    ("access/permission denied", None),
    ("unspecified error", None),
    ("invalid --", Some(Setting::SbatchArgs)),
    ("invalid numeric value", Some(Setting::SbatchArgs)),
    ("unrecognized --", Some(Setting::SbatchArgs)),
    ("batch job submission failed", None),
];
