//! How the frames of a link travel.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// How the frames of a link travel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// As two streams: the bodies of one request and its answer, which do not end.
    Stream,
    /// In the bodies of many requests and answers, each of which ends soon.
    Poll,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stream => "stream",
            Self::Poll => "poll",
        })
    }
}

/// What the settings say of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Wish {
    /// Streams, unless something between the nodes breaks them.
    #[default]
    Auto,
    /// One and no other.
    Only(Mode),
}

impl FromStr for Wish {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            "auto" => Ok(Self::Auto),
            "stream" => Ok(Self::Only(Mode::Stream)),
            "poll" => Ok(Self::Only(Mode::Poll)),
            _ => Err("it is `auto`, `stream` or `poll`"),
        }
    }
}

/// How one link travels, for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct How {
    pub(crate) mode: Mode,
    /// The proxy's URL without user and password, where this node dialled through one.
    pub(crate) proxy: Option<Arc<str>>,
}

impl How {
    pub(crate) fn taken_in(mode: Mode) -> Self {
        Self { mode, proxy: None }
    }
}
