//! Join tokens that have been given out, one file each, so that a restart forgets none.
//!
//! What is kept of a token is the public half of its key: neither a thief of the directory nor a node that passes a
//! token's making on can use it. A token that was used is kept for a while with the answer that it got, because the
//! answer may be lost on its way: the same request then gets the same answer, and any other is refused.

use super::admin::hex;
use super::enrol::Enrolled;
use super::files::{self, FileError};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a token is good for unless said otherwise.
pub const TOKEN_TTL_DEFAULT: Duration = Duration::from_secs(3_600);
/// The longest life of a token.
pub const TOKEN_TTL_MAX: Duration = Duration::from_secs(30 * 86_400);
/// Tokens that may wait to be used, with those just used (promise P7).
const OUTSTANDING_MAX: usize = 1_000;
/// How long a lost answer can be asked for again.
const REPEAT: Duration = Duration::from_secs(600);

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
    /// No random bytes, or no key of them.
    #[error("the system gives no random bytes: {0}")]
    Random(#[from] rustls::Error),
}

/// A token lets nobody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    /// It was never given out here, or it has been used.
    #[error("the join token is not known here: it was used already, or is of another mesh; make a new one")]
    Unknown,
    /// Its time is over.
    #[error("the join token has expired; make a new one")]
    Expired,
    /// The request was not made with the token whose name it bears.
    #[error(
        "the request was not signed with the join token, or was changed on its way; copy the whole token and join again"
    )]
    Forged,
}

/// How a token was used.
#[derive(Clone, Serialize, Deserialize)]
struct Used {
    /// Of what was asked.
    digest: [u8; 32],
    /// Seconds since the Unix epoch.
    at: u64,
    answer: Enrolled,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    /// Seconds since the Unix epoch.
    expires: u64,
    /// At which node it was made.
    by: String,
    used: Option<Used>,
}

struct Token {
    id: [u8; 32],
    stored: Stored,
}

impl Token {
    fn is_over(&self, now: SystemTime) -> bool {
        match &self.stored.used {
            None => self.stored.expires <= seconds(now),
            Some(used) => used.at + REPEAT.as_secs() <= seconds(now),
        }
    }
}

/// What a token that may be presented is.
pub(super) enum Presented {
    /// Not used yet; its place, and where it was made.
    Fresh { at: usize, by: String },
    /// Used for this very request, a moment ago.
    Repeated(Box<Enrolled>),
}

/// The tokens of a mesh, and their directory.
pub(super) struct Tokens {
    dir: PathBuf,
    list: Vec<Token>,
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
            let Some(id) = name.to_str().and_then(unhex) else {
                continue;
            };
            let bytes = files::read_secret(&dir, &hex(&id))?.unwrap_or_default();
            let Ok(stored) = serde_json::from_slice(&bytes) else {
                continue;
            };
            list.push(Token { id, stored });
        }
        Ok(Self { dir, list })
    }

    /// Takes note of a token that is good until `now + ttl`; when that is, in seconds since the Unix epoch. It is on
    /// disk when this returns. The same token again is the same request, whose answer was lost.
    pub(super) fn add(
        &mut self,
        id: [u8; 32],
        ttl: Duration,
        by: &str,
        now: SystemTime,
    ) -> Result<u64, TokenError> {
        if ttl < Duration::from_secs(1) || ttl > TOKEN_TTL_MAX {
            return Err(TokenError::Ttl);
        }
        self.sweep(now)?;
        if let Some(known) = self.list.iter().find(|t| t.id == id) {
            return Ok(known.stored.expires);
        }
        if self.list.len() >= OUTSTANDING_MAX {
            return Err(TokenError::Full);
        }
        let stored = Stored {
            expires: seconds(now + ttl),
            by: by.to_owned(),
            used: None,
        };
        self.write(&id, &stored)?;
        let expires = stored.expires;
        self.list.push(Token { id, stored });
        Ok(expires)
    }

    /// Whether this token would let somebody in now who asks for what has this digest.
    pub(super) fn check(
        &self,
        id: &[u8; 32],
        digest: &[u8; 32],
        now: SystemTime,
    ) -> Result<Presented, TokenRefused> {
        // The id is public: how long it takes to find it tells nothing.
        let at = self.list.iter().position(|t| t.id == *id);
        let (at, token) = at
            .and_then(|at| Some((at, self.list.get(at)?)))
            .ok_or(TokenRefused::Unknown)?;
        match &token.stored.used {
            Some(used) if used.digest == *digest && !token.is_over(now) => {
                Ok(Presented::Repeated(Box::new(used.answer.clone())))
            }
            Some(_) => Err(TokenRefused::Unknown),
            None if token.is_over(now) => Err(TokenRefused::Expired),
            None => Ok(Presented::Fresh {
                at,
                by: token.stored.by.clone(),
            }),
        }
    }

    /// Uses it up: so it is on the disk when this returns, and no crash makes it good a second time.
    pub(super) fn spend(
        &mut self,
        at: usize,
        digest: [u8; 32],
        answer: &Enrolled,
        now: SystemTime,
    ) -> Result<(), FileError> {
        let Some(Token { id, stored }) = self.list.get(at) else {
            return Ok(());
        };
        let used = Used {
            digest,
            at: seconds(now),
            answer: answer.clone(),
        };
        let stored = Stored {
            expires: stored.expires,
            by: stored.by.clone(),
            used: Some(used),
        };
        let id = *id;
        self.write(&id, &stored)?;
        self.list[at] = Token { id, stored };
        Ok(())
    }

    /// Forgets those that were made at a node and wait to be used; how many there were.
    pub(super) fn drop_of(&mut self, by: &str) -> Result<usize, FileError> {
        let mut count = 0;
        while let Some(at) = self
            .list
            .iter()
            .position(|t| t.stored.by == by && t.stored.used.is_none())
        {
            files::remove(&self.dir, &hex(&self.list[at].id))?;
            self.list.swap_remove(at);
            count += 1;
        }
        Ok(count)
    }

    fn write(&self, id: &[u8; 32], stored: &Stored) -> Result<(), FileError> {
        // Plain values: this can't fail.
        let json = serde_json::to_vec(stored).unwrap_or_default();
        files::write_private(&self.dir, &hex(id), &json)
    }

    fn sweep(&mut self, now: SystemTime) -> Result<(), FileError> {
        while let Some(at) = self.list.iter().position(|t| t.is_over(now)) {
            files::remove(&self.dir, &hex(&self.list[at].id))?;
            self.list.swap_remove(at);
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

    const MINUTE: Duration = Duration::from_secs(60);

    fn answer(text: &str) -> Enrolled {
        Enrolled {
            certificate: text.into(),
            authority: String::new(),
            left_out: Vec::new(),
        }
    }

    fn spend(tokens: &mut Tokens, id: &[u8; 32], digest: [u8; 32], now: SystemTime) {
        let Ok(Presented::Fresh { at, .. }) = tokens.check(id, &digest, now) else {
            panic!("not fresh");
        };
        tokens.spend(at, digest, &answer("x"), now).unwrap();
    }

    #[test]
    fn a_token_lets_in_once_until_it_expires_and_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let mut tokens = Tokens::open(dir.path()).unwrap();
        assert_eq!(tokens.add([1; 32], MINUTE, "a", now).unwrap(), seconds(now) + 60);
        tokens.add([2; 32], MINUTE / 6, "a", now).unwrap();
        let refused = |t: &Tokens, id, digest, now| t.check(&[id; 32], &[digest; 32], now).err();
        assert_eq!(refused(&tokens, 0, 0, now), Some(TokenRefused::Unknown));

        let mut tokens = Tokens::open(dir.path()).unwrap();
        assert_eq!(refused(&tokens, 2, 0, now + MINUTE), Some(TokenRefused::Expired));
        spend(&mut tokens, &[1; 32], [9; 32], now);
        for tokens in [&tokens, &Tokens::open(dir.path()).unwrap()] {
            assert_eq!(refused(tokens, 1, 8, now), Some(TokenRefused::Unknown));
            // The same request again, for a while, though the token's own time is over meanwhile.
            let later = now + 2 * MINUTE;
            assert!(matches!(
                tokens.check(&[1; 32], &[9; 32], later),
                Ok(Presented::Repeated(again)) if again.certificate == "x"
            ));
            assert_eq!(refused(tokens, 1, 9, now + REPEAT), Some(TokenRefused::Unknown));
        }

        tokens.add([3; 32], MINUTE, "a", now + REPEAT).unwrap();
        assert_eq!(tokens.list.len(), 1, "the others were swept");
        assert_eq!(fs::read_dir(dir.path().join("tokens")).unwrap().count(), 1);
        let expires = tokens
            .add([3; 32], MINUTE, "a", now + REPEAT + MINUTE / 2)
            .unwrap();
        assert_eq!(expires, seconds(now + REPEAT) + 60, "the same one again");
    }

    #[test]
    fn tokens_of_a_node_that_is_put_out_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let mut tokens = Tokens::open(dir.path()).unwrap();
        for (id, by) in [(1, "a"), (2, "b"), (3, "a"), (4, "a")] {
            tokens.add([id; 32], MINUTE, by, now).unwrap();
        }
        spend(&mut tokens, &[4; 32], [9; 32], now);
        assert_eq!(tokens.drop_of("a").unwrap(), 2);
        for tokens in [&tokens, &Tokens::open(dir.path()).unwrap()] {
            let check = |id, digest| tokens.check(&[id; 32], &[digest; 32], now);
            assert!(matches!(check(1, 0), Err(TokenRefused::Unknown)));
            assert!(matches!(check(3, 0), Err(TokenRefused::Unknown)));
            assert!(matches!(check(2, 0), Ok(Presented::Fresh { .. })));
            assert!(matches!(check(4, 9), Ok(Presented::Repeated(_))));
        }
    }

    #[test]
    fn how_long_and_how_many_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let mut tokens = Tokens::open(dir.path()).unwrap();
        let now = SystemTime::now();
        let mut add = |id, ttl| tokens.add([id; 32], ttl, "a", now);
        assert!(matches!(add(1, Duration::ZERO), Err(TokenError::Ttl)));
        assert!(matches!(
            add(1, TOKEN_TTL_MAX + Duration::from_secs(1)),
            Err(TokenError::Ttl)
        ));
        tokens.list.extend((0..OUTSTANDING_MAX).map(|_| Token {
            id: [0; 32],
            stored: Stored {
                expires: u64::MAX,
                by: String::new(),
                used: None,
            },
        }));
        assert!(matches!(
            tokens.add([1; 32], TOKEN_TTL_DEFAULT, "a", now),
            Err(TokenError::Full)
        ));
    }
}
