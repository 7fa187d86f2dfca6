//! Whether the node takes work, for probes and balancers.

use super::super::query::With;
use super::super::{Kind, Node, Problem};
use crate::driver::Check;
use axum::extract::State;
use serde::Deserialize;
use std::fmt::Write;
use utoipa::IntoParams;

/// Query of `GET /readyz`.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// Whatever its value: each check is listed.
    verbose: Option<String>,
}

/// `GET /readyz`: it takes work.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "probes",
    summary = "The node takes work",
    params(Asked),
    responses((status = 200, description = "It does.", body = String, content_type = "text/plain")),
)]
pub(super) async fn ready(State(node): State<Node>, With(asked): With<Asked>) -> Result<String, Problem> {
    let checks = node.handle.checks().await;
    let text = answer(&checks, asked.verbose.is_some())?;
    // Not unready: its consumers must still reach it, or its disk would never get room again.
    Ok(match node.handle.is_disk_low() {
        true => format!(
            "{}; the disk is nearly full, so no new messages are accepted\n",
            text.trim_end()
        ),
        false => text,
    })
}

/// `GET /healthz`: the same, for who asks there.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "probes",
    summary = "The node takes work; the same as /readyz",
    params(Asked),
    responses((status = 200, description = "It does.", body = String, content_type = "text/plain")),
)]
pub(super) async fn health(node: State<Node>, asked: With<Asked>) -> Result<String, Problem> {
    ready(node, asked).await
}

fn answer(checks: &[Check], verbose: bool) -> Result<String, Problem> {
    let mut text = String::new();
    for Check { name, wrong } in checks {
        // Text never fails to be written to text.
        let _ = match wrong {
            None if verbose => writeln!(text, "[+] {name}"),
            None => Ok(()),
            Some(wrong) if verbose => writeln!(text, "[-] {name}: {wrong}"),
            Some(wrong) => write!(text, "{}{name}: {wrong}", if text.is_empty() { "" } else { "; " }),
        };
    }
    if checks.iter().all(|check| check.wrong.is_none()) {
        return Ok(format!("{text}ready\n"));
    }
    let detail = match verbose {
        true => format!("The node takes no work.\n{}", text.trim_end()),
        false => format!("The node takes no work: {text}."),
    };
    Err(Problem::new(Kind::NotReady, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &'static str, wrong: Option<&str>) -> Check {
        let wrong = wrong.map(str::to_owned);
        Check { name, wrong }
    }

    #[test]
    fn what_is_wrong_is_said_and_with_verbose_what_is_well_too() {
        let well = [check("a", None), check("b", None)];
        assert_eq!(answer(&well, false).unwrap(), "ready\n");
        assert_eq!(answer(&well, true).unwrap(), "[+] a\n[+] b\nready\n");
        let wrong = [
            check("a", Some("x is y")),
            check("b", None),
            check("c", Some("z")),
        ];
        let detail = |verbose| {
            let problem = answer(&wrong, verbose).unwrap_err();
            assert_eq!(problem.kind(), Kind::NotReady);
            let document: serde_json::Value = serde_json::from_slice(&problem.document()).unwrap();
            document["detail"].as_str().unwrap().to_owned()
        };
        assert_eq!(detail(false), "The node takes no work: a: x is y; c: z.");
        assert_eq!(
            detail(true),
            "The node takes no work.\n[-] a: x is y\n[+] b\n[-] c: z"
        );
    }
}
