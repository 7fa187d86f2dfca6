//! Consumers: answers in, next messages out, in one round trip.

use super::super::batch::{self, Answer};
use super::super::exchanges::{Begun, Exchanges, Key, Task};
use super::super::headers::{self, EXCHANGE};
use super::super::options::Options;
use super::super::query::{self, In, With};
use super::super::{Kind, Node, Problem, auth};
use super::consumers::{names, refused};
use super::hand_out::{DELIVERIES, Pending, Told};
use super::{bad_name, build, deliveries, empty};
use crate::Content;
use crate::batch::{ANSWER_MAX, ENTRIES_MAX, Entry, Format, PAYLOAD_MAX};
use crate::driver::{Answering, Delivery, Handle};
use crate::trust::programs::Pass;
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use redlink_core::{GrantToken, Name, Verb};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use utoipa::IntoParams;

/// Members of an answer that are not its payload.
const MEMBERS: &[&str] = &["delivery", "verb"];

/// `?max=&wait=`
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ExchangeQuery {
    /// How many messages at most.
    #[param(minimum = 0, maximum = 1024, default = 1)]
    max: Option<u16>,
    /// How long to wait for one: a duration such as `30s`, at most `1h`.
    #[param(example = "30s")]
    wait: Option<String>,
}

/// What became of one answer of a consumer.
#[derive(Clone, Debug, Serialize)]
struct Verdict {
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery: Option<String>,
    status: u16,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    urn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl Verdict {
    fn of(delivery: Option<String>, problem: Option<&Problem>) -> Self {
        Self {
            delivery,
            status: problem
                .map_or(StatusCode::NO_CONTENT, |problem| problem.kind().status())
                .as_u16(),
            urn: problem.map(|problem| problem.kind().urn()),
            title: problem.map(|problem| problem.kind().title()),
            detail: problem.map(|problem| problem.detail().to_owned()),
        }
    }
}

/// What an exchange came to, without the payloads: what a repeated one tells again.
#[derive(Debug)]
pub(in crate::http) struct Record {
    verdicts: Vec<Verdict>,
    deliveries: Vec<(GrantToken, Told)>,
    /// Why nothing was taken.
    failed: Option<Problem>,
    /// The longest lease of its deliveries.
    lease: Duration,
}

impl Record {
    /// How long it may be asked for again.
    pub(in crate::http) fn lease(&self) -> Duration {
        self.lease
    }
}

/// What a consumer wants.
struct Exchange {
    node: Node,
    handle: Handle,
    pass: Pass,
    service: Name,
    consumer: String,
    max: u16,
    wait: Duration,
}

/// `POST …/consumers/{consumer}/exchange?max=&wait=`
///
/// Without a number it is a take: the future is dropped when the client goes, and what the client has not got goes back at
/// once. With one, it goes on without its client, who may ask for the answer again.
#[utoipa::path(
    post,
    path = "/v1/services/{service}/consumers/{consumer}/exchange",
    tag = "consumers",
    summary = "Answer deliveries and take the next messages",
    description = "Answers as soon as there is a message, or when the wait is over; all answers to deliveries are carried out \
        before.",
    params(("service" = String, Path, description = "What it offers."),
        ("consumer" = String, Path, description = "Its name, unique for the service at this node."),
        ExchangeQuery,
        ("Redlink-Exchange" = Option<u64>, Header, description = "A number, each time a higher one. The same number again gets the \
            same answer, for as long as its leases; what it handed out waits for that. Without a number, messages of an answer \
            that did not arrive are offered again at once.")),
    request_body(
        content((String = "application/x-ndjson"), (Vec<u8> = "application/vnd.redlink.batch")),
        description = "Entries with `delivery`, the path that came with the message, and `verb`: `reply`, `ack`, `fail`, `extend` \
            or `release`; with the payload of a reply or failure."
    ),
    responses(
        (status = 200, description = "The results first, in order: `delivery` and `status`, with the members of a problem \
            document where it is one. Then the messages as entries; payloads over 64 KiB are linked by `payload`.",
            content((String = "application/x-ndjson"), (Vec<u8> = "application/vnd.redlink.batch"))),
        (status = 204, description = "Nothing was to be answered, and nothing came in time."),
    ),
)]
pub(super) async fn exchange(
    State(node): State<Node>,
    Extension(pass): Extension<Pass>,
    Extension(exchanges): Extension<Exchanges>,
    In(path): In<(String, String)>,
    With(ExchangeQuery { max, wait }): With<ExchangeQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    names(&path)?;
    headers::only(&headers, &[EXCHANGE])?;
    let options = Options::Headers(&headers);
    let number = match options.text(EXCHANGE)? {
        None => None,
        Some(text) => Some(text.parse::<u64>().map_err(|_| {
            options.bad(
                EXCHANGE,
                &text,
                "it is a whole number, and the next one is higher",
            )
        })?),
    };
    let max = max.unwrap_or(1);
    if usize::from(max) > ENTRIES_MAX {
        let detail = format!("`max` is from 0 to {ENTRIES_MAX}.");
        return Err(Problem::new(Kind::BadRequest, detail));
    }
    let wait = wait.as_deref().map_or(Ok(Duration::ZERO), query::wait)?;
    let format = batch::wanted(&headers)?;
    let handle = node.handle.acting_for(pass.who.clone());
    let (service, consumer) = path;
    let key: Key = (pass.who.owner.clone(), service.clone(), consumer.clone());
    let service = Name::new(&service).map_err(|e| bad_name("service", e))?;
    let incoming = batch::read_if_any(&handle, &headers, body).await?;
    let this = Exchange {
        node,
        handle,
        pass,
        service,
        consumer,
        max,
        wait,
    };
    let Some(number) = number else {
        let (record, taken) = this.work(incoming).await;
        return this.answer(format, &record, taken, false);
    };
    let weight = incoming.items.len() + usize::from(max) + 1;
    let this = Arc::new(this);
    let task = {
        let this = Arc::clone(&this);
        move |done: Task| async move {
            let (record, taken) = tokio::select! {
                worked = this.work(incoming) => worked,
                // Whoever works here has no business here any more.
                _ = this.pass.clone().over() => return None,
            };
            let record = done.finish(record);
            Some((record, taken))
        }
    };
    match exchanges.begin(key, number, weight, task)? {
        Begun::Now(task) => match task.await {
            Ok(Some((record, taken))) => this.answer(format, &record, taken, true),
            Ok(None) | Err(_) => Err(superseded(number)),
        },
        Begun::Before(mut record) => {
            let record = match record.wait_for(Option::is_some).await {
                Ok(record) => record.clone(),
                Err(_) => None,
            };
            let record = record.ok_or_else(|| superseded(number))?;
            let taken = this.again(&record).await?;
            this.answer(format, &record, taken, true)
        }
    }
}

fn superseded(number: u64) -> Problem {
    let detail = format!("Exchange {number} was given up for a later one; go on with a higher number.");
    Problem::new(Kind::StaleExchange, detail)
}

impl Exchange {
    /// All answers first, so that the room they make counts for what is taken then.
    async fn work(&self, incoming: batch::Incoming) -> (Record, Vec<Option<Payload>>) {
        let mut record = Record {
            verdicts: Vec::new(),
            deliveries: Vec::new(),
            failed: None,
            lease: Duration::ZERO,
        };
        record.verdicts = self.settle(incoming).await;
        let mut taken = Vec::new();
        if self.max > 0 {
            let service = self.service.to_string();
            let room = (PAYLOAD_MAX, ANSWER_MAX);
            match self
                .handle
                .take_many(service, self.consumer.clone(), self.max, self.wait, room)
                .await
            {
                Err(refusal) => record.failed = Some(refused(refusal)),
                Ok(deliveries) => {
                    for delivery in deliveries {
                        let told = Told::of(&delivery, &self.node, &self.service, &self.pass.who.owner);
                        let Delivery {
                            token,
                            content,
                            long,
                            lease,
                            ..
                        } = delivery;
                        record.lease = record.lease.max(lease);
                        record.deliveries.push((token, told));
                        taken.push(Some((content, long)));
                    }
                }
            }
        }
        (record, taken)
    }

    async fn settle(&self, incoming: batch::Incoming) -> Vec<Verdict> {
        let mut answers = Vec::new();
        let mut verdicts = Vec::with_capacity(incoming.items.len());
        for item in incoming.items {
            let entry = match item {
                Ok(entry) => entry,
                Err(fault) => {
                    verdicts.push(Some(Verdict::of(None, Some(&batch::fault(&self.handle, fault)))));
                    continue;
                }
            };
            let delivery = entry.text("delivery").map(str::to_owned);
            match self.answering(entry) {
                Ok(answering) => {
                    answers.push((delivery, answering));
                    verdicts.push(None);
                }
                Err(problem) => verdicts.push(Some(Verdict::of(delivery, Some(&problem)))),
            }
        }
        let (paths, answers): (Vec<_>, Vec<_>) = answers.into_iter().unzip();
        let results = self.handle.answer_many(answers).await;
        let mut answered = paths.into_iter().zip(results).map(|(delivery, result)| {
            let result = result.map_err(Problem::from).and_then(deliveries::settled);
            Verdict::of(delivery, result.as_ref().err())
        });
        // As many as there are gaps, in their order.
        let mut verdicts: Vec<_> = verdicts
            .into_iter()
            .filter_map(|verdict| verdict.or_else(|| answered.next()))
            .collect();
        let broken = incoming.broken.as_ref().map(batch::broken);
        verdicts.extend(broken.map(|problem| Verdict::of(None, Some(&problem))));
        verdicts
    }

    /// What an entry says of a delivery that was handed to who asks (P12).
    fn answering(&self, entry: Entry) -> Result<Answering, Problem> {
        let bad = |detail: &str| Problem::new(Kind::BadEntry, detail);
        Options::Members(&entry.members).only(&[], &[], MEMBERS)?;
        let sealed = entry
            .text("delivery")
            .ok_or_else(|| bad("The entry says no `delivery`: the path that came with the message."))?
            .strip_prefix(DELIVERIES)
            .ok_or_else(auth::unknown_delivery)?;
        let verb = match entry.text("verb") {
            Some("reply") => Verb::Reply,
            Some("ack") => Verb::Ack,
            Some("fail") => Verb::Fail,
            Some("extend") => Verb::Extend,
            Some("release") => Verb::Release,
            _ => return Err(bad("`verb` is reply, ack, fail, extend or release.")),
        };
        let token = auth::delivery(&self.node, &self.pass, sealed)?;
        let content = match verb {
            Verb::Reply | Verb::Fail => Some(entry.content),
            _ if entry.content == Content::default() => None,
            _ => return Err(bad("This answer has no payload; `reply` and `fail` have one.")),
        };
        Ok(Answering { token, verb, content })
    }

    /// The payloads of what was handed out before; none where it is not held any more.
    async fn again(&self, record: &Record) -> Result<Vec<Option<Payload>>, Problem> {
        let mut all = Vec::with_capacity(record.deliveries.len());
        for (token, _) in &record.deliveries {
            let payload = self.handle.payload_up_to(*token, PAYLOAD_MAX).await?;
            all.push(payload);
        }
        Ok(all)
    }

    /// The results first, then the messages. If it can be `repeated`, what the client does not get waits for that.
    fn answer(
        &self,
        format: Format,
        record: &Record,
        taken: Vec<Option<Payload>>,
        repeated: bool,
    ) -> Result<Response, Problem> {
        let mut answer = Answer::new(format);
        let mut pending = Pending::new(&self.handle);
        if !repeated {
            // Whatever goes wrong from here on, they go back.
            for (token, _) in &record.deliveries {
                pending.add(*token, usize::MAX);
            }
        }
        for verdict in &record.verdicts {
            answer.add(verdict, None)?;
        }
        let mut ends = Vec::with_capacity(taken.len());
        for ((token, told), payload) in record.deliveries.iter().zip(taken) {
            if let Some((content, long)) = payload {
                told.add_to(&mut answer, &content, long)?;
                ends.push((*token, answer.len()));
            }
        }
        if let Some(problem) = &record.failed {
            if record.verdicts.is_empty() {
                return Err(problem.clone());
            }
            answer.add(&Verdict::of(None, Some(problem)), None)?;
        }
        if answer.len() == 0 {
            return Ok(empty(StatusCode::NO_CONTENT));
        }
        if !repeated {
            pending.ends(ends);
        }
        let (head, bytes) = answer.finish();
        build(head, pending.body(bytes))
    }
}

/// A payload, and its length if it is too long to come along.
type Payload = (Content, Option<u64>);
