//! The one place of this room that touches a file.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::finding::{ConfigError, Finding, TextPosition};
use crate::{Environment, Loaded, parse};

/// Far more than a configuration has; keeps a wrong path (a device, an archive) from filling the memory.
const LARGEST_FILE: u64 = 4 * 1024 * 1024;

/// Reads the configuration at `path`, with the environment of this process.
pub fn load(path: &Path) -> Result<Loaded, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable {
        file: path.to_owned(),
        source,
    };
    let absolute = std::path::absolute(path).map_err(unreadable)?;
    let bytes = read(path).map_err(unreadable)?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(&error.as_bytes()[..valid]);
        ConfigError::Wrong(vec![Finding {
            file: path.to_owned(),
            position: TextPosition::of_offset(&before, valid),
            key: String::new(),
            message: "is not UTF-8; save the file in that encoding".to_owned(),
        }])
    })?;
    let folder = absolute.parent().unwrap_or(Path::new("/"));
    parse(&text, path, folder, &Environment::of_process())
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST_FILE {
        let message = format!("it has more than {LARGEST_FILE} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}
