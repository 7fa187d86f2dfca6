//! Trying to get in, over real TLS.

use super::certificate;
mod own;
mod renewal;

use super::certificate::peer_name;
use super::tls::{self, Credential};
use super::*;
use base64::Engine;
use rcgen::{CertificateParams, KeyPair};
use redlink_core::Name;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector};

const DAY: Duration = Duration::from_secs(86_400);

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn first(dir: &Path) -> Identity {
    Identity::load_or_create(dir, &name("first"), &name("mesh"), &Wishes::default()).unwrap()
}

fn csr(key: &KeyPair) -> String {
    CertificateParams::new(vec!["evil.example.com".into()])
        .unwrap()
        .serialize_request(key)
        .unwrap()
        .pem()
        .unwrap()
}

fn request(token: &JoinToken, node: &str, key: &KeyPair) -> EnrolRequest {
    asking(token, node, csr(key), &[])
}

fn asking(token: &JoinToken, node: &str, csr: String, hosts: &[&str]) -> EnrolRequest {
    let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
    EnrolRequest::new(token, node, csr, hosts).unwrap()
}

fn wishing(hosts: &[&str]) -> Wishes {
    Wishes {
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        ..Wishes::default()
    }
}

fn token(of: &Identity) -> JoinToken {
    of.authority
        .as_ref()
        .unwrap()
        .new_token(TOKEN_TTL_DEFAULT)
        .unwrap()
        .token
        .parse()
        .unwrap()
}

/// A client of the mesh whose directory this is, with a certificate of the test's choice.
fn client_with(key: &KeyPair, certificate_pem: &str, dir: &Path) -> Arc<rustls::ClientConfig> {
    let own = Credential {
        chain: vec![CertificateDer::from_pem_slice(certificate_pem.as_bytes()).unwrap()],
        roots: vec![CertificateDer::from_pem_file(dir.join(CA_FILE)).unwrap()],
        key: PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap(),
    };
    Arc::new(tls::client(&own, &Revocations::default()).unwrap())
}

/// Runs a handshake and one byte each way; what the server then knows of the client.
async fn meet(
    server: &Identity,
    client: Arc<rustls::ClientConfig>,
    host: &'static str,
) -> Result<Option<Vec<CertificateDer<'static>>>, String> {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let acceptor = TlsAcceptor::from(server.server());
    let serve = async move {
        let mut stream = acceptor.accept(near).await.map_err(|e| format!("server: {e}"))?;
        stream.write_all(b"x").await.map_err(|e| e.to_string())?;
        stream.flush().await.map_err(|e| e.to_string())?;
        Ok::<_, String>(stream.get_ref().1.peer_certificates().map(<[_]>::to_vec))
    };
    let dial = async move {
        let host = ServerName::try_from(host).unwrap();
        let mut stream = TlsConnector::from(client)
            .connect(host, far)
            .await
            .map_err(|e| format!("client: {e}"))?;
        stream.read_u8().await.map_err(|e| format!("client: {e}"))?;
        Ok::<_, String>(())
    };
    let (served, dialled) = tokio::join!(serve, dial);
    match (served, dialled) {
        (Ok(certificates), Ok(())) => Ok(certificates),
        (served, dialled) => Err(format!("{:?} {:?}", served.err(), dialled.err())),
    }
}

#[test]
fn a_first_node_makes_everything_once_and_private() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join(".redlink");
    let made = first(&dir);
    assert!(made.created && made.authority.is_some());
    for host in ["localhost", "127.0.0.1", "::1", "first.node.redlink"] {
        assert!(
            made.hosts().iter().any(|h| h == host),
            "{host} in {:?}",
            made.hosts()
        );
    }
    let files = [
        CA_FILE,
        CA_KEY_FILE,
        NODE_FILE,
        NODE_KEY_FILE,
        ADMIN_TOKEN_FILE,
        CURLRC_FILE,
    ];
    let read = || files.map(|f| std::fs::read(dir.join(f)).unwrap());
    for file in files {
        assert_eq!(
            std::fs::metadata(dir.join(file)).unwrap().permissions().mode() & 0o777,
            0o600,
            "{file}"
        );
    }
    let before = read();
    let again = first(&dir);
    assert!(!again.created);
    assert!(read() == before, "a second start changes nothing");

    let secret = std::fs::read_to_string(dir.join(ADMIN_TOKEN_FILE)).unwrap();
    assert!(again.admin.matches(secret.trim()));
    assert!(!again.admin.matches("") && !again.admin.matches(&secret));
    let curlrc = std::fs::read_to_string(dir.join(CURLRC_FILE)).unwrap();
    assert!(
        curlrc.contains(secret.trim()) && curlrc.contains(dir.join(CA_FILE).to_str().unwrap()),
        "{curlrc}"
    );
    assert_eq!(stored_name(&dir).unwrap(), Some((name("first"), name("mesh"))));

    let error = Identity::load_or_create(&dir, &name("other"), &name("mesh"), &Wishes::default())
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("`first`") && error.contains("`other`"), "{error}");
}

#[test]
fn starts_that_were_cut_short_are_made_good_or_named() {
    let dir = tempfile::tempdir().unwrap();
    first(dir.path());
    // The key and nothing else: nothing was signed with it.
    for file in [CA_FILE, NODE_FILE, NODE_KEY_FILE] {
        std::fs::remove_file(dir.path().join(file)).unwrap();
    }
    assert!(first(dir.path()).created);
    std::fs::remove_file(dir.path().join(NODE_FILE)).unwrap();
    let again = first(dir.path());
    assert!(!again.created);
    // A joined node that lost its certificate can't make one.
    std::fs::remove_file(dir.path().join(NODE_FILE)).unwrap();
    std::fs::remove_file(dir.path().join(CA_KEY_FILE)).unwrap();
    let error = Identity::load_or_create(dir.path(), &name("first"), &name("mesh"), &Wishes::default())
        .err()
        .unwrap();
    assert!(matches!(error, IdentityError::Interrupted(_)), "{error}");
}

#[test]
fn the_own_certificate_is_renewed_in_its_last_third_and_when_a_host_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let start = |days: u32, hosts: &[&str]| {
        let (name, mesh) = (name("first"), name("mesh"));
        Identity::load_or_create_at(dir.path(), &name, &mesh, &wishing(hosts), now + days * DAY).unwrap()
    };
    let key = || std::fs::read(dir.path().join(NODE_KEY_FILE)).unwrap();
    let made = start(0, &[]);
    let first_key = key();
    assert_eq!(start(19, &[]).until(), made.until());
    let renewed = start(21, &[]);
    assert!(renewed.until() > made.until() + 20 * DAY);
    assert!(key() == first_key, "renewal keeps the key");
    assert!(
        start(60, &[]).until() > renewed.until(),
        "an ended certificate as well"
    );
    let more = start(60, &["first.example.com", "10.1.2.3"]);
    let hosts = more.hosts();
    assert!(hosts.contains(&"first.example.com".into()) && hosts.contains(&"10.1.2.3".into()));
}

#[test]
fn a_token_works_once_in_its_time_and_only_its_key_and_name_count() {
    let dir = tempfile::tempdir().unwrap();
    let north = first(dir.path());
    let authority = north.authority.clone().unwrap();
    let key = KeyPair::generate().unwrap();
    let now = SystemTime::now();

    let mut wrong = token(&north);
    wrong.secret[0] ^= 1;
    let enrol = |r: &EnrolRequest| authority.enrol_at(r, now);
    assert!(matches!(
        enrol(&request(&wrong, "a", &key)),
        Err(EnrolError::Token(TokenRefused::Unknown))
    ));

    let good = token(&north);
    let late = authority.enrol_at(&request(&good, "a", &key), now + 2 * TOKEN_TTL_DEFAULT);
    assert!(matches!(late, Err(EnrolError::Token(TokenRefused::Expired))));
    assert!(matches!(
        enrol(&request(&good, "a/b", &key)),
        Err(EnrolError::Name(_))
    ));
    assert!(matches!(
        enrol(&request(&good, "first", &key)),
        Err(EnrolError::Taken(_))
    ));
    let nonsense = "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n";
    for csr in [nonsense.into(), with_broken_signature(&csr(&key))] {
        let forged = asking(&good, "a", csr, &[]);
        assert!(matches!(enrol(&forged), Err(EnrolError::Request(_))));
    }

    // None of these used the token up.
    let enrolled = enrol(&request(&good, "a", &key)).unwrap();
    let certificate = CertificateDer::from_pem_slice(enrolled.certificate.as_bytes()).unwrap();
    let subject = certificate::read(&certificate).unwrap();
    assert_eq!((subject.name, subject.mesh), (name("a"), name("mesh")));
    assert!(
        !subject.hosts.iter().any(|h| h.contains("evil")),
        "{:?}",
        subject.hosts
    );
    // The same again is a lost answer, for a while; the signature in its signing request is another one.
    let restarted = first(dir.path()).authority.unwrap();
    for authority in [&authority, &restarted] {
        let again = authority.enrol_at(&request(&good, "a", &key), now).unwrap();
        assert_eq!(again.certificate, enrolled.certificate);
        for other in [
            request(&good, "b", &key),
            request(&good, "a", &KeyPair::generate().unwrap()),
            asking(&good, "a", csr(&key), &["a.example.com"]),
        ] {
            let refused = authority.enrol_at(&other, now);
            assert!(matches!(refused, Err(EnrolError::Token(TokenRefused::Unknown))));
        }
        let late = authority.enrol_at(&request(&good, "a", &key), now + Duration::from_secs(601));
        assert!(matches!(late, Err(EnrolError::Token(TokenRefused::Unknown))));
    }

    // The same name again, with a new token and another key: allowed.
    enrol(&request(&token(&north), "a", &KeyPair::generate().unwrap())).unwrap();
}

fn with_broken_signature(pem: &str) -> String {
    let body: String = pem.lines().filter(|l| !l.starts_with('-')).collect();
    let mut der = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
    let last = der.len() - 1;
    der[last] ^= 1;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n")
}

#[test]
fn hosts_of_another_node_are_not_given_away() {
    let dir = tempfile::tempdir().unwrap();
    let wishes = wishing(&["first.example.com"]);
    let north = Identity::load_or_create(dir.path(), &name("first"), &name("mesh"), &wishes).unwrap();
    let authority = north.authority.clone().unwrap();
    let key = KeyPair::generate().unwrap();
    let hosts = [
        "FIRST.example.com",
        "first.node.redlink",
        "a.example.com",
        "localhost",
    ];
    let asked = asking(&token(&north), "a", csr(&key), &hosts);
    let enrolled = authority.enrol(&asked).unwrap();
    assert_eq!(enrolled.left_out, ["first.example.com", "first.node.redlink"]);
    let certificate = CertificateDer::from_pem_slice(enrolled.certificate.as_bytes()).unwrap();
    let mut given = certificate::read(&certificate).unwrap().hosts;
    given.sort();
    assert_eq!(
        given,
        ["127.0.0.1", "::1", "a.example.com", "a.node.redlink", "localhost"]
    );
    // Nor by a name that differs in case only: host names don't know case.
    let enrolled = authority.enrol(&request(&token(&north), "FIRST", &key)).unwrap();
    assert_eq!(enrolled.left_out, ["first.node.redlink"]);
    // After a restart too; and the same node may have it again.
    let authority = first(dir.path()).authority.unwrap();
    let ask = |node: &str, host: &str| {
        let token = authority.new_token(TOKEN_TTL_DEFAULT).unwrap().token;
        let asked = asking(&token.parse().unwrap(), node, csr(&key), &[host]);
        authority.enrol(&asked)
    };
    assert_eq!(ask("b", "a.example.com").unwrap().left_out, ["a.example.com"]);
    assert!(ask("a", "a.example.com").unwrap().left_out.is_empty());
    assert!(matches!(ask("b", "*.example.com"), Err(EnrolError::Host(_))));
}

#[tokio::test]
async fn only_certificates_of_the_mesh_get_through_and_none_is_no_peer() {
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let north = first(dir.path());
    let stranger = first(other_dir.path());
    let now = SystemTime::now();

    // A peer of the mesh, by every name that the certificate has.
    for host in ["localhost", "127.0.0.1", "first.node.redlink"] {
        let certificates = meet(&north, north.client(), host).await.unwrap().unwrap();
        assert_eq!(peer_name(&north.mesh, &certificates, now).unwrap(), name("first"));
    }
    let error = meet(&north, north.client(), "elsewhere.example.com")
        .await
        .unwrap_err();
    assert!(error.contains("certificate"), "{error}");

    // The other mesh's CA, though it bears the same mesh's and node's name.
    assert!(meet(&north, stranger.client(), "localhost").await.is_err());
    // The stranger's certificate, by one who trusts our authority: the server refuses it.
    let key = KeyPair::generate().unwrap();
    let theirs = stranger
        .authority
        .as_ref()
        .unwrap()
        .enrol(&request(&token(&stranger), "a", &key))
        .unwrap();
    let client = client_with(&key, &theirs.certificate, dir.path());
    let error = meet(&north, client, "localhost").await.unwrap_err();
    assert!(
        error.contains("UnknownIssuer") || error.contains("BadSignature"),
        "{error}"
    );
    // Self-signed.
    let params = certificate::node(&name("mesh"), &name("a"), &[], [1; 16], now, DAY);
    let self_signed = params.self_signed(&key).unwrap().pem();
    let error = meet(&north, client_with(&key, &self_signed, dir.path()), "localhost")
        .await
        .unwrap_err();
    assert!(error.contains("UnknownIssuer"), "{error}");

    // No certificate: lets in, as nobody.
    let (config, _) = tls::pinned(token(&north).authority).unwrap();
    assert_eq!(meet(&north, Arc::new(config), "localhost").await.unwrap(), None);
    assert!(peer_name(&north.mesh, &[], now).is_err());

    // Who looks for an authority by its hash takes no other, and the host's name still counts.
    let (config, _) = tls::pinned(token(&stranger).authority).unwrap();
    let error = meet(&north, Arc::new(config), "localhost").await.unwrap_err();
    assert!(error.contains("UnknownIssuer"), "{error}");
    let (config, _) = tls::pinned(token(&north).authority).unwrap();
    let error = meet(&north, Arc::new(config), "elsewhere.example.com")
        .await
        .unwrap_err();
    assert!(
        error.contains("NotValidForName") || error.contains("not valid for name"),
        "{error}"
    );
}

/// A resumed session shows no certificate again: the server must still know whose it is.
#[tokio::test]
async fn a_peer_is_known_by_name_on_a_resumed_session_too() {
    let dir = tempfile::tempdir().unwrap();
    let north = first(dir.path());
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let acceptor = TlsAcceptor::from(north.server());
        let connector = TlsConnector::from(north.client());
        let serve = async {
            let mut stream = acceptor.accept(near).await.unwrap();
            stream.write_all(b"x").await.unwrap();
            stream.flush().await.unwrap();
            stream
        };
        let dial = async {
            let mut stream = connector
                .connect(ServerName::try_from("localhost").unwrap(), far)
                .await
                .unwrap();
            // The ticket for the next session comes before this.
            stream.read_u8().await.unwrap();
            stream
        };
        let (served, _dialled) = tokio::join!(serve, dial);
        let connection = served.get_ref().1;
        let certificates = connection.peer_certificates().unwrap();
        assert_eq!(
            peer_name(&north.mesh, certificates, SystemTime::now()).unwrap(),
            name("first")
        );
        kinds.push(connection.handshake_kind());
    }
    use rustls::HandshakeKind;
    assert_eq!(kinds, [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)]);
}

#[tokio::test]
async fn an_ended_certificate_and_one_without_a_node_s_name_prove_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let north = first(dir.path());
    let authority = north.authority.clone().unwrap();
    let key = KeyPair::generate().unwrap();
    let now = SystemTime::now();

    let long_ago = now - 40 * DAY;
    let ended = {
        let mut state = authority.state();
        authority
            .issue(&mut state, &name("a"), &[], &key, "first", long_ago)
            .unwrap()
            .pem()
    };
    let error = meet(&north, client_with(&key, &ended, dir.path()), "localhost")
        .await
        .unwrap_err();
    assert!(error.contains("xpired"), "{error}");
    let der = CertificateDer::from_pem_slice(ended.as_bytes()).unwrap();
    assert_eq!(peer_name(&north.mesh, &[der], now), Err(CertificateError::NotNow));

    let good = {
        let mut state = authority.state();
        authority
            .issue(&mut state, &name("a"), &[], &key, "first", now)
            .unwrap()
    };
    assert_eq!(
        peer_name(&name("mesh2"), &[good.der().clone()], now),
        Err(CertificateError::OtherMesh(name("mesh")))
    );
    let mut params = certificate::node(
        &name("mesh"),
        &name("a"),
        &["localhost".into()],
        [1; 16],
        now,
        DAY,
    );
    params.subject_alt_names.pop();
    let nameless = params.self_signed(&key).unwrap();
    assert_eq!(
        peer_name(&north.mesh, &[nameless.der().clone()], now),
        Err(CertificateError::NotANode)
    );
}

#[test]
fn other_authorities_files_are_not_mixed_up() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    first(dir.path());
    first(other.path());
    std::fs::copy(other.path().join(CA_FILE), dir.path().join(CA_FILE)).unwrap();
    let error = Identity::load_or_create(dir.path(), &name("first"), &name("mesh"), &Wishes::default())
        .err()
        .unwrap();
    assert!(
        matches!(error, IdentityError::Authority(AuthorityError::Malformed { .. })),
        "{error}"
    );
    // And there is only one admin token per node.
    let tokens: BTreeMap<_, _> = [&dir, &other]
        .map(|d| {
            (
                std::fs::read_to_string(d.path().join(ADMIN_TOKEN_FILE)).unwrap(),
                (),
            )
        })
        .into_iter()
        .collect();
    assert_eq!(tokens.len(), 2);
}
