//! The types of problems.

use super::cell;
use crate::http::Kind;
use crate::http::problem::URN;
use std::fmt::Write;

pub(super) fn text() -> String {
    let mut text = format!(
        "# Problem types\n\n\
         Every error of the API is a problem document (RFC 9457), `application/problem+json`: `type`, `title`, `status`, and \
         `detail`, which says what it was this time and what to do. Programs tell problems apart by `type`, which is `{URN}` and \
         one of these names. Names stay; later versions may have more of them.\n\n\
         | type | status | title | when | `Retry-After` |\n|---|---|---|---|---|\n"
    );
    for kind in Kind::ALL {
        writeln!(
            text,
            "| `{}` | {} | {} | {} | {} |",
            kind.name(),
            kind.status().as_u16(),
            cell(kind.title()),
            cell(kind.about()),
            kind.retry_after().map(|s| format!("{s} s")).unwrap_or_default(),
        )
        .unwrap();
    }
    text
}
