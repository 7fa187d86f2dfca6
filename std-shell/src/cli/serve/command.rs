//! The command that is run: found before anything is taken.

use crate::cli::exit::Failure;
use rustix::fs::{Access, access};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A program that can be started, and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
}

impl Command {
    /// Finds the program as a shell would: by its path, or in `PATH`.
    pub(super) fn find(line: &[OsString]) -> Result<Self, Failure> {
        let (program, arguments) = line
            .split_first()
            .ok_or_else(|| Failure::usage("no command given"))?;
        let program = find(program, std::env::var_os("PATH").as_deref())?;
        Ok(Self {
            program,
            arguments: arguments.to_vec(),
        })
    }

    /// For messages to people.
    pub(super) fn name(&self) -> std::path::Display<'_> {
        self.program.display()
    }
}

fn find(program: &OsStr, path: Option<&OsStr>) -> Result<PathBuf, Failure> {
    let shown = program.to_string_lossy();
    if program.is_empty() {
        return Err(Failure::usage("the command is empty"));
    }
    if program.as_bytes().contains(&b'/') {
        return match why_not(Path::new(program)) {
            None => Ok(program.into()),
            Some(why) => Err(Failure::usage(format!("can't run {shown}: {why}"))),
        };
    }
    let mut denied = None;
    for directory in path.into_iter().flat_map(std::env::split_paths) {
        let candidate = directory.join(program);
        match why_not(&candidate) {
            None => return Ok(candidate),
            Some(why) if candidate.exists() => denied = Some((candidate, why)),
            Some(_) => {}
        }
    }
    Err(match denied {
        Some((candidate, why)) => Failure::usage(format!("can't run {}: {why}", candidate.display())),
        None => Failure::usage(format!("no command {shown} in PATH"))
            .hint("give the command's path, or install it; a shell line goes as: sh -c 'LINE'"),
    })
}

fn why_not(path: &Path) -> Option<String> {
    match std::fs::metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Some("there is no such file".into()),
        Err(e) => Some(e.to_string()),
        Ok(found) if found.is_dir() => Some("it is a directory".into()),
        Ok(_) => access(path, Access::EXEC_OK)
            .is_err()
            .then(|| "it is not executable (chmod +x)".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_name_is_looked_up_and_a_path_is_taken_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tool");
        std::fs::write(&file, "#!/bin/sh\n").unwrap();
        let path = Some(dir.path().as_os_str());
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(find(OsStr::new("tool"), path).unwrap_err().what.contains("chmod"));
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find(OsStr::new("tool"), path).unwrap(), file);
        assert_eq!(find(file.as_os_str(), None).unwrap(), file);
        assert!(
            find(dir.path().as_os_str(), None)
                .unwrap_err()
                .what
                .contains("directory")
        );
        assert!(
            find(OsStr::new("nothing-like-it"), path)
                .unwrap_err()
                .what
                .contains("PATH")
        );
        assert!(find(OsStr::new("tool"), None).is_err());
        assert!(find(OsStr::new(""), path).is_err());
    }
}
