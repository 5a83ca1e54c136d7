//! The same rules as policies of Cedar: the guest is a principal in its role, what it does an action, the rest context.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};
use cedar_policy::{
    Authorizer, Context, Decision, Entities, EntityUid, PolicySet, Request, RestrictedExpression,
};

use crate::workload::{Asked, ROLE, Rule, What, named_access, named_direction, named_protocol};

/// The engine, with what it decides.
pub(crate) struct Cedar {
    authorizer: Authorizer,
    policies: PolicySet,
    entities: Entities,
    requests: Vec<Request>,
}

impl Cedar {
    pub(crate) fn new(rules: &[Rule], requests: &[Asked]) -> Result<Self> {
        let entities = format!(
            r#"[{{"uid": {{"type": "Guest", "id": "guest"}}, "attrs": {{}}, "parents": [{{"type": "Role", "id": "{ROLE}"}}]}},
                {{"uid": {{"type": "Role", "id": "{ROLE}"}}, "attrs": {{}}, "parents": []}}]"#
        );
        Ok(Self {
            authorizer: Authorizer::new(),
            policies: text(rules).parse().context("Cedar's policies")?,
            entities: Entities::from_json_str(&entities, None).context("Cedar's entities")?,
            requests: requests.iter().map(request).collect::<Result<_>>()?,
        })
    }

    /// Whether a request, by its place, is allowed.
    pub(crate) fn allows(&self, place: usize) -> Result<bool> {
        let request = self.requests.get(place).context("a request")?;
        let response = self
            .authorizer
            .is_authorized(request, &self.policies, &self.entities);
        Ok(response.decision() == Decision::Allow)
    }

    /// That no policy fails at any of them: one that does decides nothing.
    pub(crate) fn check(&self) -> Result<()> {
        for request in &self.requests {
            let response = self
                .authorizer
                .is_authorized(request, &self.policies, &self.entities);
            let errors: Vec<_> = response.diagnostics().errors().collect();
            ensure!(errors.is_empty(), "{errors:?}");
        }
        Ok(())
    }
}

fn text(rules: &[Rule]) -> String {
    let mut text = String::new();
    for Rule { name, denies, what } in rules {
        let effect = if *denies { "forbid" } else { "permit" };
        let (action, when) = match what {
            What::Flow {
                direction,
                tcp,
                network: (address, prefix),
                ports: [one, other],
            } => (
                named_direction(*direction),
                format!(
                    r#"context.protocol == "{}" && [{one}, {other}].contains(context.port) && context.address.isInRange(ip("{address}/{prefix}"))"#,
                    named_protocol(*tcp)
                ),
            ),
            What::File {
                path,
                below,
                access,
            } => {
                let access: Vec<_> = access
                    .iter()
                    .map(|one| format!("{:?}", named_access(*one)))
                    .collect();
                let path = if *below {
                    format!(r#"context.path like "{path}/*""#)
                } else {
                    format!(r#"context.path == "{path}""#)
                };
                (
                    "open",
                    format!("[{}].contains(context.access) && {path}", access.join(", ")),
                )
            }
            What::Exec {
                path,
                uids: [one, other],
            } => (
                "exec",
                format!(r#"context.path == "{path}" && [{one}, {other}].contains(context.uid)"#),
            ),
        };
        // To a string it cannot fail.
        let _written = writeln!(
            text,
            r#"@id("{name}")
{effect}(principal in Role::"{ROLE}", action == Action::"{action}", resource) when {{ {when} }};"#
        );
    }
    text
}

fn request(asked: &Asked) -> Result<Request> {
    let string = |text: &str| RestrictedExpression::new_string(text.into());
    let long = |number: u32| RestrictedExpression::new_long(number.into());
    let (action, context) = match asked {
        Asked::Flow {
            direction,
            tcp,
            address,
            port,
        } => (
            named_direction(*direction),
            vec![
                ("protocol", string(named_protocol(*tcp))),
                ("address", RestrictedExpression::new_ip(address.to_string())),
                ("port", long((*port).into())),
            ],
        ),
        Asked::File { path, access } => (
            "open",
            vec![
                ("path", string(path)),
                ("access", string(named_access(*access))),
            ],
        ),
        Asked::Exec { path, uid } => ("exec", vec![("path", string(path)), ("uid", long(*uid))]),
    };
    let context = context
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value));
    let entity = |text: String| anyhow::Ok(text.parse::<EntityUid>()?);
    Ok(Request::new(
        entity(r#"Guest::"guest""#.into())?,
        entity(format!(r#"Action::"{action}""#))?,
        entity(r#"Host::"host""#.into())?,
        Context::from_pairs(context)?,
        None,
    )?)
}
