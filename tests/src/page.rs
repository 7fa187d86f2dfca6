//! What tests do with the web page of a node.

use crate::{Node, Page};
use serde_json::json;

/// What somebody would send who wants to run his script in the administrator's browser.
pub const HOSTILE: &str =
    r#"<img src=x onerror="window.hacked=1"><script>window.hacked=1</script><svg onload=window.hacked=1>"#;

/// Desktop and phone, in pixels.
pub const WIDTHS: [(u32, u32); 2] = [(1280, 900), (390, 844)];

impl Page {
    /// Gives the token to the form.
    ///
    /// # Panics
    /// There is no form.
    #[track_caller]
    pub fn sign_in(&mut self, token: &str) {
        self.wait("the form", "document.getElementById('token').checkVisibility()");
        self.click("#token");
        self.eval("document.getElementById('token').value = ''");
        self.insert(token);
        self.press("Enter");
    }

    /// Goes to a view by its link.
    ///
    /// # Panics
    /// It is not there.
    #[track_caller]
    pub fn view(&mut self, name: &str) {
        self.click(&format!("#views a[href='#{name}']"));
        let there = format!(
            "location.hash.startsWith({}) && document.querySelector('main h2') !== null",
            json!(format!("#{name}"))
        );
        self.wait(name, &there);
    }

    /// Checks that all that it asked for was its own node's, that no address had the administrator's token in it, and that
    /// it had nothing to complain of but this.
    ///
    /// # Panics
    /// It was not so.
    #[track_caller]
    pub fn is_clean(&self, node: &Node, expected: &[&str]) {
        let own = format!("{}/", node.url());
        let others: Vec<&String> = self
            .requests
            .iter()
            .filter(|url| !url.starts_with(&own))
            .collect();
        assert!(others.is_empty() && !self.requests.is_empty(), "{others:?}");
        let token = node.admin_token();
        assert!(self.requests.iter().all(|url| !url.contains(&token)));
        let new: Vec<&String> = self
            .complaints
            .iter()
            .filter(|complaint| !expected.iter().any(|text| complaint.contains(text)))
            .collect();
        assert!(new.is_empty(), "{new:#?}");
    }
}
