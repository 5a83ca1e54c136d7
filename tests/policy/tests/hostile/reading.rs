//! From text to a policy.

use bartizan_policy::{Format, MAX_BYTES, MAX_VALUES, read};

use crate::most_bytes;

const HEAD: &str = "version: 1\nname: a\nserial: 1\n";

/// What it says; it is not read.
fn refused(text: &str, format: Format) -> String {
    let (bytes, read) = most_bytes(|| read(text, format));
    // Some times what there is of text, whatever it says.
    let most = 128 << 20;
    assert!(bytes <= most, "{} MiB", bytes >> 20);
    let head: String = text.chars().take(200).collect();
    let said = read.expect_err(&head).to_string();
    // Who is told why is not flooded either.
    assert!(said.len() < 4096, "{} bytes are said", said.len());
    said
}

fn yaml(rest: &str) -> String {
    refused(&format!("{HEAD}{rest}"), Format::Yaml)
}

#[test]
fn laughs() {
    let mut text = String::from("a0: &a0 [x]\n");
    for level in 1..20 {
        let before = vec![format!("*a{}", level - 1); 10].join(", ");
        text += &format!("a{level}: &a{level} [{before}]\n");
    }
    let _said = yaml(&text);
}

#[test]
fn nothing_refers_to_anything() {
    for text in [
        "select: &a {roles: [web]}\n",
        "select: &a {}\nrules: *a\n",
        "select: {<<: {roles: [web]}}\n",
        "defaults: {exec: !!binary YWxsb3c=}\n",
        "select: !secret {roles: [web]}\n",
        "rules: !!binary aGVsbG8=\n",
        "...\n---\nversion: 1\n",
        "rules: !include other.yaml\n",
    ] {
        let _said = yaml(text);
    }
}

#[test]
fn nothing_is_there_twice() {
    for text in [
        "name: b\n",
        "select: {roles: [a], roles: [b]}\n",
        "defaults: {exec: allow, exec: deny}\n",
        "rules: [{name: a, effect: deny, effect: allow, exec: {}}]\n",
        "rules: [{name: a, effect: deny, exec: {}, exec: {}}]\n",
        "rules: [{name: a, effect: deny, network: {peer: {labels: {a: b, a: c}}}}]\n",
        // One key, written in two ways.
        "select: {roles: [a], \"roles\": [b]}\n",
    ] {
        let _said = yaml(text);
    }
    for text in [
        r#"{"version": 1, "name": "a", "name": "b", "serial": 1}"#,
        r#"{"version": 1, "name": "a", "serial": 1, "select": {"roles": ["a"], "roles": ["b"]}}"#,
        r#"{"version": 1, "name": "a", "serial": 1, "defaults": {"exec": "deny", "exec": "allow"}}"#,
        r#"{"version": 1, "name": "a", "serial": 1, "rules": [{"name": "r", "effect": "deny", "effect": "allow", "exec": {}}]}"#,
        r#"{"version": 1, "name": "a", "serial": 1, "rules": [{"name": "r", "effect": "deny", "network": {"peer": {"labels": {"a": "b", "a": "c"}}}}]}"#,
        r#"{"version": 1, "name": "a", "serial": 1} {}"#,
    ] {
        let _said = refused(text, Format::Json);
    }
}

/// A number is what it says, in whole and within its bounds.
#[test]
fn numbers_are_numbers() {
    let priority = |number: &str| {
        format!("rules: [{{name: a, effect: deny, priority: {number}, exec: {{}}}}]\n")
    };
    for number in [
        ".nan",
        ".inf",
        "-.inf",
        "1.5",
        "1e3",
        "2147483648",
        "-2147483649",
        "~",
        "true",
        "0x",
        "99999999999999999999999999999999999999999999",
        "''",
    ] {
        let _said = yaml(&priority(number));
    }
    for serial in ["-1", "18446744073709551616", "1.0", ".nan", "1e400"] {
        let _said = refused(
            &format!("version: 1\nname: a\nserial: {serial}\n"),
            Format::Yaml,
        );
        let json = format!(r#"{{"version": 1, "name": "a", "serial": {serial}}}"#);
        let _said = refused(&json, Format::Json);
    }
    let uids = |number: &str| {
        format!("rules: [{{name: a, effect: deny, subject: {{uids: [{number}]}}, exec: {{}}}}]\n")
    };
    for number in [
        "4294967296",
        "-1",
        "1.5",
        ".nan",
        "'1-'",
        "'2-1'",
        "'0x100000000'",
        "[1]",
    ] {
        let _said = yaml(&uids(number));
    }
}

/// Booleans of older YAML are words, and words are no booleans.
#[test]
fn words_are_words() {
    for text in [
        "defaults: {exec: yes}\n",
        "defaults: {exec: Allow}\n",
        "defaults: [deny]\n",
        "on_violation: nothing\n",
        "select: {trust: [trusted]}\n",
        "select: {vms: [not-a-uuid]}\n",
        "unknown: field\n",
        "rules: {name: a}\n",
        "rules: \"\"\n",
    ] {
        let _said = yaml(text);
    }
}

#[test]
fn depths() {
    let depth = 100_000;
    let _said = yaml(&format!(
        "select: {}{}\n",
        "[".repeat(depth),
        "]".repeat(depth)
    ));
    let _said = yaml(&format!(
        "select: {}1{}\n",
        "{a: ".repeat(depth),
        "}".repeat(depth)
    ));
    let _said = yaml(&format!("select:\n{}", "- ".repeat(depth)));
    let _said = yaml(&format!("? {}\n", "[".repeat(depth)));
    let json = format!(r#"{{"version": 1, "select": {}1"#, "[".repeat(depth));
    let _said = refused(&json, Format::Json);
}

/// As much as may be of whatever takes most memory for its length.
#[test]
fn lengths() {
    let full = |head: &str, one: &str, tail: &str| {
        let room = MAX_BYTES - HEAD.len() - head.len() - tail.len();
        format!("{HEAD}{head}{}{tail}", one.repeat(room / one.len()))
    };
    for (head, one, tail) in [
        ("rules: [", "{},", "]\n"),
        ("rules: [", "[],", "]\n"),
        ("select: {roles: [", "a,", "], x: y}\n"),
        ("x: ", "a", "\n"),
        ("'", "a", "': 1\n"),
        ("select: {labels: {", "? a,", "}}\n"),
        (
            "rules: [{name: a, effect: deny, syscall: {arguments: [{index: 9, values: [",
            "0,",
            "]}]}}]\n",
        ),
        ("#", "#", "\n: ["),
        ("rules: [{name: '", "a", "', effect: deny, exec: {}}]\n"),
        (
            "rules: [{name: a, effect: deny, exec: {paths: ['",
            "/a",
            "//']}}]\n",
        ),
        (
            "rules: [{name: a, effect: deny, network: {peer: {addresses: ['",
            "1",
            "']}}}]\n",
        ),
    ] {
        let _said = refused(&full(head, one, tail), Format::Yaml);
    }
    let long = " ".repeat(MAX_BYTES + 1);
    assert!(refused(&long, Format::Yaml).contains("bytes at most"));
    assert!(refused(&long, Format::Json).contains("bytes at most"));
}

/// What a policy says is counted, whoever it selects.
#[test]
fn more_than_a_policy_may_say() {
    let roles = vec!["\"a\""; 1_000_000].join(",");
    let said = refused(
        &json(&format!("\"select\":{{\"roles\":[{roles}]}}")),
        Format::Json,
    );
    assert!(said.contains("131072"), "{said}");
}

/// Most that a policy may say, as short as it can be: what an enclave holds of a set is no more.
#[test]
fn what_a_policy_may_say_is_held_in_so_much() {
    let roles = vec!["\"a\""; MAX_VALUES].join(",");
    let roles = json(&format!("\"select\":{{\"roles\":[{roles}]}}"));
    let rule = |number| format!("{{\"name\":\"{number:x}\",\"effect\":\"deny\",\"exec\":{{}}}}");
    let mut rules = Vec::new();
    let mut length = 0;
    for number in 0.. {
        let rule: String = rule(number);
        length += rule.len() + 1;
        if length > MAX_BYTES - 100 || rules.len() == MAX_VALUES {
            break;
        }
        rules.push(rule);
    }
    let rules = json(&format!("\"rules\":[{}]", rules.join(",")));
    let labelled = (0..56_000).map(|number| {
        format!("{{\"name\":\"{number:x}\",\"effect\":\"deny\",\"network\":{{\"peer\":{{\"labels\":{{\"\":\"\"}}}}}}}}")
    });
    let labelled = labelled.collect::<Vec<_>>().join(",");
    let labelled = json(&format!("\"rules\":[{labelled}]"));
    for text in [roles, rules, labelled] {
        let (bytes, read) = most_bytes(|| read(&text, Format::Json));
        assert!(read.is_ok(), "{read:?}");
        assert!(bytes <= 96 << 20, "{} MiB", bytes >> 20);
    }
}

fn json(rest: &str) -> String {
    format!("{{\"version\":1,\"name\":\"a\",\"serial\":1,{rest}}}")
}
