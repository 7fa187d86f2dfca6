//! What people and programs see: tables, JSON, colour.

use super::exit::{Exit, Failure};
use anstyle::{AnsiColor, Style};
use clap::ColorChoice;
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::OnceLock;

const STRONG: Style = Style::new().bold();
const FAINT: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const NOTE: Style = AnsiColor::Yellow.on_default();

/// How a piece of text is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tone {
    /// As it is.
    Plain,
    /// A heading or a name.
    Strong,
    /// Less important.
    Faint,
    /// As hoped.
    Good,
    /// Not as hoped.
    Bad,
    /// Worth a look.
    Note,
}

/// Where the text goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stream {
    /// For the result.
    Out,
    /// For what is said about it.
    Err,
}

/// `text`, coloured if the stream is a terminal that wants it.
pub(super) fn paint(stream: Stream, tone: Tone, text: &str) -> String {
    let style = match tone {
        Tone::Plain => return text.to_owned(),
        Tone::Strong => STRONG,
        Tone::Faint => FAINT,
        Tone::Good => GOOD,
        Tone::Bad => BAD,
        Tone::Note => NOTE,
    };
    match coloured(stream) {
        true => format!("{style}{text}{style:#}"),
        false => text.to_owned(),
    }
}

/// Whether the stream is a terminal that wants colour.
pub(super) fn coloured(stream: Stream) -> bool {
    static OUT: OnceLock<bool> = OnceLock::new();
    static ERR: OnceLock<bool> = OnceLock::new();
    let (cell, terminal) = match stream {
        Stream::Out => (&OUT, std::io::stdout().is_terminal()),
        Stream::Err => (&ERR, std::io::stderr().is_terminal()),
    };
    *cell.get_or_init(|| {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        match CHOICE.get() {
            Some(ColorChoice::Always) => true,
            Some(ColorChoice::Never) => false,
            _ => wants_colour(terminal, set("NO_COLOR"), dumb),
        }
    })
}

/// What `--color` says.
static CHOICE: OnceLock<ColorChoice> = OnceLock::new();

/// Reads `--color` out of a command line that may be wrong otherwise, for all that is written from here on.
pub(super) fn choose_colour(line: impl Iterator<Item = String>) -> ColorChoice {
    // What follows is another program's.
    let mut line = line.take_while(|word| word != "--");
    let mut choice = ColorChoice::Auto;
    while let Some(word) = line.next() {
        let value = match word.strip_prefix("--color") {
            Some("") => line.next(),
            Some(rest) => rest.strip_prefix('=').map(str::to_owned),
            None => None,
        };
        if let Some(Ok(said)) = value.map(|text| text.parse()) {
            choice = said;
        }
    }
    *CHOICE.get_or_init(|| choice)
}

const fn wants_colour(terminal: bool, no_color: bool, dumb: bool) -> bool {
    terminal && !no_color && !dumb
}

/// Writes to stdout. A reader who has seen enough (`| head`) is no error.
pub(super) fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Err(Failure::new(Exit::Done, "")),
        Err(e) => Err(Failure::failed(format!("can't write to standard output: {e}"))),
    }
}

/// Writes a line to stdout.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    write(format!("{text}\n").as_bytes())
}

/// Writes a line to stderr; where nobody listens nothing is lost.
pub(super) fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Text of others, with nothing in it that a terminal would act on but the ends of lines.
pub(super) fn plain(text: &str) -> String {
    let mark = |c: char| match c.is_control() && c != '\n' {
        true => '\u{fffd}',
        false => c,
    };
    text.chars().map(mark).collect()
}

/// Writes a value as JSON.
pub(super) fn json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| Failure::failed(format!("can't show this as JSON: {e}")))?;
    line(&text)
}

/// Says why a command failed, and what to do next.
pub(super) fn complain(failure: &Failure) {
    if failure.what.is_empty() {
        return;
    }
    note(&format!(
        "{} {}",
        paint(Stream::Err, Tone::Bad, "redlink:"),
        failure.what
    ));
    if let Some(next) = &failure.next {
        note(&format!("         {}", paint(Stream::Err, Tone::Note, next)));
    }
}

/// One cell of a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
    right: bool,
}

impl Cell {
    /// Text, at the left.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self {
            text: clean(&text.into()),
            tone: Tone::Plain,
            right: false,
        }
    }

    /// A number, at the right.
    pub(super) fn number(number: impl std::fmt::Display) -> Self {
        Self {
            text: number.to_string(),
            tone: Tone::Plain,
            right: true,
        }
    }

    /// In another tone.
    pub(super) fn tone(mut self, tone: Tone) -> Self {
        self.tone = tone;
        self
    }
}

/// Other people's text must not steer the terminal.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// Rows under a heading, each column as wide as its widest cell.
pub(super) fn table(heading: &[&str], rows: &[Vec<Cell>]) -> Result<(), Failure> {
    write(format_table(heading, rows).as_bytes())
}

fn format_table(heading: &[&str], rows: &[Vec<Cell>]) -> String {
    let width = |text: &str| text.chars().count();
    let mut widths: Vec<usize> = heading.iter().map(|h| width(h)).collect();
    for row in rows {
        for (at, cell) in row.iter().enumerate() {
            widths[at] = widths[at].max(width(&cell.text));
        }
    }
    let mut out = String::new();
    let mut put = |cells: &[Cell]| {
        for (at, cell) in cells.iter().enumerate() {
            let fill = " ".repeat(widths[at] - width(&cell.text));
            let last = at + 1 == cells.len();
            let text = paint(Stream::Out, cell.tone, &cell.text);
            match (cell.right, last) {
                (true, _) => out += &format!("{fill}{text}"),
                (false, true) => out += &text,
                (false, false) => out += &format!("{text}{fill}"),
            }
            out += if last { "\n" } else { "  " };
        }
    };
    let right = |at: usize| {
        rows.first()
            .and_then(|row| row.get(at))
            .is_some_and(|cell: &Cell| cell.right)
    };
    let head: Vec<Cell> = heading
        .iter()
        .enumerate()
        .map(|(at, text)| Cell {
            text: (*text).to_owned(),
            tone: Tone::Faint,
            right: right(at),
        })
        .collect();
    put(&head);
    rows.iter().for_each(|row| put(row));
    out
}

/// A length of time as people say it: `4.2 ms`, `1 min 5 s`.
pub(super) fn span(time: std::time::Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        s if s < 0.000_999_5 => format!("{:.0} µs", s * 1e6),
        s if s < 0.099_95 => format!("{:.1} ms", s * 1e3),
        s if s < 0.999_5 => format!("{:.0} ms", s * 1e3),
        s if s < 9.995 => format!("{s:.2} s"),
        s if s < 119.5 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{} min {} s", time.as_secs() / 60, time.as_secs() % 60),
        _ => format!("{} h {} min", time.as_secs() / 3_600, time.as_secs() % 3_600 / 60),
    }
}

/// A number of bytes as people say it: `17 B`, `12 KiB`, `3.4 MiB`.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1_024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1_024.0;
    let mut unit = 0;
    while value >= 1_023.95 && unit + 1 < UNITS.len() {
        value /= 1_024.0;
        unit += 1;
    }
    match value < 9.95 {
        true => format!("{value:.1} {}", UNITS[unit]),
        false => format!("{value:.0} {}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn columns_line_up_and_lines_have_no_trailing_space() {
        let rows = vec![
            vec![Cell::text("wc"), Cell::number(7), Cell::text("up")],
            vec![Cell::text("resize"), Cell::number(12_345), Cell::text("")],
        ];
        let text = format_table(&["SERVICE", "WAITING", "STATE"], &rows);
        assert_eq!(
            text,
            "SERVICE  WAITING  STATE\nwc             7  up\nresize     12345  \n"
        );
    }

    #[test]
    fn control_characters_of_others_are_not_passed_on() {
        assert_eq!(Cell::text("a\x1b[31mb\n").text, "a\u{fffd}[31mb\u{fffd}");
    }

    #[test]
    fn colour_is_for_terminals_that_want_it() {
        assert!(wants_colour(true, false, false));
        assert!(!wants_colour(false, false, false));
        assert!(!wants_colour(true, true, false));
        assert!(!wants_colour(true, false, true));
    }

    #[test]
    fn times_and_sizes_read_well() {
        let shown = |micros| span(Duration::from_micros(micros));
        assert_eq!(shown(66), "66 µs");
        assert_eq!(shown(4_234), "4.2 ms");
        assert_eq!(shown(123_456), "123 ms");
        assert_eq!(shown(2_500_000), "2.50 s");
        assert_eq!(shown(65_000_000), "65 s");
        assert_eq!(shown(300_000_000), "5 min 0 s");
        assert_eq!(shown(8_100_000_000), "2 h 15 min");
        assert_eq!(size(17), "17 B");
        assert_eq!(size(12 * 1024), "12 KiB");
        assert_eq!(size(1_048_575), "1.0 MiB");
    }
}
