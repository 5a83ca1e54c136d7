//! The pcap file format with nanoseconds (draft-ietf-opsawg-pcap), written: a header, and packets behind it, of Ethernet.

use bartizan_local::observation::CapturedPacket;

/// Little-endian, with nanoseconds.
const MAGIC: u32 = 0xa1b2_3c4d;
/// LINKTYPE_ETHERNET.
const ETHERNET: u32 = 1;
const SECOND: u64 = 1_000_000_000;

/// The header of a file whose packets have so many bytes at most.
pub(super) fn header(snap: u32) -> Vec<u8> {
    let mut file = MAGIC.to_le_bytes().to_vec();
    file.extend(2_u16.to_le_bytes());
    file.extend(4_u16.to_le_bytes());
    // Reserved.
    file.extend([0; 8]);
    file.extend(snap.to_le_bytes());
    file.extend(ETHERNET.to_le_bytes());
    file
}

/// Packets, to come next in the file.
pub(super) fn records(packets: &[CapturedPacket]) -> Vec<u8> {
    let sizes = packets.iter().map(|packet| 16 + packet.bytes.len());
    let mut file = Vec::with_capacity(sizes.sum());
    for packet in packets {
        let (seconds, rest) = (packet.at_ns / SECOND, packet.at_ns % SECOND);
        let captured = u32::try_from(packet.bytes.len()).unwrap_or(u32::MAX);
        let words = [
            // As the format has them: until 2106.
            u32::try_from(seconds).unwrap_or(u32::MAX),
            u32::try_from(rest).unwrap_or(0),
            captured,
            // Never less than what is there.
            packet.length.max(captured),
        ];
        file.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        file.extend(&packet.bytes);
    }
    file
}

#[cfg(test)]
mod tests {
    use bartizan_local::flow::Direction;

    use super::*;

    /// As the format's document lays it out, byte by byte.
    #[test]
    fn a_file_of_one_packet() {
        let packet = CapturedPacket {
            at_ns: 0x0102_0304 * SECOND + 0x0506,
            way: Direction::Egress,
            length: 1514,
            bytes: b"frame".to_vec(),
        };
        let file = [header(0x1_000d), records(&[packet])].concat();
        #[rustfmt::skip]
        let expected = [
            0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0,
            0, 0, 0, 0, 0, 0, 0, 0,
            0x0d, 0, 1, 0, 1, 0, 0, 0,
            4, 3, 2, 1, 6, 5, 0, 0,
            5, 0, 0, 0, 0xea, 5, 0, 0,
            b'f', b'r', b'a', b'm', b'e',
        ];
        assert_eq!(file, expected);
    }

    /// Known attack: devices that were taken over say lengths by which a reader of the file goes astray.
    #[test]
    fn lengths_are_of_what_is_there() {
        let packet = CapturedPacket {
            at_ns: u64::MAX,
            way: Direction::Ingress,
            length: 0,
            bytes: vec![7; 60],
        };
        let record = records(&[packet]);
        assert_eq!(record.len(), 16 + 60);
        assert_eq!(record[8..16], [60, 0, 0, 0, 60, 0, 0, 0]);
        assert_eq!(record[..4], [0xff; 4]);
    }
}
