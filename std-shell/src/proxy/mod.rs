//! Connections to other nodes: straight, or through an HTTP proxy that makes a tunnel (`CONNECT`).
//!
//! `choice` says which proxy is for which node, `tunnel` makes the connection. What goes through it is TLS between the
//! two nodes, end to end: the proxy sees the host and the port, and bytes.

mod choice;
mod tunnel;

pub use choice::{Environment, Rule};
pub use tunnel::{ReachError, reach};

use http::{HeaderValue, Uri, uri::Scheme};
use hyper_util::client::proxy::matcher::Matcher;
use std::fmt;
use std::str::FromStr;

/// An HTTP proxy.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    host: String,
    port: u16,
    /// User and password, as a header's value.
    authorization: Option<HeaderValue>,
    /// Where it was named, for errors.
    named_by: &'static str,
}

/// Not a proxy's URL. The text does not repeat it: it may hold a password.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}; a proxy's URL is http://HOST:PORT or http://USER:PASSWORD@HOST:PORT")]
pub struct BadProxy(&'static str);

/// Port of a proxy whose URL names none.
const PORT: u16 = 80;

impl FromStr for Proxy {
    type Err = BadProxy;

    fn from_str(text: &str) -> Result<Self, BadProxy> {
        match text.split_once("://") {
            Some(("http", _)) | None => {}
            Some(("https", _)) => {
                return Err(BadProxy(
                    "the way to the proxy itself can't be TLS; what goes through it is TLS anyway",
                ));
            }
            Some((scheme, _)) if scheme.starts_with("socks") => {
                return Err(BadProxy("SOCKS is not spoken here"));
            }
            Some(_) => return Err(BadProxy("only http:// proxies are known here")),
        }
        let uri: Uri = text.parse().map_err(|_| {
            BadProxy(
                "it is no URL (in user and password, characters such as @ : / are written as %40 %3A %2F)",
            )
        })?;
        if uri.path_and_query().is_some_and(|path| path.as_str() != "/") {
            return Err(BadProxy("it has a path"));
        }
        // The library knows how user and password are written in URLs, and that the scheme may be missing.
        let matcher = Matcher::builder().https(text).build();
        let found = matcher
            .intercept(&Uri::from_static("https://north.invalid"))
            .filter(|found| found.uri().scheme() == Some(&Scheme::HTTP))
            .ok_or(BadProxy("it is no URL"))?;
        let host = found.uri().host().unwrap_or_default().trim_matches(['[', ']']);
        if !crate::trust::is_host(host) {
            return Err(BadProxy("its host is no name and no address"));
        }
        let authority = found
            .uri()
            .authority()
            .map(|all| all.as_str())
            .unwrap_or_default();
        let port = match found.uri().port_u16() {
            Some(0) => return Err(BadProxy("port 0 is none")),
            Some(port) => port,
            None if authority.len() == found.uri().host().unwrap_or_default().len() => PORT,
            None => return Err(BadProxy("its port is none")),
        };
        Ok(Self {
            host: host.to_owned(),
            port,
            authorization: found.basic_auth().cloned(),
            named_by: "the setting `proxy`",
        })
    }
}

impl fmt::Display for Proxy {
    /// Without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", authority(&self.host, self.port))
    }
}

impl fmt::Debug for Proxy {
    /// Without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

/// `host:port`, with brackets where the host has colons.
fn authority(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_proxies() {
        for (text, shown, authorization) in [
            ("http://p:3128", "http://p:3128", None),
            ("p:3128", "http://p:3128", None),
            ("http://p.example/", "http://p.example:80", None),
            ("http://[::1]:8", "http://[::1]:8", None),
            ("http://10.0.0.1:8", "http://10.0.0.1:8", None),
            // `u:p`, `us er:p@ss:word`, `u:`
            ("http://u:p@h:1", "http://h:1", Some("Basic dTpw")),
            (
                "http://us%20er:p%40ss%3Aword@h:1",
                "http://h:1",
                Some("Basic dXMgZXI6cEBzczp3b3Jk"),
            ),
            ("http://u@h:1", "http://h:1", Some("Basic dTo=")),
        ] {
            let proxy: Proxy = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(proxy.to_string(), shown, "{text}");
            let found = proxy.authorization.as_ref().map(|v| v.to_str().unwrap());
            assert_eq!(found, authorization, "{text}");
            assert!(!format!("{proxy:?}").contains("dTpw"));
        }
    }

    #[test]
    fn what_is_no_proxy_is_refused_and_its_password_not_repeated() {
        for (text, why) in [
            ("", "no URL"),
            ("https://u:secret@h:1", "TLS"),
            ("socks5://u:secret@h:1", "SOCKS"),
            ("ftp://u:secret@h:1", "http://"),
            ("http://u:secret@", "URL"),
            ("http://u:secret@h:0", "port"),
            ("http://u:secret@h:99999", ""),
            ("http://u:secret@h:", "port"),
            ("http://u:secret@h:1/path", "path"),
            ("http://u:secret@h:1/?q", "path"),
            ("http://u:sec ret@h:1", "%40"),
            ("http://u:secret@a_b!:1", "host"),
        ] {
            let error = text.parse::<Proxy>().expect_err(text).to_string();
            assert!(error.contains(why), "{text}: {error}");
            assert!(!error.contains("secret"), "{text}: {error}");
            assert!(error.contains("http://HOST:PORT"), "{text}: {error}");
        }
    }
}
