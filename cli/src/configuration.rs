//! The configuration as it is named on a command line.

use std::path::Path;

use crate::args::Options;

/// The options that reach the same router once more, as they are typed, with a blank before them.
pub fn to_repeat(options: &Options) -> String {
    options
        .config
        .as_deref()
        .map(|file| format!(" --config {}", quoted(file)))
        .unwrap_or_default()
}

/// For a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:@%".contains(c);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_repeated_as_a_shell_takes_it() {
        let repeat = |path: &str| {
            to_repeat(&Options {
                config: Some(path.into()),
                ..Options::default()
            })
        };
        assert_eq!(repeat("configs/local.json"), " --config configs/local.json");
        assert_eq!(repeat("my 'c'.json"), r" --config 'my '\''c'\''.json'");
        assert_eq!(to_repeat(&Options::default()), "");
    }
}
