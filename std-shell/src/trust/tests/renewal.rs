//! Renewal and revocation at the authority's desk, by the clock.

use super::*;
use crate::trust::enrol::{InviteRequest, RenewRequest};

struct Member {
    key: KeyPair,
    pem: String,
}

impl Member {
    fn join(authority: &Authority, node: &str, now: SystemTime) -> Self {
        let key = KeyPair::generate().unwrap();
        let token = authority.new_token(TOKEN_TTL_DEFAULT).unwrap().token;
        let asked = request(&token.parse().unwrap(), node, &key);
        let pem = authority.enrol_at(&asked, now).unwrap().certificate;
        Self { key, pem }
    }

    fn asks(&self, at: SystemTime) -> RenewRequest {
        RenewRequest::new(Vec::new(), self.pem.clone(), &self.key, at).unwrap()
    }

    fn serial(&self) -> Vec<u8> {
        serial(&self.pem)
    }
}

fn serial(pem: &str) -> Vec<u8> {
    certificate::serial(&CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap()
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_certificate_is_renewed_while_it_is_good_and_for_its_key_only() {
    let dir = tempfile::tempdir().unwrap();
    let authority = first(dir.path()).authority.unwrap();
    let now = SystemTime::now();
    let member = Member::join(&authority, "a", now);
    let renew = |asked: &RenewRequest, now| authority.renew_at(asked, now).map_err(|e| e.to_string());

    let renewed = renew(&member.asks(now), now).unwrap();
    assert_ne!(serial(&renewed.certificate), member.serial());
    // A lost answer is asked for anew, by the older certificate too, as long as that lives.
    renew(&member.asks(now + SECOND), now + SECOND).unwrap();
    // But not by what was said already, nor by what was said long ago or will be.
    for (asked, at) in [
        (member.asks(now + SECOND), now + 2 * SECOND),
        (member.asks(now), now + 2 * SECOND),
        (member.asks(now + 2 * SECOND), now + 4_000 * SECOND),
        (member.asks(now + 4_000 * SECOND), now + 2 * SECOND),
    ] {
        let error = renew(&asked, at).unwrap_err();
        assert!(error.contains("just now"), "{error}");
    }
    // Clocks may differ by less than an hour.
    renew(&member.asks(now + 3_000 * SECOND), now + 3 * SECOND).unwrap();
    let late = now + 31 * DAY;
    let error = renew(&member.asks(late), late).unwrap_err();
    assert!(error.contains("not valid now"), "{error}");

    // Somebody else's certificate, another mesh's, and one that is the authority's node's own.
    let other = Member::join(&authority, "b", now);
    let stolen = Member {
        key: KeyPair::generate().unwrap(),
        pem: other.pem.clone(),
    };
    let error = renew(&stolen.asks(now), now).unwrap_err();
    assert!(error.contains("not signed with its key"), "{error}");
    let strange_dir = tempfile::tempdir().unwrap();
    let stranger = Member::join(&first(strange_dir.path()).authority.unwrap(), "a", now);
    let error = renew(&stranger.asks(now), now).unwrap_err();
    assert!(error.contains("not signed by this mesh's authority"), "{error}");

    // The name was given to another machine since: one of the two is enough.
    let newer = Member::join(&authority, "a", now);
    let at = now + 3_100 * SECOND;
    let error = renew(&member.asks(at), at).unwrap_err();
    assert!(error.contains("another machine has joined as `a`"), "{error}");
    renew(&newer.asks(at), at).unwrap();
}

#[test]
fn a_revocation_is_of_all_certificates_of_a_name_and_of_what_it_gave_out() {
    let dir = tempfile::tempdir().unwrap();
    let north = first(dir.path());
    let authority = north.authority.clone().unwrap();
    let now = SystemTime::now();
    let (member, other) = (
        Member::join(&authority, "a", now),
        Member::join(&authority, "b", now),
    );
    let renewed = authority.renew_at(&member.asks(now), now).unwrap().certificate;
    // What it can invite with before it is put out.
    let secret = [5; 32];
    let invite =
        InviteRequest::new(&secret, TOKEN_TTL_DEFAULT, member.pem.clone(), &member.key, now).unwrap();
    authority.invite(&invite).unwrap();
    let invited = JoinToken::new(&name("mesh"), &authority.certificate, secret);
    let kept = token(&north);

    assert_eq!(authority.revoke_at(&name("a"), now).unwrap(), 2);
    assert!(north.reload().unwrap());
    let list = north.revocations();
    assert_eq!(list.len(), 2);
    for pem in [&member.pem, &renewed] {
        assert!(list.holds(&CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()));
    }
    assert!(!list.holds(&CertificateDer::from_pem_slice(other.pem.as_bytes()).unwrap()));
    let key = KeyPair::generate().unwrap();
    let refused = authority.enrol_at(&request(&invited, "c", &key), now);
    assert!(matches!(refused, Err(EnrolError::Token(TokenRefused::Unknown))));
    authority.enrol_at(&request(&kept, "c", &key), now).unwrap();
    for refused in [
        authority
            .renew_at(&member.asks(now + SECOND), now + SECOND)
            .map(drop),
        authority.invite(&invite).map(drop),
    ] {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("revoked"), "{error}");
    }
    // The book says so, also after a restart; and a new token lets the name in again.
    let authority = first(dir.path()).authority.unwrap();
    let entry = |node: &str| authority.nodes().into_iter().find(|n| n.name == node).unwrap();
    assert!(entry("a").revoked.is_some() && entry("b").revoked.is_none());
    let again = Member::join(&authority, "a", now);
    assert!(entry("a").revoked.is_none());
    authority
        .renew_at(&again.asks(now + SECOND), now + SECOND)
        .unwrap();
    // Lists grow in number within one second too, and keep what they had.
    let number = first(dir.path()).revocations().number();
    authority.revoke_at(&name("b"), now).unwrap();
    let list = first(dir.path()).revocations();
    assert!(list.number() > number && list.len() == 3);
    // After a certificate's longest life its number is of no use any more.
    let late = now + LIFE_MAX + 2 * DAY;
    // A token made now would have expired by then.
    authority
        .issue(&mut authority.state(), &name("d"), &[], &key, "first", late)
        .unwrap();
    authority.revoke_at(&name("d"), late).unwrap();
    assert_eq!(first(dir.path()).revocations().len(), 1);
}

#[test]
fn a_token_of_another_node_takes_over_no_name() {
    let dir = tempfile::tempdir().unwrap();
    let north = first(dir.path());
    let authority = north.authority.clone().unwrap();
    let now = SystemTime::now();
    let (host, taken) = (
        Member::join(&authority, "a", now),
        Member::join(&authority, "b", now),
    );
    let invite = |secret: &[u8; 32]| {
        let asked = InviteRequest::new(secret, TOKEN_TTL_DEFAULT, host.pem.clone(), &host.key, now);
        authority.invite(&asked.unwrap()).unwrap();
        JoinToken::new(&name("mesh"), &authority.certificate, *secret)
    };
    let other = KeyPair::generate().unwrap();
    let (invited, again) = (invite(&[5; 32]), invite(&[6; 32]));
    let error = authority
        .enrol_at(&request(&invited, "b", &other), now)
        .unwrap_err();
    assert!(matches!(error, EnrolError::Occupied(_)), "{error}");
    // The machine itself may, and another one once that is put out.
    authority
        .enrol_at(&request(&invited, "b", &taken.key), now)
        .unwrap();
    authority.revoke_at(&name("b"), now).unwrap();
    authority.enrol_at(&request(&again, "b", &other), now).unwrap();
}

#[test]
fn an_authority_from_a_backup_renews_and_revokes_what_it_does_not_remember() {
    let dir = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let authority = first(dir.path()).authority.unwrap();
    let member = Member::join(&authority, "a", now);
    drop(authority);
    std::fs::remove_file(dir.path().join("issued/a.json")).unwrap();
    let authority = first(dir.path()).authority.unwrap();
    assert!(matches!(
        authority.revoke_at(&name("a"), now),
        Err(RevokeError::Unknown(_))
    ));
    authority.renew_at(&member.asks(now), now).unwrap();
    assert_eq!(authority.revoke_at(&name("a"), now).unwrap(), 2);
    let north = first(dir.path());
    assert!(north.revocations().revoked(&member.serial()).is_some());
    // A record that is damaged is not passed over: its node could not be put out.
    std::fs::write(dir.path().join("issued/a.json"), "{}").unwrap();
    let (node, mesh) = (name("first"), name("mesh"));
    let error = Identity::load_or_create(dir.path(), &node, &mesh, &Wishes::default());
    assert!(error.err().unwrap().to_string().contains("a.json"));
}
