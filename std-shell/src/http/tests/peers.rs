//! Peers over the API.

use super::{Api, json, problem};
use crate::config::FILE;

#[tokio::test]
async fn peers_are_added_set_listed_and_removed() {
    let api = Api::start().await;
    assert_eq!(json(&api.get("/v1/peers").await), serde_json::json!([]));
    assert_eq!(json(&api.get("/v1/routes").await), serde_json::json!([]));
    // Nobody listens there.
    let url = "https://localhost:1";
    let added = api
        .post(
            "/v1/peers",
            format!(r#"{{"url":"{url}","export":["a.*"]}}"#).as_bytes(),
        )
        .await;
    assert_eq!(
        (added.status(), &json(&added)["url"]),
        (http::StatusCode::CREATED, &url.into())
    );
    let peers = json(&api.get("/v1/peers").await);
    assert_eq!(
        (&peers[0]["url"], &peers[0]["connected"]),
        (&url.into(), &false.into())
    );
    assert_eq!(peers[0]["name"], serde_json::Value::Null);
    assert_eq!(peers[0]["policy"]["export"][0], "a.*");
    problem(
        &api.post("/v1/peers", format!(r#"{{"url":"{url}"}}"#).as_bytes())
            .await,
        409,
        "peer-there",
    );

    let set = api
        .send(
            "PUT",
            "/v1/peers/hub",
            &[],
            format!(r#"{{"url":"{url}","redistribute":false}}"#).as_bytes(),
        )
        .await;
    assert_eq!(set.status(), 200, "{set:?}");
    let peers = json(&api.get("/v1/peers").await);
    assert_eq!(
        (&peers[0]["name"], &peers[0]["policy"]["redistribute"]),
        (&"hub".into(), &false.into())
    );
    let set = api
        .send("PUT", "/v1/peers/kin", &[], br#"{"accept_from_south":false}"#)
        .await;
    assert_eq!(set.status(), 200, "{set:?}");
    let text = std::fs::read_to_string(api.site.dir.path().join(FILE)).unwrap();
    assert!(text.contains("hub") && text.contains("[south.kin]"), "{text}");

    for (path, body, name) in [
        (
            "/v1/peers/hub",
            &br#"{"accept_from_south":true}"#[..],
            "bad-request",
        ),
        ("/v1/peers/kin", br#"{"redistribute":true}"#, "bad-request"),
        ("/v1/peers/kin", br#"{"import":["a/b"]}"#, "bad-request"),
        ("/v1/peers/kin", br#"{"imports":[]}"#, "bad-request"),
        ("/v1/peers/a%20b", b"{}", "bad-name"),
    ] {
        let detail = problem(&api.send("PUT", path, &[], body).await, 400, name);
        println!("{detail}");
    }
    let gone = api
        .send("DELETE", "/v1/peers/https%3A%2F%2Flocalhost%3A1", &[], b"")
        .await;
    assert_eq!(
        (gone.status(), &json(&gone)["name"]),
        (http::StatusCode::OK, &"hub".into())
    );
    assert_eq!(api.send("DELETE", "/v1/peers/kin", &[], b"").await.status(), 200);
    problem(
        &api.send("DELETE", "/v1/peers/kin", &[], b"").await,
        404,
        "unknown-peer",
    );
    assert_eq!(json(&api.get("/v1/peers").await), serde_json::json!([]));

    // A file that has a mistake is not written over.
    std::fs::write(api.site.dir.path().join(FILE), "naem = 1\n").unwrap();
    problem(
        &api.post("/v1/peers", format!(r#"{{"url":"{url}"}}"#).as_bytes())
            .await,
        500,
        "settings-failed",
    );
    assert_eq!(json(&api.get("/v1/peers").await), serde_json::json!([]));
    api.stop().await;
}
