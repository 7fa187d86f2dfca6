//! The calls of the API.

use super::cell;
use crate::http;
use serde_json::Value;
use std::fmt::Write;

pub(super) fn text() -> String {
    let api = http::api_document();
    let mut text = format!(
        "# API\n\n{}\n\nThe same for programs, with the shape of all JSON, is at `/openapi.json` of every node.\n",
        said(&api["info"]["description"])
    );
    let mut tag = String::new();
    for call in calls(&api) {
        let of = said(&call.operation["tags"][0]);
        if of != tag {
            tag = of.to_owned();
            writeln!(text, "\n## {}", heading(&tag)).unwrap();
        }
        one(&mut text, &call);
    }
    types(&mut text, &api);
    text
}

/// The shape of everything that is JSON.
fn types(text: &mut String, api: &Value) {
    writeln!(text, "\n## Types\n\nA member with `?` may be missing.").unwrap();
    for (name, schema) in api["components"]["schemas"].as_object().into_iter().flatten() {
        let about = said(&schema["description"]);
        writeln!(text, "\n### {name}\n\n{about}").unwrap();
        let parts: Vec<&Value> = schema["allOf"]
            .as_array()
            .into_iter()
            .flatten()
            .chain([schema])
            .collect();
        if let Some(either) = schema["oneOf"].as_array() {
            let names: Vec<String> = either.iter().map(of).collect();
            writeln!(text, "\nOne of {}.", names.join(", ")).unwrap();
            continue;
        }
        writeln!(text, "\n| member | type | |\n|---|---|---|").unwrap();
        for part in parts {
            if part["$ref"].is_string() {
                writeln!(text, "| … | {} | all that it has |", of(part)).unwrap();
            }
            let needed: Vec<&str> = part["required"]
                .as_array()
                .into_iter()
                .flatten()
                .map(said)
                .collect();
            for (member, value) in part["properties"].as_object().into_iter().flatten() {
                let maybe = if needed.contains(&member.as_str()) {
                    ""
                } else {
                    "?"
                };
                writeln!(
                    text,
                    "| `{member}`{maybe} | {} | {} |",
                    of(value),
                    cell(said(&value["description"]))
                )
                .unwrap();
            }
        }
    }
}

/// A schema in a word.
fn of(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return format!("[{name}](#{})", name.to_ascii_lowercase());
    }
    for key in ["oneOf", "anyOf"] {
        if let Some(either) = schema[key].as_array() {
            let names: Vec<String> = either.iter().map(of).collect();
            return names.join(" or ");
        }
    }
    match &schema["type"] {
        Value::String(kind) if kind == "array" => format!("list of {}", of(&schema["items"])),
        Value::String(kind) => kind.clone(),
        Value::Array(kinds) => {
            let kinds: Vec<&str> = kinds.iter().map(said).collect();
            match kinds.contains(&"array") {
                true => format!("list of {} or null", of(&schema["items"])),
                false => kinds.join(" or "),
            }
        }
        _ => "any".into(),
    }
}

/// The type of a body, if it is JSON.
fn json_type(content: &Value) -> Option<String> {
    let schema = &content["application/json"]["schema"];
    (!schema.is_null()).then(|| of(schema))
}

struct Call<'a> {
    method: String,
    path: &'a str,
    operation: &'a Value,
}

/// By tag, then as the document has them.
fn calls(api: &Value) -> Vec<Call<'_>> {
    let paths = api["paths"].as_object().into_iter().flatten();
    let mut calls: Vec<Call<'_>> = paths
        .flat_map(|(path, item)| {
            item.as_object()
                .into_iter()
                .flatten()
                .map(move |(method, operation)| Call {
                    method: method.to_ascii_uppercase(),
                    path,
                    operation,
                })
        })
        .collect();
    calls.sort_by(|a, b| said(&a.operation["tags"][0]).cmp(said(&b.operation["tags"][0])));
    calls
}

fn one(text: &mut String, call: &Call<'_>) {
    let Call {
        method,
        path,
        operation,
    } = call;
    writeln!(text, "\n### {method} {path}\n\n{}.", said(&operation["summary"])).unwrap();
    let about = said(&operation["description"]);
    if !about.is_empty() {
        writeln!(text, "\n{about}").unwrap();
    }
    let parameters: Vec<&Value> = operation["parameters"].as_array().into_iter().flatten().collect();
    if !parameters.is_empty() {
        writeln!(text, "\n| parameter | in | |\n|---|---|---|").unwrap();
        for parameter in parameters {
            writeln!(
                text,
                "| `{}` | {} | {} |",
                said(&parameter["name"]),
                said(&parameter["in"]),
                cell(said(&parameter["description"]))
            )
            .unwrap();
        }
    }
    let body = &operation["requestBody"];
    if !body.is_null() {
        let shape = json_type(&body["content"])
            .map(|name| format!("{name}. "))
            .unwrap_or_default();
        writeln!(text, "\nBody: {shape}{}", said(&body["description"])).unwrap();
    }
    writeln!(text, "\n| answer | |\n|---|---|").unwrap();
    for (status, answer) in operation["responses"].as_object().into_iter().flatten() {
        if status == "default" {
            continue;
        }
        let headers: Vec<String> = answer["headers"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, header)| format!("`{name}`: {}", said(&header["description"])))
            .collect();
        let shape = json_type(&answer["content"])
            .map(|name| format!("{name}: "))
            .unwrap_or_default();
        let about = cell(said(&answer["description"]));
        let all: Vec<String> = std::iter::once(format!("{shape}{about}"))
            .chain(headers)
            .collect();
        writeln!(text, "| {status} | {} |", all.join("<br>")).unwrap();
    }
}

fn heading(tag: &str) -> String {
    let mut chars = tag.chars();
    chars
        .next()
        .map(|c| c.to_uppercase().chain(chars).collect())
        .unwrap_or_default()
}

fn said(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
