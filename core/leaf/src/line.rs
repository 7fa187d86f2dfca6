//! Frames out of the bytes of a serial line: `u32 header length, u32 body length, header, body`, as on any link.

use super::bodies::BODY_MAX;
use redlink_core::wire::HEADER_MAX;

/// The two lengths.
const PREFIX: usize = 8;
/// Longest payload that a peer lets ride in a frame.
const MOST: usize = 64 * 1024;

/// What of a frame is there so far.
pub(crate) struct Line {
    prefix: [u8; PREFIX],
    header: [u8; HEADER_MAX],
    body: [u8; BODY_MAX],
    /// Bytes of the frame that have come.
    at: u32,
}

/// A whole frame.
pub(crate) struct Received<'a> {
    /// What the core reads.
    pub(crate) header: &'a [u8],
    /// The payload; nothing if there was none or it was too long to keep.
    pub(crate) body: Option<&'a [u8]>,
}

/// The other side does not speak Redlink, or bytes were lost: the line has to be taken down.
pub(crate) struct Garbled;

impl Line {
    /// Between two frames.
    pub(crate) const fn new() -> Self {
        Self {
            prefix: [0; PREFIX],
            header: [0; HEADER_MAX],
            body: [0; BODY_MAX],
            at: 0,
        }
    }

    /// Forgets what had come of a frame.
    pub(crate) fn clear(&mut self) {
        self.at = 0;
    }

    /// Takes a byte; with the last one of a frame, the frame.
    pub(crate) fn take(&mut self, byte: u8) -> Result<Option<Received<'_>>, Garbled> {
        let at = self.at as usize;
        if at < PREFIX {
            self.prefix[at] = byte;
        }
        let (header, body) = self.lengths();
        if at >= PREFIX {
            let at = at - PREFIX;
            if at < header {
                self.header[at] = byte;
            } else if let Some(cell) = self.body.get_mut(at - header) {
                *cell = byte;
            }
        }
        self.at += 1;
        if (self.at as usize) < PREFIX {
            return Ok(None);
        }
        // No frame of ours is that long, and a peer that says so would only keep the line from being used.
        if header == 0 || header > HEADER_MAX || body > MOST {
            self.at = 0;
            return Err(Garbled);
        }
        if self.at as usize == PREFIX + header + body {
            self.at = 0;
            let body = if body == 0 { None } else { self.body.get(..body) };
            return Ok(Some(Received {
                header: &self.header[..header],
                body,
            }));
        }
        Ok(None)
    }

    fn lengths(&self) -> (usize, usize) {
        let word = |from: usize| u32::from_be_bytes(core::array::from_fn(|i| self.prefix[from + i])) as usize;
        (word(0), word(4))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(line: &mut Line, bytes: &[u8]) -> Result<usize, Garbled> {
        let mut frames = 0;
        for &byte in bytes {
            frames += usize::from(line.take(byte)?.is_some());
        }
        Ok(frames)
    }

    #[test]
    fn frames_come_out_of_single_bytes() {
        let mut line = Line::new();
        let bytes = [0, 0, 0, 2, 0, 0, 0, 1, b'h', b'h', b'b'];
        for &byte in &bytes[..bytes.len() - 1] {
            assert!(matches!(line.take(byte), Ok(None)));
        }
        let Ok(Some(Received { header, body })) = line.take(b'b') else {
            panic!("no frame")
        };
        assert_eq!((header, body), (&b"hh"[..], Some(&b"b"[..])));
        assert!(matches!(feed(&mut line, &[0, 0, 0, 1, 0, 0, 0, 0, b'h']), Ok(1)));
    }

    #[test]
    fn a_payload_without_room_is_left_out() {
        let mut line = Line::new();
        let long = BODY_MAX as u8 + 1;
        assert!(matches!(
            feed(&mut line, &[0, 0, 0, 1, 0, 0, 0, long, b'h']),
            Ok(0)
        ));
        for _ in 1..long {
            assert!(matches!(line.take(b'x'), Ok(None)));
        }
        let Ok(Some(Received { header, body })) = line.take(b'x') else {
            panic!("no frame")
        };
        assert_eq!((header, body), (&b"h"[..], None));
    }

    #[test]
    fn lengths_that_no_frame_has_are_refused() {
        for prefix in [[0xff; 8], [0; 8], [0, 0, 0, 1, 1, 0, 0, 0]] {
            assert!(feed(&mut Line::new(), &prefix).is_err(), "{prefix:?}");
        }
    }
}
