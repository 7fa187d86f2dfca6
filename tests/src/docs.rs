//! The documentation's own commands, run as a reader would.
//!
//! A document is one session in an empty directory. In order:
//! - a block `sh` runs in the reader's shell, which stops at the first command that fails;
//! - a block `sh` behind `<!-- in another terminal -->` runs beside it, in a terminal of its own that begins where the
//!   session began, until the end; where it
//!   starts a node the session goes on when that is ready;
//! - a block behind `<!-- file: NAME -->` is that file;
//! - a block `text` behind a `sh` block is what that prints: `…` stands for anything within a line, a line `…` for any
//!   lines;
//! - a block behind `<!-- not run: WHY -->` is only looked at: is it shell at all?
//!
//! Ports 7411 to 7419 of the text become free ones.

use crate::node::free_port;
use crate::process::{Process, shell};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A document, read.
#[derive(Debug)]
pub struct Document {
    path: PathBuf,
    parts: Vec<Part>,
}

/// One thing that a document has a reader do or see.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Run {
        line: usize,
        script: String,
        prints: Option<String>,
    },
    Beside {
        line: usize,
        script: String,
    },
    File {
        name: String,
        text: String,
    },
    NotRun {
        line: usize,
        why: String,
        script: String,
    },
}

impl Document {
    /// Reads `docs/…` of the repository, or another file of it.
    ///
    /// # Panics
    /// If it can't be read or a mark in it makes no sense.
    pub fn read(name: &str) -> Self {
        let path = root().join(name);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let parts = parse(&text).unwrap_or_else(|e| panic!("{}:{e}", path.display()));
        Self { path, parts }
    }

    /// Whether there is anything to run in it.
    pub fn is_silent(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::NotRun { .. }))
    }

    /// Does what a reader would.
    ///
    /// # Panics
    /// If a command fails, or prints something else.
    pub fn run(&self) {
        let dir = tempfile::tempdir().expect("a directory");
        self.look_at_what_is_not_run();
        let script = self.script(dir.path());
        let ports: Vec<u16> = (0..9).map(|_| free_port()).collect();
        let script = replace_ports(&script, &ports);
        let here = dir.path().join("session");
        std::fs::create_dir(&here).expect("a directory");
        std::fs::write(dir.path().join("session.sh"), script).expect("a file");
        let mut command = shell(&here, "exec bash ../session.sh");
        command
            .env("REDLINK_LISTEN", format!("127.0.0.1:{}", ports[0]))
            .env("HOME", dir.path());
        let mut session = Process::start("the session", command, &dir.path().join("session.log"));
        let status = session.wait();
        assert!(
            status.success(),
            "{}: the session failed ({status}):\n{}",
            self.path.display(),
            session.output()
        );
        for (n, part) in self.parts.iter().enumerate() {
            if let Part::Run {
                line,
                prints: Some(wanted),
                ..
            } = part
            {
                let found = std::fs::read_to_string(dir.path().join(format!("out.{n}"))).unwrap_or_default();
                let wanted = replace_ports(wanted, &ports);
                assert!(
                    matches(&wanted, &found),
                    "{}:{line}: this prints\n{found}\nand is said to print\n{wanted}",
                    self.path.display()
                );
            }
        }
    }

    fn look_at_what_is_not_run(&self) {
        for part in &self.parts {
            let Part::NotRun { line, why, script } = part else {
                continue;
            };
            println!("{}:{line}: not run: {why}", self.path.display());
            let ok = Command::new("bash")
                .args(["-n", "-c", script])
                .status()
                .expect("bash");
            assert!(ok.success(), "{}:{line}: this is no shell", self.path.display());
        }
    }

    /// All of it as one shell script. What a block prints goes to a file of its own, and to the log.
    fn script(&self, dir: &Path) -> String {
        let dir = dir.display();
        let mut all = format!(
            "set -euo pipefail; set -m; exec 3>&1; jobs=()\n\
             end() {{ s=$?; for j in \"${{jobs[@]}}\"; do kill -TERM -- -$j 2>/dev/null || true; done; wait || true; \
             [ $s = 0 ] || for f in '{dir}'/*.${{n:-0}} '{dir}'/beside.*; do echo \"== $f\"; cat \"$f\"; done >&3; exit $s; }}\n\
             trap end EXIT\n"
        );
        for (n, part) in self.parts.iter().enumerate() {
            let written = match part {
                // Nothing stands behind the block that would keep it from stopping at a command that fails.
                Part::Run { line, script, .. } => writeln!(
                    all,
                    "echo '-- line {line}'; n={n}\n{{\n{script}\n}} >'{dir}/out.{n}' 2>'{dir}/err.{n}'"
                ),
                Part::Beside { line, script } => {
                    let ready = if script.contains("redlink node") {
                        node_ready(script, n, &dir.to_string())
                    } else {
                        String::new()
                    };
                    writeln!(
                        all,
                        "echo '-- line {line}, beside'\n{{\ncd '{dir}/session'\n{script}\n}} >'{dir}/beside.{n}' 2>&1 &\njobs+=($!)\n{ready}"
                    )
                }
                Part::File { name, text } => writeln!(
                    all,
                    "mkdir -p \"$(dirname '{name}')\"; cat >'{name}' <<'REDLINK_DOCS_EOF'\n{text}REDLINK_DOCS_EOF"
                ),
                Part::NotRun { .. } => Ok(()),
            };
            written.expect("a text grows");
        }
        all
    }
}

/// Waits for the node that a block starts, in the directory that the block goes to.
fn node_ready(script: &str, n: usize, dir: &str) -> String {
    let into = script
        .split_whitespace()
        .skip_while(|word| *word != "cd")
        .nth(1)
        .unwrap_or(".")
        .trim_end_matches([';', '&']);
    format!(
        "until redlink status --node '{dir}/session/{into}' >/dev/null 2>&1; do \
         kill -0 $! 2>/dev/null || {{ echo 'the node ended'; cat '{dir}/beside.{n}'; exit 1; }}; sleep 0.1; done"
    )
}

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn replace_ports(text: &str, ports: &[u16]) -> String {
    let mut text = text.to_owned();
    for (n, port) in ports.iter().enumerate() {
        text = text.replace(&format!("741{}", n + 1), &port.to_string());
    }
    text
}

/// Whether `found` is what `wanted` says, with `…` for what differs each time.
fn matches(wanted: &str, found: &str) -> bool {
    fn lines(wanted: &[&str], found: &[&str]) -> bool {
        match (wanted, found) {
            ([], []) => true,
            (["…", rest @ ..], _) => (0..=found.len()).any(|n| lines(rest, &found[n..])),
            ([w, wanted @ ..], [f, found @ ..]) => within(w, f) && lines(wanted, found),
            _ => false,
        }
    }
    fn within(wanted: &str, found: &str) -> bool {
        let mut pieces = wanted.split('…').map(str::trim);
        let first = pieces.next().unwrap_or_default();
        let Some(mut rest) = found.trim().strip_prefix(first) else {
            return false;
        };
        let mut last = first;
        let mut open = false;
        for piece in pieces {
            open = true;
            last = piece;
            let Some(at) = rest.find(piece) else { return false };
            rest = &rest[at + piece.len()..];
        }
        if open {
            last.is_empty() || rest.is_empty() || found.trim().ends_with(last)
        } else {
            rest.is_empty()
        }
    }
    let split = |text: &'_ str| -> Vec<String> { text.trim_end().lines().map(str::to_owned).collect() };
    let (wanted, found) = (split(wanted), split(found));
    let wanted: Vec<&str> = wanted.iter().map(|line| line.trim()).collect();
    let found: Vec<&str> = found.iter().map(String::as_str).collect();
    lines(&wanted, &found)
}

fn parse(text: &str) -> Result<Vec<Part>, String> {
    let mut parts: Vec<Part> = Vec::new();
    let mut mark: Option<&str> = None;
    let mut lines = text.lines().enumerate();
    // Only right behind its block does a `text` block say what that prints.
    let mut fresh = false;
    while let Some((at, line)) = lines.next() {
        let line_number = at + 1;
        let bare = line.trim();
        if let Some(comment) = bare.strip_prefix("<!--").and_then(|c| c.strip_suffix("-->")) {
            mark = Some(comment.trim());
            continue;
        }
        let Some(kind) = bare.strip_prefix("```") else {
            if !bare.is_empty() {
                mark = None;
                fresh = false;
            }
            continue;
        };
        let indent = line.len() - line.trim_start().len();
        let mut block = String::new();
        loop {
            let Some((_, inner)) = lines.next() else {
                return Err(format!("{line_number}: a block without an end"));
            };
            if inner.trim() == "```" {
                break;
            }
            block.push_str(inner.get(indent..).unwrap_or_default());
            block.push('\n');
        }
        let kind = kind.trim();
        let said = mark.take();
        let was_fresh = std::mem::replace(&mut fresh, false);
        match (kind, said) {
            (_, Some(said)) if said.starts_with("file:") => {
                let name = said["file:".len()..].trim().to_owned();
                parts.push(Part::File { name, text: block });
            }
            (_, Some(said)) if said.starts_with("not run:") => {
                let why = said["not run:".len()..].trim().to_owned();
                if kind == "sh" {
                    parts.push(Part::NotRun {
                        line: line_number,
                        why,
                        script: block,
                    });
                }
            }
            ("sh", Some("in another terminal")) => parts.push(Part::Beside {
                line: line_number,
                script: block,
            }),
            ("sh", _) => {
                parts.push(Part::Run {
                    line: line_number,
                    script: block,
                    prints: None,
                });
                fresh = true;
            }
            ("text", _) if was_fresh => {
                if let Some(Part::Run { prints, .. }) = parts.last_mut() {
                    *prints = Some(block);
                }
            }
            ("text" | "", _) => {}
            (other, None) => {
                return Err(format!(
                    "{line_number}: nothing is done with a block of `{other}`: mark it"
                ));
            }
            (_, Some(other)) => return Err(format!("{line_number}: the mark `{other}` is not known")),
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_told_apart() {
        let text = "# T\n<!-- in another terminal -->\n```sh\nredlink node\n```\n\n```sh\necho a\n```\n\n```text\na\n```\ntext\n\
                    ```text\nno output\n```\n<!-- file: x/y.toml -->\n```toml\na = 1\n```\n<!-- not run: needs root -->\n```sh\nrm\n```\n";
        let parts = parse(text).unwrap();
        assert_eq!(parts.len(), 4);
        assert!(matches!(&parts[0], Part::Beside { line: 3, .. }));
        assert!(matches!(&parts[1], Part::Run { prints: Some(a), .. } if a == "a\n"));
        assert!(matches!(&parts[2], Part::File { name, .. } if name == "x/y.toml"));
        assert!(matches!(&parts[3], Part::NotRun { .. }));
        for bad in [
            "```sh\nx\n",
            "```toml\na = 1\n```\n",
            "<!-- huh -->\n```rust\n```\n",
        ] {
            parse(bad).unwrap_err();
        }
    }

    #[test]
    fn what_is_printed_is_compared() {
        for (wanted, found) in [
            ("3\n", "3\n"),
            ("id …\n", "id 17-a\n"),
            ("…\nlast\n", "a\nb\nlast\n"),
            ("a … c\n", "a bbb c\n"),
            ("…", ""),
        ] {
            assert!(matches(wanted, found), "{wanted} {found}");
        }
        for (wanted, found) in [
            ("3\n", "4\n"),
            ("a\n", "a\nb\n"),
            ("a … c\n", "a b\n"),
            ("a\nb\n", "a\n"),
            ("a …\n", "b a\n"),
        ] {
            assert!(!matches(wanted, found), "{wanted} {found}");
        }
    }
}
