//! Saved contexts: nodes that the user works with, by names of the user's choice.
//!
//! Each is a file of mode 0600 in the user's configuration directory, `contexts/NAME.toml`. A node of this machine is kept as
//! its directory, so that what changes there counts. Of a node elsewhere the URL is kept, the mesh's certificates are copied
//! (the file that they came from may go away), and the token is copied too, unless it is in a file of its own: then the path is
//! kept, and whoever renews the token there need not come here.

use super::context::{Context, Place};
use super::error::Error;
use crate::trust::write_private;
use redlink_core::Name;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Environment variable with the directory of the user's configuration.
const HOME_VARIABLE: &str = "REDLINK_CONFIG_HOME";
/// Environment variable with the name of a saved context.
pub const VARIABLE: &str = "REDLINK_CONTEXT";
/// File with the name of the one that is used when nothing else says which.
const CURRENT: &str = "current-context";
/// Folder of the saved ones.
const FOLDER: &str = "contexts";
/// Larger files are not read: nobody wrote such by a context's means.
const FILE_MAX: u64 = 1 << 20;

/// A saved context, as its file has it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    /// The directory of a node of this machine; then there is nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// The node's URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The token itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The file with the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
}

impl std::fmt::Debug for Saved {
    /// Without the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Saved")
            .field("directory", &self.directory)
            .field("url", &self.url)
            .field("token_file", &self.token_file)
            .finish_non_exhaustive()
    }
}

/// The user's saved contexts.
#[derive(Debug, Clone)]
pub struct Contexts {
    home: PathBuf,
}

impl Contexts {
    /// Those of this user: in `REDLINK_CONFIG_HOME`, else in the `redlink` of `XDG_CONFIG_HOME`, else in `~/.config/redlink`.
    /// None where no variable says where that is.
    pub fn of_user() -> Option<Self> {
        Self::by(|name| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        })
    }

    fn by(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<Self> {
        let home = variable(HOME_VARIABLE)
            .or_else(|| {
                // The rule of that variable: one that is not absolute counts for nothing.
                let base = variable("XDG_CONFIG_HOME").filter(|base| base.is_absolute());
                Some(base?.join("redlink"))
            })
            .or_else(|| Some(variable("HOME")?.join(".config/redlink")))?;
        Some(Self { home })
    }

    /// The directory that they are in.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// All of them, by name.
    ///
    /// # Errors
    /// The directory or a file can't be read.
    pub fn list(&self) -> Result<Vec<(Name, Saved)>, Error> {
        let folder = self.folder();
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(unusable(&folder, &e)),
        };
        let mut all = Vec::new();
        for entry in entries {
            let file = entry.map_err(|e| unusable(&folder, &e))?.file_name();
            let name = file.to_str().and_then(|file| file.strip_suffix(".toml"));
            if let Some(Ok(name)) = name.map(Name::new) {
                let saved = self.get(&name)?;
                all.push((name, saved));
            }
        }
        all.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
        Ok(all)
    }

    /// The saved context of this name.
    ///
    /// # Errors
    /// There is none, or its file can't be read.
    pub fn get(&self, name: &Name) -> Result<Saved, Error> {
        let path = self.file(name, "toml");
        match std::fs::metadata(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                return Err(Error::NoContext {
                    name: name.to_string(),
                    home: self.home.clone(),
                });
            }
            Ok(data) if data.len() > FILE_MAX => return Err(broken(&path, "it is too large".into())),
            _ => {}
        }
        let text = std::fs::read_to_string(&path).map_err(|e| unusable(&path, &e))?;
        toml::from_str(&text).map_err(|e| broken(&path, e.message().to_owned()))
    }

    /// The name of the one that is used when nothing else says which.
    ///
    /// # Errors
    /// The file that says it can't be read.
    pub fn current(&self) -> Result<Option<Name>, Error> {
        let path = self.home.join(CURRENT);
        match std::fs::read_to_string(&path) {
            Ok(text) => match Name::new(text.trim()) {
                Ok(name) => Ok(Some(name)),
                Err(e) => Err(broken(&path, format!("{:?} is no name: {e}", text.trim()))),
            },
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(unusable(&path, &e)),
        }
    }

    /// Makes this one, or none, the one that is used when nothing else says which.
    ///
    /// # Errors
    /// There is none of that name, or the file that says it can't be written.
    pub fn use_by_default(&self, name: Option<&Name>) -> Result<(), Error> {
        let path = self.home.join(CURRENT);
        match name {
            Some(name) => {
                self.get(name)?;
                self.write(&self.home, CURRENT, format!("{name}\n").as_bytes())
            }
            None => remove(&path),
        }
    }

    /// Saves a context; `ca` are the mesh's certificates of one with a URL.
    ///
    /// # Errors
    /// Its files can't be written.
    pub fn save(&self, name: &Name, saved: &Saved, ca: Option<&[u8]>) -> Result<(), Error> {
        let folder = self.folder();
        let text = toml::to_string(saved).map_err(|e| broken(&self.file(name, "toml"), e.to_string()))?;
        match ca {
            Some(pem) => self.write(&folder, &format!("{name}.ca.pem"), pem)?,
            None => remove(&self.file(name, "ca.pem"))?,
        }
        // Last: what is there is whole.
        self.write(&folder, &format!("{name}.toml"), text.as_bytes())
    }

    /// Removes one.
    ///
    /// # Errors
    /// There is none of that name, or its files can't be removed.
    pub fn remove(&self, name: &Name) -> Result<(), Error> {
        let path = self.file(name, "toml");
        if !path.exists() {
            return Err(Error::NoContext {
                name: name.to_string(),
                home: self.home.clone(),
            });
        }
        if self.current()?.as_ref() == Some(name) {
            self.use_by_default(None)?;
        }
        remove(&path)?;
        remove(&self.file(name, "ca.pem"))
    }

    /// The node of a saved context, and the means to be let in there. `ca` and `token` override what was saved.
    ///
    /// # Errors
    /// There is none of that name, or a file of it can't be read.
    pub fn context(&self, name: &Name, ca: Option<&Path>, token: Option<&str>) -> Result<Context, Error> {
        let saved = self.get(name)?;
        let path = self.file(name, "toml");
        match (saved.directory, saved.url) {
            (Some(directory), None) => {
                Context::find(Some(&Place::Directory(directory)), ca, token, Path::new("/"))
            }
            (None, Some(url)) => {
                let url = match url.parse() {
                    Ok(Place::Url(url)) => url,
                    _ => return Err(broken(&path, format!("{url:?} is not a URL"))),
                };
                let token = match (token, saved.token, saved.token_file) {
                    (Some(token), ..) => Some(token.to_owned()),
                    (None, Some(token), None) => Some(token),
                    (None, None, Some(file)) => Some(super::context::read("the token in", &file)?),
                    (None, None, None) => None,
                    (None, Some(_), Some(_)) => {
                        return Err(broken(&path, "it has both a token and a token_file".into()));
                    }
                };
                let ca = ca.map_or_else(|| self.file(name, "ca.pem"), Path::to_owned);
                Ok(Context {
                    url,
                    ca,
                    token,
                    home: None,
                })
            }
            _ => Err(broken(&path, "it has to have either a directory or a url".into())),
        }
    }

    fn folder(&self) -> PathBuf {
        self.home.join(FOLDER)
    }

    /// A name has no slash, so that this is a file of the folder.
    fn file(&self, name: &Name, kind: &str) -> PathBuf {
        self.folder().join(format!("{name}.{kind}"))
    }

    fn write(&self, dir: &Path, file: &str, bytes: &[u8]) -> Result<(), Error> {
        use std::os::unix::fs::DirBuilderExt;
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(dir).map_err(|e| unusable(dir, &e))?;
        let path = dir.join(file);
        write_private(dir, file, bytes).map_err(|e| broken(&path, e.to_string()))
    }
}

fn remove(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(unusable(path, &e)),
        _ => Ok(()),
    }
}

fn broken(path: &Path, why: String) -> Error {
    Error::File {
        what: "the saved context in",
        path: path.to_owned(),
        why,
        denied: false,
    }
}

fn unusable(path: &Path, error: &std::io::Error) -> Error {
    Error::File {
        what: "the saved contexts in",
        path: path.to_owned(),
        why: error.to_string(),
        denied: error.kind() == ErrorKind::PermissionDenied,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn far(token: Option<&str>, token_file: Option<PathBuf>) -> Saved {
        Saved {
            directory: None,
            url: Some("https://far:7411".into()),
            token: token.map(Into::into),
            token_file,
        }
    }

    #[test]
    fn the_directory_is_the_users() {
        let by = |told: &[(&str, &str)]| {
            let found = Contexts::by(|name| {
                let value = told.iter().find(|(n, _)| *n == name);
                value.map(|(_, v)| PathBuf::from(v))
            });
            found.map(|contexts| contexts.home.display().to_string())
        };
        let home = ("HOME", "/h");
        assert_eq!(by(&[home]).as_deref(), Some("/h/.config/redlink"));
        assert_eq!(
            by(&[home, ("XDG_CONFIG_HOME", "/x")]).as_deref(),
            Some("/x/redlink")
        );
        assert_eq!(
            by(&[home, ("XDG_CONFIG_HOME", "x")]).as_deref(),
            Some("/h/.config/redlink")
        );
        assert_eq!(by(&[home, (HOME_VARIABLE, "y")]).as_deref(), Some("y"));
        assert_eq!(by(&[]), None);
    }

    #[test]
    fn what_is_saved_is_found_and_for_its_owner_alone() {
        let top = tempfile::tempdir().unwrap();
        let contexts = Contexts {
            home: top.path().join("a/b"),
        };
        assert_eq!(
            (contexts.list().unwrap(), contexts.current().unwrap()),
            (vec![], None)
        );
        let prod = name("prod");
        assert!(matches!(contexts.get(&prod), Err(Error::NoContext { .. })));
        assert!(contexts.use_by_default(Some(&prod)).is_err());

        contexts
            .save(&prod, &far(Some("secret"), None), Some(b"PEM"))
            .unwrap();
        contexts.use_by_default(Some(&prod)).unwrap();
        assert_eq!(contexts.current().unwrap(), Some(prod.clone()));
        let found = contexts.context(&prod, None, None).unwrap();
        assert_eq!(
            (found.url.as_str(), found.token.as_deref()),
            ("https://far:7411", Some("secret"))
        );
        assert_eq!(std::fs::read(&found.ca).unwrap(), b"PEM");
        let other = contexts
            .context(&prod, Some(Path::new("o.pem")), Some("o"))
            .unwrap();
        assert_eq!(
            (other.ca.to_str(), other.token.as_deref()),
            (Some("o.pem"), Some("o"))
        );
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&contexts.file(&prod, "toml")), 0o600);
        assert_eq!(mode(&contexts.folder()), 0o700);
        assert!(!format!("{:?}", contexts.list().unwrap()).contains("secret"));

        let kept = top.path().join("token");
        std::fs::write(&kept, "of a file\n").unwrap();
        contexts
            .save(&prod, &far(None, Some(kept.clone())), Some(b"PEM"))
            .unwrap();
        let found = contexts.context(&prod, None, None).unwrap();
        assert_eq!(found.token.as_deref(), Some("of a file"));
        std::fs::remove_file(kept).unwrap();
        let error = contexts.context(&prod, None, None).unwrap_err().to_string();
        assert!(error.contains("the token in"), "{error}");

        contexts.remove(&prod).unwrap();
        assert_eq!(
            (contexts.list().unwrap(), contexts.current().unwrap()),
            (vec![], None)
        );
        assert!(matches!(contexts.remove(&prod), Err(Error::NoContext { .. })));
        assert_eq!(std::fs::read_dir(contexts.folder()).unwrap().count(), 0);
    }

    #[test]
    fn a_broken_file_is_named() {
        let top = tempfile::tempdir().unwrap();
        let contexts = Contexts {
            home: top.path().into(),
        };
        std::fs::create_dir(contexts.folder()).unwrap();
        let bad = name("bad");
        for text in [
            "",
            "url = 3",
            "urls = 'x'",
            "url = 'http://x'",
            "url = 'https://x'\ndirectory = '/x'",
        ] {
            std::fs::write(contexts.file(&bad, "toml"), text).unwrap();
            let error = contexts.context(&bad, None, None).unwrap_err();
            assert!(
                error.to_string().contains("bad.toml") && error.is_usage(),
                "{text}: {error}"
            );
        }
        std::fs::write(top.path().join(CURRENT), "a/b\n").unwrap();
        assert!(contexts.current().unwrap_err().to_string().contains(CURRENT));
    }
}
