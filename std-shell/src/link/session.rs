//! One life of a link: reads the peer's frames into the driver until either side ends it.

use super::connect::causes;
use super::frame::{Decoder, Part, Received};
use super::outbox::{CUT, Outbox};
use super::transfer::Job;
use crate::config::PeerPolicy;
use crate::driver::{Handle, Refusal};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body;
use redlink_core::{LinkId, Name};
use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

/// Batches of frames from one link that may wait in the driver. Beyond it the link is not read, so that a peer that
/// sends faster than this node works waits in its own buffers and fills none of ours (P11).
const BATCHES: usize = 4;

/// How long a stream may go on after the one in the other direction broke.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Most frames in one batch.
const BATCH: usize = 64;

/// How a session ended.
#[derive(Debug)]
pub(crate) struct Over {
    pub(crate) why: Arc<str>,
    /// Its stream was cut. Else one of the two nodes ended it.
    pub(crate) broken: bool,
}

fn ended(why: impl Into<Arc<str>>) -> Over {
    Over {
        why: why.into(),
        broken: false,
    }
}

fn broken(why: impl Into<Arc<str>>) -> Over {
    Over {
        why: why.into(),
        broken: true,
    }
}

/// A link that is up: told to the driver, and to be read.
pub(crate) struct Session {
    handle: Handle,
    peer: Name,
    link: LinkId,
    outbox: Outbox,
}

impl Session {
    /// Tells the driver that a connection to a peer is up. The dialling side brings a queue for the large payloads that
    /// it will have to move, and what may pass over the link.
    ///
    /// # Errors
    /// The node has no room for another peer, or is stopping.
    pub(crate) async fn open(
        handle: &Handle,
        peer: Name,
        outbox: Outbox,
        dialled: Option<(mpsc::UnboundedSender<Job>, PeerPolicy)>,
    ) -> Result<Self, Refusal> {
        let link = handle.link_up(peer.clone(), outbox.clone(), dialled).await?;
        Ok(Self {
            handle: handle.clone(),
            peer,
            link,
            outbox,
        })
    }

    /// What feeds the link.
    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Reads until the stream ends, breaks, the driver closes the link, or `end` says why it has to end. Nothing that
    /// comes after that is heard.
    pub(crate) async fn run<B>(self, incoming: B, end: impl Future<Output = Arc<str>>) -> Over
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut reading = pin!(self.read(incoming));
        let over = tokio::select! {
            biased;
            why = end => ended(why),
            over = reading.as_mut() => over,
            why = self.outbox.closed() => match &*why {
                // The other half of the connection tells more, if it ended by itself.
                CUT => timeout(LAST_WORDS, reading).await.unwrap_or_else(|_| broken(why)),
                _ => ended(why),
            },
        };
        self.outbox.close(&over.why);
        self.handle.link_down(self.link, &over.why).await;
        over
    }

    async fn read<B>(&self, mut incoming: B) -> Over
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let batches = Arc::new(Semaphore::new(BATCHES));
        let mut decoder = Decoder::default();
        while let Some(piece) = incoming.frame().await {
            let bytes = match piece {
                Ok(piece) => piece.into_data().unwrap_or_default(),
                Err(error) => return broken(format!("reading failed: {}", causes(&*error.into()))),
            };
            self.outbox.came(bytes.len());
            decoder.extend(&bytes);
            loop {
                let mut batch: Vec<Received> = Vec::new();
                while batch.len() < BATCH {
                    match decoder.next_part() {
                        Ok(Some(Part::Frame(frame))) => batch.push(frame),
                        // Never waits, so no frame does.
                        Ok(Some(Part::Aside(body))) => {
                            let desk = self.handle.desk();
                            desk.heard(&self.handle, &self.peer, &self.outbox, body);
                        }
                        Ok(None) => break,
                        // What came before the break is not given in either: the peer says all of it again.
                        Err(error) => return ended(format!("the peer's stream is broken: {error}")),
                    }
                }
                if batch.is_empty() {
                    break;
                }
                let Ok(permit) = batches.clone().acquire_owned().await else {
                    return ended("closed");
                };
                if self.handle.frames(self.link, batch, permit).await.is_err() {
                    return ended("this node stopped");
                }
            }
        }
        if decoder.is_empty() {
            ended("the peer closed it")
        } else {
            broken("the peer's stream was cut in a frame")
        }
    }
}
