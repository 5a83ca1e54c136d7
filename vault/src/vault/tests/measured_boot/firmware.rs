//! What the host's own firmware measured: kept as it was told, and no key depends on it.

use bartizan_attestation::boot::FirmwareLog;

use super::*;

fn firmware(size: usize) -> VaultStep {
    VaultStep::Firmware(vec![7; size])
}

#[test]
fn it_is_told_once_right_after_the_beginning() {
    let (mut host, _) = waiting();
    assert!(matches!(
        host.take(firmware(9)),
        Err(Refusal::OutOfOrder { .. })
    ));
    host.restart();
    host.begin().unwrap();
    assert_eq!(host.take(firmware(9)), Ok(0));
    let steps = steps(&host.key, Phase::Card, [1, 1]);
    for step in &steps {
        host.take(step.clone()).unwrap();
    }
    let described = host.described();
    assert_eq!(
        described.firmware.as_ref().map(|log| log.to_vec()),
        Some(vec![7; 9])
    );
    drop(certificates(host.rotate_tls()));
    // A second one, or one that comes late, stops the boot.
    assert!(matches!(
        host.take(firmware(8)),
        Err(Refusal::OutOfOrder { .. })
    ));
    assert_eq!(host.described().firmware, described.firmware);
    assert!(host.described().stopped.is_some());

    host.restart();
    host.begin().unwrap();
    host.take(steps[0].clone()).unwrap();
    assert!(host.take(firmware(9)).is_err());
    assert_eq!(shut(host.rotate_tls()).0, Phase::Card);
}

/// Every description must fit a frame.
#[test]
fn it_is_bounded() {
    let (mut host, _) = waiting();
    host.begin().unwrap();
    host.take(firmware(FirmwareLog::MAX_LEN)).unwrap();
    let described = VaultReply::Boot(host.described());
    assert!(bartizan_local::encode(&described).len() < VaultRequest::MAX_FRAME / 2);
    host.restart();
    host.begin().unwrap();
    let refused = host.take(firmware(FirmwareLog::MAX_LEN + 1)).unwrap_err();
    assert!(refused.to_string().contains("at most"), "{refused}");
    assert_eq!(host.described().firmware, None);
}
