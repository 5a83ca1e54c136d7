use boon::{Compiler, SchemaIndex, Schemas};
use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use serde_json::Value;

use super::SCHEMA;
use crate::{Format, Policy, read};

/// What is left out is left out, and not `null`.
#[derive(Clone)]
struct NoNull;

impl Transform for NoNull {
    fn transform(&mut self, schema: &mut schemars::Schema) {
        transform_subschemas(self, schema);
        let null = Value::from("null");
        if schema.get("default") == Some(&Value::Null) {
            schema.remove("default");
        }
        if let Some(Value::Array(types)) = schema.get_mut("type") {
            types.retain(|one| *one != null);
            if let [one] = types.as_slice() {
                let one = one.clone();
                schema.insert("type".into(), one);
            }
        }
        let Some(Value::Array(any)) = schema.get_mut("anyOf") else {
            return;
        };
        any.retain(|one| one.get("type") != Some(&null));
        if let [Value::Object(one)] = any.as_slice() {
            let one = one.clone();
            schema.remove("anyOf");
            for (key, value) in one {
                schema.insert(key, value);
            }
        }
    }
}

fn generated() -> String {
    let settings = SchemaSettings::draft2020_12().with_transform(NoNull);
    let mut schema = settings.into_generator().into_root_schema_for::<Policy>();
    schema.insert("title".into(), "Bartizan policy".into());
    let text = serde_json::to_string_pretty(&schema).unwrap();
    format!("{text}\n")
}

/// After a change of the language: `BARTIZAN_WRITE_SCHEMA=1 cargo test -p bartizan-policy schema`.
#[test]
fn the_schema_is_that_of_the_types() {
    let generated = generated();
    if std::env::var_os("BARTIZAN_WRITE_SCHEMA").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/policy.schema.json");
        std::fs::write(path, &generated).unwrap();
        return;
    }
    assert!(
        generated == SCHEMA,
        "policy.schema.json is not that of the types: write it anew"
    );
}

struct Validator {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Validator {
    fn new() -> Self {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        let schema = serde_json::from_str(SCHEMA).unwrap();
        let at = "file:///policy.schema.json";
        compiler.add_resource(at, schema).unwrap();
        let index = compiler.compile(at, &mut schemas).unwrap();
        Self { schemas, index }
    }

    fn accepts(&self, policy: &Value) -> bool {
        self.schemas.validate(policy, self.index).is_ok()
    }
}

#[test]
fn examples_are_as_the_schema_says() {
    let validator = Validator::new();
    for text in EXAMPLES {
        read(text, Format::Yaml).unwrap();
        let value: Value = serde_saphyr::from_str(text).unwrap();
        assert!(validator.accepts(&value), "{text}");
        let written = serde_json::to_value(read(text, Format::Yaml).unwrap()).unwrap();
        assert!(validator.accepts(&written), "{written}");
    }
}

/// What the schema refuses is refused, too, when it is read.
#[test]
fn what_the_schema_refuses_is_no_policy() {
    let validator = Validator::new();
    for rule in [
        "{name: r, effect: deny}",
        "{name: r, effect: deny, exec: {}, file: {}}",
        "{name: r, effect: dny, exec: {}}",
        "{name: r, effect: deny, exec: {}, more: 1}",
        "{name: 'a b', effect: deny, exec: {}}",
        "{name: r, effect: deny, exec: {paths: []}}",
        "{name: r, effect: deny, exec: {paths: [bin]}}",
        "{name: r, effect: deny, exec: {sha256: [ab]}}",
        "{name: r, effect: deny, network: {ports: [65536]}}",
        "{name: r, effect: deny, network: {ports: [a]}}",
        "{name: r, effect: deny, network: {protocols: [tpc]}}",
        "{name: r, effect: deny, network: {protocols: [256]}}",
        "{name: r, effect: deny, network: {peer: {addresses: [a.test]}}}",
        "{name: r, effect: deny, syscall: {arguments: [{index: 6, values: [1]}]}}",
        "{name: r, effect: deny, syscall: {calls: [-1]}}",
    ] {
        let text = format!("{{version: 1, name: n, serial: 1, rules: [{rule}]}}");
        let value: Value = serde_saphyr::from_str(&text).unwrap();
        assert!(!validator.accepts(&value), "{text}");
        assert!(read(&text, Format::Yaml).is_err(), "{text}");
    }
}

const EXAMPLES: [&str; 3] = [
    include_str!("../../examples/web.yaml"),
    include_str!("../../examples/hardening.yaml"),
    "{version: 1, name: nothing, serial: 0}",
];
