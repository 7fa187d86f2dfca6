//! How norths are reached: what is said where, and what counts.

use super::super::{Change, North};
use super::*;
use crate::link::{Mode, Wish};

const NORTHS: &str = "[[north]]\nurl = 'https://a.example'\n[[north]]\nurl = 'https://localhost'\n\
                      [[north]]\nurl = 'https://b.example:1'\n";

fn norths(text: &str, flags: &Partial, env: &[(&str, &str)]) -> Result<Vec<North>, String> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(FILE), text).unwrap();
    let config = load(dir.path(), flags, env).map_err(|e| e.to_string())?;
    Ok(config.north)
}

/// `above` stands before the norths, `of_b` is said of the last of them.
fn proxies(above: &str, of_b: &str, env: &[(&str, &str)]) -> Result<String, String> {
    let norths = norths(&format!("{above}\n{NORTHS}{of_b}"), &Partial::default(), env)?;
    let shown = |n: &North| n.way.proxy.as_ref().map_or("-".to_owned(), ToString::to_string);
    Ok(norths.iter().map(shown).collect::<Vec<_>>().join(" "))
}

#[test]
fn a_setting_of_proxies_counts_more_than_the_environment_s_and_can_differ_between_norths() {
    let env = [("HTTPS_PROXY", "http://e:1"), ("NO_PROXY", "b.example")];
    assert_eq!(proxies("", "", &env).unwrap(), "http://e:1 - -");
    assert_eq!(proxies("proxy = 'none'", "", &env).unwrap(), "- - -");
    let all = "http://f:2 http://f:2 http://f:2";
    assert_eq!(proxies("proxy = 'http://u:p@f:2'", "", &env).unwrap(), all);
    let of_b = "proxy = 'http://g:3'";
    assert_eq!(proxies("", of_b, &env).unwrap(), "http://e:1 - http://g:3");
    assert_eq!(proxies("", of_b, &[]).unwrap(), "- - http://g:3");
    // What a north's entry says counts more than what the file says of all, and less than what is said above the file.
    let both = proxies("proxy = 'http://f:2'", of_b, &[]).unwrap();
    assert_eq!(both, "http://f:2 http://f:2 http://g:3");
    assert_eq!(
        proxies("proxy = 'http://f:2'", "proxy = 'none'", &[]).unwrap(),
        "http://f:2 http://f:2 -"
    );
    let told = [("HTTPS_PROXY", "http://e:1"), ("REDLINK_PROXY", "none")];
    assert_eq!(proxies("proxy = 'http://f:2'", of_b, &told).unwrap(), "- - -");

    for (above, of_b, says) in [
        ("proxy = 'https://u:secret@f'", "", "`proxy`"),
        ("proxy = 3", "", ":1:9"),
        ("", "proxy = 'https://u:secret@f'", "`north.proxy`"),
        ("", "proxi = 'none'", "proxi"),
    ] {
        let error = proxies(above, of_b, &[]).unwrap_err();
        assert!(error.contains(says), "{above} {of_b}: {error}");
        assert!(!error.contains("secret"), "{above} {of_b}: {error}");
    }
    let error = proxies("", "", &[("https_proxy", "socks5://p:1")]).unwrap_err();
    assert!(
        error.contains("https_proxy") && error.contains("a.example"),
        "{error}"
    );
    let text = format!(
        "{:?}",
        toml::from_str::<Partial>("proxy = 'http://u:secret@f'").unwrap()
    );
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn how_links_travel_can_be_set() {
    let wishes = |above: &str, of_b: &str, flags: &Partial| {
        let norths = norths(&format!("{above}\n{NORTHS}{of_b}"), flags, &[])?;
        Ok::<_, String>(norths.iter().map(|n| n.way.link).collect::<Vec<_>>())
    };
    let none = Partial::default();
    let (auto, poll, stream) = (Wish::Auto, Wish::Only(Mode::Poll), Wish::Only(Mode::Stream));
    assert_eq!(wishes("", "", &none).unwrap(), [auto, auto, auto]);
    assert_eq!(wishes("link = 'poll'", "", &none).unwrap(), [poll, poll, poll]);
    assert_eq!(
        wishes("", "link = 'stream'", &none).unwrap(),
        [auto, auto, stream]
    );
    let both = wishes("link = 'poll'", "link = 'auto'", &none).unwrap();
    assert_eq!(both, [poll, poll, auto]);
    let flags = Partial {
        link: Some("stream".into()),
        ..Partial::default()
    };
    let told = wishes("link = 'poll'", "link = 'auto'", &flags).unwrap();
    assert_eq!(told, [stream, stream, stream]);
    for (above, of_b, setting) in [
        ("link = 'pool'", "", "`link`"),
        ("", "link = 'pool'", "`north.link`"),
    ] {
        let error = wishes(above, of_b, &none).unwrap_err();
        assert!(error.contains(setting) && error.contains("`poll`"), "{error}");
    }
}

/// Norths are changed at run time; the ways to them stay what the user wrote, if nothing is said of them.
#[test]
fn a_change_of_norths_leaves_the_ways_to_them() {
    let text = format!("proxy = 'none'\n{NORTHS}proxy = 'http://g:3'\nlink = 'poll'\n");
    let before = norths(&text, &Partial::default(), &[]).unwrap();
    assert_eq!(before[2].way.link, Wish::Only(Mode::Poll));
    let mut wanted = before;
    wanted[2].policy.redistribute = false;
    wanted.remove(0);
    let after = Change::Norths(&wanted).edit(&text).unwrap();
    assert_eq!(
        norths(&after, &Partial::default(), &[]).unwrap(),
        wanted,
        "{after}"
    );
    let mut said = wanted.clone();
    said[0].own.proxy = Some("none".to_owned().into());
    said[1].own.link = Some("auto".into());
    for text in [
        after.as_str(),
        "",
        "north = ['https://localhost', 'https://b.example:1']",
    ] {
        let after = Change::Norths(&said).edit(text).unwrap();
        let owns = norths(&after, &Partial::default(), &[]).unwrap().into_iter();
        let owns: Vec<_> = owns.map(|north| north.own).collect();
        assert_eq!(owns, [said[0].own.clone(), said[1].own.clone()], "{after}");
    }
    // And an entry survives being written from what was read.
    let told: Partial = toml::from_str(&after).unwrap();
    let again = toml::to_string(&told).unwrap();
    assert_eq!(
        norths(&again, &Partial::default(), &[]).unwrap(),
        wanted,
        "{again}"
    );
}
