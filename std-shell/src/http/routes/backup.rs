//! A backup, streamed.

use super::super::{Kind, Node, Problem};
use super::{NoQuery, build};
use crate::backup;
use crate::driver::Refusal;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use std::io::{self, Write};
use std::time::Duration;
use tokio::sync::mpsc;

/// Pieces of this size go out, and so many of them wait.
const PIECE: usize = 64 * 1024;
const WAITING: usize = 8;
/// A reader that takes nothing for this long is given up: the copy takes room on the disk.
const STALL: Duration = Duration::from_secs(60);

/// `POST /v1/backup`
#[utoipa::path(
    post,
    path = "/v1/backup",
    tag = "node",
    summary = "Back the node up",
    description = "A tar file with all that the node keeps, secrets too, as of one moment; work goes on meanwhile. It ends with an entry `end`. `redlink restore` makes a node of it.",
    responses((status = 200, description = "The file, as it is made.", body = Vec<u8>, content_type = "application/x-tar")),
)]
pub(super) async fn backup(State(node): State<Node>, _: NoQuery) -> Result<Response, Problem> {
    let Some(turn) = node.handle.backup_turn() else {
        return Err(Problem::new(
            Kind::BackupBusy,
            "Another backup is being made; one at a time.",
        ));
    };
    let snapshot = node.handle.snapshot().await.map_err(|refusal| match refusal {
        Refusal::Disk => Problem::new(
            Kind::DiskFull,
            "A backup needs as much free room on the node's disk as its database has, and there is not so much.",
        ),
        other => other.into(),
    })?;
    let (pieces, mut made) = mpsc::channel(WAITING);
    let (identity, id) = (node.identity.clone(), node.handle.node().to_string());
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let mut to = Pieces {
            to: pieces,
            piece: Vec::with_capacity(PIECE),
        };
        let result = backup::write(&snapshot, &identity, id, &mut to).and_then(|()| to.flush());
        if let Err(error) = result {
            tracing::warn!(%error, "a backup broke off");
            // So that nobody takes half of it for the whole.
            let _ = to.to.blocking_send(Err(error));
        }
    });
    let pieces = futures_util::stream::poll_fn(move |context| made.poll_recv(context));
    let head = Response::builder()
        .status(StatusCode::OK)
        .header(CONTENT_TYPE, "application/x-tar");
    build(head, Body::from_stream(pieces))
}

/// Takes what is written to the answer's body.
struct Pieces {
    to: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        let send = self.to.send_timeout(Ok(piece.into()), STALL);
        let sent = tokio::runtime::Handle::current().block_on(send);
        sent.map_err(|_| io::Error::other("its reader has gone, or takes nothing any more"))
    }
}
