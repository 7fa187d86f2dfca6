//! Joining a mesh over its API.

use super::super::query;
use super::{Api, Site, json, problem};
use crate::trust::{self, Identity, JoinError, JoinToken, Joined, Wishes};
use redlink_core::Name;
use std::path::Path;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

async fn token(api: &Api) -> JoinToken {
    let made = api.post("/v1/tokens", br#"{"ttl": "5m"}"#).await;
    assert_eq!(made.status(), 201, "{made:?}");
    assert!(humantime::parse_rfc3339(json(&made)["expires"].as_str().unwrap()).is_ok());
    json(&made)["token"].as_str().unwrap().parse().unwrap()
}

async fn join(
    site: &Site,
    dir: &Path,
    host: &str,
    token: &JoinToken,
    node: &str,
) -> Result<Joined, JoinError> {
    trust::join(dir, host, site.address.port(), None, token, &name(node), &[]).await
}

#[tokio::test]
async fn a_node_joins_once_and_is_then_known_by_its_name() {
    let api = Api::start().await;
    let dir = tempfile::tempdir().unwrap();
    let good = token(&api).await;
    let joined = join(&api.site, dir.path(), "localhost", &good, "second")
        .await
        .unwrap();
    assert_eq!(joined, Joined::New { left_out: Vec::new() });
    let identity =
        Identity::load_or_create(dir.path(), &name("second"), &good.mesh, &Wishes::default()).unwrap();
    assert!(!identity.created && identity.authority.is_none());

    // Both ends know each other now.
    let stream = api.site.connect(identity.client()).await.unwrap();
    let certificates = stream.get_ref().1.peer_certificates().unwrap();
    assert_eq!(identity.peer_name(certificates).unwrap(), name("first"));
    let answer = super::request(stream, super::get("/v1/node")).await.unwrap();
    problem(&answer, 403, "forbidden");

    // A service file may say it for ever.
    assert_eq!(
        join(&api.site, dir.path(), "localhost", &good, "second")
            .await
            .unwrap(),
        Joined::Already
    );
    // Another directory can't use the token again.
    let other = tempfile::tempdir().unwrap();
    let error = join(&api.site, other.path(), "localhost", &good, "third")
        .await
        .unwrap_err();
    assert!(
        matches!(&error, JoinError::Refused { detail, .. } if detail.contains("used")),
        "{error}"
    );
    // Nor can a node change its name, or the first node join anything.
    let error = join(&api.site, dir.path(), "localhost", &token(&api).await, "third")
        .await
        .unwrap_err();
    assert!(matches!(error, JoinError::Occupied { .. }), "{error}");
    let error = join(&api.site, api.site.dir.path(), "localhost", &good, "first")
        .await
        .unwrap_err();
    assert!(matches!(error, JoinError::Occupied { .. }), "{error}");
    api.stop().await;
}

#[tokio::test]
async fn a_joining_node_tells_its_secret_to_nobody_else() {
    let (api, stranger) = (Api::start().await, Api::start().await);
    let good = token(&api).await;
    let dir = tempfile::tempdir().unwrap();
    let error = join(&stranger.site, dir.path(), "localhost", &good, "second")
        .await
        .unwrap_err();
    assert!(matches!(error, JoinError::OtherMesh { .. }), "{error}");
    // The right node by a name that is not its own.
    let error = join(&api.site, dir.path(), "127.0.0.2", &good, "second")
        .await
        .unwrap_err();
    assert!(
        matches!(error, JoinError::NotTrusted { .. } | JoinError::NoWay(_)),
        "{error}"
    );
    let mut other = good.clone();
    other.mesh = name("other");
    let error = join(&api.site, dir.path(), "localhost", &other, "second")
        .await
        .unwrap_err();
    assert!(matches!(error, JoinError::Broken { .. }), "{error}");
    // None of this used the token up, or left anything in the way.
    let joined = join(&api.site, dir.path(), "127.0.0.1", &good, "second")
        .await
        .unwrap();
    assert!(matches!(joined, Joined::New { .. }));
    stranger.stop().await;
    api.stop().await;
}

#[tokio::test]
async fn names_and_wishes_that_can_t_be_are_refused() {
    let api = Api::start().await;
    let dir = tempfile::tempdir().unwrap();
    let error = join(&api.site, dir.path(), "localhost", &token(&api).await, "first")
        .await
        .unwrap_err();
    assert!(
        matches!(&error, JoinError::Refused { detail, .. } if detail.contains("--name")),
        "{error}"
    );
    for bad in [
        r#"{"ttl": "0s"}"#,
        r#"{"ttl": "31d"}"#,
        r#"{"ttl": 5}"#,
        r#"{"tll": "5m"}"#,
        "x",
    ] {
        problem(&api.post("/v1/tokens", bad.as_bytes()).await, 400, "bad-request");
    }
    assert_eq!(api.post("/v1/tokens", b"").await.status(), 201);
    problem(&api.post("/v1/enrol", b"{}").await, 400, "bad-request");
    let nobody = br#"{"token": "AAAA", "name": "x", "csr": "", "proof": ""}"#;
    problem(&api.post("/v1/enrol", nobody).await, 403, "token-refused");
    assert!(query::wait("1h").is_ok());
    api.stop().await;
}
