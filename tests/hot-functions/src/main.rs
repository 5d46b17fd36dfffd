//! `codeswarm-hot-functions NAME TIMES`: makes a function's input and calls it so many times, for a counter of instructions
//! around it. With 0 it only makes the input. Prints how many units a call has. Without arguments it lists what there is.

use std::io::Write;
use std::process::ExitCode;

use codeswarm_hot_functions::{ALL, Failed};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let told = match arguments.as_slice() {
        [] => Ok(ALL.iter().map(|(name, what, _)| format!("{name}\t{what}\n")).collect()),
        [name, times] => run(name, times),
        _ => Err(Failed("codeswarm-hot-functions [NAME TIMES]".to_owned())),
    };
    match told {
        Ok(told) => {
            let _ = std::io::stdout().write_all(told.as_bytes());
            ExitCode::SUCCESS
        }
        Err(Failed(why)) => {
            eprintln!("codeswarm-hot-functions: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(name: &str, times: &str) -> Result<String, Failed> {
    let found = ALL.iter().find(|(known, ..)| *known == name);
    let Some((_, _, make)) = found else {
        return Err(Failed(format!("there is no function {name}")));
    };
    let times: u32 = times.parse().map_err(|_| Failed(format!("{times} is no number")))?;
    let mut hot = make()?;
    // One call before, so that what is made once (a compressor's tables) is in both counts.
    let units = hot.call()?;
    for _ in 0..times {
        hot.call()?;
    }
    Ok(format!("{units}\n"))
}
