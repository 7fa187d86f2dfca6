//! Calls of many at once, as batches with lengths in front: payloads go as they are.

use super::calls::{Given, Submission, Taken, consumer_path};
use super::error::{Error, Problem};
use super::transport::{Answer, Client, Request};
use crate::Content;
use crate::batch::{self, Decoder, Entry, FRAMED, Format, Limits};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Longest payload in an answer. A node sends links instead of longer ones; another program might not.
const PAYLOAD_MAX: u64 = 1 << 20;

/// What a consumer says of a delivery.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The path that came with it.
    pub delivery: String,
    /// `reply`, `ack`, `fail`, `extend` or `release`.
    pub verb: &'static str,
    /// What the payload is said to be.
    pub content_type: Option<String>,
    /// Payload of a reply, text of a failure.
    pub payload: Bytes,
}

/// What an exchange brought.
#[derive(Debug)]
pub struct Exchanged {
    /// What became of each verdict, in order; then why nothing was taken, if something was wrong with that.
    pub results: Vec<Result<(), Problem>>,
    /// The next messages.
    pub taken: Vec<Taken>,
}

/// An outcome that waits to be collected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uncollected {
    /// The message.
    pub id: String,
    /// `replied`, `delivered`, `failed`, `expired`, `dead` or `cancelled`.
    pub outcome: String,
    /// It ended as its producer hoped.
    pub good: bool,
    /// What the payload is said to be.
    pub content_type: Option<String>,
    /// The reply, or the text of the failure; none if it is long, and at `link`.
    pub payload: Bytes,
    /// Where a long one is.
    pub link: Option<String>,
    /// What its producer wanted back with it.
    pub preserved: Option<Bytes>,
}

impl Client {
    /// Submits many messages; what became of each, in order. Those that are accepted are on disk when this returns (promise
    /// P1).
    ///
    /// # Errors
    /// The whole batch was refused, or there was no answer; after [`Error::Broken`] any of them may have been accepted.
    pub async fn submit_many(
        &self,
        submissions: &[Submission],
    ) -> Result<Vec<Result<Given, Problem>>, Error> {
        let mut body = Vec::new();
        for submission in submissions {
            let (head, content) = entry(submission);
            self.encode(&head, Some(&content), &mut body)?;
        }
        let request = Request::new(Method::POST, "/v1/messages")
            .header("content-type", FRAMED)
            .header("accept", FRAMED)
            .body(body.into());
        let answer = self.request(request).await?;
        let entries = self.entries(&answer)?.into_iter();
        let results: Vec<_> = entries
            .map(|entry| self.result(entry))
            .collect::<Result<_, _>>()?;
        match results.len() == submissions.len() {
            true => Ok(results),
            false => Err(self.puzzle(format!(
                "{} results for {} entries",
                results.len(),
                submissions.len()
            ))),
        }
    }

    /// Answers deliveries and takes up to `max` messages in one round trip. With a number, which each time is a higher one,
    /// the same can be asked again where the answer was lost.
    ///
    /// # Errors
    /// It was refused, or there was no answer.
    pub async fn exchange_deliveries(
        &self,
        (service, consumer): (&str, &str),
        number: Option<u64>,
        verdicts: &[Verdict],
        max: u16,
        wait: Duration,
    ) -> Result<Exchanged, Error> {
        let mut body = Vec::new();
        for verdict in verdicts {
            let head = json!({"delivery": verdict.delivery, "verb": verdict.verb});
            let content = Content {
                origin: None,
                trace_context: None,
                content_type: verdict.content_type.as_deref().map(Into::into),
                bytes: verdict.payload.clone(),
            };
            self.encode(&head, Some(&content), &mut body)?;
        }
        let path = format!("{}/exchange?max={max}", consumer_path(service, consumer));
        let mut request = Request::new(Method::POST, path)
            .header("content-type", FRAMED)
            .header("accept", FRAMED)
            .body(body.into())
            .waiting(wait);
        if let Some(number) = number {
            request = request.header("redlink-exchange", number.to_string());
        }
        let answer = self.request(request).await?;
        let mut entries = self.entries(&answer)?.into_iter();
        let mut results = Vec::with_capacity(verdicts.len());
        for entry in entries.by_ref().take(verdicts.len()) {
            results.push(self.settled(entry)?);
        }
        let mut taken = Vec::new();
        for entry in entries {
            match entry.members.contains_key("message") {
                true => taken.push(self.taken(entry).await?),
                false => results.push(self.settled(entry)?),
            }
        }
        Ok(Exchanged { results, taken })
    }

    /// Outcomes under a producer's name that were not collected yet, oldest message first; none if there are none in time.
    /// Those in `received` are collected first: they are not told again.
    ///
    /// # Errors
    /// It was refused, or there was no answer; then what was received may be said again.
    pub async fn outcomes(
        &self,
        producer: &str,
        received: &[String],
        max: u16,
        wait: Duration,
    ) -> Result<Vec<Uncollected>, Error> {
        let path = format!("/v1/producers/{producer}/outcomes?max={max}");
        let mut request = Request::new(Method::POST, path)
            .header("accept", FRAMED)
            .waiting(wait);
        if !received.is_empty() {
            request = request
                .header("content-type", "application/json")
                .body(json!(received).to_string().into());
        }
        let answer = self.request(request).await?;
        let entries = self.entries(&answer)?.into_iter();
        entries.map(|entry| self.uncollected(entry)).collect()
    }

    fn uncollected(&self, entry: Entry) -> Result<Uncollected, Error> {
        let must = |name: &str| {
            let text = entry.text(name).map(str::to_owned);
            text.ok_or_else(|| self.puzzle(format!("an outcome without {name}")))
        };
        let good = !entry.members.contains_key("type");
        let detail = entry.text("detail").unwrap_or_default();
        let link = entry.text("payload").map(str::to_owned);
        if link.as_ref().is_some_and(|link| !link.starts_with('/')) {
            return Err(self.puzzle("a payload's link is no path".into()));
        }
        let preserved = entry.text("preserved").map(|text| STANDARD.decode(text));
        let preserved = preserved
            .transpose()
            .map_err(|e| self.puzzle(format!("`preserved` is no base64: {e}")))?;
        Ok(Uncollected {
            preserved: preserved.map(Bytes::from),
            id: must("id")?,
            outcome: must("outcome")?,
            good,
            content_type: entry.content.content_type.as_deref().map(str::to_owned),
            payload: match good {
                true => entry.content.bytes.clone(),
                false => Bytes::copy_from_slice(detail.as_bytes()),
            },
            link,
        })
    }

    /// A delivery of an answer, its payload got where that is a link.
    async fn taken(&self, entry: Entry) -> Result<Taken, Error> {
        let must = |name: &str| {
            let text = entry.text(name).map(str::to_owned);
            text.ok_or_else(|| self.puzzle(format!("a delivery without {name}")))
        };
        let (delivery, lease) = (must("delivery")?, must("lease")?);
        if !delivery.starts_with('/') {
            return Err(self.puzzle(format!("the delivery {delivery:?} is no path")));
        }
        let payload = match entry.text("payload") {
            None => entry.content.bytes.clone(),
            Some(_) => {
                let path = format!("{delivery}/payload");
                self.request(Request::new(Method::GET, path)).await?.body
            }
        };
        Ok(Taken {
            message: must("message")?,
            attempt: entry
                .members
                .get("attempt")
                .map(Value::to_string)
                .unwrap_or_default(),
            deadline: entry.text("deadline").map(str::to_owned),
            lease: humantime::parse_duration(&lease)
                .map_err(|e| self.puzzle(format!("the lease {lease:?}: {e}")))?,
            send_only: entry.members.get("send_only") == Some(&Value::Bool(true)),
            content_type: entry.content.content_type.as_deref().map(str::to_owned),
            traceparent: entry.text("traceparent").map(str::to_owned),
            tracestate: entry.text("tracestate").map(str::to_owned),
            delivery,
            payload,
        })
    }

    fn settled(&self, entry: Entry) -> Result<Result<(), Problem>, Error> {
        match entry.members.get("status").and_then(Value::as_u64) {
            Some(200..=299) => Ok(Ok(())),
            Some(_) => self.result::<Value>(entry).map(|result| result.map(drop)),
            None => Err(self.puzzle("a result without a status".into())),
        }
    }

    /// What an entry of an answer says of one of the request.
    fn result<T: DeserializeOwned>(&self, entry: Entry) -> Result<Result<T, Problem>, Error> {
        let status = entry.members.get("status").and_then(Value::as_u64);
        let status = status.and_then(|status| u16::try_from(status).ok());
        let refused = entry.members.contains_key("type");
        let document = Value::Object(entry.members);
        match status
            .and_then(|status| StatusCode::from_u16(status).ok())
            .filter(|_| refused)
        {
            Some(status) => Ok(Err(Problem::read(
                status,
                &HeaderMap::new(),
                document.to_string().as_bytes(),
            ))),
            None => serde_json::from_value(document)
                .map(Ok)
                .map_err(|e| self.puzzle(e.to_string())),
        }
    }

    fn entries(&self, answer: &Answer) -> Result<Vec<Entry>, Error> {
        if answer.status == StatusCode::NO_CONTENT {
            return Ok(Vec::new());
        }
        let said = answer.header("content-type").unwrap_or_default();
        let format = batch::of_content_type(said)
            .ok_or_else(|| self.puzzle(format!("`{said}` instead of a batch")))?;
        let mut decoder = Decoder::new(format, Limits::with_payload(PAYLOAD_MAX));
        decoder.push(&answer.body);
        let mut entries = Vec::new();
        loop {
            let next = match decoder.take() {
                Ok(None) => decoder.finish(),
                other => other,
            };
            match next {
                Ok(Some(Ok(entry))) => entries.push(entry),
                Ok(None) => return Ok(entries),
                Ok(Some(Err(fault))) => return Err(self.puzzle(format!("{fault:?}"))),
                Err(broken) => return Err(self.puzzle(broken.to_string())),
            }
        }
    }

    fn encode(&self, head: &Value, content: Option<&Content>, body: &mut Vec<u8>) -> Result<(), Error> {
        batch::encode(Format::Framed, head, content, body).map_err(|e| Error::NotANode {
            named: self.url().to_owned(),
            why: e.to_string(),
        })
    }
}

/// A submission as an entry: headers as members.
fn entry(submission: &Submission) -> (Value, Content) {
    let mut members = Map::new();
    members.insert("service".into(), submission.service.clone().into());
    let mut content_type = None;
    for (name, value) in &submission.headers {
        match *name {
            "content-type" => content_type = Some(value.as_str().into()),
            name => {
                let name = name.strip_prefix("redlink-").unwrap_or(name).replace('-', "_");
                members.insert(name, value.clone().into());
            }
        }
    }
    let content = Content {
        origin: None,
        trace_context: None,
        content_type,
        bytes: submission.payload.clone(),
    };
    (Value::Object(members), content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_submission_is_an_entry_with_its_headers_as_members() {
        let (head, content) = entry(&Submission {
            service: "s".into(),
            headers: vec![
                ("content-type", "text/x".into()),
                ("redlink-max-attempts", "7".into()),
            ],
            payload: "p".into(),
        });
        assert_eq!(head, json!({"service": "s", "max_attempts": "7"}));
        assert_eq!(
            (content.content_type.as_deref(), &content.bytes[..]),
            (Some("text/x"), &b"p"[..])
        );
    }
}
