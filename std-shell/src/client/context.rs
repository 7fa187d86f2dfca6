//! Which node a command talks to.
//!
//! In this order: `--node`, `--context`, `REDLINK_NODE`, `REDLINK_CONTEXT`, the `.redlink` of the current directory and of no
//! parent (what lies in `/tmp` or in a shared folder must not become anybody's node unasked), the chosen context.

use super::error::Error;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The directory that a node keeps its files in.
const HOME: &str = ".redlink";

/// As the user named the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `https://…`, without a slash at the end.
    Url(String),
    /// The directory in which `redlink node` was started, or the `.redlink` in it.
    Directory(PathBuf),
}

impl std::str::FromStr for Place {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("give a URL such as https://localhost:7411, or a directory".into());
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(Self::Directory(text.into()));
        };
        if scheme != "https" {
            return Err(format!("a node speaks https only: https://{rest}"));
        }
        let uri: http::Uri = text.parse().map_err(|e| format!("not a URL: {e}"))?;
        let authority = uri.authority().map(|a| a.as_str()).unwrap_or_default();
        if authority.is_empty() || authority.contains('@') {
            return Err("a URL names a host, and no user: https://HOST:PORT".into());
        }
        if uri.path() != "/" || uri.query().is_some() {
            return Err(format!("the URL of a node has no path: https://{authority}"));
        }
        Ok(Self::Url(format!("https://{authority}")))
    }
}

/// A node and the means to be let in there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// `https://host:port`.
    pub url: String,
    /// The certificates that its own must be signed by.
    pub ca: PathBuf,
    /// What proves who asks.
    pub token: Option<String>,
    /// The directory with its files, if it is a node of this machine.
    pub home: Option<PathBuf>,
}

impl Context {
    /// Finds the node: the named one, else the one in `current`.
    ///
    /// `ca` and `token` override what the node's directory says; a URL needs them unless `current` has a node of the
    /// same mesh, whose files are used then.
    ///
    /// # Errors
    /// There is no node, or its files can't be read.
    pub fn find(
        named: Option<&Place>,
        ca: Option<&Path>,
        token: Option<&str>,
        current: &Path,
    ) -> Result<Self, Error> {
        let home = match named {
            Some(Place::Directory(directory)) => Some(home_in(directory).ok_or_else(|| Error::NotANode {
                named: directory.display().to_string(),
                why: match directory.is_dir() {
                    true => "no `redlink node` was started in this directory".into(),
                    false => "there is no such directory".into(),
                },
            })?),
            Some(Place::Url(_)) => home_in(current),
            None => Some(home_in(current).ok_or_else(|| Error::NoNode {
                looked: current.to_owned(),
            })?),
        };
        let url = match (named, &home) {
            (Some(Place::Url(url)), _) => url.clone(),
            (_, Some(home)) => address(home)?,
            (_, None) => {
                return Err(Error::NoNode {
                    looked: current.to_owned(),
                });
            }
        };
        let ca = match (ca, &home) {
            (Some(ca), _) => ca.to_owned(),
            (None, Some(home)) => home.join("ca.pem"),
            (None, None) => return Err(Error::Untrusted { url }),
        };
        let token = match (token, &home) {
            (Some(token), _) => Some(token.to_owned()),
            (None, Some(home)) => Some(read("the admin token", &home.join("admin-token"))?),
            (None, None) => None,
        };
        Ok(Self { url, ca, token, home })
    }
}

/// The node's own directory, whether its parent or itself was named.
fn home_in(directory: &Path) -> Option<PathBuf> {
    let below = directory.join(HOME);
    if below.is_dir() {
        return Some(below);
    }
    let itself = directory.file_name().is_some_and(|name| name == HOME) || directory.join("ca.pem").is_file();
    (itself && directory.is_dir()).then(|| directory.to_owned())
}

/// Where the node of this directory listens, as it wrote it down when it last started.
fn address(home: &Path) -> Result<String, Error> {
    let path = home.join("address");
    let text = read("the node's address", &path)?;
    match text.parse() {
        Ok(Place::Url(url)) => Ok(url),
        _ => Err(Error::File {
            what: "the node's address",
            path,
            why: format!("{text:?} is not a URL"),
            denied: false,
        }),
    }
}

pub(super) fn read(what: &'static str, path: &Path) -> Result<String, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(e) => Err(Error::File {
            what,
            path: path.to_owned(),
            why: match e.kind() {
                ErrorKind::NotFound => "there is no such file".into(),
                ErrorKind::PermissionDenied => "permission denied".into(),
                _ => e.to_string(),
            },
            denied: e.kind() == ErrorKind::PermissionDenied,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node_in(directory: &Path) -> PathBuf {
        let home = directory.join(HOME);
        std::fs::create_dir(&home).unwrap();
        std::fs::write(home.join("ca.pem"), "x").unwrap();
        std::fs::write(home.join("admin-token"), "secret\n").unwrap();
        std::fs::write(home.join("address"), "https://localhost:7411\n").unwrap();
        home
    }

    #[test]
    fn places_are_urls_or_directories() {
        assert_eq!("https://h:1/".parse(), Ok(Place::Url("https://h:1".into())));
        assert_eq!(
            "https://[::1]:7411".parse(),
            Ok(Place::Url("https://[::1]:7411".into()))
        );
        assert_eq!("some/dir".parse(), Ok(Place::Directory("some/dir".into())));
        for bad in [
            "",
            "http://h:1",
            "https://",
            "https://h/v1",
            "https://h?x",
            "https://u:p@h",
            "ftp://h",
        ] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_directory_or_the_home_in_it_is_enough() {
        let top = tempfile::tempdir().unwrap();
        let home = node_in(top.path());
        for named in [top.path().to_owned(), home.clone()] {
            let context = Context::find(Some(&Place::Directory(named)), None, None, Path::new("/")).unwrap();
            assert_eq!(context.url, "https://localhost:7411");
            assert_eq!(context.ca, home.join("ca.pem"));
            assert_eq!(context.token.as_deref(), Some("secret"));
        }
        assert_eq!(
            Context::find(None, None, None, top.path()).unwrap().home,
            Some(home)
        );
    }

    #[test]
    fn without_a_node_the_error_says_where_it_looked() {
        let empty = tempfile::tempdir().unwrap();
        let error = Context::find(None, None, None, empty.path()).unwrap_err();
        assert!(
            error.to_string().contains(&empty.path().display().to_string()),
            "{error}"
        );
        assert!(error.next().unwrap().contains("redlink node"));
        let missing = Place::Directory(empty.path().join("gone"));
        let error = Context::find(Some(&missing), None, None, empty.path()).unwrap_err();
        assert!(error.to_string().contains("no such directory"), "{error}");
    }

    #[test]
    fn a_url_takes_its_trust_from_here_or_from_the_caller() {
        let empty = tempfile::tempdir().unwrap();
        let url = Place::Url("https://far:7411".into());
        assert!(Context::find(Some(&url), None, None, empty.path()).is_err());
        let given = Context::find(Some(&url), Some(Path::new("x.pem")), Some("t"), empty.path()).unwrap();
        assert_eq!(
            (given.ca.as_path(), given.token.as_deref()),
            (Path::new("x.pem"), Some("t"))
        );
        let home = node_in(empty.path());
        let beside = Context::find(Some(&url), None, None, empty.path()).unwrap();
        assert_eq!(
            (beside.url.as_str(), beside.ca),
            ("https://far:7411", home.join("ca.pem"))
        );
    }

    #[test]
    fn a_broken_address_file_is_an_error_that_names_it() {
        let top = tempfile::tempdir().unwrap();
        std::fs::write(node_in(top.path()).join("address"), "nonsense").unwrap();
        let error = Context::find(None, None, None, top.path()).unwrap_err();
        assert!(error.to_string().contains("address"), "{error}");
    }
}
