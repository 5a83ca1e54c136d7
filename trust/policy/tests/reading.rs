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
