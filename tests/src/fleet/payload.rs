//! Payloads that say what they are, so that a wrong, short or mixed one shows.

use crate::all_bytes;
use bytes::Bytes;

/// What a payload says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Said {
    /// The message that it belongs to.
    pub(super) key: u64,
    /// Which answer to that message it is; 0 for the message itself.
    pub(super) number: u64,
}

/// A payload with so many bytes after its first line.
pub(super) fn write(said: Said, filler: usize) -> Bytes {
    let Said { key, number } = said;
    let mut bytes = format!("{key} {number} {filler}\n").into_bytes();
    bytes.extend(fill(said, filler));
    bytes.into()
}

/// What a payload says, if all of it is there and is as it was written.
pub(super) fn read(bytes: &[u8]) -> Result<Said, String> {
    let shown = || String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
    let (line, filler) = split(bytes).ok_or_else(|| format!("no payload of ours: {:?}", shown()))?;
    let [key, number, length] = line;
    let said = Said { key, number };
    let right = length == filler.len() as u64 && filler == fill(said, filler.len());
    match right {
        true => Ok(said),
        false => Err(format!(
            "{} bytes follow {:?}, or not the right ones",
            filler.len(),
            shown()
        )),
    }
}

fn split(bytes: &[u8]) -> Option<([u64; 3], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let line = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut numbers = line.split(' ').map(|word| word.parse().ok());
    let line = [numbers.next()??, numbers.next()??, numbers.next()??];
    Some((line, &bytes[end + 1..]))
}

/// Bytes of all values, others for each payload.
fn fill(said: Said, length: usize) -> Vec<u8> {
    let skip = ((said.key ^ said.number) % 251) as usize;
    let mut all = all_bytes(length + skip);
    all.drain(..skip);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        for length in [0, 1, 300, 70_000] {
            let said = Said { key: 17, number: 3 };
            let whole = write(said, length);
            assert_eq!(read(&whole), Ok(said));
            let mut short = whole.to_vec();
            short.pop();
            assert!(read(&short).is_err(), "short");
            let other = write(Said { key: 18, number: 3 }, length);
            let mut mixed = whole.to_vec();
            let half = mixed.len() / 2;
            mixed.splice(half.., other[half..].iter().copied());
            assert!(length < 2 || read(&mixed).is_err(), "mixed");
        }
        assert!(read(b"").is_err() && read(b"1 2\n").is_err());
    }
}
