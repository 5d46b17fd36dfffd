//! Whether the controller answers: `scontrol ping` (scontrol(1)).

use crate::call::{Answer, Call};
use crate::error::SlurmError;

/// Asks.
pub fn ping() -> Call {
    Call::new("scontrol", ["ping"])
}

/// Reads what [`ping`] brought: the line of a controller that is up, such as `Slurmctld(primary) at host is UP`. Releases
/// differ in the exit code for one that is down, so the words count.
pub fn read(answer: &Answer) -> Result<String, SlurmError> {
    let text = answer.out();
    let lines = || text.lines().map(str::trim).filter(|line| line.starts_with("Slurmctld"));
    if let Some(up) = lines().find(|line| line.ends_with(" UP")) {
        return Ok(up.to_owned());
    }
    match lines().next() {
        Some(down) => Err(SlurmError::Unreachable {
            command: "scontrol",
            said: down.to_owned(),
            may_have_happened: false,
        }),
        None => Err(SlurmError::read("scontrol", answer)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::answer;

    #[test]
    fn one_controller_that_is_up_is_enough() {
        let both = "Slurmctld(primary) at a is DOWN\nSlurmctld(backup) at b is UP\n";
        assert_eq!(read(&answer(0, both, "")).unwrap(), "Slurmctld(backup) at b is UP");
        let down = read(&answer(0, "Slurmctld(primary) at a is DOWN\n", "")).unwrap_err();
        assert!(matches!(down, SlurmError::Unreachable { .. }), "{down}");
        assert!(down.to_string().contains("at a is DOWN"), "{down}");
        let missing = read(&answer(127, "", "scontrol: command not found\n")).unwrap_err();
        assert!(matches!(missing, SlurmError::MissingCommand { .. }), "{missing}");
    }
}
