//! Answers in, next messages out.

use super::batches::{entries, lines};
use super::{Api, LONG, begin, json, problem};
use crate::batch::{Entry, NDJSON};
use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, timeout};

const PATH: &str = "/v1/services/s/consumers/c";

impl Api {
    async fn exchange(&self, query: &str, number: Option<&str>, answers: &[Value]) -> Response<Bytes> {
        let mut headers = vec![("content-type", NDJSON)];
        headers.extend(number.map(|number| ("redlink-exchange", number)));
        let path = format!("{PATH}/exchange?{query}");
        self.send("POST", &path, &headers, &lines(answers)).await
    }
}

fn answer(taken: &Entry, verb: &str) -> Value {
    json!({"delivery": taken.text("delivery").unwrap(), "verb": verb})
}

fn statuses(results: &[Entry]) -> Vec<u64> {
    results
        .iter()
        .map(|one| one.members["status"].as_u64().unwrap())
        .collect()
}

#[tokio::test]
async fn results_come_first_and_the_next_messages_behind() {
    let api = Api::start().await;
    api.send("PUT", PATH, &[], b"{\"limit\":5}").await;
    api.numbers(8).await;
    let first = entries(
        &api.send("POST", &format!("{PATH}/exchange?max=9&wait=30s"), &[], b"")
            .await,
    );
    assert_eq!(first.len(), 5, "P4");
    let mut reply = answer(&first[0], "reply");
    reply["text"] = "done".into();
    let mut fail = answer(&first[1], "fail");
    fail["text"] = "no".into();
    let second = api
        .exchange(
            "max=9&wait=30s",
            None,
            &[
                reply,
                fail,
                answer(&first[2], "release"),
                answer(&first[3], "extend"),
                answer(&first[4], "ack"),
                json!({"delivery": "/v1/deliveries/AAAA", "verb": "reply"}),
                json!({"delivery": first[3].text("delivery").unwrap(), "verb": "eat"}),
                json!({"verb": "reply"}),
                json!({"delivery": first[3].text("delivery").unwrap(), "verb": "extend", "text": "x"}),
            ],
        )
        .await;
    let second = entries(&second);
    assert_eq!(
        statuses(&second[..9]),
        [204, 204, 204, 204, 409, 404, 400, 400, 400]
    );
    assert_eq!(second[0].text("delivery"), first[0].text("delivery"));
    // Three places came free: what was released comes again.
    assert_eq!(second.len(), 9 + 3);
    assert_eq!(second[9].members["attempt"], 2);
    let outcome = format!(
        "/v1/messages/{}/outcome?wait=30s",
        first[0].text("message").unwrap()
    );
    assert_eq!(api.get(&outcome).await.body(), "done");
    let broken = api
        .send(
            "POST",
            &format!("{PATH}/exchange?max=0"),
            &[("content-type", NDJSON)],
            b"{}\n{",
        )
        .await;
    assert_eq!(statuses(&entries(&broken)), [400, 400]);
    for query in ["max=1025", "wait=2h", "max=1&n=2"] {
        problem(&api.exchange(query, None, &[]).await, 400, "bad-request");
    }
    let refused = api.send("POST", &format!("{PATH}/exchange"), &[], b"{}").await;
    problem(&refused, 415, "unsupported-type");
    api.stop().await;
}

#[tokio::test]
async fn it_answers_with_the_first_message_or_when_the_wait_is_over() {
    let api = Api::start().await;
    let start = Instant::now();
    let empty = api
        .send("POST", &format!("{PATH}/exchange?wait=100ms"), &[], b"")
        .await;
    assert_eq!(empty.status(), 204);
    assert!(start.elapsed() >= Duration::from_millis(100));
    let asked = format!("{PATH}/exchange?max=9&wait=1h");
    let waiting = api.send("POST", &asked, &[], b"");
    let later = async {
        while json(&api.get("/v1/consumers").await)[0]["wanted"] != 9 {}
        api.numbers(1).await;
    };
    let (answered, ()) = timeout(LONG, async { tokio::join!(waiting, later) })
        .await
        .unwrap();
    assert_eq!(entries(&answered).len(), 1);
    api.stop().await;
}

#[tokio::test]
async fn a_repeated_number_gets_the_same_answer() {
    let api = Api::start().await;
    api.send("PUT", PATH, &[], b"{\"limit\":3}").await;
    api.numbers(9).await;
    let first = api.exchange("max=3&wait=30s", Some("7"), &[]).await;
    let again = api.exchange("max=3&wait=30s", Some("7"), &[]).await;
    assert_eq!(first.body(), again.body());
    let taken = entries(&first);
    assert_eq!(taken.len(), 3);
    let answers: Vec<_> = taken.iter().map(|taken| answer(taken, "reply")).collect();
    let second = api.exchange("max=3&wait=30s", Some("8"), &answers).await;
    for _ in 0..2 {
        // An answer said twice would be refused the second time; what is told again is what was done.
        let again = api.exchange("max=3&wait=30s", Some("8"), &answers).await;
        assert_eq!(second.body(), again.body());
    }
    assert_eq!(statuses(&entries(&second)[..3]), [204, 204, 204]);
    assert_eq!(entries(&second).len(), 6);
    problem(
        &api.exchange("max=3", Some("7"), &[]).await,
        409,
        "stale-exchange",
    );
    problem(&api.exchange("max=3", Some("-1"), &[]).await, 400, "bad-header");
    // What is not held any more is not handed out again.
    let one = entries(&second)[3].text("delivery").unwrap().to_owned();
    assert_eq!(api.post(&format!("{one}/reply"), b"").await.status(), 204);
    let again = entries(&api.exchange("max=3", Some("8"), &answers).await);
    assert_eq!(again.len(), 5);
    // A consumer that left begins anew.
    assert_eq!(api.send("DELETE", PATH, &[], b"").await.status(), 204);
    let anew = entries(&api.exchange("max=1&wait=30s", Some("1"), &[]).await);
    assert_eq!(anew.len(), 1);
    api.stop().await;
}

#[tokio::test]
async fn only_a_numbered_answer_waits_for_a_client_that_lost_it() {
    let api = Api::start().await;
    api.send("PUT", PATH, &[], b"{\"limit\":9,\"lease\":\"1h\"}")
        .await;
    let held = async || json(&api.get("/v1/consumers").await)[0]["held"].as_u64().unwrap();
    let begun = async |number: Option<&str>| {
        let headers: Vec<_> = number
            .map(|number| ("redlink-exchange", number))
            .into_iter()
            .collect();
        let asked = api.build("POST", &format!("{PATH}/exchange?max=2&wait=1h"), &headers, b"");
        let mut waiting = Box::pin(begin(api.site.program("http/1.1").await, asked));
        // Begun, and dropped before its answer.
        let wanted = async { while json(&api.get("/v1/consumers").await)[0]["wanted"] != 2 {} };
        tokio::select! {
            _ = &mut waiting => panic!("there is no message yet"),
            reached = timeout(LONG, wanted) => reached.unwrap(),
        }
        drop(waiting);
    };
    begun(None).await;
    let ended = async { while json(&api.get("/v1/consumers").await)[0]["wanted"] != 0 {} };
    timeout(LONG, ended).await.unwrap();
    begun(Some("1")).await;
    api.numbers(1).await;
    let taken = async { while held().await != 1 {} };
    timeout(LONG, taken).await.unwrap();
    let again = entries(&api.exchange("max=2&wait=1h", Some("1"), &[]).await);
    assert_eq!((again.len(), &again[0].members["attempt"]), (1, &json!(1)));
    assert_eq!(again[0].content.bytes, "0");
    // A newer one ends what is still under way.
    begun(Some("2")).await;
    api.numbers(1).await;
    let third = entries(
        &api.exchange("max=2&wait=30s", Some("3"), &[answer(&again[0], "reply")])
            .await,
    );
    assert_eq!(statuses(&third[..1]), [204]);
    api.stop().await;
}

#[tokio::test]
async fn a_delivery_is_answered_by_its_own_program_only() {
    let api = Api::start().await;
    let token = async |program: &str| {
        let wish = json!({"program": program, "consume": ["s"]});
        api.program_token(wish).await.0
    };
    let (a, b) = (token("a").await, token("b").await);
    api.numbers(1).await;
    let ask = async |token: &str, consumer: &str, body: &[u8]| {
        let path = format!("/v1/services/s/consumers/{consumer}/exchange?max=1");
        let mut asked = api.build_as(token, "POST", &path, body);
        asked
            .headers_mut()
            .insert("content-type", NDJSON.parse().unwrap());
        super::request(api.site.program("http/1.1").await, asked)
            .await
            .unwrap()
    };
    let taken = entries(&ask(&a, "wa", b"").await);
    let reply = lines(&[answer(&taken[0], "reply")]);
    assert_eq!(statuses(&entries(&ask(&b, "wb", &reply).await)), [404]);
    problem(&ask(&b, "wa", b"").await, 403, "consumer-taken");
    assert_eq!(statuses(&entries(&ask(&a, "wa", &reply).await)), [204]);
    api.stop().await;
}
