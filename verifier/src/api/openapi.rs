//! The OpenAPI 3.1 description, made from the handlers.

use utoipa::openapi::security::{SecurityRequirement, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{
    boots, bundles, counters, decisions, enclave_evidence, enrolment, firmware, fleet_cas,
    guest_commands, keys, open, operations, policies, policies_in_force, profiles, releases,
    reports, revocations, succession, tpm, verdicts,
};

/// The document as indented JSON, with a newline at its end.
#[must_use]
pub fn document() -> String {
    // INVARIANT: the document is made of strings, numbers and maps with string keys.
    let mut text = Description::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Bartizan verifier",
        description = "The attestation service. TLS 1.3 only. Binary fields are base64url without \
                       padding; times are milliseconds since the Unix epoch where not said otherwise; \
                       errors are problem documents (RFC 9457) whose type is \
                       urn:bartizan:problem:<name>."
    ),
    paths(
        open::jwks,
        fleet_cas::show,
        open::token_certificates,
        open::description,
        open::health,
        enrolment::enroll,
        succession::succeed,
        enrolment::hosts,
        counters::report,
        counters::clear,
        enrolment::add_join_code,
        tpm::challenge,
        boots::hand_in,
        boots::list,
        boots::latest,
        firmware::shown,
        firmware::register,
        firmware::list,
        firmware::retire,
        releases::register,
        releases::list,
        releases::retire,
        bundles::publish,
        bundles::newest,
        reports::issue_nonce,
        reports::submit,
        profiles::list,
        profiles::show,
        profiles::put,
        profiles::withdraw,
        policies::apply,
        policies::list,
        policies::show,
        policies::withdraw,
        policies_in_force::list,
        enclave_evidence::list,
        verdicts::list,
        verdicts::show,
        revocations::list,
        revocations::revoke,
        revocations::reinstate,
        decisions::history,
        guest_commands::order,
        guest_commands::list,
        revocations::operator_standing,
        keys::list,
        keys::history,
        fleet_cas::rotate,
        keys::rotate,
        keys::rotate_sealing,
        keys::revoke,
        operations::metrics,
    ),
    tags(
        (name = "open", description = "Open to everybody."),
        (name = "host", description = "For hosts: a client certificate by their card."),
        (name = "operator", description = "For operators: a client certificate of theirs."),
    ),
    modifiers(&ClientCertificates, &Failures)
)]
struct Description;

/// Says that every operation that can be refused can fail too: the vault or the database may be away, memory taken.
struct Failures;

impl Modify for Failures {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        for operation in operations(openapi) {
            let responses = &mut operation.responses.responses;
            if let Some(problem) = responses.get("4XX").cloned() {
                responses.insert("5XX".into(), problem);
            }
        }
    }
}

/// Says which operations need a client certificate: all that are not open.
struct ClientCertificates;

impl Modify for ClientCertificates {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        for (scheme, tag) in [
            ("hostCertificate", "host"),
            ("operatorCertificate", "operator"),
        ] {
            let description = format!("TLS client certificate of {tag}s");
            openapi
                .components
                .get_or_insert_default()
                .add_security_scheme(
                    scheme,
                    SecurityScheme::MutualTls {
                        description: Some(description),
                        deprecated: None,
                        extensions: None,
                    },
                );
            for operation in operations(openapi) {
                if operation.tags.iter().flatten().any(|has| has == tag) {
                    let none: [&str; 0] = [];
                    operation.security = Some(vec![SecurityRequirement::new(scheme, none)]);
                }
            }
        }
    }
}

fn operations(
    openapi: &mut utoipa::openapi::OpenApi,
) -> impl Iterator<Item = &mut utoipa::openapi::path::Operation> {
    let paths = openapi.paths.paths.values_mut();
    let methods = paths.flat_map(|path| {
        [
            &mut path.get,
            &mut path.post,
            &mut path.put,
            &mut path.delete,
        ]
    });
    methods.flatten()
}
