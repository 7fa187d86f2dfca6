//! The programs' tokens of a node: kept as hashes, one file each, so that a restart forgets none and a thief of the
//! directory's backup learns none.

use super::super::admin::hex;
use super::super::files::{self, FileError};
use super::super::tls;
use super::permissions::Permissions;
use super::text::{ID, ProgramToken, ProgramTokenTextError};
use crate::owner::{Owner, Who};
use redlink_core::Name;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use subtle::ConstantTimeEq;
use tokio::sync::watch;

/// Tokens that a node has at once (promise P7).
const TOKENS_MAX: usize = 1_000;
/// The longest life of a token that has an end.
const TTL_MAX: Duration = Duration::from_secs(3_650 * 86_400);
/// A clock can be set, and a timer stands still while the machine is suspended: a wait for a moment looks this often.
const RECHECK: Duration = Duration::from_secs(30);

/// A token, just made.
#[derive(Debug, Clone)]
pub struct NewProgramToken {
    /// Its text; this is the only time that it is shown.
    pub token: ProgramToken,
    /// What the list says about it.
    pub info: ProgramTokenInfo,
}

/// What is told about a token: not its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramTokenInfo {
    /// Names it for [`Tokens::revoke`].
    pub id: String,
    /// Whose it is.
    pub program: Name,
    /// What that may do with it.
    pub permissions: Arc<Permissions>,
    /// When it was made.
    pub created: SystemTime,
    /// When it ends; none if it has no end.
    pub expires: Option<SystemTime>,
    /// When it was shown last, since the node started.
    pub last_used: Option<SystemTime>,
}

/// A token can't be made, or the directory can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ProgramTokenError {
    /// It would live too short or too long.
    #[error("a program's token lives from 1s to {}d", TTL_MAX.as_secs() / 86_400)]
    Ttl,
    /// It would be good for nothing.
    #[error(
        "a program's token without any permission is of no use: name services to produce to or consume from"
    )]
    Nothing,
    /// There are too many.
    #[error("this node has {TOKENS_MAX} program tokens, and takes no more; revoke those that are not used")]
    Full,
    /// A file can't be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// No random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(#[from] rustls::Error),
}

/// A token lets nobody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProgramTokenRefused {
    /// It is no token at all.
    #[error(transparent)]
    Text(#[from] ProgramTokenTextError),
    /// It is another node's, or was revoked.
    #[error("the token is not known here: it was revoked, or is another node's")]
    Unknown,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
}

/// A token's file.
#[derive(Serialize, Deserialize)]
struct Stored {
    program: Name,
    #[serde(flatten)]
    permissions: Permissions,
    /// SHA-256 of the secret, in hex digits.
    hash: String,
    /// Seconds since the Unix epoch.
    created: u64,
    expires: Option<u64>,
}

struct Known {
    program: Name,
    owner: Owner,
    permissions: Arc<Permissions>,
    hash: [u8; 32],
    created: u64,
    expires: Option<u64>,
    /// Zero before the first time.
    last_used: AtomicU64,
    revoked: watch::Sender<bool>,
}

/// Lets a program in, as long as its token or certificate lasts.
#[derive(Clone)]
pub struct Pass {
    /// The program.
    pub who: Who,
    /// What it may do.
    pub permissions: Arc<Permissions>,
    revoked: Option<watch::Receiver<bool>>,
    expires: Option<SystemTime>,
}

impl Pass {
    /// The administrator's, which does not end.
    pub fn administrator() -> Self {
        Self {
            who: Who::ADMINISTRATOR,
            permissions: Arc::new(Permissions::ALL),
            revoked: None,
            expires: None,
        }
    }

    /// A certificate's, which ends with it.
    pub fn certified(program: &Name, permissions: Arc<Permissions>, until: SystemTime) -> Self {
        Self {
            who: Who {
                owner: Owner::Program(program.as_str().into()),
                administers: permissions.administer,
            },
            permissions,
            revoked: None,
            expires: Some(until),
        }
    }

    /// Waits until it is good no more; for ever, if it has no end.
    pub async fn over(self) -> ProgramTokenRefused {
        tokio::select! {
            () = revocation(self.revoked) => ProgramTokenRefused::Unknown,
            () = expiry(self.expires) => ProgramTokenRefused::Expired,
        }
    }
}

async fn revocation(revoked: Option<watch::Receiver<bool>>) {
    match revoked {
        // A sender that is gone went with its token.
        Some(mut revoked) => drop(revoked.wait_for(|revoked| *revoked).await),
        None => std::future::pending().await,
    }
}

async fn expiry(at: Option<SystemTime>) {
    match at {
        Some(at) => {
            while let Ok(left) = at.duration_since(SystemTime::now()) {
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(RECHECK)).await;
            }
        }
        None => std::future::pending().await,
    }
}

/// The tokens of a node, and their directory.
pub struct Tokens {
    dir: PathBuf,
    known: RwLock<HashMap<[u8; ID], Arc<Known>>>,
    /// Held by whoever changes the directory.
    writing: Mutex<()>,
}

impl Tokens {
    /// Reads what earlier lives have given out.
    pub(super) fn open(dir: &Path) -> Result<Self, ProgramTokenError> {
        let dir = dir.join("program-tokens");
        files::make_directory(&dir)?;
        let mut known = HashMap::new();
        for entry in fs::read_dir(&dir).map_err(files::at("read", &dir))? {
            let name = entry.map_err(files::at("read", &dir))?.file_name();
            // What is not a token's file, such as a temporary one of a life that was cut short, is passed over.
            let Some(id) = name.to_str().and_then(id_of_file) else {
                continue;
            };
            let bytes = files::read_secret(&dir, &file_of_id(&id))?.unwrap_or_default();
            match read(&bytes) {
                Some(token) => drop(known.insert(id, Arc::new(token))),
                // Nobody gets in by it.
                None => {
                    tracing::warn!(file = %dir.join(&name).display(), "this is no program's token; it is passed over");
                }
            }
        }
        Ok(Self {
            dir,
            known: RwLock::new(known),
            writing: Mutex::new(()),
        })
    }

    /// Makes a token, without an end if `ttl` is none. It is on disk when this returns.
    ///
    /// # Errors
    /// It would be of no use, there are too many, or the disk refuses.
    pub fn create(
        &self,
        program: &Name,
        permissions: Permissions,
        ttl: Option<Duration>,
        now: SystemTime,
    ) -> Result<NewProgramToken, ProgramTokenError> {
        if ttl.is_some_and(|ttl| ttl < Duration::from_secs(1) || ttl > TTL_MAX) {
            return Err(ProgramTokenError::Ttl);
        }
        if permissions.is_nothing() {
            return Err(ProgramTokenError::Nothing);
        }
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.sweep(now)?;
        if self.all().len() >= TOKENS_MAX {
            return Err(ProgramTokenError::Full);
        }
        let token = ProgramToken {
            id: super::random()?,
            secret: super::random()?,
        };
        let stored = Stored {
            program: program.clone(),
            permissions,
            hash: hex(&tls::sha256(&token.secret)),
            created: seconds(now),
            expires: ttl.map(|ttl| seconds(now + ttl)),
        };
        // Names, patterns, texts and numbers: this can't fail.
        let json = serde_json::to_vec(&stored).unwrap_or_default();
        files::write_private(&self.dir, &file_of_id(&token.id), &json)?;
        let known = Arc::new(known(stored, tls::sha256(&token.secret)));
        let info = info(&token.id, &known);
        self.change().insert(token.id, known);
        Ok(NewProgramToken { token, info })
    }

    /// Who shows this token. A wrong one is refused in the same time, however near it is.
    ///
    /// # Errors
    /// It is none, or none that counts.
    pub fn check(&self, text: &str, now: SystemTime) -> Result<Pass, ProgramTokenRefused> {
        let token: ProgramToken = text.parse()?;
        let found = self.read().get(&token.id).cloned();
        let found = found.ok_or(ProgramTokenRefused::Unknown)?;
        if !bool::from(found.hash.ct_eq(&tls::sha256(&token.secret))) {
            return Err(ProgramTokenRefused::Unknown);
        }
        if found.is_over(now) {
            return Err(ProgramTokenRefused::Expired);
        }
        found.last_used.store(seconds(now), Ordering::Relaxed);
        Ok(Pass {
            who: Who {
                owner: found.owner.clone(),
                administers: found.permissions.administer,
            },
            permissions: found.permissions.clone(),
            revoked: Some(found.revoked.subscribe()),
            expires: found.expires.map(moment),
        })
    }

    /// All tokens, by program and age.
    pub fn list(&self) -> Vec<ProgramTokenInfo> {
        let mut list: Vec<_> = self.all().iter().map(|(id, known)| info(id, known)).collect();
        list.sort_by(|a, b| (&a.program, a.created, &a.id).cmp(&(&b.program, b.created, &b.id)));
        list
    }

    /// Ends a token, for requests that wait too; false if there is none of this id. When this returns no crash brings it
    /// back.
    ///
    /// # Errors
    /// The disk refuses; it counts still.
    pub fn revoke(&self, id: &str) -> Result<bool, FileError> {
        let Some(id) = id_of(id) else { return Ok(false) };
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.read().contains_key(&id) {
            return Ok(false);
        }
        self.remove(&id)?;
        Ok(true)
    }

    fn sweep(&self, now: SystemTime) -> Result<(), FileError> {
        for (id, known) in self.all() {
            if known.is_over(now) {
                self.remove(&id)?;
            }
        }
        Ok(())
    }

    fn remove(&self, id: &[u8; ID]) -> Result<(), FileError> {
        files::remove(&self.dir, &file_of_id(id))?;
        if let Some(known) = self.change().remove(id) {
            known.revoked.send_replace(true);
        }
        Ok(())
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<[u8; ID], Arc<Known>>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<[u8; ID], Arc<Known>>> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> Vec<([u8; ID], Arc<Known>)> {
        self.read()
            .iter()
            .map(|(id, known)| (*id, known.clone()))
            .collect()
    }
}

impl Known {
    fn is_over(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|at| at <= seconds(now))
    }
}

fn known(stored: Stored, hash: [u8; 32]) -> Known {
    Known {
        owner: Owner::Program(stored.program.as_str().into()),
        program: stored.program,
        permissions: Arc::new(stored.permissions),
        hash,
        created: stored.created,
        expires: stored.expires,
        last_used: AtomicU64::new(0),
        revoked: watch::Sender::new(false),
    }
}

fn read(bytes: &[u8]) -> Option<Known> {
    let stored: Stored = serde_json::from_slice(bytes).ok()?;
    let hash = unhex(&stored.hash)?;
    Some(known(stored, hash))
}

fn info(id: &[u8; ID], known: &Known) -> ProgramTokenInfo {
    let last_used = known.last_used.load(Ordering::Relaxed);
    ProgramTokenInfo {
        id: hex(id),
        program: known.program.clone(),
        permissions: known.permissions.clone(),
        created: moment(known.created),
        expires: known.expires.map(moment),
        last_used: (last_used != 0).then(|| moment(last_used)),
    }
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A file may have been edited by hand: what is no time at all is the beginning.
fn moment(seconds: u64) -> SystemTime {
    UNIX_EPOCH
        .checked_add(Duration::from_secs(seconds))
        .unwrap_or(UNIX_EPOCH)
}

fn file_of_id(id: &[u8; ID]) -> String {
    format!("{}.json", hex(id))
}

fn id_of_file(name: &str) -> Option<[u8; ID]> {
    id_of(name.strip_suffix(".json")?)
}

fn id_of(text: &str) -> Option<[u8; ID]> {
    unhex(text)
}

/// Reads what `hex` wrote, in that one form.
fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if text.len() != 2 * N || !text.bytes().all(lower) {
        return None;
    }
    let mut bytes = [0; N];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
