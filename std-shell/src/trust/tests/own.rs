//! Certificates of somebody's own authority.

use super::*;
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, SanType};
use time::OffsetDateTime;

struct Infrastructure {
    dir: tempfile::TempDir,
    ca: Issuer<'static, KeyPair>,
    ca_pem: String,
}

impl Infrastructure {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let ca_pem = params.self_signed(&key).unwrap().pem();
        Self {
            dir: tempfile::tempdir().unwrap(),
            ca: Issuer::new(params, key),
            ca_pem,
        }
    }

    fn files(&self) -> OwnFiles {
        let at = |name| self.dir.path().join(name);
        OwnFiles {
            ca: at("ca.pem"),
            certificate: at("node.pem"),
            key: at("node-key.pem"),
        }
    }

    /// Writes a certificate for `a` of `mesh`, changed by the test.
    fn write(&self, change: impl FnOnce(&mut CertificateParams)) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let uri = "redlink:mesh/node/a".try_into().unwrap();
        params.subject_alt_names.push(SanType::URI(uri));
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        change(&mut params);
        let signed = params.signed_by(&key, &self.ca).unwrap().pem();
        let files = self.files();
        std::fs::write(&files.ca, &self.ca_pem).unwrap();
        std::fs::write(&files.certificate, signed).unwrap();
        files::write_private(self.dir.path(), "node-key.pem", key.serialize_pem().as_bytes()).unwrap();
    }

    fn load(&self) -> Result<Identity, IdentityError> {
        let wishes = Wishes {
            own: Some(self.files()),
            ..Wishes::default()
        };
        Identity::load_or_create(&self.dir.path().join("node"), &name("a"), &name("mesh"), &wishes)
    }
}

#[test]
fn what_a_certificate_lacks_is_said_with_the_way_to_make_one() {
    let ours = Infrastructure::new();
    let now = OffsetDateTime::now_utc();
    let missing = ours.load().err().unwrap().to_string();
    assert!(
        missing.contains("`tls.") && missing.contains("there is no file"),
        "{missing}"
    );
    type Change = Box<dyn FnOnce(&mut CertificateParams)>;
    let cases: Vec<(Change, &str)> = vec![
        (
            Box::new(|p| drop(p.subject_alt_names.pop())),
            "redlink:mesh/node/a",
        ),
        (
            Box::new(|p| {
                p.subject_alt_names[1] = SanType::URI("redlink:mesh/node/b".try_into().unwrap());
            }),
            "the node `b`",
        ),
        (
            Box::new(|p| {
                p.subject_alt_names[1] = SanType::URI("redlink:other/node/a".try_into().unwrap());
            }),
            "the mesh `other`",
        ),
        (Box::new(|p| drop(p.subject_alt_names.remove(0))), "names no host"),
        (Box::new(|p| drop(p.extended_key_usages.pop())), "clientAuth"),
        (Box::new(|p| drop(p.extended_key_usages.remove(0))), "serverAuth"),
        (
            Box::new(move |p| p.not_after = now - time::Duration::days(1)),
            "not valid now",
        ),
        (
            Box::new(move |p| p.not_before = now + time::Duration::days(1)),
            "not valid now",
        ),
    ];
    for (change, says) in cases {
        ours.write(change);
        let error = ours.load().err().unwrap().to_string();
        assert!(error.contains(says), "{says}: {error}");
        assert!(
            error.contains("openssl x509") && error.contains("URI:redlink:mesh/node/a"),
            "{error}"
        );
    }
    // Of another authority, and for another key.
    let theirs = Infrastructure::new();
    theirs.write(|_| {});
    ours.write(|_| {});
    std::fs::copy(theirs.files().certificate, ours.files().certificate).unwrap();
    let error = ours.load().err().unwrap().to_string();
    assert!(
        error.contains("does not lead to an authority") && error.contains("not its key"),
        "{error}"
    );
    for (file, setting) in [
        ("ca.pem", "`tls.ca`"),
        ("node.pem", "`tls.certificate`"),
        ("node-key.pem", "`tls.key`"),
    ] {
        ours.write(|_| {});
        files::write_private(ours.dir.path(), file, b"nonsense").unwrap();
        let error = ours.load().err().unwrap().to_string();
        assert!(error.contains(setting) && error.contains("PEM"), "{error}");
    }
    ours.write(|_| {});
    let mode = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(ours.files().key, mode).unwrap();
    let error = ours.load().err().unwrap().to_string();
    assert!(error.contains("chmod 600"), "{error}");
}

#[tokio::test]
async fn a_node_goes_by_them_and_takes_up_others() {
    let ours = Infrastructure::new();
    ours.write(|_| {});
    let node = ours.load().unwrap();
    assert!(node.authority.is_none() && !node.created);
    let chain = meet(&node, node.client(), "localhost").await.unwrap().unwrap();
    assert_eq!(node.peer_name(&chain).unwrap(), name("a"));
    let dir = ours.dir.path().join("node");
    assert!(
        !dir.join(CA_FILE).exists() && !dir.join(NODE_FILE).exists(),
        "nothing is made beside them"
    );
    let curlrc = std::fs::read_to_string(dir.join(CURLRC_FILE)).unwrap();
    assert!(curlrc.contains(ours.files().ca.to_str().unwrap()), "{curlrc}");

    assert!(!node.reload().unwrap());
    ours.write(|p| drop(p.subject_alt_names.pop()));
    assert!(node.reload().is_err());
    assert_eq!(node.hosts(), ["localhost"]);
    ours.write(|p| p.subject_alt_names.push(SanType::IpAddress([10, 0, 0, 1].into())));
    assert!(node.reload().unwrap());
    assert_eq!(node.hosts(), ["localhost", "10.0.0.1"]);
    meet(&node, node.client(), "localhost").await.unwrap().unwrap();
    // The list of another authority means nothing here.
    assert!(!node.learn_revocations(b"nonsense").unwrap());
}
