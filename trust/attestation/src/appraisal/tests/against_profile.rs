//! What a hostile guest may do to a process, and what the appraisal says of it.

use proptest::prelude::*;

use super::super::{Appraisal, Finding, MAX_FINDINGS, Status};
use super::scene::{LIBRARY, LIBRARY_AT, PID, PROGRAM, PROGRAM_AT, Scene, code, memory};
use crate::measurement::{DigestKind, MappingFlags};
use crate::profile::SpecialMappings;

/// The one finding of a scene that must be contraindicated.
fn finding(scene: &Scene) -> Finding {
    let Appraisal {
        status,
        mut findings,
        omitted_findings,
        ..
    } = scene.appraise();
    assert_eq!((status, omitted_findings), (Status::Contraindicated, 0));
    assert_eq!(findings.len(), 1, "{findings:?}");
    findings.remove(0)
}

#[test]
fn a_clean_process_is_affirmed_in_every_kind() {
    for (kind, page_digests) in [
        (DigestKind::Tree, true),
        (DigestKind::Tree, false),
        (DigestKind::Flat, true),
        (DigestKind::Flat, false),
    ] {
        let appraisal = Scene {
            kind,
            page_digests,
            ..Scene::clean()
        }
        .appraise();
        assert_eq!(
            appraisal.status,
            Status::Affirming,
            "{:?}",
            appraisal.findings
        );
        assert_eq!(appraisal.unappraised.len(), 1, "the vdso is named");
    }
}

#[test]
fn every_process_of_the_program_is_judged() {
    let twins = || {
        let mut scene = Scene::clean();
        scene.others = vec![(400, scene.memories.clone()), (401, scene.memories.clone())];
        scene
    };
    for (kind, page_digests) in [(DigestKind::Tree, true), (DigestKind::Flat, false)] {
        let mut scene = twins();
        (scene.kind, scene.page_digests) = (kind, page_digests);
        let appraisal = scene.appraise();
        assert_eq!(appraisal.status, Status::Affirming);
        let unappraised: Vec<_> = appraisal.unappraised.iter().map(|it| it.pid).collect();
        assert_eq!(unappraised, [PID, 400, 401], "each has its vdso");
    }
    // The one that was named is clean; another is not.
    let mut scene = twins();
    scene.others[1].1[1].pages[2][7] ^= 1;
    let expected = Finding::PageDiffers {
        pid: 401,
        path: LIBRARY.into(),
        file_offset: 0x4000,
        address: LIBRARY_AT + 0x2000,
    };
    assert_eq!(finding(&scene), expected);
    // What one process lacks, another does not make up for.
    let mut scene = twins();
    scene.others[0].1.remove(1);
    let expected = Finding::MissingMapping {
        pid: 400,
        path: LIBRARY.into(),
        file_offset: 0x2000,
    };
    assert_eq!(finding(&scene), expected);
}

#[test]
fn a_plugin_may_be_there() {
    let mut scene = Scene::clean();
    scene.memories.push(memory(
        0x1000,
        Some("/usr/lib/libplugin.so"),
        0,
        code("plugin", 2),
    ));
    assert_eq!(scene.appraise().status, Status::Affirming);
}

#[test]
fn one_patched_instruction_is_named_by_page() {
    let mut scene = Scene::clean();
    scene.memories[0].pages[2][123] ^= 1;
    let expected = Finding::PageDiffers {
        pid: PID,
        path: PROGRAM.into(),
        file_offset: 0x3000,
        address: PROGRAM_AT + 0x2000,
    };
    assert_eq!(finding(&scene), expected);
    scene.kind = DigestKind::Flat;
    assert_eq!(finding(&scene), expected);
    scene.page_digests = false;
    let expected = Finding::CodeDiffers {
        pid: PID,
        path: PROGRAM.into(),
        file_offset: 0x1000,
        size: 0x4000,
        address: PROGRAM_AT,
    };
    assert_eq!(finding(&scene), expected);
    (scene.page_digests, scene.profile.allow_page_digests) = (true, false);
    assert_eq!(
        finding(&scene),
        expected,
        "pages are named only by the profile's leave"
    );
}

#[test]
fn a_decoy_of_pristine_text_helps_nobody() {
    // The decoy beside the patched text.
    let mut scene = Scene::clean();
    let decoy = memory(0x10_0000, Some(PROGRAM), 0x1000, code(PROGRAM, 4));
    scene.memories[0].pages[0][0] ^= 1;
    scene.memories.push(decoy.clone());
    assert_eq!(scene.appraise().status, Status::Contraindicated);
    // The decoy beside clean text is still one copy too many.
    let mut scene = Scene::clean();
    scene.memories.push(decoy.clone());
    assert!(matches!(finding(&scene), Finding::MappedAgain { .. }));
    // The decoy, while what runs is anonymous.
    let mut scene = Scene::clean();
    scene.memories[0].mapping.path = None;
    scene.memories.push(decoy);
    assert!(matches!(
        finding(&scene),
        Finding::AnonymousExecutable {
            address: PROGRAM_AT,
            ..
        }
    ));
}

#[test]
fn another_program_is_not_this_one() {
    let scene = Scene {
        executable: "/tmp/ledger".into(),
        ..Scene::clean()
    };
    assert!(
        matches!(finding(&scene), Finding::WrongExecutable { found, .. } if found == "/tmp/ledger")
    );
}

#[test]
fn foreign_code_is_named() {
    let mut scene = Scene::clean();
    scene.memories.push(memory(
        0x1000,
        Some("/tmp/evil\n.so (deleted)"),
        0,
        code("evil", 1),
    ));
    let path = "/tmp/evil\u{fffd}.so (deleted)".into();
    assert_eq!(
        finding(&scene),
        Finding::UnknownFile {
            pid: PID,
            path,
            address: 0x1000
        }
    );

    let mut scene = Scene::clean();
    scene
        .memories
        .push(memory(0x1000, Some(LIBRARY), 0, code("data as code", 1)));
    assert!(matches!(
        finding(&scene),
        Finding::UnknownSegment { file_offset: 0, .. }
    ));

    let mut scene = Scene::clean();
    scene.memories.push(memory(0x1000, None, 0, code("jit", 1)));
    assert_eq!(
        finding(&scene),
        Finding::AnonymousExecutable {
            pid: PID,
            address: 0x1000,
            size: 0x1000
        }
    );
}

#[test]
fn writable_and_shared_code_are_named() {
    let plugin = || memory(0x1000, Some("/usr/lib/libplugin.so"), 0, code("plugin", 2));
    for (flag, is_it) in [
        (
            MappingFlags::WRITE,
            (|it| matches!(it, Finding::WritableExecutable { .. })) as fn(_) -> _,
        ),
        (MappingFlags::SHARED, |it| {
            matches!(it, Finding::SharedExecutable { .. })
        }),
    ] {
        let mut scene = Scene::clean();
        let mut plugin = plugin();
        plugin.mapping.flags.0 |= flag;
        scene.memories.push(plugin);
        assert!(is_it(finding(&scene)));
    }
}

#[test]
fn missing_and_partial_mappings_are_named() {
    let missing = |path: &str, file_offset| Finding::MissingMapping {
        pid: PID,
        path: path.into(),
        file_offset,
    };
    let mut scene = Scene::clean();
    scene.memories.remove(1);
    assert_eq!(finding(&scene), missing(LIBRARY, 0x2000));
    // Only one page of the text remains.
    let mut scene = Scene::clean();
    scene.memories[0] = memory(PROGRAM_AT, Some(PROGRAM), 0x1000, code(PROGRAM, 1));
    assert_eq!(finding(&scene), missing(PROGRAM, 0x1000));
}

#[test]
fn a_segment_may_be_split_but_not_scattered() {
    let halves = |second_at| {
        let (first, second) = (
            code(LIBRARY, 3)[..1].to_vec(),
            code(LIBRARY, 3)[1..].to_vec(),
        );
        [
            memory(LIBRARY_AT, Some(LIBRARY), 0x2000, first),
            memory(second_at, Some(LIBRARY), 0x3000, second),
        ]
    };
    let mut scene = Scene::clean();
    scene.memories.remove(1);
    scene.memories.extend(halves(LIBRARY_AT + 0x1000));
    assert_eq!(scene.appraise().status, Status::Affirming);
    (scene.kind, scene.page_digests) = (DigestKind::Flat, true);
    assert_eq!(scene.appraise().status, Status::Affirming);
    scene.page_digests = false;
    let refused = scene.appraise();
    assert_eq!(refused.status, Status::Contraindicated);
    assert!(
        refused
            .findings
            .iter()
            .all(|it| matches!(it, Finding::PartNotComparable { .. }))
    );

    let mut scene = Scene::clean();
    scene.memories.remove(1);
    scene.memories.extend(halves(LIBRARY_AT + 0x9000));
    assert!(matches!(finding(&scene), Finding::MappedAgain { .. }));
}

#[test]
fn special_mappings_are_few_and_plain() {
    let refused = |change: fn(&mut Scene)| {
        let mut scene = Scene::clean();
        change(&mut scene);
        assert!(matches!(finding(&scene), Finding::SpecialMapping { .. }));
    };
    refused(|scene| scene.profile.special_mappings = SpecialMappings::Refuse);
    refused(|scene| {
        let mut second = scene.memories[2].clone();
        second.mapping.region.address = 0x1000;
        scene.memories.push(second);
    });
    refused(|scene| scene.memories[2].mapping.path = Some(PROGRAM.into()));
    refused(|scene| scene.memories[2].mapping.flags.0 |= MappingFlags::WRITE);
}

#[test]
fn findings_are_counted_beyond_those_named() {
    let mut scene = Scene::clean();
    for index in 0..100 {
        scene
            .memories
            .push(memory(0x1000 + index * 0x2000, None, 0, code("jit", 1)));
    }
    let appraisal = scene.appraise();
    assert_eq!(
        (appraisal.findings.len(), appraisal.omitted_findings),
        (MAX_FINDINGS, 68)
    );
}

proptest! {
    #[test]
    fn any_single_change_of_any_byte_is_seen(
        memory in 0_usize..2, page in 0_usize..3, at in 0_usize..4096, bit in 0_u8..8,
    ) {
        let mut scene = Scene::clean();
        scene.memories[memory].pages[page][at] ^= 1 << bit;
        let named = matches!(finding(&scene), Finding::PageDiffers { .. });
        prop_assert!(named);
    }

    #[test]
    fn any_change_of_a_mapping_is_seen(which in 0_usize..2, offset in 0_u64..16, flags in 0_u32..16) {
        let mut scene = Scene::clean();
        let mapping = &mut scene.memories[which].mapping;
        let before = mapping.clone();
        mapping.file_offset = offset * 0x800;
        mapping.flags = MappingFlags(flags | MappingFlags::EXEC);
        // Whether code is readable beside executable makes no difference.
        let same = mapping.file_offset == before.file_offset
            && flags & (MappingFlags::WRITE | MappingFlags::SHARED) == 0;
        prop_assert_eq!(scene.appraise().status == Status::Affirming, same);
    }
}
