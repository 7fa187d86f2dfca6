//! How the web page is served, and the lists that it turns the pages of.

use super::super::page;
use super::{Api, get, header, json, request};
use bytes::Bytes;
use http::Response;
use std::collections::HashSet;

async fn fetch(api: &Api, path: &str, known: Option<&str>) -> Response<Bytes> {
    let mut asked = get(path);
    if let Some(known) = known {
        asked
            .headers_mut()
            .insert("if-none-match", known.parse().unwrap());
    }
    request(api.site.program("h2").await, asked).await.unwrap()
}

#[tokio::test]
async fn every_part_is_there_for_everybody_and_may_do_little() {
    let api = Api::start().await;
    let parts = page::names().map(|name| format!("/page/{name}"));
    for path in parts.chain(["/".to_owned()]) {
        let found = fetch(&api, &path, None).await;
        assert_eq!(found.status(), 200, "{path}");
        let media = match path.rsplit_once('.').map(|(_, end)| end) {
            None => "text/html; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            Some(other) => panic!("{other}"),
        };
        assert_eq!(header(&found, "content-type"), media, "{path}");
        assert!(!found.body().is_empty());
        let tag = header(&found, "etag").to_owned();
        for known in [
            tag.clone(),
            format!("W/{tag}"),
            format!("\"x\", {tag}"),
            "*".to_owned(),
        ] {
            let same = fetch(&api, &path, Some(&known)).await;
            assert_eq!(
                (same.status().as_u16(), same.body().len()),
                (304, 0),
                "{path}: {known}"
            );
            assert_eq!(header(&same, "etag"), tag);
            may_do_little(&same);
        }
        let other = fetch(&api, &path, Some("\"0123\"")).await;
        assert_eq!((other.status().as_u16(), other.body()), (200, found.body()));
        may_do_little(&found);
    }
    let head = api.send("HEAD", "/", &[], b"").await;
    assert_eq!((head.status().as_u16(), head.body().len()), (200, 0));
    may_do_little(&head);
    api.stop().await;
}

fn may_do_little(found: &Response<Bytes>) {
    let policy = header(found, "content-security-policy");
    for rule in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ] {
        assert!(
            policy.split(';').any(|part| part.trim() == rule),
            "{rule}: {policy}"
        );
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*'));
    assert_eq!(header(found, "x-content-type-options"), "nosniff");
    assert_eq!(header(found, "referrer-policy"), "no-referrer");
    assert_eq!(header(found, "cache-control"), "no-cache");
    assert_eq!(header(found, "cross-origin-resource-policy"), "same-origin");
    assert_eq!(header(found, "cross-origin-opener-policy"), "same-origin");
}

/// All entries over the pages, each as often as it came.
async fn all(api: &Api, first: &str, token: Option<&str>) -> Vec<String> {
    let mut found = Vec::new();
    let mut path = Some(first.to_owned());
    while let Some(next) = path {
        let mut asked = api.build("GET", &next, &[], b"");
        if let Some(token) = token {
            let bearer = format!("Bearer {token}").parse().unwrap();
            asked.headers_mut().insert("authorization", bearer);
        }
        let answer = request(api.site.program("h2").await, asked).await.unwrap();
        assert_eq!(answer.status(), 200, "{next}: {answer:?}");
        let list = json(&answer);
        let list = list.as_array().unwrap();
        assert!(list.len() <= 3);
        found.extend(list.iter().map(|m| m["id"].as_str().unwrap().to_owned()));
        path = match header(&answer, "link") {
            "" => None,
            link => Some(
                link.strip_prefix('<')
                    .and_then(|l| l.strip_suffix(">; rel=\"next\""))
                    .unwrap()
                    .to_owned(),
            ),
        };
    }
    found
}

#[tokio::test]
async fn messages_come_in_pages_by_service_and_state() {
    let api = Api::start().await;
    let may = serde_json::json!({ "program": "p", "produce": ["*"] });
    let (token, _) = api.program_token(may).await;
    let mut own = HashSet::new();
    let mut of_s = HashSet::new();
    for n in 0..14 {
        let service = ["s", "t"][n % 2];
        let mut asked = api.build("POST", &format!("/v1/services/{service}/messages"), &[], b"x");
        if n % 4 < 2 {
            let bearer = format!("Bearer {token}").parse().unwrap();
            asked.headers_mut().insert("authorization", bearer);
        }
        let answer = request(api.site.program("h2").await, asked).await.unwrap();
        let id = json(&answer)["id"].as_str().unwrap().to_owned();
        if n % 4 < 2 {
            own.insert(id.clone());
        }
        if service == "s" {
            of_s.insert(id);
        }
    }
    let set = |list: Vec<String>| {
        let set: HashSet<String> = list.iter().cloned().collect();
        assert_eq!(set.len(), list.len(), "{list:?}");
        set
    };
    assert_eq!(set(all(&api, "/v1/messages?max=3", None).await).len(), 14);
    assert_eq!(
        set(all(&api, "/v1/messages?max=3", Some(&token)).await),
        own,
        "a program's"
    );
    assert_eq!(
        set(all(&api, "/v1/messages?max=2&service=s&state=open", None).await),
        of_s
    );
    let both: HashSet<String> = own.intersection(&of_s).cloned().collect();
    assert_eq!(
        set(all(&api, "/v1/messages?max=1&service=s&state=queued", Some(&token)).await),
        both
    );
    let (delivery, taken) = api.take().await;
    let id = header(&taken, "redlink-message").to_owned();
    assert_eq!(
        all(&api, "/v1/messages?max=3&state=granted", None).await,
        std::slice::from_ref(&id),
    );
    api.post(&format!("{delivery}/reply"), b"y").await;
    api.get(&format!("/v1/messages/{id}/outcome?wait=10s")).await;
    for state in ["replied", "settled"] {
        let path = format!("/v1/messages?max=3&state={state}");
        assert_eq!(all(&api, &path, None).await, std::slice::from_ref(&id), "{state}");
    }
    assert_eq!(
        set(all(&api, "/v1/messages?max=3&state=open", None).await).len(),
        13
    );
    // From where no page ended.
    for from in ["0", "7", "4294967295"] {
        let path = format!("/v1/messages?max=3&from={from}");
        assert!(all(&api, &path, None).await.len() <= 14);
        assert!(all(&api, &path, Some(&token)).await.len() <= 8);
    }

    // What went through is counted for each service and consumer.
    let services = json(&api.get("/v1/services").await);
    let s = services
        .as_array()
        .unwrap()
        .iter()
        .find(|s| s["name"] == "s")
        .unwrap();
    assert_eq!(
        (&s["accepted"], &s["settled"], &s["taken"]),
        (&7.into(), &1.into(), &1.into())
    );
    let consumers = json(&api.get("/v1/consumers").await);
    assert_eq!(consumers[0]["taken"], 1);
    let node = json(&api.get("/v1/node").await);
    assert_eq!(node["tables"]["messages"]["used"], 14);
    assert!(node["tables"]["messages"]["max"].as_u64() > Some(14) && node["program"].is_null());
    api.stop().await;
}
