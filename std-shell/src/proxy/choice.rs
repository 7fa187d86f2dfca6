//! Which proxy is for which node.

use super::Proxy;
use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// What a node's settings say of the way to a north.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Rule {
    /// Nothing: the environment decides.
    #[default]
    Environment,
    /// Straight, whatever the environment says.
    Straight,
    /// Through this one, whatever the environment says, also to this machine itself.
    Through(Proxy),
}

impl FromStr for Rule {
    type Err = super::BadProxy;

    /// `none`, or a proxy's URL.
    fn from_str(text: &str) -> Result<Self, super::BadProxy> {
        match text {
            "none" => Ok(Self::Straight),
            url => url.parse().map(Self::Through),
        }
    }
}

impl Rule {
    /// The proxy to a node; none: straight.
    ///
    /// # Errors
    /// The environment names something that can't be used, and this node would need it.
    pub fn proxy(
        &self,
        environment: &Environment,
        host: &str,
        port: u16,
    ) -> Result<Option<Proxy>, BadEnvironment> {
        match self {
            Self::Environment => environment.proxy(host, port),
            Self::Straight => Ok(None),
            Self::Through(proxy) => Ok(Some(proxy.clone())),
        }
    }
}

/// What the environment says of proxies, by the variables that most programs know: `HTTPS_PROXY`, else `ALL_PROXY`, and
/// `NO_PROXY`; each also in lower case.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// The variable and its value.
    proxy: Option<(&'static str, String)>,
    except: String,
}

impl fmt::Debug for Environment {
    /// Without the proxy's URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("proxy", &self.proxy.as_ref().map(|(name, _)| name))
            .field("except", &self.except)
            .finish()
    }
}

/// The environment names a proxy that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the environment variable {variable}: {cause}; change it, name {host} in NO_PROXY, or set `proxy` (\"none\": no proxy)"
)]
pub struct BadEnvironment {
    variable: &'static str,
    cause: super::BadProxy,
    host: String,
}

impl Environment {
    /// Reads the variables; those that are empty count as not there.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&'static str]| {
            let mut values = names
                .iter()
                .filter_map(|&name| variable(name).map(|value| (name, value.trim().to_owned())));
            values.find(|(_, value)| !value.is_empty())
        };
        Self {
            proxy: first(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]),
            except: first(&["NO_PROXY", "no_proxy"]).map_or_else(String::new, |(_, value)| value),
        }
    }

    fn proxy(&self, host: &str, port: u16) -> Result<Option<Proxy>, BadEnvironment> {
        let Some((variable, value)) = &self.proxy else {
            return Ok(None);
        };
        if is_local(host) || self.excepts(host, port) {
            return Ok(None);
        }
        let found: Result<Proxy, _> = value.parse();
        let mut proxy = found.map_err(|cause| BadEnvironment {
            variable,
            cause,
            host: host.to_owned(),
        })?;
        proxy.named_by = variable;
        Ok(Some(proxy))
    }

    /// Whether `NO_PROXY` names this node: `*`, a host or a domain (with or without a dot before it: both mean it and
    /// all below it), an address, a network as `10.0.0.0/8`; each but the last may have a port, and is meant for that
    /// port only then.
    fn excepts(&self, host: &str, port: u16) -> bool {
        let entries = self.except.split([',', ' ', '\t']);
        let meant: Vec<&str> = entries.filter_map(|entry| without_port(entry, port)).collect();
        // To the library that means all names, and no address.
        if meant.contains(&"*") {
            return true;
        }
        // The library knows the rules, except for ports; the URL's own is nothing to it.
        let matcher = Matcher::builder()
            .https("http://proxy.invalid")
            .no(meant.join(","))
            .build();
        let node = Uri::builder()
            .scheme("https")
            .authority(super::authority(host.trim_end_matches('.'), port))
            .path_and_query("/")
            .build();
        node.is_ok_and(|node| matcher.intercept(&node).is_none())
    }
}

/// An entry of `NO_PROXY` for `port` without that, or none if it is for another port.
fn without_port(entry: &str, port: u16) -> Option<&str> {
    let entry = entry.strip_prefix("*.").unwrap_or(entry);
    // An IPv6 address without brackets is no host with a port.
    let (name, of_port) = match entry.rsplit_once(':') {
        Some((name, of_port)) if !name.contains(':') || name.ends_with(']') => (name, Some(of_port)),
        _ => (entry, None),
    };
    let name = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name)
        .trim_end_matches('.');
    let is_meant = of_port.is_none_or(|of_port| of_port.parse() == Ok(port)) && !name.is_empty();
    is_meant.then_some(name)
}

/// A proxy on another machine can't reach this one by such a name.
fn is_local(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => {
            let last = host.rsplit('.').next().unwrap_or_default();
            last.eq_ignore_ascii_case("localhost")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::read(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn shown(environment: &Environment, host: &str) -> Option<String> {
        let proxy = Rule::Environment.proxy(environment, host, 7411).unwrap();
        proxy.map(|proxy| proxy.to_string())
    }

    #[test]
    fn the_more_special_variable_counts_and_an_empty_one_does_not() {
        let all: &[(&str, &str)] = &[
            ("HTTPS_PROXY", "http://a:1"),
            ("https_proxy", "http://b:1"),
            ("ALL_PROXY", "http://c:1"),
            ("all_proxy", "http://d:1"),
        ];
        for (left_out, expected) in [(0, "a"), (1, "b"), (2, "c"), (3, "d")] {
            let found = shown(&environment(&all[left_out..]), "north.example");
            assert_eq!(found, Some(format!("http://{expected}:1")));
        }
        assert_eq!(shown(&environment(&[]), "north.example"), None);
        assert_eq!(
            shown(
                &environment(&[("HTTPS_PROXY", " "), ("ALL_PROXY", "http://c:1")]),
                "north.example"
            ),
            Some("http://c:1".into())
        );
        // That is for http:// URLs.
        assert_eq!(
            shown(&environment(&[("HTTP_PROXY", "http://a:1")]), "north.example"),
            None
        );
    }

    #[test]
    fn no_proxy_names_hosts_domains_addresses_networks_and_ports() {
        for (except, host, straight) in [
            ("", "north.example", false),
            ("*", "north.example", true),
            ("*", "10.1.2.3", true),
            ("a,*", "fd00::1", true),
            ("*:1", "north.example", false),
            ("north.example", "north.example", true),
            ("NORTH.example", "north.EXAMPLE", true),
            ("north.example", "north.example.", true),
            ("north.example.", "north.example", true),
            ("example", "north.example", true),
            (".example", "north.example", true),
            ("*.example", "north.example", true),
            ("north.example", "a.north.example", true),
            ("orth.example", "north.example", false),
            ("north.example", "example", false),
            ("other, north.example", "north.example", true),
            ("other north.example", "north.example", true),
            ("other,,", "north.example", false),
            ("north.example:7411", "north.example", true),
            ("north.example:443", "north.example", false),
            (".example:7411", "north.example", true),
            (".example:1", "north.example", false),
            ("north.example:x", "north.example", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3:7411", "10.1.2.3", true),
            ("10.1.2.3:1", "10.1.2.3", false),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("10.0.0.0/8", "ten.example", false),
            ("fd00::/8", "fd00::1", true),
            ("fd00::1", "fd00::1", true),
            ("[fd00::1]", "fd00::1", true),
            ("[fd00::1]:7411", "fd00::1", true),
            ("[fd00::1]:1", "fd00::1", false),
            ("fd00::2", "fd00::1", false),
            ("10.0.0.0/99", "10.1.2.3", false),
        ] {
            let found = environment(&[("HTTPS_PROXY", "http://p:1"), ("no_proxy", except)]);
            assert_eq!(
                shown(&found, host).is_none(),
                straight,
                "NO_PROXY={except:?} and {host}"
            );
        }
    }

    #[test]
    fn this_machine_is_reached_straight_unless_a_setting_says_otherwise() {
        let environment = environment(&[("HTTPS_PROXY", "http://p:1")]);
        let through: Rule = "http://q:2".parse().unwrap();
        for host in [
            "localhost",
            "LocalHost.",
            "a.localhost",
            "127.0.0.1",
            "127.9.9.9",
            "::1",
        ] {
            assert_eq!(shown(&environment, host), None, "{host}");
            let told = through.proxy(&environment, host, 7411).unwrap().unwrap();
            assert_eq!(told.to_string(), "http://q:2", "{host}");
        }
        assert_eq!(
            "none".parse::<Rule>().unwrap().proxy(&environment, "north", 7411),
            Ok(None)
        );
    }

    #[test]
    fn a_bad_variable_is_named_only_where_it_is_needed() {
        let environment = environment(&[
            ("ALL_PROXY", "socks5://u:secret@p:1"),
            ("NO_PROXY", "south.example"),
        ]);
        let error = Rule::Environment
            .proxy(&environment, "north.example", 7411)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("ALL_PROXY") && error.contains("north.example"),
            "{error}"
        );
        assert!(!error.contains("secret"), "{error}");
        assert_eq!(shown(&environment, "south.example"), None);
        assert_eq!(
            Rule::Straight.proxy(&environment, "north.example", 7411),
            Ok(None)
        );
        assert!(!format!("{environment:?}").contains("secret"));
    }
}
