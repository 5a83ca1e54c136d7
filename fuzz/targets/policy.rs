//! Policies: what is read as YAML and as JSON is one and the same, and is written as what it was read as.
#![no_main]

use bartizan_policy::{Format, Policy, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let yaml = read(text, Format::Yaml).ok();
    let json = read(text, Format::Json).ok();
    if let (Some(yaml), Some(json)) = (&yaml, &json) {
        assert_eq!(yaml, json, "one text, two policies");
    }
    yaml.iter().chain(&json).for_each(is_written_as_read);
});

fn is_written_as_read(policy: &Policy) {
    let written = serde_json::to_string(policy).expect("a policy can be written");
    let again = read(&written, Format::Json).expect("what was written can be read");
    assert_eq!(&again, policy);
}
