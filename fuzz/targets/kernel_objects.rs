//! Processes in a hostile kernel's memory, which is the input.
#![no_main]

use std::sync::LazyLock;

use bartizan_fuzz::hostile::Memory;
use bartizan_fuzz::small_kernel::PROFILE;
use bartizan_introspection::process::{
    MAX_AREAS, MAX_EXECUTABLE, MAX_INSTANCES, Process, ProcessLayout, find, find_instances,
};
use libfuzzer_sys::fuzz_target;

static LAYOUT: LazyLock<ProcessLayout> =
    LazyLock::new(|| ProcessLayout::from_profile(&PROFILE).expect("the small kernel has it all"));

/// The process of the seeds.
const PID: u32 = 42;

/// More than a ring of as many tasks as fit takes, three reads a step.
const MOST_SEARCHED: u64 = 1 << 18;

/// Beside the ring: 65,536 threads of dead leaders, and of each task as many names as the longest path has,
/// which only the program itself can make long.
const MOST_COMPARED: u64 = 1 << 22;

/// Nodes and areas of the largest tree, and the longest path of every executable mapping.
const MOST_READ: u64 = 3 * MAX_AREAS as u64 + 3 * 4096 * MAX_EXECUTABLE as u64;

fuzz_target!(|data: &[u8]| {
    let memory = Memory::new(data);
    let found = find(&memory, &LAYOUT, PID);
    assert!(memory.take_reads() <= MOST_SEARCHED);
    if let Ok(instances) = find_instances(&memory, &LAYOUT, PID) {
        assert!(instances.len() <= MAX_INSTANCES);
        assert_eq!(instances.first().map(|instance| instance.pid), Some(PID));
    }
    assert!(memory.take_reads() <= MOST_COMPARED);
    let Ok(task) = found else {
        return;
    };
    let read = Process::read(&memory, &LAYOUT, task, PID);
    assert!(memory.take_reads() <= MOST_READ);
    if let Ok(process) = read {
        assert_eq!(process.pid, PID);
        assert!(process.mappings.len() <= MAX_EXECUTABLE);
        assert!(
            process
                .mappings
                .is_sorted_by(|lower, upper| lower.range.end <= upper.range.start)
        );
        for mapping in &process.mappings {
            let range = mapping.range.clone();
            assert!(range.start < range.end && range.end <= 1 << 56);
            assert_eq!((range.start | range.end) % 4096, 0);
            assert_eq!(process.first_unmapped(range), None);
            assert!(!mapping.special || mapping.path.is_none());
        }
    }
});
