//! The parts of the web page: plain files, built into the program.

use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::sync::OnceLock;

/// One file of the page.
pub(super) struct Part {
    /// Its name below `/page/`.
    name: &'static str,
    /// Its media type.
    pub(super) media: &'static str,
    /// Its bytes.
    pub(super) bytes: &'static [u8],
    tag: OnceLock<String>,
}

impl Part {
    const fn new(name: &'static str, media: &'static str, bytes: &'static [u8]) -> Self {
        Self {
            name,
            media,
            bytes,
            tag: OnceLock::new(),
        }
    }

    /// Its entity tag, quotes and all: other bytes, other tag.
    pub(super) fn tag(&self) -> &str {
        self.tag.get_or_init(|| {
            let mut tag = String::from("\"");
            for byte in &Sha256::digest(self.bytes)[..12] {
                let _ = write!(tag, "{byte:02x}");
            }
            tag.push('"');
            tag
        })
    }
}

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const DRAWING: &str = "image/svg+xml";

macro_rules! parts {
    ($($media:ident $name:literal;)*) => {
        /// What it is made of.
        static PARTS: [Part; [$($name),*].len()] =
            [$(Part::new($name, $media, include_bytes!(concat!("page/", $name))),)*];
    };
}

/// The page itself.
pub(super) static INDEX: Part = Part::new("", HTML, include_bytes!("page/index.html"));

parts! {
    STYLE "page.css";
    DRAWING "icon.svg";
    SCRIPT "main.js";
    SCRIPT "api.js";
    SCRIPT "dom.js";
    SCRIPT "format.js";
    SCRIPT "rates.js";
    SCRIPT "table.js";
    SCRIPT "dialog.js";
    SCRIPT "header.js";
    SCRIPT "services.js";
    SCRIPT "messages.js";
    SCRIPT "message.js";
    SCRIPT "payload.js";
    SCRIPT "consumers.js";
    SCRIPT "letters.js";
    SCRIPT "links.js";
    SCRIPT "node.js";
}

/// The part of this name.
pub(super) fn part(name: &str) -> Option<&'static Part> {
    PARTS.iter().find(|part| part.name == name)
}

#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    PARTS.iter().map(|part| part.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn text(part: &Part) -> &str {
        std::str::from_utf8(part.bytes).unwrap()
    }

    /// What the page names it has, and nothing lies about.
    #[test]
    fn each_file_is_a_part_and_each_part_is_used() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/page");
        let files: HashSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "index.html")
            .collect();
        let parts: HashSet<String> = names().map(str::to_owned).collect();
        assert_eq!(files, parts);
        for name in names() {
            let used = PARTS.iter().chain([&INDEX]).any(|part| {
                text(part).contains(&format!("\"./{name}\""))
                    || text(part).contains(&format!("\"/page/{name}\""))
            });
            assert!(used, "nothing uses {name}");
        }
    }

    /// No markup from texts, no code from texts, nothing of another server, no script or style within the page: the
    /// policy forbids each, and no browser has to.
    #[test]
    fn no_part_does_what_the_policy_forbids() {
        for part in PARTS.iter().chain([&INDEX]) {
            for word in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
                "http://",
                "https://",
                "<style",
                " style=",
                " onclick=",
                "localStorage",
                "document.cookie",
            ] {
                let text = text(part).replace("http://www.w3.org/2000/svg", "");
                assert!(!text.contains(word), "{}: {word}", part.name);
            }
        }
    }

    #[test]
    fn another_content_has_another_tag() {
        let tags: HashSet<&str> = PARTS.iter().chain([&INDEX]).map(Part::tag).collect();
        assert_eq!(tags.len(), PARTS.len() + 1);
        assert!(tags.iter().all(|tag| tag.len() == 26 && tag.starts_with('"')));
    }
}
