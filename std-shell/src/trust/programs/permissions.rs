//! What one program may do.

use redlink_core::{Name, NameError, Pattern};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Most patterns of one kind that one program has (promise P7).
pub const PATTERNS_MAX: usize = 64;

/// What a program may do at its node. The default is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Permissions {
    /// It may submit messages to these services.
    #[serde(default, deserialize_with = "read", serialize_with = "write")]
    #[schema(value_type = Vec<String>)]
    pub produce: Vec<Pattern>,
    /// It may be a consumer of these services.
    #[serde(default, deserialize_with = "read", serialize_with = "write")]
    #[schema(value_type = Vec<String>)]
    pub consume: Vec<Pattern>,
    /// It may read the node's metrics.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub watch: bool,
    /// It may do everything at this node, also with what is others'.
    #[serde(default)]
    pub administer: bool,
}

impl Permissions {
    /// Everything.
    pub const ALL: Self = Self {
        produce: Vec::new(),
        consume: Vec::new(),
        watch: true,
        administer: true,
    };

    /// Whether it may submit to this service.
    pub fn may_produce(&self, service: &Name) -> bool {
        self.administer || self.produce.iter().any(|pattern| pattern.matches(service))
    }

    /// Whether it may be a consumer of this service.
    pub fn may_consume(&self, service: &Name) -> bool {
        self.administer || self.consume.iter().any(|pattern| pattern.matches(service))
    }

    /// Whether it may do nothing at all.
    pub fn is_nothing(&self) -> bool {
        !self.administer && !self.watch && self.produce.is_empty() && self.consume.is_empty()
    }
}

/// Reads a pattern of services.
///
/// # Errors
/// What is wrong with it, and what would be right.
pub fn pattern(text: &str) -> Result<Pattern, String> {
    let bad = |why: &str| {
        let shown: String = text.chars().flat_map(char::escape_default).take(80).collect();
        let form = "a pattern is a service's name, with * for any characters and ? for one, such as jobs.*";
        format!("`{shown}` is no pattern of services: {why}; {form}")
    };
    if text.starts_with(['.', '-']) {
        return Err(bad("no service's name begins so"));
    }
    Pattern::new(text).map_err(|error| match error {
        NameError::Empty => bad("it is empty"),
        NameError::TooLong => bad("it is too long"),
        NameError::Character(at) => bad(&format!("byte {} is not possible there", u32::from(at) + 1)),
    })
}

fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Pattern>, D::Error> {
    use serde::de::Error;
    let texts = Vec::<String>::deserialize(from)?;
    if texts.len() > PATTERNS_MAX {
        return Err(Error::custom(format!(
            "at most {PATTERNS_MAX} patterns, and here are {}",
            texts.len()
        )));
    }
    let patterns = texts.iter().map(|text| pattern(text).map_err(Error::custom));
    patterns.collect()
}

fn write<S: Serializer>(patterns: &[Pattern], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(patterns.iter().map(Pattern::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn each_permission_stands_for_itself() {
        let read = |text: &str| serde_json::from_str::<Permissions>(text);
        let nothing = read("{}").unwrap();
        assert!(nothing.is_nothing() && !nothing.may_produce(&name("a")) && !nothing.may_consume(&name("a")));
        let some = read(r#"{"produce": ["a.*", "b"], "consume": ["c?"]}"#).unwrap();
        assert!(some.may_produce(&name("a.x")) && some.may_produce(&name("b")));
        for no in ["a", "B", "bb", "x.a.x", "c1"] {
            assert!(!some.may_produce(&name(no)), "{no}");
        }
        assert!(
            some.may_consume(&name("c1")) && !some.may_consume(&name("c")) && !some.may_consume(&name("b"))
        );
        assert!(!some.is_nothing());
        let watch = read(r#"{"watch": true}"#).unwrap();
        assert!(!watch.is_nothing() && !watch.may_produce(&name("a")) && !watch.may_consume(&name("a")));
        let all = read(r#"{"administer": true}"#).unwrap();
        assert!(all.may_produce(&name("x")) && all.may_consume(&name("x")));
        let again = serde_json::to_string(&some).unwrap();
        assert_eq!(read(&again).unwrap(), some, "{again}");
    }

    #[test]
    fn what_is_no_permission_is_refused_with_its_reason() {
        for (bad, why) in [
            (r#"{"produce": "a"}"#, "sequence"),
            (r#"{"produce": ["a b"]}"#, "byte 2"),
            (r#"{"produce": [""]}"#, "empty"),
            (r#"{"produce": ["-x"]}"#, "begins so"),
            (r#"{"consume": ["gr\u00f6\u00dfe"]}"#, "byte 3"),
            (r#"{"consume": ["[ab]"]}"#, "byte 1"),
            (r#"{"consume": ["a\u001b[31m"]}"#, "\\u{1b}"),
            (r#"{"produces": ["a"]}"#, "produces"),
            (r#"{"administer": 1}"#, "integer"),
            (r#"{"consume": [null]}"#, "null"),
        ] {
            let error = serde_json::from_str::<Permissions>(bad).unwrap_err().to_string();
            assert!(error.contains(why), "{bad}: {error}");
        }
        let many = serde_json::json!({ "consume": vec!["a"; PATTERNS_MAX + 1] }).to_string();
        let error = serde_json::from_str::<Permissions>(&many)
            .unwrap_err()
            .to_string();
        assert!(error.contains("at most 64"), "{error}");
        assert!(pattern(&"*".repeat(65)).unwrap_err().contains("too long"));
    }
}
