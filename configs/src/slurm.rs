//! What a launch asks of Slurm beyond the file: `provider_params`, held against the same shape and the same rules.

use std::fmt;

use serde_json::{Map, Value};

use crate::check::check;
use crate::file::SlurmSection;
use crate::located::Located;
use crate::rules;
use crate::shape::{Shape, slurm_shape};

/// Keys of the section that are the router's own and no matter of a single launch.
const NOT_OF_A_LAUNCH: [&str; 2] = ["poll_seconds", "template"];

/// One thing that is wrong with a launch's parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterProblem {
    /// The key, with an index where it is about one item: `time_limit`, `sbatch_args[1]`.
    pub key: String,
    /// What is wrong, what was expected, and the nearest known name; the words follow the key's.
    pub message: String,
}

impl fmt::Display for ParameterProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

/// Why a launch's parameters were refused: all that is wrong with them, never empty. Our side is not at fault, and trying
/// again without a change never helps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ParameterProblem::to_string).collect::<Vec<_>>().join("; "))]
pub struct ParametersError(pub Vec<ParameterProblem>);

impl SlurmSection {
    /// This section with a launch's own parameters over it: a key that is given replaces the one here, lists included;
    /// `null` takes it away, and a number is as good as its digits where text is wanted, since a command line
    /// (`--param time_limit=90`) cannot tell the two apart. `template` and `poll_seconds` are not a launch's to set.
    pub fn with(&self, parameters: &Map<String, Value>) -> Result<Self, ParametersError> {
        let parameters = &digits_as_text(parameters);
        let problems = problems(parameters);
        if !problems.is_empty() {
            return Err(ParametersError(problems));
        }
        let refused = |error: serde_json::Error| {
            let (key, message) = ("provider_params".to_owned(), error.to_string());
            ParametersError(vec![ParameterProblem { key, message }])
        };
        let mut merged = match serde_json::to_value(self).map_err(refused)? {
            Value::Object(merged) => merged,
            _ => Map::new(),
        };
        for (key, value) in parameters {
            match value {
                Value::Null => merged.remove(key),
                value => merged.insert(key.clone(), value.clone()),
            };
        }
        let merged: Self = serde_json::from_value(Value::Object(merged)).map_err(refused)?;
        let broken = broken_rules(&merged);
        if broken.is_empty() {
            return Ok(merged);
        }
        Err(ParametersError(broken.into_iter().map(BrokenRule::into).collect()))
    }
}

fn digits_as_text(parameters: &Map<String, Value>) -> Map<String, Value> {
    let keys = match slurm_shape() {
        Shape::Section(keys) => keys,
        _ => Vec::new(),
    };
    let is_text = |name: &str| keys.iter().any(|key| key.name == name && key.shape == Shape::Text);
    let as_meant = |(name, value): (&String, &Value)| match value {
        Value::Number(number) if number.is_u64() && is_text(name) => (name.clone(), number.to_string().into()),
        value => (name.clone(), value.clone()),
    };
    parameters.iter().map(as_meant).collect()
}

/// Unknown keys, keys that are no matter of a launch, and wrong types.
fn problems(parameters: &Map<String, Value>) -> Vec<ParameterProblem> {
    let Shape::Section(mut keys) = slurm_shape() else {
        return Vec::new();
    };
    let mut problems: Vec<ParameterProblem> = NOT_OF_A_LAUNCH
        .into_iter()
        .filter(|key| parameters.contains_key(*key))
        .map(|key| ParameterProblem {
            key: key.to_owned(),
            message: "cannot be set by a launch; it stands in the router's configuration, under cluster.slurm"
                .to_owned(),
        })
        .collect();
    keys.retain(|key| !NOT_OF_A_LAUNCH.contains(&key.name.as_str()));
    let asked: Map<String, Value> = parameters
        .iter()
        .filter(|(key, _)| !NOT_OF_A_LAUNCH.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    match Located::parse(&Value::Object(asked).to_string()) {
        Ok(tree) => problems.extend(
            check(&tree, &Shape::Section(keys))
                .into_iter()
                .map(|problem| ParameterProblem {
                    key: problem.key,
                    message: problem.message,
                }),
        ),
        // Only its depth can be wrong with a text that was made from values.
        Err(error) => problems.push(ParameterProblem {
            key: "provider_params".to_owned(),
            message: error.message,
        }),
    }
    problems
}

/// A value that has the right type and breaks a rule.
pub(crate) struct BrokenRule {
    pub key: &'static str,
    /// Which item, where the value is a list.
    pub index: Option<usize>,
    pub message: String,
}

impl From<BrokenRule> for ParameterProblem {
    fn from(broken: BrokenRule) -> Self {
        let key = match broken.index {
            Some(index) => format!("{}[{index}]", broken.key),
            None => broken.key.to_owned(),
        };
        Self {
            key,
            message: broken.message,
        }
    }
}

/// What of a section breaks a rule, wherever it was written.
pub(crate) fn broken_rules(slurm: &SlurmSection) -> Vec<BrokenRule> {
    let limit = slurm
        .time_limit
        .iter()
        .map(|limit| ("time_limit", None, rules::time_limit(limit)));
    let arguments = slurm.sbatch_args.iter().enumerate();
    let arguments = arguments.map(|(index, argument)| ("sbatch_args", Some(index), rules::sbatch_argument(argument)));
    limit
        .chain(arguments)
        .filter_map(|(key, index, rule)| rule.err().map(|message| BrokenRule { key, index, message }))
        .collect()
}
