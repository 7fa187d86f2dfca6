//! The API's calls, one method each.

use super::error::{Error, Problem};
use super::transport::{Answer, Client, Request};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, StatusCode};
use redlink_core::{MessageId, Rate};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::time::{Duration, Instant, SystemTime};

/// Longest wait asked for in one request; longer ones are several, so that a proxy's idle limit ends none of them.
const ONE_WAIT: Duration = Duration::from_secs(30);

/// A message to be submitted.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Addressed to this service.
    pub service: String,
    /// `Content-Type` and the message's terms.
    pub headers: Vec<(&'static str, String)>,
    /// Its bytes.
    pub payload: Bytes,
}

/// What was given to an accepted message.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, Deserialize)]
pub struct Given {
    /// Its id.
    pub id: String,
    /// When its outcome is decided at the latest, RFC 3339; none without an ETT.
    pub deadline: Option<String>,
}

/// A message's outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The message.
    pub id: String,
    /// `replied`, `delivered`, `failed`, `expired`, `dead` or `cancelled`.
    pub outcome: String,
    /// It ended as its producer hoped.
    pub good: bool,
    /// What the payload is said to be.
    pub content_type: Option<String>,
    /// The reply, or the text of the failure.
    pub payload: Bytes,
    /// What its producer wanted back with it.
    pub preserved: Option<Bytes>,
    /// It is still at its node and waits to be collected.
    pub stays: bool,
}

/// An outcome, or none yet.
#[derive(Clone, Debug)]
pub enum Fate {
    /// It ended.
    Settled(Settled),
    /// No outcome yet; the message's id.
    Open(String),
}

/// A delivery, as a consumer holds it.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The path to answer at.
    pub delivery: String,
    /// The message's id.
    pub message: String,
    /// Which attempt this is, from 1.
    pub attempt: String,
    /// When it is too late, RFC 3339.
    pub deadline: Option<String>,
    /// How long it is held without a sign of life.
    pub lease: Duration,
    /// An ack is wanted, not a reply.
    pub send_only: bool,
    /// What the payload is said to be.
    pub content_type: Option<String>,
    /// The distributed trace that its producer sent it in, as its two headers (W3C Trace Context).
    pub traceparent: Option<String>,
    /// What tracing systems added to that.
    pub tracestate: Option<String>,
    /// All of the payload.
    pub payload: Bytes,
}

impl Client {
    /// Submits a message; it is on disk when this returns (promise P1).
    ///
    /// # Errors
    /// It was refused, or there was no answer; after [`Error::Broken`] it may have been accepted all the same.
    pub async fn submit(&self, submission: &Submission) -> Result<Given, Error> {
        let answer = self.request(submit_request(submission)).await?;
        self.read(&answer)
    }

    /// Submits a message and waits for its outcome. An outcome that came with the first answer is collected by that, unless
    /// the message has an idempotency key.
    ///
    /// # Errors
    /// As [`Client::submit`].
    pub async fn call(&self, submission: &Submission, wait: Duration) -> Result<Fate, Error> {
        let until = Instant::now().checked_add(wait);
        let answer = self
            .exchange(submit_request(submission).waiting(wait.min(ONE_WAIT)))
            .await?;
        let keyed = submission
            .headers
            .iter()
            .any(|(name, _)| *name == "idempotency-key");
        match self.fate(answer, keyed)? {
            Fate::Open(id) => {
                let left = until.map_or(wait, |until| until.saturating_duration_since(Instant::now()));
                match left.is_zero() {
                    true => Ok(Fate::Open(id)),
                    false => {
                        let id = id.parse().map_err(|e| self.puzzle(format!("{id:?} is {e}")))?;
                        self.outcome(id, left).await
                    }
                }
            }
            settled => Ok(settled),
        }
    }

    /// A message's outcome, waited for; it stays to be collected.
    ///
    /// # Errors
    /// There is no such message, or no answer.
    pub async fn outcome(&self, id: MessageId, wait: Duration) -> Result<Fate, Error> {
        let until = Instant::now().checked_add(wait);
        loop {
            let left = until.map_or(wait, |until| until.saturating_duration_since(Instant::now()));
            let request = Request::new(Method::GET, format!("/v1/messages/{id}/outcome"));
            match self.fate(self.exchange(request.waiting(left.min(ONE_WAIT))).await?, true)? {
                Fate::Open(_) if left > ONE_WAIT => {}
                other => return Ok(other),
            }
        }
    }

    /// Says that an outcome was received: its node may forget it.
    ///
    /// # Errors
    /// There is none, or no answer.
    pub async fn collect(&self, id: MessageId) -> Result<(), Error> {
        self.request(Request::new(Method::DELETE, format!("/v1/messages/{id}/outcome")))
            .await
            .map(drop)
    }

    /// Takes a message back.
    ///
    /// # Errors
    /// It is over already, or unknown, or there was no answer.
    pub async fn cancel(&self, id: MessageId) -> Result<(), Error> {
        self.request(Request::new(Method::DELETE, format!("/v1/messages/{id}")))
            .await
            .map(drop)
    }

    /// Reads one of the node's JSON documents.
    ///
    /// # Errors
    /// It was refused, there was no answer, or one of another shape.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let answer = self.request(Request::new(Method::GET, path)).await?;
        self.read(&answer)
    }

    /// Sends a JSON document and reads one.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        document: &serde_json::Value,
    ) -> Result<T, Error> {
        let request = Request::new(Method::POST, path)
            .header("content-type", "application/json")
            .body(document.to_string().into());
        let answer = self.request(request).await?;
        self.read(&answer)
    }

    /// Deletes what is at a path.
    ///
    /// # Errors
    /// It was refused, or there was no answer.
    pub async fn delete(&self, path: &str) -> Result<(), Error> {
        self.request(Request::new(Method::DELETE, path)).await.map(drop)
    }

    /// Registers a consumer, or changes what it is registered with.
    ///
    /// # Errors
    /// It was refused, or there was no answer.
    pub async fn register(
        &self,
        service: &str,
        consumer: &str,
        limit: u16,
        lease: Option<Duration>,
        rate: Option<Rate>,
    ) -> Result<(), Error> {
        let mut document = serde_json::json!({ "limit": limit });
        if let Some(lease) = lease {
            document["lease"] = format!("{}ms", lease.as_millis()).into();
        }
        if let Some(rate) = rate {
            document["rate"] = rate.to_string().into();
        }
        let request = Request::new(Method::PUT, consumer_path(service, consumer))
            .header("content-type", "application/json")
            .body(document.to_string().into());
        self.request(request).await.map(drop)
    }

    /// Unregisters a consumer.
    ///
    /// # Errors
    /// It is unknown, or there was no answer.
    pub async fn unregister(&self, service: &str, consumer: &str) -> Result<(), Error> {
        self.request(Request::new(Method::DELETE, consumer_path(service, consumer)))
            .await
            .map(drop)
    }

    /// Takes a message and receives all of its payload; none if there is none in time. A dropped future gives back what was on its way.
    ///
    /// # Errors
    /// It was refused, or there was no answer or half of one; the node gives the message to another then.
    pub async fn take(&self, service: &str, consumer: &str, wait: Duration) -> Result<Option<Taken>, Error> {
        let path = format!("{}/take", consumer_path(service, consumer));
        let answer = self
            .request(Request::new(Method::POST, path).waiting(wait))
            .await?;
        if answer.status == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        let must = |name: &str| {
            answer
                .header(name)
                .map(str::to_owned)
                .ok_or_else(|| self.puzzle(format!("a take without {name}")))
        };
        let delivery = must("redlink-delivery")?;
        if !delivery.starts_with('/') {
            return Err(self.puzzle(format!("the delivery {delivery:?} is no path")));
        }
        let lease = must("redlink-lease")?;
        Ok(Some(Taken {
            delivery,
            message: must("redlink-message")?,
            attempt: must("redlink-attempt")?,
            deadline: answer.header("redlink-deadline").map(str::to_owned),
            lease: humantime::parse_duration(&lease)
                .map_err(|e| self.puzzle(format!("the lease {lease:?}: {e}")))?,
            send_only: answer.header("redlink-send-only") == Some("true"),
            content_type: answer.header("content-type").map(str::to_owned),
            traceparent: answer.header("traceparent").map(str::to_owned),
            tracestate: answer.header("tracestate").map(str::to_owned),
            payload: answer.body,
        }))
    }

    /// Answers a delivery with `reply`, `ack`, `fail`, `extend` or `release`.
    ///
    /// # Errors
    /// It no longer counts (409, 410, 404), it was refused otherwise, or there was no answer.
    pub async fn answer(
        &self,
        delivery: &str,
        verb: &str,
        content_type: Option<&str>,
        payload: Bytes,
    ) -> Result<(), Error> {
        let mut request = Request::new(Method::POST, format!("{delivery}/{verb}")).body(payload);
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        self.request(request).await.map(drop)
    }

    /// What an answer to a waited submit or a look at an outcome says.
    fn fate(&self, answer: Answer, stays: bool) -> Result<Fate, Error> {
        let status = answer.status;
        if status == StatusCode::ACCEPTED {
            #[derive(Deserialize)]
            struct Open {
                id: String,
            }
            return self.read(&answer).map(|Open { id }| Fate::Open(id));
        }
        let said = answer
            .header("redlink-outcome")
            .zip(answer.header("redlink-message"));
        let Some((outcome, id)) = said.map(|(outcome, id)| (outcome.to_owned(), id.to_owned())) else {
            return Err(match status.is_client_error() || status.is_server_error() {
                true => Error::Refused(Problem::read(status, &answer.headers, &answer.body)),
                false => self.puzzle(format!("status {status} for an outcome")),
            });
        };
        let good = status == StatusCode::OK;
        let content_type = answer.header("content-type").map(str::to_owned);
        let preserved = answer.header("redlink-preserved");
        let preserved = preserved
            .map(|text| STANDARD.decode(text))
            .transpose()
            .map_err(|e| self.puzzle(format!("redlink-preserved is no base64: {e}")))?
            .map(Bytes::from);
        Ok(Fate::Settled(match good {
            true => Settled {
                id,
                outcome,
                good,
                content_type,
                payload: answer.body,
                preserved,
                stays,
            },
            false => {
                let text = Problem::read(status, &answer.headers, &answer.body)
                    .detail
                    .unwrap_or_default();
                Settled {
                    id,
                    outcome,
                    good,
                    content_type: None,
                    payload: text.into(),
                    preserved,
                    stays,
                }
            }
        }))
    }

    /// An answer's JSON document.
    ///
    /// # Errors
    /// It is of another shape.
    pub fn read<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, Error> {
        serde_json::from_slice(&answer.body).map_err(|e| self.puzzle(e.to_string()))
    }

    pub(super) fn puzzle(&self, why: String) -> Error {
        Error::Puzzling {
            url: self.url().to_owned(),
            why,
        }
    }
}

fn submit_request(submission: &Submission) -> Request {
    let path = format!("/v1/services/{}/messages", submission.service);
    let request = Request::new(Method::POST, path).body(submission.payload.clone());
    submission.headers.iter().fold(request, |request, (name, value)| {
        request.header(name, value.clone())
    })
}

pub(super) fn consumer_path(service: &str, consumer: &str) -> String {
    format!("/v1/services/{service}/consumers/{consumer}")
}

impl Taken {
    /// How long until it is too late, by this machine's clock.
    pub fn remaining(&self) -> Option<Duration> {
        let deadline = humantime::parse_rfc3339(self.deadline.as_deref()?).ok()?;
        Some(deadline.duration_since(SystemTime::now()).unwrap_or_default())
    }
}
