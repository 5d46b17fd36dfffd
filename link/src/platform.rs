//! Which machine a program file is for, and which one a host is. Pure.

use std::fmt;

/// An operating system and a processor, in the words of `uname -sm`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// Such as `Linux`.
    pub system: String,
    /// Such as `x86_64`.
    pub machine: String,
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.system, self.machine)
    }
}

impl Platform {
    /// Reads what `uname -sm` printed.
    pub fn of_uname(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let (system, machine) = (words.next()?, words.next()?);
        Some(Self {
            system: system.to_owned(),
            machine: known_as(machine).to_owned(),
        })
    }

    /// Reads a program file's first bytes (elf(5): class at 4, byte order at 5, machine at 18); `None` when it is no ELF
    /// file, or one for a machine that has no name here.
    pub fn of_elf(head: &[u8]) -> Option<Self> {
        const LITTLE: u8 = 1;
        let [_, _, _, _, class, order, ..] = head.strip_prefix(b"\x7fELF").map(|_| head)? else {
            return None;
        };
        let machine: [u8; 2] = head.get(18..20)?.try_into().ok()?;
        let machine = if *order == LITTLE {
            u16::from_le_bytes(machine)
        } else {
            u16::from_be_bytes(machine)
        };
        let name = match (machine, *class, *order) {
            (3, _, _) => "i686",
            (21, 2, LITTLE) => "ppc64le",
            (21, 2, _) => "ppc64",
            (22, 2, _) => "s390x",
            (40, _, _) => "armv7l",
            (62, 2, _) => "x86_64",
            (183, 2, _) => "aarch64",
            (243, 2, _) => "riscv64",
            (258, 2, _) => "loongarch64",
            _ => return None,
        };
        Some(Self {
            system: "Linux".into(),
            machine: name.into(),
        })
    }
}

/// Other systems' names for the same processors.
fn known_as(machine: &str) -> &str {
    match machine {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elf_headers() {
        let elf = |class, order, machine: [u8; 2]| {
            let mut head = b"\x7fELF".to_vec();
            head.extend([class, order, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0]);
            head.extend(machine);
            Platform::of_elf(&head).map(|platform| platform.machine)
        };
        assert_eq!(elf(2, 1, [62, 0]).as_deref(), Some("x86_64"));
        assert_eq!(elf(2, 1, [183, 0]).as_deref(), Some("aarch64"));
        assert_eq!(elf(2, 2, [0, 22]).as_deref(), Some("s390x"));
        assert_eq!(elf(2, 1, [0xff, 0xff]), None);
        assert_eq!(Platform::of_elf(b"#!/bin/sh\n"), None);
        assert_eq!(Platform::of_elf(b"\x7fELF"), None);
        assert_eq!(Platform::of_elf(b""), None);
    }

    #[test]
    fn uname_s_words() {
        let read = |text| Platform::of_uname(text).map(|platform| platform.to_string());
        assert_eq!(read("Linux x86_64\n").as_deref(), Some("Linux x86_64"));
        assert_eq!(read("Darwin arm64").as_deref(), Some("Darwin aarch64"));
        assert_eq!(read("Linux"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_test_is_a_program_of_this_machine() {
        let file = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let machine = rustix::system::uname().machine().to_string_lossy().into_owned();
        assert_eq!(Platform::of_elf(&file).unwrap().machine, machine);
    }
}
