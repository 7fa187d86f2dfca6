//! The log: lines for people on a terminal, JSON for everything else, to standard error.
//!
//! What other crates say at `trace` may hold headers, and headers hold tokens; so nothing below `info` is taken from
//! those that read and write them, whatever a filter says.

use crate::config::Logging;
use std::io::IsTerminal;
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

/// Who handles headers and handshakes.
const GUARDED: [&str; 6] = ["h2", "hyper", "hyper_util", "rustls", "tower", "hpack"];

/// The log of this process, whose filter can be changed.
#[derive(Debug)]
pub struct Logs {
    /// None if this process had a log before.
    filter: Option<reload::Handle<EnvFilter, Registry>>,
}

impl Logs {
    /// Starts it, unless whoever runs the node in its own process has one already.
    pub fn start(logging: &Logging) -> Self {
        let (filter, handle) = reload::Layer::new(filter(logging.level.as_deref()));
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let lines = match logging.is_text() {
            false => lines.json().flatten_event(true).boxed(),
            true => lines
                .with_target(false)
                .with_ansi(std::io::stderr().is_terminal())
                .boxed(),
        };
        let started = tracing_subscriber::registry().with(filter).with(lines).try_init();
        Self {
            filter: started.is_ok().then_some(handle),
        }
    }

    /// What is logged from now on.
    pub fn set_level(&self, level: Option<&str>) {
        if let Some(handle) = &self.filter
            && handle.reload(filter(level)).is_err()
        {
            tracing::warn!("what is logged can't be changed any more");
        }
    }
}

/// Checks a level or a filter.
///
/// # Errors
/// What is wrong with it.
pub fn check(level: &str) -> Result<(), String> {
    let bad = |why: &str| {
        Err(format!(
            "`{level}` is not error, warn, info, debug, trace or off, nor a list of TARGET=LEVEL{why}"
        ))
    };
    // A word alone would be a target, and silence all others.
    let word = |part: &str| !part.contains(['=', '[']) && part.trim().parse::<LevelFilter>().is_err();
    if level.split(',').any(word) {
        return bad("");
    }
    EnvFilter::try_new(level)
        .map(drop)
        .or_else(|e| bad(&format!(": {e}")))
}

fn filter(level: Option<&str>) -> EnvFilter {
    let said = level.map_or_else(|| std::env::var("RUST_LOG").unwrap_or_default(), str::to_owned);
    let text = match said.parse::<LevelFilter>() {
        _ if said.is_empty() => "info".to_owned(),
        // What others have to say in detail is about themselves.
        Ok(level) if level > LevelFilter::INFO => format!("info,redlink={level},redlink_core={level}"),
        _ => said,
    };
    let filter = EnvFilter::try_new(text).unwrap_or_else(|_| EnvFilter::new("info"));
    GUARDED
        .into_iter()
        .fold(filter, |filter, target| match format!("{target}=info").parse() {
            Ok(directive) => filter.add_directive(directive),
            Err(_) => filter,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_this_programs_and_a_filter_is_as_it_says() {
        let text = |level| filter(Some(level)).to_string();
        assert!(text("debug").contains("redlink=debug") && text("debug").contains("info"));
        assert!(text("warn").contains("warn") && !text("warn").contains("redlink="));
        assert!(text("info,turso=debug").contains("turso=debug"));
        for guarded in GUARDED {
            assert!(text("trace,h2=trace,rustls=trace").contains(&format!("{guarded}=info")));
        }
        assert!(check("debug").is_ok() && check("redlink=trace,info").is_ok() && check("off").is_ok());
        for bad in ["loud", "redlink=loud", "info,loud"] {
            let error = check(bad).unwrap_err();
            assert!(error.contains(bad), "{error}");
        }
    }
}
