//! Options in the hop-by-hop and destination headers of IPv6 (RFC 8200 section 4.2).
//!
//! Known attack: an option changes what the packet is (its source, its length, its route), or carries data where nobody
//! looks. So padding passes, if it is that, and what tells routers to look at group memberships (RFC 2711).

use super::FrameError;
use super::cursor::Cursor;

/// One byte, without a size.
const PAD: u8 = 0;
const PADDING: u8 = 1;
const ROUTER_ALERT: u8 = 5;

/// Looks at the options of one header, which are all of `bytes`.
pub(super) fn check(bytes: &[u8], is_hop_by_hop: bool) -> Result<(), FrameError> {
    let mut cursor = Cursor::new(bytes);
    while cursor.left() > 0 {
        let kind = cursor.u8()?;
        if kind == PAD {
            continue;
        }
        let size = cursor.u8()?;
        let value = cursor.take(size.into())?;
        let is_known = match kind {
            PADDING => value.iter().all(|byte| *byte == 0),
            ROUTER_ALERT => is_hop_by_hop && value.len() == 2,
            _ => false,
        };
        if !is_known {
            return Err(FrameError::ExtensionOption(kind));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn padding_and_router_alerts_pass_in_their_place() {
        for padding in [
            [0, 0, 0, 0, 0, 0].as_slice(),
            &[1, 4, 0, 0, 0, 0],
            &[1, 0, 1, 2, 0, 0],
            &[0, 1, 3, 0, 0, 0],
        ] {
            assert_eq!(
                (check(padding, true), check(padding, false)),
                (Ok(()), Ok(()))
            );
        }
        let alert = [5, 2, 0, 0, 1, 0];
        assert_eq!(check(&alert, true), Ok(()));
        assert_eq!(check(&alert, false), Err(FrameError::ExtensionOption(5)));
        let long = [5, 3, 0, 0, 0, 0];
        assert_eq!(check(&long, true), Err(FrameError::ExtensionOption(5)));
        assert_eq!(check(&[1, 5, 0, 0, 0, 0], true), Err(FrameError::Truncated));
        assert_eq!(check(&[1], true), Err(FrameError::Truncated));
    }

    proptest! {
        /// Whatever passes carries nothing: no byte of it but kinds, sizes and an alert's value is other than 0.
        #[test]
        fn what_passes_carries_nothing(bytes in prop::collection::vec(prop_oneof![3 => Just(0_u8), 1 => 0..8_u8, 1 => any::<u8>()], 0..40)) {
            if check(&bytes, false).is_ok() {
                let mut left = bytes.as_slice();
                while let [kind, rest @ ..] = left {
                    let size = if *kind == PAD { 0 } else { 1 + usize::from(rest[0]) };
                    prop_assert!(*kind == PAD || *kind == PADDING);
                    prop_assert!(rest[..size].iter().skip(1).all(|byte| *byte == 0));
                    left = &rest[size..];
                }
            }
        }
    }
}
