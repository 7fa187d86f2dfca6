//! What a scraper reads, in both forms, held against what was done.

use super::{Api, LONG, header, json, problem};
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::timeout;

/// A scrape: values by name and labels, as they stand in the text.
struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    /// Reads the text as strictly as a scraper, and more.
    fn read(text: &str, open: bool) -> Self {
        let mut values = BTreeMap::new();
        let mut families = BTreeSet::new();
        let (mut family, mut kind) = (String::new(), String::new());
        let mut lines: Vec<_> = text.lines().collect();
        if open {
            assert_eq!(lines.pop(), Some("# EOF"));
        }
        for line in lines {
            if let Some(rest) = line.strip_prefix("# ") {
                let mut words = rest.splitn(3, ' ');
                let (what, name, more) = (
                    words.next().unwrap(),
                    words.next().unwrap(),
                    words.next().unwrap(),
                );
                match what {
                    "HELP" => {
                        assert!(families.insert(name.to_owned()), "{name} comes twice");
                        name.clone_into(&mut family);
                    }
                    "TYPE" => {
                        assert_eq!(name, family);
                        more.clone_into(&mut kind);
                    }
                    "UNIT" => assert!(open && name.ends_with(&format!("_{more}")), "{line}"),
                    _ => panic!("{line}"),
                }
                continue;
            }
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            let suffix = name
                .strip_prefix(family.as_str())
                .unwrap_or_else(|| panic!("{line} is not of {family}"));
            let fits = match (kind.as_str(), open) {
                ("counter", true) => suffix == "_total",
                ("counter", false) => suffix.is_empty() && family.ends_with("_total"),
                ("gauge", false) if family.ends_with("_info") => suffix.is_empty(),
                ("gauge", _) => suffix.is_empty(),
                ("info", true) => suffix == "_info",
                ("histogram", _) => ["_sum", "_count", "_bucket"].contains(&suffix),
                _ => false,
            };
            assert!(fits, "{line} is no {kind} of {family}");
            let series = one_way(series);
            let value: f64 = value.parse().unwrap();
            assert!(value >= 0.0 && value.is_finite(), "{line}");
            assert!(
                values.insert(series.clone(), value).is_none(),
                "{series} comes twice"
            );
        }
        let scrape = Self(values);
        scrape.check_histograms();
        scrape
    }

    /// Buckets grow, and the last holds all.
    fn check_histograms(&self) {
        let mut last: BTreeMap<String, f64> = BTreeMap::new();
        let mut buckets: Vec<(String, f64, f64)> = Vec::new();
        for (series, value) in &self.0 {
            let Some((name, labels)) = series.split_once("_bucket{") else {
                continue;
            };
            let labels = labels.trim_end_matches('}').split(',');
            let (bound, others): (Vec<_>, Vec<_>) = labels.partition(|label| label.starts_with("le="));
            let bound = bound[0][3..].trim_matches('"').replace("+Inf", "inf");
            let others = match others.is_empty() {
                true => String::new(),
                false => format!("{{{}}}", others.join(",")),
            };
            buckets.push((format!("{name}_count{others}"), bound.parse().unwrap(), *value));
        }
        buckets.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        for (head, _, value) in buckets {
            assert!(last.get(&head).is_none_or(|before| *before <= value), "{head}");
            last.insert(head, value);
        }
        for (head, all) in last {
            assert_eq!(self.0.get(&head), Some(&all), "{head}");
        }
    }

    #[track_caller]
    fn of(&self, series: &str) -> f64 {
        let found = self.0.get(&one_way(series));
        *found.unwrap_or_else(|| panic!("no {series} among {:#?}", self.0.keys()))
    }
}

/// The two forms write numbers, and put labels, each in a way of its own.
fn one_way(series: &str) -> String {
    let Some((name, labels)) = series.split_once('{') else {
        return series.to_owned();
    };
    let mut labels: Vec<_> = labels.trim_end_matches('}').split(',').collect();
    labels.sort_by_key(|label| (label.starts_with("le="), *label));
    format!("{name}{{{}}}", labels.join(",")).replace(".0\"", "\"")
}

async fn scrape(api: &Api, accept: &str) -> (String, String) {
    let response = api.send("GET", "/metrics", &[("accept", accept)], b"").await;
    assert_eq!(response.status(), 200, "{response:?}");
    let text = String::from_utf8(response.body().to_vec()).unwrap();
    (header(&response, "content-type").to_owned(), text)
}

const OPEN: &str = "application/openmetrics-text; version=1.0.0";

#[tokio::test]
async fn what_is_done_is_counted_and_timed_by_service() {
    let api = Api::start().await;
    for n in 0..3 {
        let headers = [("redlink-ett", "1h")];
        let accepted = api.send("POST", "/v1/services/s/messages", &headers, b"x").await;
        assert_eq!(accepted.status(), 202, "{n}");
    }
    problem(&api.post("/v1/services/-/messages", b"x").await, 400, "bad-name");
    let (delivery, _) = api.take().await;
    assert_eq!(api.post(&format!("{delivery}/reply"), b"1").await.status(), 204);
    let (delivery, _) = api.take().await;
    assert_eq!(api.post(&format!("{delivery}/extend"), b"").await.status(), 204);
    assert_eq!(api.post(&format!("{delivery}/fail"), b"no").await.status(), 204);
    let (_held, _) = api.take().await;
    let status = json(&api.get("/v1/node").await);
    assert_eq!(status["counters"]["settled"], 2);

    let (kind, text) = scrape(&api, OPEN).await;
    assert!(
        kind.starts_with("application/openmetrics-text; version=1.0.0"),
        "{kind}"
    );
    let open = Scrape::read(&text, true);
    let (kind, text) = scrape(&api, "*/*").await;
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    let plain = Scrape::read(&text, false);
    for scrape in [&open, &plain] {
        assert_eq!(scrape.of(r#"redlink_messages_accepted_total{service="s"}"#), 3.0);
        assert_eq!(scrape.of(r#"redlink_deliveries_total{service="s"}"#), 3.0);
        let settled = |outcome| {
            scrape.of(&format!(
                r#"redlink_messages_settled_total{{service="s",outcome="{outcome}"}}"#
            ))
        };
        assert_eq!(
            (settled("replied"), settled("failed"), settled("expired")),
            (1.0, 1.0, 0.0)
        );
        let answers = |verb| scrape.of(&format!(r#"redlink_answers_total{{service="s",verb="{verb}"}}"#));
        assert_eq!(
            (answers("reply"), answers("fail"), answers("ack")),
            (1.0, 1.0, 0.0)
        );
        let state = |state| {
            scrape.of(&format!(
                r#"redlink_service_messages{{service="s",state="{state}"}}"#
            ))
        };
        assert_eq!(
            (state("queued"), state("offered"), state("granted")),
            (0.0, 0.0, 1.0)
        );
        assert_eq!(scrape.of(r#"redlink_service_in_transit{service="s"}"#), 1.0);
        let count = |name| scrape.of(&format!(r#"redlink_{name}_seconds_count{{service="s"}}"#));
        assert_eq!(
            (count("message"), count("queue_wait"), count("work")),
            (2.0, 3.0, 2.0)
        );
        assert_eq!(count("deadline_slack"), 2.0);
        let near = scrape.of(r#"redlink_deadline_slack_seconds_bucket{service="s",le="1800"}"#);
        assert_eq!(near, 0.0, "an hour was asked for");
        let sum = scrape.of(r#"redlink_message_seconds_sum{service="s"}"#);
        assert!(sum > 0.0 && sum < 2.0 * LONG.as_secs_f64(), "{sum}");
        assert_eq!(scrape.of(r#"redlink_table_used{table="messages"}"#), 3.0);
        assert!(scrape.of(r#"redlink_table_capacity{table="messages"}"#) > 1_000.0);
        assert_eq!(scrape.of("redlink_store_up"), 1.0);
        assert!(scrape.of("redlink_store_commit_seconds_count") >= 1.0);
        assert_eq!(scrape.of(r#"redlink_store_rows{table="outcomes"}"#), 2.0);
        assert_eq!(scrape.of("redlink_ready"), 1.0);
        let route = r#"method="POST",route="/v1/services/{service}/messages""#;
        assert_eq!(
            scrape.of(&format!(r#"redlink_http_requests_total{{{route},status="2xx"}}"#)),
            3.0
        );
        assert_eq!(
            scrape.of(&format!(r#"redlink_http_requests_total{{{route},status="4xx"}}"#)),
            1.0
        );
        assert_eq!(
            scrape.of(&format!("redlink_http_request_seconds_count{{{route}}}")),
            4.0
        );
        assert!(scrape.of(r#"redlink_events_total{event="granted"}"#) >= 3.0);
        assert!(scrape.of("process_resident_memory_bytes") > 1e5);
    }
    // No message, consumer or program is named.
    let ids = api.get("/v1/messages").await;
    for id in json(&ids).as_array().unwrap() {
        assert!(!text.contains(id["id"].as_str().unwrap()), "{text}");
    }
    assert!(
        !text.contains("consumer=") && !text.contains("program="),
        "{text}"
    );
    api.stop().await;
}

#[tokio::test]
async fn an_expired_message_leaves_no_slack_and_a_full_table_says_so() {
    let api = Api::start().await;
    let call = api.send(
        "POST",
        "/v1/services/s/messages?wait=20s",
        &[("redlink-ett", "50ms")],
        b"",
    );
    problem(&timeout(LONG, call).await.unwrap(), 424, "expired");
    let large = vec![0; super::PAYLOAD_MAX + 1];
    assert_eq!(api.post("/v1/services/s/messages", &large).await.status(), 413);
    let (_, text) = scrape(&api, OPEN).await;
    let scrape = Scrape::read(&text, true);
    assert_eq!(
        scrape.of(r#"redlink_messages_settled_total{service="s",outcome="expired"}"#),
        1.0
    );
    assert_eq!(
        scrape.of(r#"redlink_deadline_slack_seconds_bucket{service="s",le="0.00025"}"#),
        1.0
    );
    assert!(
        !text.contains(r#"redlink_queue_wait_seconds_count{service="s"}"#),
        "it was never granted"
    );
    api.stop().await;
}

#[tokio::test]
async fn a_token_to_watch_opens_nothing_else() {
    let api = Api::start().await;
    let wish = serde_json::json!({ "program": "prom", "watch": true });
    let (token, _) = api.program_token(wish).await;
    assert_eq!(api.as_program(&token, "GET", "/metrics", b"").await.status(), 200);
    problem(
        &api.as_program(&token, "GET", "/v1/services", b"").await,
        403,
        "forbidden",
    );
    problem(
        &api.as_program(&token, "POST", "/v1/services/s/messages", b"")
            .await,
        403,
        "forbidden",
    );
    let (consumer, _) = api
        .program_token(serde_json::json!({ "program": "c", "consume": ["*"] }))
        .await;
    let refused = api.as_program(&consumer, "GET", "/metrics", b"").await;
    assert!(problem(&refused, 403, "forbidden").contains("--watch"));
    let listed = json(&api.get("/v1/tokens").await);
    let mut listed = listed.as_array().unwrap().iter();
    let prom = listed.find(|token| token["program"] == "prom").unwrap();
    assert_eq!(
        (&prom["watch"], &prom["administer"]),
        (&true.into(), &false.into())
    );
    api.stop().await;
}
