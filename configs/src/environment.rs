//! The environment variables that a configuration may refer to, as a value.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Variables by name. Names and values that are not UTF-8 are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The environment of this process.
    pub fn of_process() -> Self {
        Self(
            std::env::vars_os()
                .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
                .collect(),
        )
    }

    /// A variable, unless it is unset or empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The user's home, if it is an absolute path.
    pub fn home(&self) -> Option<&Path> {
        self.get("HOME").map(Path::new).filter(|path| path.is_absolute())
    }

    /// Where programs of this user keep state: `XDG_STATE_HOME`, else `~/.local/state`. (The XDG base directory
    /// specification says to ignore a relative value.)
    pub fn state_home(&self) -> Option<PathBuf> {
        match self
            .get("XDG_STATE_HOME")
            .map(Path::new)
            .filter(|path| path.is_absolute())
        {
            Some(path) => Some(path.to_owned()),
            None => self.home().map(|home| home.join(".local/state")),
        }
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        Self(
            variables
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}

/// Why a text with references cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReferenceError {
    /// `${` without `}`.
    Unclosed,
    /// What stands between the braces is not a variable's name.
    Name(String),
}

impl std::fmt::Display for ReferenceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unclosed => write!(f, "has `${{` without its `}}`"),
            Self::Name(name) => {
                write!(
                    f,
                    "refers to `${{{name}}}`; a variable's name has letters, digits and `_`, and no digit first"
                )
            }
        }
    }
}

/// A piece of a text with references.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece<'t> {
    Literal(&'t str),
    Variable(&'t str),
}

/// Whether a shell could have a variable of this name.
pub(crate) fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Splits a text at its `${NAME}` references. A `$` that no brace follows is a plain character.
pub(crate) fn pieces(text: &str) -> Result<Vec<Piece<'_>>, ReferenceError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (literal, reference) = rest.split_at(start);
        let name = reference[2..].split_once('}').ok_or(ReferenceError::Unclosed)?.0;
        if !is_variable_name(name) {
            return Err(ReferenceError::Name(name.to_owned()));
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        pieces.push(Piece::Variable(name));
        rest = &reference[name.len() + 3..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Literal(rest));
    }
    Ok(pieces)
}

/// The absolute path that a person means: `~/` and `${NAME}` expanded, relative to `folder`, without `.` parts.
pub(crate) fn expand_path(text: &str, folder: &Path, environment: &Environment) -> Result<PathBuf, String> {
    let mut expanded = String::new();
    let mut rest = text;
    if text == "~" || text.starts_with("~/") {
        let home = environment
            .home()
            .ok_or("begins with `~`, and HOME is not set to an absolute path")?;
        expanded.push_str(home.to_str().unwrap_or_default());
        rest = &text[1..];
    } else if text.starts_with('~') {
        return Err("begins with `~` and a name; only `~/` is expanded".to_owned());
    }
    for piece in pieces(rest).map_err(|e| e.to_string())? {
        match piece {
            Piece::Literal(literal) => expanded.push_str(literal),
            Piece::Variable(name) => expanded.push_str(
                environment
                    .get(name)
                    .ok_or_else(|| format!("refers to `${{{name}}}`, which is not set"))?,
            ),
        }
    }
    Ok(folder.join(expanded).components().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_split_and_checked() {
        assert_eq!(
            pieces("a${B}$c${_D1}"),
            Ok(vec![
                Piece::Literal("a"),
                Piece::Variable("B"),
                Piece::Literal("$c"),
                Piece::Variable("_D1")
            ])
        );
        assert_eq!(pieces("x${A"), Err(ReferenceError::Unclosed));
        assert_eq!(pieces("${}"), Err(ReferenceError::Name(String::new())));
        assert_eq!(pieces("${1A}"), Err(ReferenceError::Name("1A".into())));
        assert_eq!(pieces("${A:-b}"), Err(ReferenceError::Name("A:-b".into())));
        assert_eq!(pieces(""), Ok(vec![]));
    }

    #[test]
    fn paths_are_expanded_and_made_absolute() {
        let environment = Environment::from_iter([("HOME", "/home/ada"), ("SCRATCH", "/scratch/ada")]);
        let expand = |text| expand_path(text, Path::new("/etc/swarm"), &environment).map(|p| p.display().to_string());
        assert_eq!(expand("~/state").as_deref(), Ok("/home/ada/state"));
        assert_eq!(expand("~").as_deref(), Ok("/home/ada"));
        assert_eq!(expand("${SCRATCH}/x").as_deref(), Ok("/scratch/ada/x"));
        assert_eq!(expand("./a/./b/").as_deref(), Ok("/etc/swarm/a/b"));
        assert_eq!(expand("../a").as_deref(), Ok("/etc/swarm/../a"));
        assert!(expand("~grace/x").is_err());
        assert!(expand("${NOT_SET}/x").is_err());
    }

    #[test]
    fn state_home_follows_xdg_and_ignores_relative_values() {
        let home = |variables: &[(&str, &str)]| variables.iter().copied().collect::<Environment>().state_home();
        assert_eq!(home(&[("HOME", "/h"), ("XDG_STATE_HOME", "/s")]), Some("/s".into()));
        assert_eq!(
            home(&[("HOME", "/h"), ("XDG_STATE_HOME", "s")]),
            Some("/h/.local/state".into())
        );
        assert_eq!(
            home(&[("HOME", "/h"), ("XDG_STATE_HOME", "")]),
            Some("/h/.local/state".into())
        );
        assert_eq!(home(&[]), None);
    }
}
