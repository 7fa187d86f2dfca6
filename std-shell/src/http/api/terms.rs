//! The headers of a submit: a message's settings.

use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};

/// One header.
pub(super) struct Term {
    /// Its name, as people write it.
    pub(super) name: &'static str,
    /// What it means.
    pub(super) about: &'static str,
    /// What it may be.
    pub(super) form: Form,
    /// What counts if it is not there.
    pub(super) default: &'static str,
}

/// What a value may be.
pub(super) enum Form {
    /// A whole number of this range.
    Number(u32, u32),
    /// One of these words.
    Words(&'static [&'static str]),
    /// A duration, or something else that this is an example of.
    Text(&'static str),
}

/// All of them.
pub(super) const TERMS: &[Term] = &[
    Term {
        name: "Redlink-Priority",
        about: "Higher first.",
        form: Form::Number(0, 255),
        default: "0",
    },
    Term {
        name: "Redlink-Ett",
        about: "How long the producer waits for an outcome: 1ms to 365d, or `none` for ever.",
        form: Form::Text("30s"),
        default: "300s",
    },
    Term {
        name: "Redlink-Not-Before",
        about: "How long after its acceptance it is offered to nobody: 1ms to 365d, less than the ETT, or `none`.",
        form: Form::Text("1m"),
        default: "none",
    },
    Term {
        name: "Redlink-Reoffer",
        about: "How long it waits unclaimed before it is offered again: 100ms to 1d.",
        form: Form::Text("15s"),
        default: "15s",
    },
    Term {
        name: "Redlink-Send-Only",
        about: "No reply is wanted: the consumer's ack ends it.",
        form: Form::Words(&["true", "false"]),
        default: "false",
    },
    Term {
        name: "Redlink-Delivery-Mode",
        about: "Whether an attempt that ends without an answer is followed by another one, or the message has failed then.",
        form: Form::Words(&["at-least-once", "at-most-once"]),
        default: "at-least-once",
    },
    Term {
        name: "Redlink-Max-Attempts",
        about: "Attempts that may end without an answer before it is dead; 0 for no limit.",
        form: Form::Number(0, 65_535),
        default: "5",
    },
    Term {
        name: "Redlink-Retention",
        about: "How long its outcome waits to be collected: 1s to 365d.",
        form: Form::Text("1h"),
        default: "1h",
    },
    Term {
        name: "Redlink-Alternate",
        about: "A second service, and after how long without a claim it is offered there too.",
        form: Form::Text("resize-slow;after=10s"),
        default: "none",
    },
    Term {
        name: "Redlink-Path",
        about: "How large payloads go: along the way of the offer, or straight.",
        form: Form::Words(&["reverse", "direct"]),
        default: "the node's",
    },
    Term {
        name: "Redlink-Producer",
        about: "The name that its outcome is collected under by `POST /v1/producers/{producer}/outcomes`.",
        form: Form::Text("shop"),
        default: "the program's own",
    },
    Term {
        name: "Idempotency-Key",
        about: "A repeated submit to the same service with the same key and the same content is the same message, for 24 hours: 1 to 255 visible ASCII characters, quoted or not. The outcome of a call with `wait` then stays until it is collected.",
        form: Form::Text("\"8e03978e-40d5-43e8-bc93-6894a57f9324\""),
        default: "none",
    },
    Term {
        name: "Redlink-Durability",
        about: "Where its node keeps it: on disk, or in memory, and nowhere else, as long as the node runs.",
        form: Form::Words(&["disk", "memory"]),
        default: "disk",
    },
    Term {
        name: "Redlink-Preserved",
        about: "Given back with the outcome, never sent to the consumer: base64 of up to 4 KiB.",
        form: Form::Text("b3JkZXIgMTc="),
        default: "none",
    },
    Term {
        name: "traceparent",
        about: "The distributed trace that it belongs to (W3C Trace Context); handed to the consumer. A malformed one counts as none.",
        form: Form::Text("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        default: "none",
    },
    Term {
        name: "tracestate",
        about: "What tracing systems add to that; up to 512 characters are kept.",
        form: Form::Text("vendor=value"),
        default: "none",
    },
];

/// The headers of a submit.
pub(in crate::http) struct TermHeaders;

impl IntoParams for TermHeaders {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        TERMS.iter().map(Term::parameter).collect()
    }
}

impl Term {
    fn parameter(&self) -> Parameter {
        let schema = match self.form {
            Form::Number(least, most) => ObjectBuilder::new()
                .schema_type(Type::Integer)
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int32)))
                .minimum(Some(least))
                .maximum(Some(most)),
            Form::Words(words) => ObjectBuilder::new()
                .schema_type(Type::String)
                .enum_values(Some(words.iter().copied())),
            Form::Text(example) => ObjectBuilder::new().schema_type(Type::String).examples([example]),
        };
        ParameterBuilder::new()
            .name(self.name)
            .parameter_in(ParameterIn::Header)
            .description(Some(format!("{} Default: {}.", self.about, self.default)))
            .schema(Some(schema.build()))
            .build()
    }
}
