//! A profile must say what really stands in the RAM of a process: compare with a running one.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};

use bartizan_attestation::digest;
use bartizan_attestation::measurement::DigestKind;

use super::*;

/// Builds a profile of one of this machine's programs with the libraries that ld.so finds for it.
pub(super) fn profile_of(path: &str, options: &ProfileOptions) -> ApplicationProfile {
    let listed = Command::new("ldd").arg(path).output().unwrap();
    let mut builder = this_machines(path);
    for word in String::from_utf8(listed.stdout).unwrap().split_whitespace() {
        if word.starts_with('/') {
            let real = fs::canonicalize(word).unwrap();
            let real = real.to_str().unwrap();
            builder = builder.with_file(real, &fs::read(word).unwrap()).unwrap();
            if format!("/usr{word}") != real {
                builder = builder.with_link(word, real).unwrap();
            }
        }
    }
    builder.build(options).unwrap()
}

struct ExecutableMapping {
    start: u64,
    end: u64,
    file_offset: u64,
    path: String,
}

/// The executable lines of /proc/PID/maps (proc(5)).
fn executable_mappings(pid: u32) -> Vec<ExecutableMapping> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let hex = |text: &str| u64::from_str_radix(text, 16).unwrap();
    maps.lines()
        .filter_map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let (start, end) = fields[0].split_once('-').unwrap();
            fields[1].contains('x').then(|| ExecutableMapping {
                start: hex(start),
                end: hex(end),
                file_offset: hex(fields[2]),
                path: fields.get(5).copied().unwrap_or_default().into(),
            })
        })
        .collect()
}

#[test]
fn a_running_program_is_in_memory_what_its_profile_says() {
    let options = ProfileOptions::new("cat");
    let profile = profile_of("/usr/bin/cat", &options);
    let mut child = Command::new("/usr/bin/cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Once it echoes, the loader's work is done.
    child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();

    let memory = File::open(format!("/proc/{}/mem", child.id())).unwrap();
    let mut from_files = 0;
    for mapping in executable_mappings(child.id()) {
        if mapping.path.starts_with('[') {
            continue;
        }
        let file = profile
            .file(&mapping.path)
            .unwrap_or_else(|| panic!("{}", mapping.path));
        let segment = &file.segments[0];
        let size = mapping.end - mapping.start;
        assert_eq!(
            (mapping.file_offset, size / 4096),
            (segment.file_offset, segment.pages)
        );
        let mut bytes = vec![0; usize::try_from(size).unwrap()];
        memory.read_exact_at(&mut bytes, mapping.start).unwrap();
        for algorithm in &options.algorithms {
            let reference = segment.reference(*algorithm).unwrap();
            assert_eq!(
                digest::hash(*algorithm, &bytes),
                reference.flat,
                "{}",
                mapping.path
            );
            let pages: Vec<u8> = bytes
                .chunks(4096)
                .flat_map(|page| digest::hash(*algorithm, page).0)
                .collect();
            let tree = digest::tree_root(*algorithm, &pages);
            assert_eq!(
                reference.expected(DigestKind::Tree, 0, segment.pages),
                Some(tree)
            );
        }
        from_files += 1;
    }
    drop(child.stdin.take());
    child.wait().unwrap();
    assert_eq!(from_files, profile.document().required.len());
}
