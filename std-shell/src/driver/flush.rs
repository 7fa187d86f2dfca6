//! Flush: an operator cancels what waits.

use super::command::Command;
use super::handle::Handle;
use super::info::MessageInfo;
use super::pages::Wanted;
use super::refusal::Refusal;
use crate::owner::Who;
use futures_util::StreamExt;
use redlink_core::{Cursor, MessageId, RESERVED};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Messages that are cancelled at once.
const ABREAST: usize = 256;

/// What a flush did, or would do.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Flushed {
    /// Messages that were cancelled, or would be.
    pub count: u64,
    /// There are more for another call.
    pub more: bool,
    /// Nothing was done, only counted.
    pub dry_run: bool,
}

impl Handle {
    /// Cancels up to `max` messages that have no outcome, of one service or of all; with `dry_run` it counts them only,
    /// all of them. When this returns, their outcomes are on disk, so that each producer learns of it (P2). A message
    /// that ends otherwise meanwhile is not counted.
    ///
    /// # Errors
    /// The node has stopped, or its store can't write.
    pub async fn flush(&self, max: usize, service: Option<&str>, dry_run: bool) -> Result<Flushed, Refusal> {
        let mut flushed = Flushed {
            dry_run,
            ..Flushed::default()
        };
        let mut ids: Vec<MessageId> = Vec::new();
        let wanted = Wanted {
            service: service.map(str::to_owned),
            state: Some("open".to_owned()),
        };
        let mut from = Some(Cursor::default());
        // Piece by piece, as lists are read (P11).
        while let Some(cursor) = from {
            let make = |answer| Command::Messages {
                who: Who::ADMINISTRATOR,
                wanted: wanted.clone(),
                max: 0,
                from: cursor,
                answer,
            };
            let (page, next) = self.look(make).await.ok_or(Refusal::Stopped)?;
            let ours = |message: &&MessageInfo| !message.service.starts_with(RESERVED);
            for message in page.iter().filter(ours) {
                match (dry_run, ids.len() < max) {
                    (true, _) => flushed.count += 1,
                    (false, true) => ids.extend(message.id.parse::<MessageId>().ok()),
                    (false, false) => flushed.more = true,
                }
            }
            from = next.filter(|_| !flushed.more);
        }
        let mut cancels =
            futures_util::stream::iter(ids.into_iter().map(|id| self.cancel(id))).buffered(ABREAST);
        let mut failed = None;
        while let Some(result) = cancels.next().await {
            match result {
                Ok(()) => flushed.count += 1,
                // Another outcome was faster.
                Err(Refusal::State | Refusal::Unknown) => {}
                Err(refusal) => failed = Some(refusal),
            }
        }
        match failed {
            Some(refusal) if flushed.count == 0 => Err(refusal),
            _ => Ok(flushed),
        }
    }
}
