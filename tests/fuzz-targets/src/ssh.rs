//! What ssh, login shells and programs on a login node say.

use codeswarm_link::trouble::{Moment, of_program, of_ssh};
use codeswarm_link::{Platform, Trouble, no_greeting, of_refusal};

/// Whatever was said becomes a sentence with its advice, neither of them endless nor anything that a terminal would obey.
pub fn ssh_words(data: &[u8]) {
    let words = String::from_utf8_lossy(data);
    for when in [Moment::Connecting, Moment::Channel] {
        tells(&of_ssh("hpc", &words, when));
    }
    if let Some(trouble) = of_program("hpc", "/scratch/codeswarm", &words) {
        tells(&trouble);
        assert!(trouble.kind.is_lasting());
    }
    tells(&no_greeting("hpc", &words));
    tells(&of_refusal("hpc", "/scratch/codeswarm", &words));
    if let Some(platform) = Platform::of_uname(&words) {
        assert!(!platform.system.is_empty() && !platform.machine.is_empty());
        assert_eq!(Platform::of_uname(&platform.to_string()), Some(platform));
    }
    if let Some(platform) = Platform::of_elf(data) {
        assert_eq!(platform.system, "Linux");
    }
}

fn tells(trouble: &Trouble) {
    assert!(!trouble.what.is_empty() && !trouble.advice.is_empty());
    let said = trouble.to_string();
    assert!(said.len() <= 4096, "{} bytes of words", said.len());
    assert!(!said.contains(char::is_control), "{said:?}");
    assert!(trouble.is_like(trouble));
}
