//! Where a prompt comes from: the command line, a file, or standard input.

use std::io::{self, IsTerminal, Read};
use std::path::Path;

use crate::args::PromptArgs;
use crate::failure::Failure;

/// The prompt that was given, if any. Standard input is read only where `--prompt-file -` asks for it.
pub fn given(args: &PromptArgs) -> Result<Option<String>, Failure> {
    let prompt = match (&args.prompt, &args.prompt_file) {
        (Some(prompt), _) => prompt.clone(),
        (None, Some(file)) if file == Path::new("-") => read("standard input", &mut io::stdin().lock())?,
        (None, Some(file)) => {
            let name = file.display().to_string();
            let mut source = std::fs::File::open(file).map_err(|error| unreadable(&name, &error))?;
            read(&name, &mut source)?
        }
        (None, None) => return Ok(None),
    };
    if prompt.trim().is_empty() {
        return Err(Failure::usage(
            "the prompt is empty",
            "give a text to --prompt, or a file with one to --prompt-file",
        ));
    }
    Ok(Some(prompt))
}

/// The prompt; standard input if none was given and it is no terminal.
pub fn required(args: &PromptArgs) -> Result<String, Failure> {
    if let Some(prompt) = given(args)? {
        return Ok(prompt);
    }
    if io::stdin().is_terminal() {
        return Err(Failure::usage(
            "there is no prompt",
            "give --prompt TEXT, --prompt-file FILE, or a text on standard input",
        ));
    }
    let from_stdin = PromptArgs {
        prompt: None,
        prompt_file: Some("-".into()),
    };
    given(&from_stdin).map(Option::unwrap_or_default)
}

/// The text of a file that a launch sends along.
pub fn file(path: &Path) -> Result<String, Failure> {
    let name = path.display().to_string();
    read(
        &name,
        &mut std::fs::File::open(path).map_err(|error| unreadable(&name, &error))?,
    )
}

fn read(name: &str, source: &mut dyn Read) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    source
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(name, &error))?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::usage(
            format!("{name} is not UTF-8 (at byte {at})"),
            "prompts are text; name other files in the prompt",
        )
    })
}

fn unreadable(name: &str, error: &io::Error) -> Failure {
    Failure::usage(format!("cannot read {name}: {error}"), "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_file(bytes: &[u8]) -> Result<Option<String>, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prompt");
        std::fs::write(&path, bytes).unwrap();
        given(&PromptArgs {
            prompt: None,
            prompt_file: Some(path),
        })
    }

    #[test]
    fn a_prompt_is_text_and_not_empty() {
        assert_eq!(from_file("Grüße\n".as_bytes()).unwrap().unwrap(), "Grüße\n");
        assert_eq!(given(&PromptArgs::default()), Ok(None));
        assert!(from_file(b" \n").unwrap_err().what.contains("empty"));
        assert!(from_file(b"ab\xff").unwrap_err().what.contains("byte 2"));
        let missing = PromptArgs {
            prompt: None,
            prompt_file: Some("/nonexistent/prompt".into()),
        };
        assert!(given(&missing).unwrap_err().what.contains("/nonexistent/prompt"));
    }
}
