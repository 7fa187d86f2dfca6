//! Nodes that were put out of their mesh, and the links that they had, whichever way these travel.

use super::certificates::{Chain, admin, chain_by, is_linked, linked_with, send, stop, token};
use super::*;
use crate::link::{Asking, Polled};
use redlink_core::Name;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

fn chain_of(place: &Place) -> link::Chain {
    let own = CertificateDer::from_pem_file(place.dir.path().join(trust::NODE_FILE)).unwrap();
    Arc::new([own])
}

/// Its requests come on many connections, and each shows a certificate: the newest is the one that counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_polls_ends_when_the_certificate_is_revoked_that_was_shown_last() {
    const ID: &str = "0123456789abcdef";
    let first_place = Place::new("first");
    let first = first_place.start(None).await;
    // Two certificates: as if the second were the renewed one of the same node.
    let mut chains = Vec::new();
    for name in ["old", "new"] {
        let mut place = Place::new(name);
        place.flags.north = Some(vec![first.url().into()]);
        place.start(Some(&token(&first))).await.stop(LONG).await;
        chains.push(chain_of(&place));
    }
    let asking = |at: usize| Asking {
        name: Name::new("south").unwrap(),
        chain: chains[at].clone(),
    };
    let polled = Polled::default();
    let old = asking(0);
    let open = polled.open(first.handle(), &first.identity, &old, ID);
    assert_eq!(open.await.unwrap().status(), 204);
    let poll = async |from: usize, wait: Duration| {
        let response = polled.poll(&asking(1), ID, from as u64, 1 << 20, wait).await;
        let status = response.status().as_u16();
        (status, response.into_body().collect().await.unwrap().to_bytes())
    };
    let (status, hello) = poll(0, LONG).await;
    assert_eq!(status, 200);
    let authority = first.identity().authority.clone().unwrap();
    let revoke = async |name: &str| {
        let number = first.identity().revocations().number();
        authority.revoke(&Name::new(name).unwrap()).unwrap();
        until("the list", async || {
            first.identity().reload().unwrap();
            first.identity().revocations().number() > number
        })
        .await;
    };
    revoke("old").await;
    // It goes on: for a while there is nothing to say, and that is all.
    assert_eq!(poll(hello.len(), Duration::from_millis(300)).await.0, 204);
    let ((status, why), ()) = tokio::join!(poll(hello.len(), LONG), revoke("new"));
    assert_eq!(status, 410);
    let why = String::from_utf8_lossy(&why);
    assert!(why.contains("revoked"), "{why}");
    until("the link to be down", async || !is_linked(&first, "south").await).await;
    first.stop(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_put_out_keeps_no_link_that_polls_and_takes_none_up_again() {
    let Chain {
        first,
        middle,
        last,
        places,
    } = chain_by("poll").await;
    round(&last, &first, "up", 10, 10).await;
    let mode = middle.handle().peers().await.into_iter().map(|p| p.mode.unwrap());
    assert_eq!(mode.collect::<Vec<_>>(), ["poll", "poll"]);
    // A connection that is open, and what it is good for while its owner is in the mesh.
    let request = || {
        let path = format!(
            "{}/v1/link/sessions/0123456789abcdef/poll?from=0&max=1&wait=1ms",
            middle.url()
        );
        http::Request::post(path)
    };
    let (status, _) = send(&middle, &last, request(), "").await;
    assert_eq!(status, 410, "no such session");
    let asked = std::time::Instant::now();
    let (status, done) = admin(
        &first,
        &places[0],
        "POST",
        "/v1/ca/revocations",
        r#"{"name": "last"}"#,
    )
    .await;
    assert_eq!((status, &done["certificates"]), (200, &1.into()), "{done}");
    // The news comes by a link that polls, too.
    until("the link to be down", async || !is_linked(&middle, "last").await).await;
    // That is not because nothing is heard any more, which takes half a minute.
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
    assert_eq!(middle.identity().revocations().len(), 1);
    // No request of it gets as far as the sessions.
    let port: u16 = middle.url().rsplit(':').next().unwrap().parse().unwrap();
    let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let tls = tokio_rustls::TlsConnector::from(last.identity().client());
    let refused = match tls.connect("localhost".try_into().unwrap(), tcp).await {
        Err(error) => error,
        Ok(mut stream) => stream.read_u8().await.unwrap_err(),
    };
    assert!(refused.to_string().contains("Revoked"), "{refused}");
    // It sees that itself, and the others go on.
    until("the other end", async || !is_linked(&last, "middle").await).await;
    round(&middle, &first, "other", 10, 10).await;
    assert!(!is_linked(&middle, "last").await);
    stop([last, middle, first]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_ends_when_the_north_is_put_out_whichever_way_it_travels() {
    for link in ["stream", "poll"] {
        let Chain {
            first,
            middle,
            last,
            places: _places,
        } = chain_by(link).await;
        linked_with(&last, "middle").await;
        let authority = first.identity().authority.clone().unwrap();
        authority.revoke(&Name::new("middle").unwrap()).unwrap();
        let _ = first.identity().reload();
        // However it hears of it, and though its north says nothing.
        let asked = std::time::Instant::now();
        let list = first.identity().revocations();
        last.identity().learn_revocations(list.der()).unwrap();
        until("the link to be down", async || !is_linked(&last, "middle").await).await;
        assert!(
            asked.elapsed() < Duration::from_secs(10),
            "{link}: {:?}",
            asked.elapsed()
        );
        stop([last, middle, first]).await;
    }
}
