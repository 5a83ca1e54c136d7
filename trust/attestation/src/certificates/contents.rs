//! What a certificate says, as far as this fleet's certificates say anything.

use rustls_pki_types::CertificateDer;
use webpki::EndEntityCert;
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::oid::Oid;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::{
    OID_SIG_ECDSA_WITH_SHA384, OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER,
    OID_X509_EXT_BASIC_CONSTRAINTS, OID_X509_EXT_EXTENDED_KEY_USAGE, OID_X509_EXT_KEY_USAGE,
    OID_X509_EXT_SUBJECT_KEY_IDENTIFIER,
};
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

use super::tcb_info::{self, TcbInfo};
use super::{ChainError, Subject, Usage};
use crate::cose::{MAX_CERTIFICATE, PublicKey};

/// A parsed certificate; nothing of it is verified.
pub(super) struct Contents<'a> {
    certificate: X509Certificate<'a>,
    pub(super) public_key: PublicKey,
    /// Seconds since the Unix epoch.
    pub(super) not_before: u64,
    pub(super) not_after: u64,
    pub(super) tcb_info: Option<TcbInfo>,
}

impl<'a> Contents<'a> {
    pub(super) fn read(der: &'a [u8]) -> Result<Self, ChainError> {
        if der.len() > MAX_CERTIFICATE {
            return Err(ChainError::TooLarge(der.len()));
        }
        // The path validator's parser is the stricter one: DER throughout, no critical extension that
        // it does not understand. What it does not hand out is read by the other.
        EndEntityCert::try_from(&CertificateDer::from(der))?;
        let Ok(([], certificate)) = X509Certificate::from_der(der) else {
            return Err(ChainError::Malformed);
        };
        let tbs = &certificate.tbs_certificate;
        // Refuses an extension that is there twice, whichever it is (RFC 5280 section 4.2).
        tbs.extensions_map().map_err(|_| ChainError::Malformed)?;
        let public_key = read_public_key(&tbs.subject_pki).ok_or(ChainError::Malformed)?;
        let seconds = |at: i64| u64::try_from(at).map_err(|_| ChainError::Malformed);
        let not_before = seconds(tbs.validity.not_before.timestamp())?;
        let not_after = seconds(tbs.validity.not_after.timestamp())?;
        let tcb_info = Oid::from(tcb_info::OID)
            .ok()
            .and_then(|oid| tbs.get_extension_unique(&oid).ok().flatten())
            .map(|extension| TcbInfo::decode(extension.value))
            .transpose()?;
        Ok(Self {
            public_key,
            not_before,
            not_after,
            tcb_info,
            certificate,
        })
    }

    /// The last common name of its subject; empty where there is none that is text.
    pub(super) fn common_name(&self) -> String {
        let names = self.certificate.subject().iter_common_name();
        let last = names.last().and_then(|name| name.as_str().ok());
        last.unwrap_or_default().to_owned()
    }

    /// Whether it is valid at `at`, seconds since the Unix epoch.
    pub(super) fn check_time(&self, at: u64) -> Result<(), ChainError> {
        match at {
            _ if at < self.not_before => Err(ChainError::NotYetValid),
            _ if at > self.not_after => Err(ChainError::Expired),
            _ => Ok(()),
        }
    }

    /// Whether `issuer` of that name signed it with ecdsa-with-SHA384.
    pub(super) fn check_issuer(&self, name: &[u8], issuer: &PublicKey) -> Result<(), ChainError> {
        let tbs = &self.certificate.tbs_certificate;
        let signature = &self.certificate.signature_value.data;
        if tbs.issuer.as_raw() != name
            || tbs.signature != self.certificate.signature_algorithm
            || !is_ecdsa_with_sha384(&tbs.signature)
        {
            return Err(ChainError::ForeignCa);
        }
        issuer
            .verify_der(tbs.as_ref(), signature)
            .map_err(|_| ChainError::ForeignCa)
    }

    /// The raw DER of its subject's name.
    pub(super) fn name(&self) -> &'a [u8] {
        self.certificate.tbs_certificate.subject.as_raw()
    }

    /// Whether it is a CA that may sign certificates, and its path length constraint.
    pub(super) fn certifies(&self) -> Result<Option<Option<u32>>, ChainError> {
        let tbs = &self.certificate.tbs_certificate;
        let constraints = tbs.basic_constraints().map_err(|_| ChainError::Malformed)?;
        let usage = tbs.key_usage().map_err(|_| ChainError::Malformed)?;
        let signs = usage.is_some_and(|usage| usage.value.key_cert_sign());
        Ok(match constraints {
            Some(constraints) if constraints.value.ca && signs => {
                Some(constraints.value.path_len_constraint)
            }
            _ => None,
        })
    }

    /// Whether its extensions are at most basic constraints, key usage and the two key identifiers, and extended key usages exactly
    /// where that is what it shall be good for.
    pub(super) fn says_no_more_than_ca(
        &self,
        good_for: Option<Vec<&[u8]>>,
    ) -> Result<bool, ChainError> {
        let allowed = [
            OID_X509_EXT_BASIC_CONSTRAINTS,
            OID_X509_EXT_KEY_USAGE,
            OID_X509_EXT_SUBJECT_KEY_IDENTIFIER,
            OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER,
            OID_X509_EXT_EXTENDED_KEY_USAGE,
        ];
        let extensions = self.certificate.tbs_certificate.extensions();
        let no_more = (extensions.iter()).all(|extension| allowed.contains(&extension.oid));
        let purposes = self.purposes()?;
        let expected = good_for.map(|mut purposes| {
            purposes.sort_unstable();
            purposes
        });
        let found = purposes.as_deref().map(contents);
        Ok(no_more && found == expected)
    }

    /// Its extended key usages, in the order of their DER, where it has the extension.
    fn purposes(&self) -> Result<Option<Vec<Oid<'_>>>, ChainError> {
        let tbs = &self.certificate.tbs_certificate;
        let extension = tbs
            .get_extension_unique(&OID_X509_EXT_EXTENDED_KEY_USAGE)
            .map_err(|_| ChainError::Malformed)?;
        let Some(extension) = extension else {
            return Ok(None);
        };
        let Ok(([], mut found)) = Vec::<Oid<'_>>::from_der(extension.value) else {
            return Err(ChainError::Malformed);
        };
        found.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        Ok(Some(found))
    }

    /// Whether key usage, constraints and extended key usages are exactly those of `usage`.
    pub(super) fn check_usage(&self, usage: Usage) -> Result<(), ChainError> {
        if self.public_key.curve() != usage.curve() {
            return Err(ChainError::WrongKey { usage });
        }
        let wrong = || ChainError::WrongUsage { usage };
        let tbs = &self.certificate.tbs_certificate;
        let constraints = tbs.basic_constraints().map_err(|_| ChainError::Malformed)?;
        let is_ca = constraints.is_some_and(|constraints| constraints.value.ca);
        let bits = tbs
            .key_usage()
            .map_err(|_| ChainError::Malformed)?
            .ok_or_else(wrong)?
            .value;
        let fits = match usage {
            Usage::Card => self.certifies()? == Some(Some(0)),
            _ => !is_ca && bits.digital_signature() && !bits.key_cert_sign(),
        };
        let found = self.purposes()?.ok_or_else(wrong)?;
        let mut expected = usage.purposes_der();
        expected.sort_unstable();
        if fits && contents(&found) == expected {
            Ok(())
        } else {
            Err(wrong())
        }
    }

    /// Whom it speaks of.
    pub(super) fn subject(&self, usage: Usage) -> Result<Subject, ChainError> {
        let tbs = &self.certificate.tbs_certificate;
        let names = tbs
            .subject_alternative_name()
            .map_err(|_| ChainError::Malformed)?;
        let names = &names
            .ok_or(ChainError::AlternativeName)?
            .value
            .general_names;
        if usage == Usage::TlsServer {
            let hosts = names
                .iter()
                .all(|n| matches!(n, GeneralName::DNSName(_) | GeneralName::IPAddress(_)));
            return if hosts {
                Ok(Subject::Server)
            } else {
                Err(ChainError::AlternativeName)
            };
        }
        let [GeneralName::URI(uri)] = names.as_slice() else {
            return Err(ChainError::AlternativeName);
        };
        let subject: Subject = uri.parse()?;
        let fits = match usage {
            Usage::Card | Usage::TlsClient => matches!(subject, Subject::Host(_)),
            Usage::ReportKey => matches!(subject, Subject::Measurer(_)),
            Usage::GuestKey => matches!(subject, Subject::Guest(_)),
            Usage::EnclaveTls | Usage::Evidence => matches!(subject, Subject::Enclave(_)),
            Usage::Hypervisor => matches!(subject, Subject::Hypervisor(_)),
            Usage::Operator => matches!(subject, Subject::Operator { .. }),
            Usage::Token => matches!(subject, Subject::Token),
            Usage::TlsServer => false,
        };
        let subject = Box::new(subject);
        if fits {
            Ok(*subject)
        } else {
            Err(ChainError::WrongSubject { usage, subject })
        }
    }
}

/// The key of a certificate (DER) of which nothing is verified: for who has proven possession of it, and for nobody else.
pub fn key_in(der: &[u8]) -> Result<PublicKey, ChainError> {
    Contents::read(der).map(|contents| contents.public_key)
}

/// The DER contents of object identifiers.
fn contents<'a>(oids: &'a [Oid<'_>]) -> Vec<&'a [u8]> {
    oids.iter().map(Oid::as_bytes).collect()
}

/// The key in a SubjectPublicKeyInfo, if it is one of ours.
pub(crate) fn read_public_key(spki: &SubjectPublicKeyInfo<'_>) -> Option<PublicKey> {
    PublicKey::from_spki_der(spki.raw).ok()
}

/// Whether an algorithm is ecdsa-with-SHA384 (RFC 5758 section 3.2), which has no parameters.
pub(crate) fn is_ecdsa_with_sha384(algorithm: &AlgorithmIdentifier<'_>) -> bool {
    algorithm.algorithm == OID_SIG_ECDSA_WITH_SHA384 && algorithm.parameters.is_none()
}
