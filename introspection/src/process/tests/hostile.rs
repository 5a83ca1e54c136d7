//! Memory that was damaged at random: readers end, with a value or a typed error.

use proptest::prelude::*;

use super::kernel::{FakeKernel, INIT_TASK, LAYOUT, TASK};
use super::{PID, sound};
use crate::process::{Process, ProcessError, find, find_instances};

proptest! {
    #[test]
    fn any_damaged_bits(damage in prop::collection::vec((any::<prop::sample::Index>(), 0..8_u8), 1..8)) {
        let mut kernel = sound();
        let task = find(&kernel, &LAYOUT, PID).unwrap();
        let addresses: Vec<_> = kernel.addresses().collect();
        for (index, bit) in damage {
            kernel.flip(*index.get(&addresses), bit);
        }
        let _ = find(&kernel, &LAYOUT, PID);
        let _ = find_instances(&kernel, &LAYOUT, PID);
        if let Ok(process) = Process::read(&kernel, &LAYOUT, task, PID) {
            prop_assert!(process.mappings.is_sorted_by(|a, b| a.range.end <= b.range.start));
        }
    }

    #[test]
    fn words_of_pointers_to_one_another(words in prop::collection::vec(0..4096_u64, 512)) {
        let mut kernel = FakeKernel::new();
        kernel.task_ring(&[(TASK, PID)]);
        kernel.process();
        let task = find(&kernel, &LAYOUT, PID).unwrap();
        // A heap of words that all lead into the same page.
        for (index, word) in words.iter().enumerate() {
            kernel.put_u64(TASK + 0x4000 + 8 * index as u64, TASK + 0x4000 + word);
        }
        kernel.put_u64(TASK + LAYOUT.task.mm, TASK + 0x4000);
        let _ = Process::read(&kernel, &LAYOUT, task, PID);
        let _ = find_instances(&kernel, &LAYOUT, PID);
    }
}

#[test]
fn a_task_list_that_loops_past_its_head_is_noticed() {
    let mut kernel = FakeKernel::new();
    let others = [1, 2, 3, 4, 5].map(|n| (TASK + 0x1000 * n, u32::try_from(n).unwrap()));
    kernel.task_ring(&others);
    let last = others[4].0 + LAYOUT.task.tasks;
    kernel.put_u64(last, others[1].0 + LAYOUT.task.tasks);
    assert!(matches!(
        find(&kernel, &LAYOUT, 99),
        Err(ProcessError::Inconsistent { .. })
    ));
    // The loop may be a single node.
    kernel.put_u64(INIT_TASK + LAYOUT.task.tasks, last);
    kernel.put_u64(last, last);
    assert!(matches!(
        find(&kernel, &LAYOUT, 99),
        Err(ProcessError::Inconsistent { .. })
    ));
}
