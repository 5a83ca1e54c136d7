//! What QEMU says.

use crate::Seed;

const CONVERSATION: &[u8] = br#"{"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}}, "capabilities": []}}
{"return": {}, "id": 1}
{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"}
{"id": 2, "error": {"class": "GenericError", "desc": "no"}}
{"return": "a text\r\nof lines", "id": 3}
{"timestamp": {"seconds": 1, "microseconds": 3}, "event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}}
"#;

const TREE: &[u8] = b"FlatView #0
 AS \"I/O\", root: io
 Root memory region: io
  0000000000000000-0000000000000007 (prio 0, i/o): dma-chan

FlatView #1
 AS \"memory\", root: system
 AS \"cpu-memory-0\", root: system
 Root memory region: system
  0000000000000000-00000000000bffff (prio 0, ram): ram
  00000000000c0000-00000000000dffff (prio 1, rom): pc.rom
  0000000000100000-000000007fffffff (prio 0, ram): ram @0000000000100000
  00000000fec00000-00000000fec00fff (prio 0, i/o): ioapic
  0000000100000000-000000017fffffff (prio 0, ram): ram @0000000080000000

FlatView #2
";

/// The target looks for device 0:1, inode 7.
const MAPS: &[u8] = b"\
55d2c8a00000-55d2c8d2f000 r--p 00000000 fe:00 787321                     /usr/bin/qemu-system-x86_64
55d2c9ff2000-55d2cb0c5000 rw-p 00000000 00:00 0                          [heap]
7f2a4fe00000-7f2a8fe00000 rw-s 40000000 00:01 7                          /memfd:bartizan-ram (deleted)
7f2a8fe00000-7f2acfe00000 rw-s 00000000 00:01 7                          /memfd:bartizan-ram (deleted)
7f2acfe00000-7f2acfe01000 ---p 00000000 00:00 0 
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
";

pub(crate) fn seeds() -> Vec<Seed> {
    let line = CONVERSATION.split(|byte| *byte == b'\n').nth(3).unwrap();
    vec![
        ("qmp", "conversation", [&[100], CONVERSATION].concat()),
        ("qmp", "line", line.to_vec()),
        ("memory_tree", "q35", TREE.to_vec()),
        ("qemu_maps", "two", MAPS.to_vec()),
    ]
}
