//! What is written, and what is said of what is written wrongly.

use bartizan_policy::{
    Access, Action, Call, Cidr, Compiled, Count, Decided, Digest, Effect, Format, Guest, Hosts,
    Operation, PathPattern, Process, Range, Request, TooLarge, Trust, read,
};
use uuid::Uuid;

const WEB: &str = r"
version: 1
name: web
serial: 7
select: {roles: [web], labels: {env: production}}
defaults: {exec: allow, file: allow, syscall: allow}
rules:
  - name: clients
    effect: allow
    network: {direction: ingress, protocols: [tcp], ports: [80, 443]}
  - name: database
    effect: allow
    subject: {uids: [33]}
    network: {direction: egress, protocols: [tcp], peer: {roles: [db]}, ports: [5432]}
  - name: no-shadow
    effect: deny
    priority: 10
    file: {paths: [/etc/shadow, /root/**], access: [read, write]}
  - name: no-bpf
    effect: deny
    syscall: {calls: [bpf, 321], arguments: [{index: 0, mask: 0xff, values: [0x5, 8-20]}]}
";

#[expect(clippy::unwrap_used, reason = "who calls has a text that is refused")]
fn refused(text: &str) -> String {
    read(text, Format::Yaml).unwrap_err().to_string()
}

#[test]
fn a_policy_is_read_and_decides() {
    let policy = read(WEB, Format::Yaml).unwrap();
    let guest = Guest {
        vm: Uuid::nil(),
        role: "web".into(),
        labels: [("env".into(), "production".into())].into(),
        trust: Trust::Affirming,
    };
    let policies = [policy];
    let compiled = Compiled::of(&policies, &guest).unwrap();
    let open = |path| {
        compiled.decide(&Request {
            process: Process::default(),
            operation: Operation::File {
                path,
                access: Access::Read,
            },
        })
    };
    let Decided::Rule(rule) = open("/root/.ssh/id").by else {
        panic!("no rule");
    };
    assert_eq!((rule.policy, rule.rule), ("web", "no-shadow"));
    assert_eq!(open("/root/.ssh/id").effect, Effect::Deny);
    assert_eq!(open("/root").effect, Effect::Allow);
    let call = |number, first| {
        compiled.decide(&Request {
            process: Process::default(),
            operation: Operation::Syscall {
                number,
                arguments: [first, 0, 0, 0, 0, 0],
            },
        })
    };
    assert_eq!(call(321, 0xab05).effect, Effect::Deny);
    assert_eq!(call(321, 6).effect, Effect::Allow);
    assert_eq!(call(322, 5).effect, Effect::Allow);
    let stranger = Guest {
        role: "db".into(),
        ..guest
    };
    let nothing = Compiled::of(&policies, &stranger).unwrap();
    let decision = nothing.decide(&Request {
        process: Process::default(),
        operation: Operation::Exec {
            path: "/bin/true",
            sha256: None,
        },
    });
    assert_eq!(
        (decision.effect, decision.by),
        (Effect::Deny, Decided::NoPolicy)
    );
}

/// While nobody can decide, what a rule says counts, else what its policy does; nothing that is denied is allowed then.
#[test]
fn a_decision_says_what_becomes_of_it_while_nobody_can_decide() {
    let guest = Guest {
        vm: Uuid::nil(),
        role: "web".into(),
        labels: [].into(),
        trust: Trust::None,
    };
    let decided = |texts: &[&str]| {
        let read = |text: &&str| read(text, Format::Yaml).unwrap();
        let policies: Vec<_> = texts.iter().map(read).collect();
        let request = Request {
            process: Process::default(),
            operation: Operation::Exec {
                path: "/a",
                sha256: None,
            },
        };
        let plain = bartizan_policy::plain::decide(&policies, &guest, &request);
        let compiled = Compiled::of(&policies, &guest).unwrap();
        assert_eq!(compiled.decide(&request), plain);
        (plain.effect, plain.unavailable)
    };
    let (allow, deny) = (Effect::Allow, Effect::Deny);
    let open = "{version: 1, name: a, serial: 1, on_unavailable: allow, defaults: {exec: allow}}";
    let shut = "{version: 1, name: b, serial: 1}";
    assert_eq!(decided(&[open]), (allow, allow));
    assert_eq!(decided(&[open, shut]), (allow, deny));
    let of = |policy, rule| {
        format!(
            "{{version: 1, name: c, serial: 1, {policy}, rules: [{{name: r, exec: {{}}, {rule}}}]}}"
        )
    };
    let rule = of("on_unavailable: allow", "effect: allow");
    assert_eq!(decided(&[&rule, shut]), (allow, allow));
    let rule = of(
        "on_unavailable: allow",
        "effect: allow, on_unavailable: deny",
    );
    assert_eq!(decided(&[&rule, open]), (allow, deny));
    let rule = of(
        "on_unavailable: deny",
        "effect: allow, on_unavailable: allow",
    );
    assert_eq!(decided(&[&rule]), (allow, allow));
    let rule = of("on_unavailable: allow", "effect: deny");
    assert_eq!(decided(&[&rule]), (deny, deny));
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let said = refused(&WEB.replace("effect: deny\n    syscall", "efect: deny\n    syscall"));
    assert!(said.contains("efect") && said.contains("line 20"), "{said}");
    let said = refused(&WEB.replace("ports: [80, 443]", "ports: [80, 70000]"));
    assert!(said.contains("70000") && said.contains("line 10"), "{said}");
    let said = refused(&WEB.replace("ports: [80, 443]", "ports: []"));
    assert!(said.contains("leave the field out"), "{said}");
    let said = refused(&WEB.replace("name: no-bpf", "name: clients"));
    assert!(said.contains("`clients`"), "{said}");
    let said = refused(&WEB.replace("version: 1", "version: 2"));
    assert!(said.contains("version 2"), "{said}");
    let both = WEB.replace("    syscall:", "    exec: {}\n    syscall:");
    let said = refused(&both);
    assert!(said.contains("`no-bpf` is about 2 kinds"), "{said}");
    let call = WEB.replace("[bpf, 321]", "[bfp]");
    assert!(refused(&call).contains("`bfp` is no system call"));
    let call = WEB.replace("[bpf, 321]", "[-1]");
    assert!(refused(&call).contains("`-1` is no system call"));
    let allows = WEB.replace("name: clients", "name: clients\n    on_violation: kill");
    assert!(refused(&allows).contains("`clients` allows"));
    let hosts = WEB.replace("{roles: [db]}", "{names: [db.test]}");
    assert!(refused(&hosts).contains("`resolvers`"));
    let label = WEB.replace("env: production}", "env: production, env: test}");
    assert!(refused(&label).contains("env"));
    let twice =
        r#"{"version": 1, "name": "a", "serial": 1, "select": {"labels": {"a": "1", "a": "2"}}}"#;
    let said = read(twice, Format::Json).unwrap_err().to_string();
    assert!(said.contains("label `a` is there twice"), "{said}");
    let anchored = WEB.replace("tcp], ports: [80", "&a tcp], ports: [80");
    assert!(read(&anchored, Format::Yaml).is_err());
    let two = format!("{WEB}---\n{WEB}");
    assert!(read(&two, Format::Yaml).is_err());
    let opens = WEB.replace("name: no-bpf", "name: no-bpf\n    on_unavailable: allow");
    assert!(refused(&opens).contains("`no-bpf` denies"));
    let named = WEB.replace("name: no-bpf", "name: no bpf");
    assert!(refused(&named).contains("`no bpf` is no name"));
    let none = WEB.replace("    syscall: {calls", "    subject: {calls");
    assert!(refused(&none).contains("calls"));
}

#[test]
fn values_are_what_they_are_written_as() {
    for (text, said) in [
        ("10.0.0.1/8", "write 10.0.0.0/8"),
        ("10.0.0.0/33", "32 bits at most"),
        ("::ffff:10.0.0.1", "as IPv4"),
        ("10.0.0.0/+8", "no network"),
        ("10.0.0.0/08x", "no network"),
        ("example.com", "no network"),
    ] {
        let error = text.parse::<Cidr>().unwrap_err().to_string();
        assert!(error.contains(said), "{text}: {error}");
    }
    assert_eq!(
        "0.0.0.0/0".parse::<Cidr>().unwrap().bounds(),
        (0, u32::MAX.into())
    );
    assert_eq!("::/0".parse::<Cidr>().unwrap().bounds(), (0, u128::MAX));
    for text in [
        "a/b", "/a/../b", "/a//b", "/a/*/b", "", "/a/", "/a/**/b", "**",
    ] {
        assert!(text.parse::<PathPattern>().is_err(), "{text}");
    }
    for text in ["-a.test", "a..test", "*.*.test", "a_b.test", "", "*."] {
        assert!(text.parse::<Hosts>().is_err(), "{text}");
    }
    assert_eq!("DB.Test".parse::<Hosts>().unwrap().to_string(), "db.test");
    for text in ["9-1", "+1", "1-", "-1", "65536", "0x", "1-2-3"] {
        assert!(text.parse::<Range<u16>>().is_err(), "{text}");
    }
    assert_eq!(
        "0x50-443".parse::<Range<u16>>().unwrap(),
        Range::new(80, 443).unwrap()
    );
    assert!("ab".parse::<Digest>().is_err());
}

/// What is watched is written as strictly as what is decided.
#[test]
fn thresholds_and_integrity_sets_are_read() {
    const WATCHED: &str = r"
version: 1
name: watched
serial: 1
on_violation: isolate
thresholds:
  - {name: scan, count: ports, direction: egress, within_s: 10, most: 50, on_violation: kill}
  - {name: denied, count: denials, kind: exec, within_s: 60, most: 5}
integrity:
  - name: binaries
    files:
      - {path: /usr/sbin/nginx, sha256: [0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f]}
    on_violation: pause
";
    let policy = read(WATCHED, Format::Yaml).unwrap();
    assert_eq!(policy.thresholds[0].count, Count::Ports);
    assert_eq!(policy.thresholds[0].on_violation, Some(Action::Kill));
    assert_eq!(policy.integrity[0].files[0].sha256, [Digest([15; 32])]);
    let again = serde_json::to_string(&policy).unwrap();
    assert_eq!(read(&again, Format::Json).unwrap(), policy);
    for (from, to, said) in [
        (
            "count: denials, kind: exec",
            "count: flows, kind: exec",
            "`denied` counts no denials",
        ),
        (
            "count: ports",
            "count: programs",
            "`scan` counts nothing that has a direction",
        ),
        ("within_s: 60", "within_s: 0", "1 to 86400"),
        ("within_s: 60", "within_s: 86401", "1 to 86400"),
        ("/usr/sbin/nginx", "/usr/sbin/**", "name one"),
        ("name: binaries", "name: scan", "called `scan`"),
        ("count: ports", "count: prots", "prots"),
    ] {
        let text = WATCHED.replace(from, to);
        let refused = refused(&text);
        assert!(refused.contains(said), "{refused}");
    }
}

/// A policy that names hosts believes nobody whom only another policy believes.
#[test]
fn names_are_believed_from_whom_each_policy_trusts() {
    let guest = Guest {
        vm: Uuid::nil(),
        role: "web".into(),
        labels: [].into(),
        trust: Trust::None,
    };
    let of = |name, resolvers, names| {
        let rule = format!("rules: [{{name: r, effect: allow, network: {{peer: {names}}}}}]");
        let text =
            format!("{{version: 1, name: {name}, serial: 1, resolvers: {resolvers}, {rule}}}");
        read(&text, Format::Yaml).unwrap()
    };
    let one = of("one", "[10.0.0.53, 10.0.0.54]", "{names: [a.test]}");
    let two = of("two", "['fd00::53', 10.0.0.54]", "{names: ['*.b.test']}");
    let none = of("none", "[10.0.0.55]", "{roles: [db]}");
    let trusted = |policies: &[bartizan_policy::Policy]| {
        let compiled = Compiled::of(policies, &guest).unwrap();
        compiled
            .resolvers()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        trusted(&[none.clone(), one.clone()]),
        ["10.0.0.53", "10.0.0.54"]
    );
    assert_eq!(trusted(&[one, none.clone(), two]), ["10.0.0.54"]);
    assert!(trusted(&[none]).is_empty());
}

/// The table of system calls is one: sorted, no name or number twice, and as the kernel has it.
#[test]
fn system_calls_are_known_by_name() {
    for (name, number) in [
        ("read", 0),
        ("openat", 257),
        ("bpf", 321),
        ("io_uring_setup", 425),
    ] {
        assert_eq!(name.parse::<Call>().unwrap(), Call(number));
        assert_eq!(Call(number).to_string(), name);
    }
    let names: Vec<_> = (0..512).filter_map(|number| Call(number).name()).collect();
    assert!(names.len() > 350);
    assert!(
        names
            .iter()
            .all(|name| Call::named(name).is_some_and(|call| call.name() == Some(name)))
    );
    assert_eq!(Call(4000).to_string(), "4000");
}

/// Whoever compiles is not kept busy without end: ranges that all overlap would make a set of rules at each edge.
#[test]
fn an_index_has_an_end() {
    let guest = Guest {
        vm: Uuid::nil(),
        role: "web".into(),
        labels: [].into(),
        trust: Trust::None,
    };
    let compiled = |text: &str| {
        let policies = [read(text, Format::Yaml).unwrap()];
        Compiled::of(&policies, &guest).map(drop)
    };
    let of = |count: u64, ranges: &dyn Fn(u64) -> String| {
        let rule = |number| {
            let ranges = ranges(number);
            format!(
                "- {{name: r{number}, effect: allow, syscall: {{arguments: [{{index: 0, values: [{ranges}]}}]}}}}\n"
            )
        };
        let rules: String = (0..count).map(rule).collect();
        compiled(&format!("version: 1\nname: a\nserial: 1\nrules:\n{rules}"))
    };
    let nested = |number: u64| format!("{}-{}", number, 1_000_000 - number);
    assert_eq!(of(500, &nested), Ok(()));
    assert_eq!(of(20_000, &nested), Err(TooLarge::Index));
    let fields = (0..60).map(|mask| format!("{{index: 0, mask: {mask}, values: [0]}}"));
    let fields = fields.collect::<Vec<_>>().join(", ");
    let text = format!(
        "version: 1\nname: a\nserial: 1\nrules: [{{name: r, effect: deny, syscall: {{arguments: [{fields}]}}}}]"
    );
    assert_eq!(compiled(&text), Err(TooLarge::Fields));
}

/// What is kept of names is what rules tell apart.
#[test]
fn names_are_of_one_class_where_the_same_rules_are_about_them() {
    let guest = Guest {
        vm: Uuid::nil(),
        role: "web".into(),
        labels: [].into(),
        trust: Trust::None,
    };
    let rule = |name, hosts| {
        format!("{{name: {name}, effect: allow, network: {{peer: {{names: {hosts}}}}}}}")
    };
    let rules = [rule("a", "['*.a.test', b.test]"), rule("b", "[x.a.test]")].join(", ");
    let text =
        format!("{{version: 1, name: p, serial: 1, resolvers: [10.0.0.53], rules: [{rules}]}}");
    let policy = read(&text, Format::Yaml).unwrap();
    let compiled = Compiled::of(std::slice::from_ref(&policy), &guest).unwrap();
    let class = |name| compiled.name_class(name);
    assert!(class("b.test").is_some() && class("b.test") == class("y.z.a.test"));
    assert!(class("x.a.test").is_some() && class("x.a.test") != class("b.test"));
    for other in [
        "a.test", "test", "c.test", "x.b.test", "", "b.test.", "B.test",
    ] {
        assert_eq!(class(other), None, "{other}");
    }
    // Nobody else is about names at all.
    let nothing = Compiled::of(&[], &guest).unwrap();
    assert_eq!(nothing.name_class("b.test"), None);
}
