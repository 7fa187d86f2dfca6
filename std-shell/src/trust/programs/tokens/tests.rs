use super::*;
use std::os::unix::fs::PermissionsExt;

fn open(dir: &Path) -> Tokens {
    Tokens::open(dir).unwrap()
}

fn some() -> Permissions {
    Permissions {
        produce: vec!["jobs.*".parse().unwrap()],
        ..Permissions::default()
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

#[test]
fn a_token_lets_its_program_in_until_it_ends_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let tokens = open(dir.path());
    let ttl = Duration::from_secs(60);
    let first = tokens.create(&name("billing"), some(), Some(ttl), now).unwrap();
    let endless = tokens.create(&name("billing"), some(), None, now).unwrap();
    assert_eq!(first.info.last_used, None);
    for tokens in [tokens, open(dir.path())] {
        let pass = tokens.check(&first.token.to_string(), now).unwrap();
        assert_eq!(pass.who.owner, Owner::Program("billing".into()));
        assert!(!pass.who.administers);
        assert!(pass.permissions.may_produce(&name("jobs.x")) && !pass.permissions.may_produce(&name("x")));
        let listed = tokens.list();
        assert_eq!(listed.len(), 2);
        let used = listed.iter().find(|token| token.id == first.info.id).unwrap();
        assert_eq!(used.last_used, Some(moment(seconds(now))));
        assert_eq!(used.expires, Some(moment(seconds(now) + 60)));
        let after = now + ttl;
        let late = tokens.check(&first.token.to_string(), after);
        assert_eq!(late.err(), Some(ProgramTokenRefused::Expired));
        assert!(
            tokens
                .check(&endless.token.to_string(), after + 1_000 * ttl)
                .is_ok()
        );
    }
    // The next one that is made sweeps what has ended.
    let tokens = open(dir.path());
    tokens.create(&name("other"), some(), None, now + ttl).unwrap();
    assert_eq!(tokens.list().len(), 2);
    assert_eq!(
        fs::read_dir(dir.path().join("program-tokens")).unwrap().count(),
        2
    );
}

#[test]
fn what_is_not_the_token_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let tokens = open(dir.path());
    let good = tokens.create(&name("a"), some(), None, now).unwrap().token;
    let refused = |text: &str| tokens.check(text, now).err();
    let foreign = open(other.path())
        .create(&name("a"), some(), None, now)
        .unwrap()
        .token;
    assert_eq!(refused(&foreign.to_string()), Some(ProgramTokenRefused::Unknown));
    // The id of one that is known, and a secret that is nearly right.
    let mut secret = good.secret;
    secret[31] ^= 1;
    let near = ProgramToken { id: good.id, secret };
    assert_eq!(refused(&near.to_string()), Some(ProgramTokenRefused::Unknown));
    for damaged in ["", "x", "redlink-program-1.", "redlink-join-1.AAAA"] {
        assert!(
            matches!(refused(damaged), Some(ProgramTokenRefused::Text(_))),
            "{damaged}"
        );
    }
    let text = good.to_string();
    assert!(matches!(
        refused(&text[..text.len() - 1]),
        Some(ProgramTokenRefused::Text(_))
    ));
    assert_eq!(refused(&text), None);
}

#[tokio::test]
async fn a_revoked_token_ends_at_once_for_ever_and_for_those_who_wait() {
    let dir = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let tokens = open(dir.path());
    let new = tokens.create(&name("a"), some(), None, now).unwrap();
    let kept = tokens.create(&name("a"), some(), None, now).unwrap();
    let text = new.token.to_string();
    let waiting = tokio::spawn(tokens.check(&text, now).unwrap().over());
    for wrong in [
        "",
        "0",
        "../x",
        &"0".repeat(16),
        &format!("{} ", new.info.id),
        &new.info.id[..15],
    ] {
        assert!(!tokens.revoke(wrong).unwrap(), "{wrong:?}");
    }
    let racing = tokens.check(&text, now).unwrap();
    assert!(tokens.revoke(&new.info.id).unwrap());
    assert!(!tokens.revoke(&new.info.id).unwrap());
    assert_eq!(waiting.await.unwrap(), ProgramTokenRefused::Unknown);
    // One that was let in a moment before and begins to wait now.
    assert_eq!(racing.over().await, ProgramTokenRefused::Unknown);
    for tokens in [tokens, open(dir.path())] {
        assert_eq!(tokens.check(&text, now).err(), Some(ProgramTokenRefused::Unknown));
        assert!(tokens.check(&kept.token.to_string(), now).is_ok());
        assert_eq!(tokens.list().len(), 1);
    }
}

#[tokio::test]
async fn a_pass_ends_with_its_time() {
    let pass = |until| Pass::certified(&name("p"), Arc::new(some()), until);
    let now = SystemTime::now();
    assert_eq!(
        pass(now - Duration::from_secs(1)).over().await,
        ProgramTokenRefused::Expired
    );
    assert_eq!(
        pass(now + Duration::from_millis(20)).over().await,
        ProgramTokenRefused::Expired
    );
    let endless = tokio::time::timeout(Duration::from_millis(20), Pass::administrator().over());
    assert!(endless.await.is_err());
}

#[test]
fn the_directory_holds_no_secret_and_is_its_owners() {
    let dir = tempfile::tempdir().unwrap();
    let new = open(dir.path())
        .create(&name("a"), some(), None, SystemTime::now())
        .unwrap();
    let text = new.token.to_string();
    let tail = text.strip_prefix(super::super::text::PREFIX).unwrap();
    let folder = dir.path().join("program-tokens");
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let content = fs::read_to_string(&path).unwrap();
        assert!(!content.contains(&hex(&new.token.secret)) && !content.contains(&tail[20..]));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        // One that others can read is no secret any more.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = Tokens::open(dir.path()).err().unwrap().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }
}

#[test]
fn damaged_files_let_nobody_in_and_stop_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let tokens = open(dir.path());
    let kept = tokens.create(&name("a"), some(), None, now).unwrap();
    let lost = tokens.create(&name("b"), some(), None, now).unwrap();
    let folder = dir.path().join("program-tokens");
    files::write_private(
        &folder,
        &format!("{}.json", lost.info.id),
        b"{\"program\": \"b\"}",
    )
    .unwrap();
    files::write_private(&folder, "notes.txt", b"x").unwrap();
    files::write_private(&folder, ".new-1.tmp", b"x").unwrap();
    let tokens = open(dir.path());
    assert_eq!(tokens.list().len(), 1);
    assert!(tokens.check(&kept.token.to_string(), now).is_ok());
    assert!(tokens.check(&lost.token.to_string(), now).is_err());
}

#[test]
fn how_long_how_many_and_what_for_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = open(dir.path());
    let now = SystemTime::now();
    let create = |permissions, ttl| tokens.create(&name("a"), permissions, ttl, now);
    for bad in [
        Duration::ZERO,
        Duration::from_millis(999),
        TTL_MAX + Duration::from_secs(1),
        Duration::MAX,
    ] {
        assert!(
            matches!(create(some(), Some(bad)), Err(ProgramTokenError::Ttl)),
            "{bad:?}"
        );
    }
    assert!(matches!(
        create(Permissions::default(), None),
        Err(ProgramTokenError::Nothing)
    ));
    let one = create(some(), Some(TTL_MAX)).unwrap();
    let fill = tokens.read()[&one.token.id].clone();
    tokens
        .change()
        .extend((1..TOKENS_MAX as u64).map(|n| (n.to_le_bytes(), fill.clone())));
    assert!(matches!(create(some(), None), Err(ProgramTokenError::Full)));
    assert!(tokens.revoke(&one.info.id).unwrap());
    create(some(), None).unwrap();
}
