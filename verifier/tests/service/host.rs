//! A host with a guest: what card, measurer and guest would do, with keys of the tests' own.

use bartizan_attestation::certificates::Usage;
use bartizan_attestation::cose::{MessageType, sign1};
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::digest::hash;
use bartizan_attestation::identity::{CardId, GuestIdentity};
use bartizan_attestation::measurement::{
    Digest, DigestKind, HashAlgorithm, Mapping, MappingFlags, MeasuredRegion, MeasurementRequest,
    Region, Report, ResolvedProcess, Snapshot, SnapshotMode, Target, TranslationBasis,
};
use bartizan_verifier::clock::now_ms;

use crate::fleet::{Authority, Wish};

/// A host's card.
pub(crate) struct Host {
    pub(crate) authority: Authority,
    pub(crate) card: CardId,
}

/// A guest of a host, with its key and its measurer's.
pub(crate) struct Guest {
    pub(crate) identity: GuestIdentity,
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) key: EphemeralKey,
    measurer_chain: Vec<Vec<u8>>,
    measurer: EphemeralKey,
    launch_measurement: Digest,
}

impl Host {
    pub(crate) fn enrolled(fleet: &Authority) -> Self {
        let key = EphemeralKey::generate().unwrap();
        let card = CardId(key.public_key().sha256());
        Self {
            authority: fleet.issue_card(key),
            card,
        }
    }

    /// A TLS client chain of this host.
    pub(crate) fn client(&self, key: &EphemeralKey) -> Vec<Vec<u8>> {
        let wish = Wish::new(Usage::TlsClient, format!("urn:bartizan:host:{}", self.card));
        vec![
            self.authority.issue(&wish, &key.public_key()),
            self.authority.der.clone(),
        ]
    }

    /// A guest in some boot.
    pub(crate) fn guest(&self, vm: u8, boot: u64) -> Guest {
        let identity = GuestIdentity {
            card: self.card,
            vm: [vm; 16],
            boot,
        };
        let launch_measurement = Digest(vec![7; 48]);
        let certified = |usage, uri: String| {
            let key = EphemeralKey::generate().unwrap();
            let mut wish = Wish::new(usage, uri);
            wish.launch_measurement = Some(launch_measurement.clone());
            let leaf = self.authority.issue(&wish, &key.public_key());
            (vec![leaf, self.authority.der.clone()], key)
        };
        let (chain, key) = certified(Usage::GuestKey, identity.to_string());
        let measurer = identity.to_string().replace(":guest:", ":measurer:");
        let (measurer_chain, measurer) = certified(Usage::ReportKey, measurer);
        Guest {
            identity,
            chain,
            key,
            measurer_chain,
            measurer,
            launch_measurement,
        }
    }
}

impl Guest {
    /// A request for one page of RAM.
    pub(crate) fn request(&self, nonce: [u8; 32], application: &str) -> MeasurementRequest {
        MeasurementRequest {
            version: MeasurementRequest::VERSION,
            verifier_nonce: nonce,
            guest_nonce: [9; 32],
            audience: "relying.example".into(),
            application: application.into(),
            target: Target::Physical(vec![PAGE]),
            algorithm: HashAlgorithm::Sha256,
            kind: DigestKind::Flat,
            expected: Some(page_digest()),
            page_digests: false,
        }
    }

    /// The request, signed by the guest.
    pub(crate) fn signed(&self, request: &MeasurementRequest) -> Vec<u8> {
        sign1(
            MessageType::MeasurementRequest,
            &request.encode(),
            &[],
            &self.key,
        )
        .unwrap()
    }

    /// The measurer's report to a signed request: that page holds zeroes.
    pub(crate) fn report(&self, signed_request: Vec<u8>) -> Report {
        Report {
            version: Report::VERSION,
            request: signed_request,
            guest: self.identity,
            launch_measurement: self.launch_measurement.clone(),
            digest: page_digest(),
            regions: vec![MeasuredRegion {
                region: PAGE,
                digest: page_digest(),
            }],
            page_digests: None,
            processes: Vec::new(),
            translation: None,
            snapshot: Snapshot {
                mode: SnapshotMode::PauseCopy,
                pause_us: 1,
                dirtied_pages: 0,
            },
            measured_at_ms: now_ms(),
            hypervisor_version: "test".into(),
        }
    }

    /// A request for the code of nginx, and the report to it: one page that holds `page`.
    pub(crate) fn attest_nginx(&self, nonce: [u8; 32], page: &[u8; 4096]) -> Vec<u8> {
        let mut request = self.request(nonce, "nginx");
        request.target = Target::Profile { pid: 7 };
        request.expected = None;
        let mut report = self.report(self.signed(&request));
        report.digest = hash(HashAlgorithm::Sha256, page);
        report.regions[0].digest = report.digest.clone();
        report.processes = vec![ResolvedProcess {
            pid: 7,
            start_time_ns: 1,
            comm: "nginx".into(),
            executable: NGINX.into(),
            mappings: vec![Mapping {
                region: PAGE,
                path: Some(NGINX.into()),
                file_offset: 4096,
                flags: MappingFlags(MappingFlags::READ | MappingFlags::EXEC),
                special: false,
            }],
        }];
        report.translation = Some(TranslationBasis {
            levels: 4,
            kernel: hash(HashAlgorithm::Sha256, b"kernel"),
            banner: "Linux version 6.1".into(),
        });
        self.sealed(&report)
    }

    /// The report, signed by the measurer.
    pub(crate) fn sealed(&self, report: &Report) -> Vec<u8> {
        sign1(
            MessageType::Report,
            &report.encode(),
            &self.measurer_chain,
            &self.measurer,
        )
        .unwrap()
    }

    /// A sound report with a nonce.
    pub(crate) fn attest(&self, nonce: [u8; 32], application: &str) -> Vec<u8> {
        self.sealed(&self.report(self.signed(&self.request(nonce, application))))
    }
}

/// The program that the tests' profile is of.
pub(crate) const NGINX: &str = "/usr/sbin/nginx";

const PAGE: Region = Region {
    address: 0x10_0000,
    size: 4096,
};

fn page_digest() -> Digest {
    hash(HashAlgorithm::Sha256, &[0; 4096])
}
