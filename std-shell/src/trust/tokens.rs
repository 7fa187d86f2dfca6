//! Join tokens that have been given out and not used: kept as hashes, one file each, so that a restart forgets none
//! and a thief of the directory's backup learns none.

use super::admin::hex;
use super::files::{self, FileError};
use super::tls;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use subtle::ConstantTimeEq;

/// How long a token is good for unless said otherwise.
pub const TOKEN_TTL_DEFAULT: Duration = Duration::from_secs(3_600);
/// The longest life of a token.
pub const TOKEN_TTL_MAX: Duration = Duration::from_secs(30 * 86_400);
/// Tokens that may wait to be used (promise P7).
const OUTSTANDING_MAX: usize = 1_000;

/// A token, just made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewToken {
    /// Its text; this is the only time that it is shown.
    pub token: String,
    /// When it ends, in seconds since the Unix epoch.
    pub expires: u64,
}

/// A token can't be made.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It would live too short or too long.
    #[error("a join token lives from 1s to {}d", TOKEN_TTL_MAX.as_secs() / 86_400)]
    Ttl,
    /// Too many wait to be used.
    #[error("{OUTSTANDING_MAX} join tokens wait to be used; wait for some to be used or to expire")]
    Full,
    /// A file can't be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// No random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(#[from] rustls::Error),
}

/// A token lets nobody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    /// It was never given out here, or it has been used.
    #[error("the join token is not known here: it was used already, or made by another node; make a new one")]
    Unknown,
    /// Its time is over.
    #[error("the join token has expired; make a new one")]
    Expired,
}

struct Stored {
    hash: [u8; 32],
    expires: u64,
}

/// The unused tokens of a node, and their directory.
pub(super) struct Tokens {
    dir: PathBuf,
    list: Vec<Stored>,
}

impl Tokens {
    /// Reads what earlier lives have given out.
    pub(super) fn open(dir: &Path) -> Result<Self, FileError> {
        let dir = dir.join("tokens");
        files::make_directory(&dir)?;
        let mut list = Vec::new();
        for entry in fs::read_dir(&dir).map_err(files::at("read", &dir))? {
            let entry = entry.map_err(files::at("read", &dir))?;
            let name = entry.file_name();
            // What is not a token's file, such as a temporary one of a life that was cut short, is passed over.
            let Some(hash) = name.to_str().and_then(unhex) else {
                continue;
            };
            let bytes = files::read_secret(&dir, &hex(&hash))?.unwrap_or_default();
            let Some(expires) = std::str::from_utf8(&bytes)
                .ok()
                .and_then(|t| t.trim().parse().ok())
            else {
                continue;
            };
            list.push(Stored { hash, expires });
        }
        Ok(Self { dir, list })
    }

    /// Makes a secret that is good until `now + ttl`. It is on disk when this returns.
    pub(super) fn make(&mut self, ttl: Duration, now: SystemTime) -> Result<([u8; 32], u64), TokenError> {
        if ttl < Duration::from_secs(1) || ttl > TOKEN_TTL_MAX {
            return Err(TokenError::Ttl);
        }
        self.sweep(now)?;
        if self.list.len() >= OUTSTANDING_MAX {
            return Err(TokenError::Full);
        }
        let secret = tls::random::<32>()?;
        let stored = Stored {
            hash: tls::sha256(&secret),
            expires: seconds(now + ttl),
        };
        files::write_private(
            &self.dir,
            &hex(&stored.hash),
            format!("{}\n", stored.expires).as_bytes(),
        )?;
        let expires = stored.expires;
        self.list.push(stored);
        Ok((secret, expires))
    }

    /// Whether this secret would let somebody in now.
    pub(super) fn check(&self, secret: &[u8], now: SystemTime) -> Result<usize, TokenRefused> {
        let hash = tls::sha256(secret);
        // All of them, to the end: the time tells nothing about how near a guess was.
        let mut found = None;
        for (i, stored) in self.list.iter().enumerate() {
            if bool::from(stored.hash.ct_eq(&hash)) {
                found = Some(i);
            }
        }
        let found = found.ok_or(TokenRefused::Unknown)?;
        if self.list[found].expires <= seconds(now) {
            Err(TokenRefused::Expired)
        } else {
            Ok(found)
        }
    }

    /// Uses it up: gone from the disk when this returns, so that no crash makes it good a second time.
    pub(super) fn spend(&mut self, at: usize) -> Result<(), FileError> {
        let stored = &self.list[at];
        files::remove(&self.dir, &hex(&stored.hash))?;
        self.list.swap_remove(at);
        Ok(())
    }

    fn sweep(&mut self, now: SystemTime) -> Result<(), FileError> {
        while let Some(at) = self.list.iter().position(|t| t.expires <= seconds(now)) {
            self.spend(at)?;
        }
        Ok(())
    }
}

pub(super) fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64
        || !text
            .bytes()
            .all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase())
    {
        return None;
    }
    let mut bytes = [0; 32];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_lets_in_once_until_it_expires_and_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let mut tokens = Tokens::open(dir.path()).unwrap();
        let (secret, expires) = tokens.make(Duration::from_secs(60), now).unwrap();
        let (late, _) = tokens.make(Duration::from_secs(10), now).unwrap();
        assert_eq!(expires, seconds(now) + 60);
        assert_eq!(tokens.check(&[0; 32], now), Err(TokenRefused::Unknown));

        let mut tokens = Tokens::open(dir.path()).unwrap();
        assert_eq!(
            tokens.check(&late, now + Duration::from_secs(11)),
            Err(TokenRefused::Expired)
        );
        let at = tokens.check(&secret, now).unwrap();
        tokens.spend(at).unwrap();
        assert_eq!(tokens.check(&secret, now), Err(TokenRefused::Unknown));
        assert_eq!(
            Tokens::open(dir.path()).unwrap().check(&secret, now),
            Err(TokenRefused::Unknown)
        );

        let (_, _) = tokens
            .make(Duration::from_secs(60), now + Duration::from_secs(11))
            .unwrap();
        assert_eq!(tokens.list.len(), 1, "the expired one was swept");
    }

    #[test]
    fn the_directory_holds_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let (secret, _) = Tokens::open(dir.path())
            .unwrap()
            .make(TOKEN_TTL_DEFAULT, SystemTime::now())
            .unwrap();
        for entry in fs::read_dir(dir.path().join("tokens")).unwrap() {
            let entry = entry.unwrap();
            assert_ne!(entry.file_name().to_str().unwrap(), hex(&secret));
            assert!(!fs::read_to_string(entry.path()).unwrap().contains(&hex(&secret)));
        }
    }

    #[test]
    fn how_long_and_how_many_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let mut tokens = Tokens::open(dir.path()).unwrap();
        let now = SystemTime::now();
        assert!(matches!(tokens.make(Duration::ZERO, now), Err(TokenError::Ttl)));
        assert!(matches!(
            tokens.make(TOKEN_TTL_MAX + Duration::from_secs(1), now),
            Err(TokenError::Ttl)
        ));
        tokens.list.extend((0..OUTSTANDING_MAX).map(|_| Stored {
            hash: [0; 32],
            expires: u64::MAX,
        }));
        assert!(matches!(
            tokens.make(TOKEN_TTL_DEFAULT, now),
            Err(TokenError::Full)
        ));
    }
}
