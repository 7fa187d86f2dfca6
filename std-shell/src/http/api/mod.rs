//! The API's document (OpenAPI 3.1), made from the routes themselves: what each handler's `#[utoipa::path]` says, what its
//! route needs, and the table of problems.

mod terms;
#[cfg(test)]
mod tests;

pub(super) use terms::TermHeaders;

use super::auth::Need;
use super::problem::{Kind, MEDIA_TYPE};
use super::routes::Route;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method};
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, InfoBuilder, OpenApi, PathItem, Ref, RefOr, ResponseBuilder, ServerBuilder,
};

/// How a program shows who it is.
const TOKEN: &str = "token";
const CERTIFICATE: &str = "certificate";

const ABOUT: &str = "\
A node of a Redlink mesh. Payloads are bodies as they are, with their content type; a message's settings are headers. \
Durations are a whole number and a unit: `250ms`, `30s`, `5m`, `2h`, `1d`. What a call does not know, a header that \
begins with `Redlink-`, a parameter, a member of a JSON body, it refuses by name. Errors are problem documents (RFC \
9457); programs tell them apart by `type`.";

/// What `GET /openapi.json` answers.
#[derive(Clone, Debug)]
pub(super) struct Document(Bytes);

impl Document {
    pub(super) fn answer(&self) -> Response {
        let mut response = Response::new(Body::from(self.0.clone()));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }
}

/// The document of these paths.
pub(super) fn document(paths: OpenApi, routes: &[Route]) -> Document {
    let api = complete(paths, routes);
    // Maps of texts: this can't fail.
    Document(serde_json::to_vec(&api).unwrap_or_default().into())
}

/// What holds for all calls alike.
pub(super) fn complete(mut api: OpenApi, routes: &[Route]) -> OpenApi {
    api.info = InfoBuilder::new()
        .title("Redlink")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(utoipa::openapi::License::new("Apache-2.0 OR MIT")))
        .build();
    api.servers = Some(vec![
        ServerBuilder::new()
            .url("/")
            .description(Some("The node that told this document."))
            .build(),
    ]);
    let components = api.components.get_or_insert_default();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(
            "A program's token, or the administrator's (`redlink token`).",
        ))
        .build();
    components.add_security_scheme(TOKEN, SecurityScheme::Http(bearer));
    components.add_security_scheme(
        CERTIFICATE,
        SecurityScheme::MutualTls {
            description: Some("A program's certificate, with permissions in the node's settings.".into()),
            deprecated: None,
            extensions: None,
        },
    );
    name_problems(components);
    for route in routes {
        let operation = api
            .paths
            .paths
            .get_mut(route.path)
            .and_then(|item| operation(item, &route.method));
        debug_assert!(
            operation.is_some(),
            "{} {} is not documented",
            route.method,
            route.path
        );
        if let Some(operation) = operation {
            finish(operation, route);
        }
    }
    api
}

/// What each call has besides what its handler says.
fn finish(operation: &mut Operation, route: &Route) {
    // Handlers of different rooms may have one name; paths are unique.
    let parts = route
        .path
        .split('/')
        .filter(|part| !part.is_empty() && *part != "v1");
    let words = parts.map(|part| part.trim_matches(['{', '}']).replace(['-', '.'], "_"));
    let id = std::iter::once(route.method.as_str().to_ascii_lowercase()).chain(words);
    operation.operation_id = Some(id.collect::<Vec<_>>().join("_"));
    let permission = match route.need {
        Need::Produce => "Permission to produce to the service.",
        Need::Consume => "Permission to consume from the service.",
        Need::Delivery => {
            "That the delivery was handed to whoever asks, and permission to consume from its service still."
        }
        Need::Own => "To be a program, any, or the administrator.",
        Need::Watch => "Permission to watch or administer the node.",
        Need::Administer => "Permission to administer the node.",
        Need::Peer | Need::Nothing => "",
    };
    if !permission.is_empty() {
        let all = [TOKEN, CERTIFICATE].map(|scheme| SecurityRequirement::new(scheme, Vec::<String>::new()));
        operation.security = Some(all.into());
        let said = operation.description.take().unwrap_or_default();
        operation.description = Some(format!("{said}\n\nNeeds: {permission}").trim().to_owned());
    }
    let problem = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .build();
    let default = ResponseBuilder::new()
        .description("What went wrong, as `type` says.")
        .content(MEDIA_TYPE, problem)
        .build();
    operation
        .responses
        .responses
        .insert("default".into(), RefOr::T(default));
}

/// Every type of problem, in the schema of the document that bears it.
fn name_problems(components: &mut utoipa::openapi::Components) {
    use utoipa::openapi::schema::Schema;
    let Some(RefOr::T(Schema::Object(problem))) = components.schemas.get_mut("Problem") else {
        debug_assert!(false, "no handler names the problem document");
        return;
    };
    if let Some(RefOr::T(Schema::Object(urn))) = problem.properties.get_mut("type") {
        urn.enum_values = Some(Kind::ALL.iter().map(|kind| kind.urn().into()).collect());
    }
}

fn operation<'a>(item: &'a mut PathItem, method: &Method) -> Option<&'a mut Operation> {
    match *method {
        Method::GET => item.get.as_mut(),
        Method::PUT => item.put.as_mut(),
        Method::POST => item.post.as_mut(),
        Method::DELETE => item.delete.as_mut(),
        _ => None,
    }
}
