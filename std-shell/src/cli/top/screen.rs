//! The terminal: drawn on as a whole, and given back as it was.

use super::frame::Line;
use crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers, read};
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
};
use crossterm::{cursor, execute, queue};
use std::io::{self, Write, stdout};
use tokio::sync::mpsc;

/// What the user does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Key {
    /// Enough.
    Quit,
    /// The terminal has another size.
    Redraw,
}

/// The terminal while it is drawn on.
pub(super) struct Screen(());

impl Screen {
    /// Takes the terminal, and says what its user does.
    pub(super) fn open() -> io::Result<(Self, mpsc::UnboundedReceiver<Key>)> {
        enable_raw_mode()?;
        // From here on it is given back, whatever happens.
        let screen = Self(());
        execute!(stdout(), EnterAlternateScreen, cursor::Hide)?;
        let (keys_in, keys) = mpsc::unbounded_channel();
        // It waits in a read that nothing ends but a key; the process does not wait for it.
        std::thread::Builder::new()
            .name("redlink-keys".into())
            .spawn(move || {
                while let Ok(event) = read() {
                    let Some(key) = meaning(&event) else { continue };
                    if keys_in.send(key).is_err() {
                        break;
                    }
                }
            })?;
        Ok((screen, keys))
    }

    /// Columns and lines.
    pub(super) fn size(&self) -> Option<(u16, u16)> {
        size().ok().filter(|(columns, lines)| *columns > 0 && *lines > 0)
    }

    /// Shows these lines and nothing else.
    pub(super) fn draw(&self, lines: &[Line]) -> io::Result<()> {
        let mut out = stdout().lock();
        queue!(out, cursor::MoveTo(0, 0))?;
        for (at, line) in lines.iter().enumerate() {
            if at > 0 {
                write!(out, "\r\n")?;
            }
            write!(out, "{}", line.paint())?;
            queue!(out, Clear(ClearType::UntilNewLine))?;
        }
        queue!(out, Clear(ClearType::FromCursorDown))?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = execute!(stdout(), cursor::Show, LeaveAlternateScreen);
        let _ = disable_raw_mode();
    }
}

fn meaning(event: &Event) -> Option<Key> {
    match event {
        Event::Resize(..) => Some(Key::Redraw),
        Event::Key(key) if key.kind != KeyEventKind::Release => match key.code {
            KeyCode::Char('q' | 'Q') | KeyCode::Esc => Some(Key::Quit),
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Key::Quit),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossterm::event::KeyEvent;

    #[test]
    fn q_and_control_c_end_it() {
        let key = |code, with| meaning(&Event::Key(KeyEvent::new(code, with)));
        assert_eq!(key(KeyCode::Char('q'), KeyModifiers::NONE), Some(Key::Quit));
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Key::Quit));
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::NONE), None);
        assert_eq!(meaning(&Event::Resize(1, 1)), Some(Key::Redraw));
    }
}
