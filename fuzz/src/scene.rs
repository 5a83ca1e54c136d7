//! What the fleet's guest asks and is answered when all is well: seeds, and the fixed other half of a target.

use bartizan_attestation::certificates::Usage;
use bartizan_attestation::cose::{MessageType, sign1};
use bartizan_attestation::digest::{hash, tree_root};
use bartizan_attestation::host::Enrollment;
use bartizan_attestation::measurement::{
    Digest, DigestKind, HashAlgorithm, Mapping, MappingFlags, MeasuredRegion, MeasurementRequest,
    PAGE_SIZE, Region, Report, ResolvedProcess, SignedReport, Snapshot, SnapshotMode, Target,
    TranslationBasis,
};
use bartizan_attestation::profile::{
    ApplicationProfile, ProfileDocument, ProfiledFile, Reference, Segment, SpecialMappings,
};
use bartizan_attestation::renewal::RenewalRequest;
use bartizan_attestation::result::Expectation;

use crate::fleet::{FLEET, NOW_S};

const ALGORITHM: HashAlgorithm = HashAlgorithm::Sha256;
const PROGRAM: &str = "/usr/sbin/ledger";
const PROGRAM_AT: u64 = 0x5555_5555_6000;
const CODE: u32 = MappingFlags::READ | MappingFlags::EXEC;
const PID: u32 = 321;

/// A launch record that a machine boots by its kernel; where the CA's digest stands, there are letters `d`.
pub const RECORD: &str = include_str!("scene/record.yaml");

/// What [`RECORD`] says in place of the CA's digest, which differs from run to run.
pub const ANCHOR: &str = "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd";

/// What a token's header says in place of its certificate's digest, which differs from run to run.
pub const CERTIFICATE: &str = "ccccccccccccccccccccccccccccccccccccccccccc";

/// A request of the fleet's guest.
#[must_use]
pub fn request(target: Target) -> MeasurementRequest {
    MeasurementRequest {
        version: MeasurementRequest::VERSION,
        verifier_nonce: [1; 32],
        guest_nonce: [2; 32],
        audience: "https://bank.example".into(),
        application: "ledger".into(),
        target,
        algorithm: ALGORITHM,
        kind: DigestKind::Tree,
        expected: None,
        page_digests: true,
    }
}

/// The process of the profile.
#[must_use]
pub const fn profile_target() -> Target {
    Target::Profile { pid: PID }
}

/// Two regions of physical memory.
#[must_use]
pub fn physical_target() -> Target {
    let region = |address| Region {
        address,
        size: PAGE_SIZE,
    };
    Target::Physical(vec![region(0x10_0000), region(0)])
}

/// A request, signed by the fleet's guest.
///
/// # Panics
///
/// Where the payload is too large for a message.
#[must_use]
pub fn signed_request(payload: &[u8]) -> Vec<u8> {
    sign1(
        MessageType::MeasurementRequest,
        payload,
        &[],
        &FLEET.guest_key,
    )
    .expect("it fits into a message")
}

/// A renewal request, signed by the fleet's guest.
///
/// # Panics
///
/// Where the payload is too large for a message.
#[must_use]
pub fn signed_renewal(payload: &[u8]) -> Vec<u8> {
    // What does not fit is too large in any case.
    let payload = &payload[..payload.len().min(RenewalRequest::MAX_LEN + 1)];
    sign1(MessageType::RenewalRequest, payload, &[], &FLEET.guest_key)
        .expect("it fits into a message")
}

/// What the fleet's guest has enrolled.
#[must_use]
pub fn enrollment() -> Enrollment {
    let chain = FLEET.chain(Usage::GuestKey);
    Enrollment::new(chain.into_iter().map(Into::into).collect())
}

/// The answer to a request for [`profile_target`]: one program and `[vdso]`, nothing else.
#[must_use]
pub fn report() -> Report {
    let program = mapping(PROGRAM_AT, Some(PROGRAM), 2);
    let vdso = mapping(0x7fff_f000_0000, None, 1);
    let (code, kernels) = (code(), kernels());
    Report {
        version: Report::VERSION,
        request: vec![0],
        guest: FLEET.guest,
        launch_measurement: FLEET.launch_measurement(),
        digest: tree_root(ALGORITHM, &report_page_digests()),
        regions: vec![measured(&program, &code), measured(&vdso, &kernels)],
        page_digests: Some(hash(ALGORITHM, &report_page_digests())),
        processes: vec![ResolvedProcess {
            pid: PID,
            start_time_ns: 5_000_000_000,
            comm: "ledger".into(),
            executable: PROGRAM.into(),
            mappings: vec![program, vdso],
        }],
        translation: Some(TranslationBasis {
            levels: 4,
            kernel: Digest(vec![8; 32]),
            banner: "Linux version 6.1.0\n".into(),
        }),
        snapshot: Snapshot {
            mode: SnapshotMode::PauseCopy,
            pause_us: 900,
            dirtied_pages: 0,
        },
        measured_at_ms: NOW_S * 1000,
        hypervisor_version: "0.1.0".into(),
    }
}

/// What goes with [`report`].
#[must_use]
pub fn report_page_digests() -> Vec<u8> {
    page_digests(&[code(), kernels()].concat())
}

/// A signed report with the page digests of [`report`] where it commits to some.
#[must_use]
pub fn with_page_digests(report: &Report, message: Vec<u8>) -> SignedReport {
    SignedReport {
        message,
        page_digests: report.page_digests.as_ref().map(|_| report_page_digests()),
    }
}

/// The profile that [`report`] agrees with.
///
/// # Panics
///
/// Never: it is a right one.
#[must_use]
pub fn profile() -> ApplicationProfile {
    let code = code();
    let segment = Segment {
        file_offset: 0x1000,
        pages: code.len() as u64,
        references: vec![Reference::of_pages(
            ALGORITHM,
            code.iter().map(<[u8; 4096]>::as_slice),
        )],
    };
    let file = ProfiledFile {
        path: PROGRAM.into(),
        sha256: hash(HashAlgorithm::Sha256, b"program"),
        segments: vec![segment],
    };
    ProfileDocument {
        version: ProfileDocument::VERSION,
        application: "ledger".into(),
        executable: PROGRAM.into(),
        required: vec![PROGRAM.into()],
        algorithms: vec![ALGORITHM],
        allow_page_digests: true,
        special_mappings: SpecialMappings::Unappraised,
        files: vec![file],
    }
    .try_into()
    .expect("a right profile")
}

/// What a reader expects of the token about [`request`] and [`report`], whose digest is all threes.
#[must_use]
pub fn expectation() -> Expectation<'static> {
    Expectation {
        audience: "https://bank.example",
        application: "ledger",
        guest: FLEET.guest,
        guest_nonce: [2; 32],
        request_digest: [3; 32],
        key_thumbprint: FLEET.guest_key.public_key().thumbprint(),
        now_s: NOW_S,
    }
}

fn code() -> Vec<[u8; 4096]> {
    vec![[0x90; 4096], [0xc3; 4096]]
}

fn kernels() -> Vec<[u8; 4096]> {
    vec![[9; 4096]]
}

fn mapping(address: u64, path: Option<&str>, pages: u64) -> Mapping {
    Mapping {
        region: Region {
            address,
            size: pages * PAGE_SIZE,
        },
        path: path.map(Into::into),
        file_offset: if path.is_some() { 0x1000 } else { 0 },
        flags: MappingFlags(CODE),
        special: path.is_none(),
    }
}

fn measured(mapping: &Mapping, pages: &[[u8; 4096]]) -> MeasuredRegion {
    MeasuredRegion {
        region: mapping.region,
        digest: tree_root(ALGORITHM, &page_digests(pages)),
    }
}

fn page_digests(pages: &[[u8; 4096]]) -> Vec<u8> {
    pages
        .iter()
        .flat_map(|page| hash(ALGORITHM, page).0)
        .collect()
}
