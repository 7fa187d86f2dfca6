//! Exit codes: the one table.

use crate::client;
use std::process::ExitCode;

/// What the process tells its caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Exit {
    /// Done.
    Done,
    /// The outcome is a failure, or the node said no.
    Failed,
    /// The command line or what it names is wrong.
    Usage,
    /// The node could not be talked to.
    NoNode,
    /// There is no outcome yet.
    Open,
    /// Ended by Ctrl-C or SIGTERM before it was done.
    Interrupted,
}

/// For `--help`.
pub(super) const TABLE: &str = "\
Exit codes:
  0    done
  1    the outcome is a failure, or the node refused
  2    wrong usage: an option, a file that can't be used, no node to talk to
  3    the node could not be reached
  4    still open when the wait was over
  130  interrupted";

impl Exit {
    const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NoNode => 3,
            Self::Open => 4,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// A command that ends without having done what it was asked.
#[derive(Debug)]
pub(super) struct Failure {
    /// What the process tells its caller.
    pub(super) exit: Exit,
    /// What was wrong and where; empty when all was said already.
    pub(super) what: String,
    /// What to do next.
    pub(super) next: Option<String>,
}

impl Failure {
    /// With its own exit code.
    pub(super) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self {
            exit,
            what: what.into(),
            next: None,
        }
    }

    /// The user's input is wrong.
    pub(super) fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what)
    }

    /// Something of this machine failed.
    pub(super) fn failed(what: impl Into<String>) -> Self {
        Self::new(Exit::Failed, what)
    }

    /// Adds what to do next.
    pub(super) fn hint(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Self {
        let exit = match (error.is_usage(), error.is_unreachable()) {
            (true, _) => Exit::Usage,
            (_, true) => Exit::NoNode,
            _ => Exit::Failed,
        };
        Self {
            exit,
            what: error.to_string(),
            next: error.next(),
        }
    }
}

/// What a command returns.
pub(super) type Done = Result<Exit, Failure>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_every_code() {
        for exit in [
            Exit::Done,
            Exit::Failed,
            Exit::Usage,
            Exit::NoNode,
            Exit::Open,
            Exit::Interrupted,
        ] {
            let line = format!("\n  {:<3}  ", exit.code());
            assert!(TABLE.contains(&line), "{exit:?}");
        }
    }

    #[test]
    fn a_refusal_is_1_and_silence_is_3() {
        let refused = client::Error::Refused(client::Problem::read(
            http::StatusCode::NOT_FOUND,
            &http::HeaderMap::new(),
            b"",
        ));
        assert_eq!(Failure::from(refused).exit, Exit::Failed);
        let gone = client::Error::Unreachable {
            url: "https://x".into(),
            why: "refused".into(),
        };
        let failure = Failure::from(gone);
        assert_eq!(failure.exit, Exit::NoNode);
        let untrusted = client::Error::Untrusted {
            url: "https://x".into(),
        };
        assert_eq!(Failure::from(untrusted).exit, Exit::Usage);
        assert!(failure.next.is_some());
    }
}
