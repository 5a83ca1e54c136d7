//! A process of an application with one library, as it should be, and ways to change it.

use super::super::consistency;
use super::super::{Appraisal, VerifiedReport, appraise};
use super::fleet::{NOW_S, launch_measurement};
use crate::boot::Sha384;
use crate::digest::{hash, tree_root};
use crate::identity::{CardId, GuestIdentity};
use crate::keys::VaultKind;
use crate::measurement::{
    Digest, DigestKind, HashAlgorithm, Mapping, MappingFlags, MeasuredRegion, MeasurementRequest,
    PAGE_SIZE, Region, Report, ResolvedProcess, Snapshot, SnapshotMode, Target, TranslationBasis,
};
use crate::profile::{
    ApplicationProfile, ProfileDocument, ProfiledFile, Reference, Segment, SpecialMappings,
};

pub(crate) const PROGRAM: &str = "/usr/sbin/ledger";
pub(crate) const LIBRARY: &str = "/usr/lib/libledger.so.1";
pub(crate) const PROGRAM_AT: u64 = 0x5555_5555_6000;
pub(crate) const LIBRARY_AT: u64 = 0x7fff_0000_1000;
const ALGORITHM: HashAlgorithm = HashAlgorithm::Sha256;
const CODE: u32 = MappingFlags::READ | MappingFlags::EXEC;

/// Executable memory before it is measured.
#[derive(Clone)]
pub(crate) struct Memory {
    pub(crate) mapping: Mapping,
    pub(crate) pages: Vec<Vec<u8>>,
}

/// Pages of a file's code, each another.
pub(crate) fn code(path: &str, count: u8) -> Vec<Vec<u8>> {
    (0..count)
        .map(|index| [path.as_bytes(), &[index; 4000]].concat())
        .map(padded)
        .collect()
}

fn padded(mut page: Vec<u8>) -> Vec<u8> {
    page.resize(4096, 0);
    page
}

pub(crate) fn memory(at: u64, path: Option<&str>, file_offset: u64, pages: Vec<Vec<u8>>) -> Memory {
    let region = Region {
        address: at,
        size: pages.len() as u64 * PAGE_SIZE,
    };
    let path = path.map(Into::into);
    let flags = MappingFlags(CODE);
    Memory {
        mapping: Mapping {
            region,
            path,
            file_offset,
            flags,
            special: false,
        },
        pages,
    }
}

/// The process that is named.
pub(crate) const PID: u32 = 321;

pub(crate) struct Scene {
    pub(crate) profile: ProfileDocument,
    pub(crate) executable: String,
    pub(crate) memories: Vec<Memory>,
    /// Other processes of the program, and their memories.
    pub(crate) others: Vec<(u32, Vec<Memory>)>,
    pub(crate) kind: DigestKind,
    pub(crate) page_digests: bool,
    pub(crate) expected: Option<Digest>,
}

impl Scene {
    /// A clean process.
    pub(crate) fn clean() -> Self {
        let mut vdso = memory(0x7fff_f000_0000, None, 0, code("vdso", 2));
        vdso.mapping.special = true;
        Self {
            profile: profile(),
            executable: PROGRAM.into(),
            memories: vec![
                memory(PROGRAM_AT, Some(PROGRAM), 0x1000, code(PROGRAM, 4)),
                memory(LIBRARY_AT, Some(LIBRARY), 0x2000, code(LIBRARY, 3)),
                vdso,
            ],
            others: Vec::new(),
            kind: DigestKind::Tree,
            page_digests: true,
            expected: None,
        }
    }

    pub(crate) fn verified(&self) -> VerifiedReport {
        let mut processes = vec![(PID, self.memories.clone())];
        processes.extend_from_slice(&self.others);
        for (_, memories) in &mut processes {
            memories.sort_by_key(|memory| memory.mapping.region.address);
        }
        let memories: Vec<_> = processes
            .iter()
            .flat_map(|(_, memories)| memories)
            .collect();
        let page_digests = self
            .page_digests
            .then(|| page_digests(memories.iter().flat_map(|memory| &memory.pages)));
        let request = MeasurementRequest {
            version: MeasurementRequest::VERSION,
            verifier_nonce: [1; 32],
            guest_nonce: [2; 32],
            audience: "https://bank.example".into(),
            application: "ledger".into(),
            target: Target::Profile { pid: PID },
            algorithm: ALGORITHM,
            kind: self.kind,
            expected: self.expected.clone(),
            page_digests: self.page_digests,
        };
        let report = Report {
            version: Report::VERSION,
            request: vec![0],
            guest: GuestIdentity {
                card: CardId([9; 32]),
                vm: [5; 16],
                boot: 3,
            },
            launch_measurement: launch_measurement(),
            digest: self.digest(memories.iter().flat_map(|memory| &memory.pages)),
            regions: memories
                .iter()
                .map(|memory| self.measured(memory))
                .collect(),
            page_digests: page_digests
                .as_ref()
                .map(|digests| hash(ALGORITHM, digests)),
            processes: processes
                .iter()
                .map(|(pid, memories)| self.process(*pid, memories))
                .collect(),
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
        };
        report.check().unwrap();
        consistency::check(&report, &request, page_digests.as_deref()).unwrap();
        VerifiedReport {
            request,
            report,
            page_digests,
            request_digest: [3; 32],
            guest_key_thumbprint: [4; 32],
            vault: VaultKind::Software,
            phases: vec![Sha384::of(b"card"), Sha384::of(b"devices")],
            card_keys: [[5; 32]; 2],
        }
    }

    pub(crate) fn of_an_unmeasured_boot(&self) -> VerifiedReport {
        VerifiedReport {
            phases: Vec::new(),
            ..self.verified()
        }
    }

    pub(crate) fn appraise(&self) -> Appraisal {
        let profile = ApplicationProfile::try_from(self.profile.clone()).unwrap();
        appraise(&self.verified(), Some(&profile))
    }

    fn measured(&self, memory: &Memory) -> MeasuredRegion {
        MeasuredRegion {
            region: memory.mapping.region,
            digest: self.digest(memory.pages.iter()),
        }
    }

    fn digest<'p>(&self, pages: impl Iterator<Item = &'p Vec<u8>>) -> Digest {
        match self.kind {
            DigestKind::Tree => tree_root(ALGORITHM, &page_digests(pages)),
            DigestKind::Flat => hash(ALGORITHM, &pages.flatten().copied().collect::<Vec<_>>()),
        }
    }

    fn process(&self, pid: u32, memories: &[Memory]) -> ResolvedProcess {
        ResolvedProcess {
            pid,
            start_time_ns: 5_000_000_000,
            comm: "ledger".into(),
            executable: self.executable.clone(),
            mappings: memories
                .iter()
                .map(|memory| memory.mapping.clone())
                .collect(),
        }
    }
}

fn page_digests<'p>(pages: impl Iterator<Item = &'p Vec<u8>>) -> Vec<u8> {
    pages.flat_map(|page| hash(ALGORITHM, page).0).collect()
}

fn profile() -> ProfileDocument {
    let file = |path: &str, file_offset, pages: Vec<Vec<u8>>| ProfiledFile {
        path: path.into(),
        sha256: hash(HashAlgorithm::Sha256, path.as_bytes()),
        segments: vec![Segment {
            file_offset,
            pages: pages.len() as u64,
            references: vec![Reference::of_pages(
                ALGORITHM,
                pages.iter().map(Vec::as_slice),
            )],
        }],
    };
    ProfileDocument {
        version: ProfileDocument::VERSION,
        application: "ledger".into(),
        executable: PROGRAM.into(),
        required: vec![PROGRAM.into(), LIBRARY.into()],
        algorithms: vec![ALGORITHM],
        allow_page_digests: true,
        special_mappings: SpecialMappings::Unappraised,
        files: vec![
            file(PROGRAM, 0x1000, code(PROGRAM, 4)),
            file(LIBRARY, 0x2000, code(LIBRARY, 3)),
            file("/usr/lib/libplugin.so", 0, code("plugin", 2)),
        ],
    }
}
