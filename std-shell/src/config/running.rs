//! How a node runs: its log, and how it stops.

use super::{ConfigError, Document, FILE, Partial, document, settings, variable, wrong};
use crate::logs;
use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

/// How long work that is under way may go on after SIGTERM unless said otherwise.
pub const DRAIN_DEFAULT: Duration = Duration::from_secs(10);
/// Longest that it may be allowed to.
const DRAIN_MAX: Duration = Duration::from_secs(3_600);

/// How the log's lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    #[default]
    Auto,
    /// For people.
    Text,
    /// An object a line.
    Json,
}

/// What is logged, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Logging {
    /// A level or a filter; none: as `RUST_LOG` says, or `info`.
    pub level: Option<String>,
    /// How lines look.
    pub format: LogFormat,
}

impl Logging {
    /// What flags, environment and the directory's file say of it. A file that can't be read says nothing: whoever loads
    /// the settings complains of it.
    ///
    /// # Errors
    /// A value is not possible.
    pub fn load(dir: &Path, flags: &Partial) -> Result<Self, ConfigError> {
        let environment = settings::from_environment(variable)?;
        let above = settings::merge(&settings::table(flags)?, &environment);
        let text = document::read(dir).unwrap_or_default();
        let file = Document::new(&dir.join(FILE), &text).map(|mut document| document.settings());
        let all = settings::merge(&above, &file.unwrap_or_default());
        Self::read(&settings::read(&all)?)
    }

    pub(super) fn read(told: &Partial) -> Result<Self, ConfigError> {
        let format = match told.log_format.as_deref() {
            None | Some("auto") => LogFormat::Auto,
            Some("text") => LogFormat::Text,
            Some("json") => LogFormat::Json,
            Some(other) => {
                return Err(wrong(
                    "log_format",
                    format!("`{other}` is not auto, text or json"),
                ));
            }
        };
        if let Some(level) = &told.log {
            logs::check(level).map_err(|what| wrong("log", what))?;
        }
        Ok(Self {
            level: told.log.clone(),
            format,
        })
    }

    /// Whether lines on standard error are for people.
    pub fn is_text(&self) -> bool {
        match self.format {
            LogFormat::Auto => std::io::stderr().is_terminal(),
            LogFormat::Text => true,
            LogFormat::Json => false,
        }
    }
}

/// Reads how long work may go on after SIGTERM.
pub(super) fn drain(text: Option<&str>) -> Result<Duration, ConfigError> {
    let Some(text) = text else {
        return Ok(DRAIN_DEFAULT);
    };
    let time = crate::http::headers::parse_duration(text).ok();
    time.filter(|time| *time <= DRAIN_MAX).ok_or_else(|| {
        let what = format!("`{text}` is not possible; it is a time from 0s to 1h, such as 30s");
        wrong("drain", what)
    })
}
