//! What is written as text, and parsed: which text.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::document::rule;
use crate::document::threshold;
use crate::document::{
    Call, Cidr, Digest, Hosts, Index, Number, PathPattern, Range, Rule, Threshold,
};

macro_rules! text {
    ($type:ty, $name:literal, $pattern:literal, $said:literal) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "description": $said })
            }
        }
    };
}

text!(
    PathPattern,
    "Path",
    r"^/",
    "An absolute path in its shortest form, or with `/**` at its end all that lie below it."
);
text!(
    Cidr,
    "Cidr",
    r"^[0-9a-fA-F.:]+(/[0-9]{1,3})?$",
    "A network in CIDR notation, or one address; IPv4 or IPv6."
);
text!(
    Hosts,
    "Hosts",
    r"^(\*\.)?[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?$",
    "A host's name, or with `*.` before it all below it."
);
text!(
    Digest,
    "Sha256",
    r"^[0-9a-fA-F]{64}$",
    "A SHA-256 in 64 hexadecimal digits."
);

impl JsonSchema for Call {
    fn schema_name() -> Cow<'static, str> {
        "Call".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A system call of x86-64: its name as in syscalls(2), or its number.",
            "anyOf": [
                { "type": "integer", "minimum": 0, "maximum": u32::MAX },
                { "type": "string", "pattern": "^[a-z0-9_]+$" },
            ],
        })
    }
}

impl JsonSchema for Index {
    fn schema_name() -> Cow<'static, str> {
        "Index".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 0, "maximum": 5 })
    }
}

impl<T: Number> JsonSchema for Range<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("RangeUpTo{}", T::MOST).into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number, or all from one to another: `443`, `8000-8100`, `0x1f`.",
            "anyOf": [
                { "type": "integer", "minimum": 0, "maximum": T::MOST },
                { "type": "string", "pattern": "^(0x[0-9a-fA-F]+|[0-9]+)( *- *(0x[0-9a-fA-F]+|[0-9]+))?$" },
            ],
        })
    }
}

impl JsonSchema for Rule {
    fn schema_name() -> Cow<'static, str> {
        "Rule".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = rule::Written::json_schema(generator);
        let kinds = ["exec", "file", "network", "syscall"];
        let kinds = kinds.map(|kind| serde_json::json!({ "required": [kind] }));
        schema.insert("oneOf".into(), kinds.to_vec().into());
        schema
    }
}

impl JsonSchema for Threshold {
    fn schema_name() -> Cow<'static, str> {
        "Threshold".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        threshold::Written::json_schema(generator)
    }
}
