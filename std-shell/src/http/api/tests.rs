//! The document says what there is.

use super::super::headers;
use super::super::options::Options;
use super::super::routes;
use super::terms::{self, Form};

#[test]
fn every_setting_of_a_message_is_documented() {
    let documented: Vec<String> = terms::TERMS.iter().map(|t| t.name.to_ascii_lowercase()).collect();
    let mut known: Vec<&str> = headers::TERMS.to_vec();
    for name in &documented {
        let at = known.iter().position(|known| known == name);
        assert!(
            at.is_some_and(|at| !known.remove(at).is_empty()),
            "{name} is no setting"
        );
    }
    assert_eq!(known, [""; 0], "not documented");
}

#[test]
fn what_is_documented_of_a_setting_is_taken() {
    for term in terms::TERMS {
        let values: Vec<String> = match term.form {
            Form::Number(least, most) => vec![least.to_string(), most.to_string()],
            Form::Words(words) => words.iter().map(ToString::to_string).collect(),
            Form::Text(example) => vec![example.to_owned()],
        };
        for value in values {
            let mut map = http::HeaderMap::new();
            let name = http::HeaderName::from_bytes(term.name.as_bytes()).unwrap();
            map.insert(name, value.parse().unwrap());
            headers::terms(Options::Headers(&map), &[], false)
                .unwrap_or_else(|e| panic!("{}: {value}: {e:?}", term.name));
            headers::alternate(Options::Headers(&map))
                .unwrap_or_else(|e| panic!("{}: {value}: {e:?}", term.name));
        }
        if let Form::Number(_, most) = term.form {
            let mut map = http::HeaderMap::new();
            let name = http::HeaderName::from_bytes(term.name.as_bytes()).unwrap();
            map.insert(name, (most + 1).to_string().parse().unwrap());
            headers::terms(Options::Headers(&map), &[], false).unwrap_err();
        }
    }
}

#[test]
fn the_document_is_of_the_routes_and_refers_to_nothing_that_is_not_there() {
    let paths = routes::documented();
    let api = super::complete(paths, routes::DOCUMENTED);
    let json = serde_json::to_value(&api).unwrap();
    let mut said: Vec<(String, String)> = Vec::new();
    let mut ids = std::collections::HashSet::new();
    for (path, item) in json["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            said.push((method.to_ascii_uppercase(), path.clone()));
            assert!(
                ids.insert(operation["operationId"].as_str().unwrap().to_owned()),
                "{operation}"
            );
            assert!(!operation["summary"].as_str().unwrap().is_empty());
            let answers = operation["responses"].as_object().unwrap();
            assert!(
                answers.len() > 1 && answers.contains_key("default"),
                "{method} {path}"
            );
            let in_path = path.matches('{').count();
            let named = operation["parameters"].as_array().map_or(0, |all| {
                all.iter()
                    .filter(|p| {
                        p["in"] == "path" && path.contains(&format!("{{{}}}", p["name"].as_str().unwrap()))
                    })
                    .count()
            });
            assert_eq!(named, in_path, "{method} {path}");
        }
    }
    let mut there: Vec<_> = routes::DOCUMENTED
        .iter()
        .map(|route| (route.method.to_string(), route.path.to_owned()))
        .collect();
    said.sort();
    there.sort();
    assert_eq!(said, there);
    let text = json.to_string();
    for reference in text.split("\"$ref\":\"").skip(1) {
        let name = reference.split('"').next().unwrap();
        let at = name.strip_prefix('#').unwrap();
        assert!(json.pointer(at).is_some(), "{name}");
    }
}
