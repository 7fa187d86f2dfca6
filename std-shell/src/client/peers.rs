//! Changing a node's peers.

use super::error::Error;
use super::transport::{Client, Request};
use crate::peers::{Changed, Wish};
use bytes::Bytes;
use http::Method;

impl Client {
    /// Lets the node dial one more.
    ///
    /// # Errors
    /// It was refused, or there was no answer.
    pub async fn add_peer(&self, wish: &Wish) -> Result<Changed, Error> {
        self.change_peer(Method::POST, "/v1/peers".into(), Some(wish))
            .await
    }

    /// Sets what counts for the peer of this name.
    ///
    /// # Errors
    /// It was refused, or there was no answer.
    pub async fn set_peer(&self, name: &str, wish: &Wish) -> Result<Changed, Error> {
        self.change_peer(Method::PUT, peer_path(name), Some(wish)).await
    }

    /// Removes the peer of this name or URL.
    ///
    /// # Errors
    /// It was refused, or there was no answer.
    pub async fn remove_peer(&self, which: &str) -> Result<Changed, Error> {
        self.change_peer(Method::DELETE, peer_path(which), None).await
    }

    async fn change_peer(&self, method: Method, path: String, wish: Option<&Wish>) -> Result<Changed, Error> {
        let mut request = Request::new(method, path);
        if let Some(wish) = wish {
            let body = serde_json::to_vec(wish).map_err(|e| self.puzzle(e.to_string()))?;
            request = request
                .header("content-type", "application/json")
                .body(Bytes::from(body));
        }
        let answer = self.request(request).await?;
        self.read(&answer)
    }
}

/// A URL in a path is written so that its slashes are none of the path's.
fn peer_path(which: &str) -> String {
    let mut path = String::from("/v1/peers/");
    for byte in which.bytes() {
        match byte {
            b if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => path.push(char::from(b)),
            b => path += &format!("%{b:02X}"),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::peer_path;

    #[test]
    fn a_url_is_one_part_of_the_path() {
        assert_eq!(peer_path("hub-1"), "/v1/peers/hub-1");
        assert_eq!(
            peer_path("https://[::1]:5"),
            "/v1/peers/https%3A%2F%2F%5B%3A%3A1%5D%3A5"
        );
    }
}
