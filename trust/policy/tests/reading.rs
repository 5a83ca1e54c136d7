//! What is written, and what is said of what is written wrongly.

use bartizan_policy::{
    Access, Cidr, Compiled, Decided, Digest, Effect, Format, Guest, Hosts, Operation, PathPattern,
    Process, Range, Request, Trust, read,
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
    syscall: {calls: [321], arguments: [{index: 0, mask: 0xff, values: [0x5, 8-20]}]}
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
