//! The API's calls, one method each.

use super::error::Error;
use super::transport::{Answer, Client, Request};
use bytes::Bytes;
use http::{Method, StatusCode};
use redlink_core::MessageId;
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

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The reply; or nothing, for a send-only message that was delivered.
    Good,
    /// `failed`, `expired`, `dead` or `cancelled`.
    Bad(String),
}

/// A message's outcome.
#[derive(Clone, Debug)]
pub struct Collected {
    /// The message.
    pub id: Option<String>,
    /// How it ended.
    pub verdict: Verdict,
    /// What the payload is said to be.
    pub content_type: Option<String>,
    /// The reply, or the text of the failure.
    pub payload: Bytes,
}

/// An outcome, or none yet.
#[derive(Clone, Debug)]
pub enum Fate {
    /// It ended.
    Settled(Collected),
    /// No outcome yet.
    Open(Option<String>),
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
    /// All of the payload.
    pub payload: Bytes,
}

/// What one look for an answer found.
#[derive(Clone, Debug)]
pub enum Found {
    /// The message's delivery.
    Message(Box<Taken>),
    /// Nothing in time.
    Nothing,
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

    /// Submits a message and waits for its outcome, which is collected by that.
    ///
    /// # Errors
    /// As [`Client::submit`].
    pub async fn call(&self, submission: &Submission, wait: Duration) -> Result<Fate, Error> {
        let until = Instant::now().checked_add(wait);
        let answer = self
            .exchange(submit_request(submission).waiting(wait.min(ONE_WAIT)))
            .await?;
        match self.fate(answer)? {
            Fate::Open(Some(id)) => {
                let left = until.map_or(wait, |until| until.saturating_duration_since(Instant::now()));
                let id: MessageId = id.parse().map_err(|e| self.puzzle(format!("{id:?} is {e}")))?;
                let fate = match left.is_zero() {
                    true => Fate::Open(Some(id.to_string())),
                    false => self.outcome(id, left).await?,
                };
                if matches!(fate, Fate::Settled(_)) {
                    self.collect(id).await?;
                }
                Ok(fate)
            }
            other => Ok(other),
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
            match self.fate(self.exchange(request.waiting(left.min(ONE_WAIT))).await?)? {
                Fate::Open(_) if left > ONE_WAIT => {}
                Fate::Open(_) => return Ok(Fate::Open(Some(id.to_string()))),
                settled => return Ok(settled),
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
    ) -> Result<(), Error> {
        let mut document = serde_json::json!({ "limit": limit });
        if let Some(lease) = lease {
            document["lease"] = format!("{}ms", lease.as_millis()).into();
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

    /// Takes a message and receives all of its payload. A dropped future gives back what was on its way.
    ///
    /// # Errors
    /// It was refused, or there was no answer or half of one; the node gives the message to another then.
    pub async fn take(&self, service: &str, consumer: &str, wait: Duration) -> Result<Found, Error> {
        let path = format!("{}/take", consumer_path(service, consumer));
        let answer = self
            .request(Request::new(Method::POST, path).waiting(wait))
            .await?;
        if answer.status == StatusCode::NO_CONTENT {
            return Ok(Found::Nothing);
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
        Ok(Found::Message(Box::new(Taken {
            delivery,
            message: must("redlink-message")?,
            attempt: must("redlink-attempt")?,
            deadline: answer.header("redlink-deadline").map(str::to_owned),
            lease: humantime::parse_duration(&lease)
                .map_err(|e| self.puzzle(format!("the lease {lease:?}: {e}")))?,
            send_only: answer.header("redlink-send-only") == Some("true"),
            content_type: answer.header("content-type").map(str::to_owned),
            payload: answer.body,
        })))
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
    fn fate(&self, answer: Answer) -> Result<Fate, Error> {
        let id = answer.header("redlink-message").map(str::to_owned);
        let outcome = answer.header("redlink-outcome").map(str::to_owned);
        let verdict = match (answer.status, outcome) {
            (StatusCode::OK | StatusCode::NO_CONTENT, _) => Verdict::Good,
            (StatusCode::FAILED_DEPENDENCY, Some(outcome)) => Verdict::Bad(outcome),
            (StatusCode::ACCEPTED, _) => {
                let given: Option<Given> = serde_json::from_slice(&answer.body).ok();
                return Ok(Fate::Open(given.map(|given| given.id).or(id)));
            }
            (status, _) if status.is_client_error() || status.is_server_error() => {
                return Err(Error::Refused(super::Problem::read(
                    status,
                    &answer.headers,
                    &answer.body,
                )));
            }
            (status, _) => return Err(self.puzzle(format!("status {status} for an outcome"))),
        };
        let content_type = answer.header("content-type").map(str::to_owned);
        Ok(Fate::Settled(Collected {
            id,
            verdict,
            content_type,
            payload: answer.body,
        }))
    }

    fn read<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, Error> {
        serde_json::from_slice(&answer.body).map_err(|e| self.puzzle(e.to_string()))
    }

    fn puzzle(&self, why: String) -> Error {
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

fn consumer_path(service: &str, consumer: &str) -> String {
    format!("/v1/services/{service}/consumers/{consumer}")
}

impl Taken {
    /// How long until it is too late, by this machine's clock.
    pub fn remaining(&self) -> Option<Duration> {
        let deadline = humantime::parse_rfc3339(self.deadline.as_deref()?).ok()?;
        Some(deadline.duration_since(SystemTime::now()).unwrap_or_default())
    }
}
