//! What an event is of, for people.

use super::FirmwareEvent;

/// Most characters that are shown.
const MAX_SHOWN: usize = 96;

impl FirmwareEvent<'_> {
    /// The variable, version or text that the data names; hexadecimal where it is none of these. In one line of bounded length.
    #[must_use]
    pub fn description(&self) -> String {
        let described = match self.event_type.name() {
            Some(
                "EV_EFI_VARIABLE_DRIVER_CONFIG"
                | "EV_EFI_VARIABLE_BOOT"
                | "EV_EFI_VARIABLE_BOOT2"
                | "EV_EFI_VARIABLE_AUTHORITY",
            ) => variable(self.data),
            Some("EV_S_CRTM_VERSION") => utf16(self.data),
            Some("EV_EVENT_TAG") => tagged(self.data),
            Some("EV_SEPARATOR" | "EV_EFI_PLATFORM_FIRMWARE_BLOB") => None,
            _ => ascii(self.data),
        };
        described.unwrap_or_else(|| hexadecimal(self.data))
    }
}

/// The name of a `UEFI_VARIABLE_DATA`: GUID, two lengths, the name in UTF-16.
fn variable(data: &[u8]) -> Option<String> {
    let (lengths, rest) = data.get(16..)?.split_first_chunk::<16>()?;
    let (length, _) = lengths.split_first_chunk()?;
    let bytes = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    utf16(rest.get(..bytes.checked_mul(2)?)?)
}

/// The data of a `TCG_PCClientTaggedEvent`: tag, size, then what the tag says; Linux writes texts.
fn tagged(data: &[u8]) -> Option<String> {
    ascii(data.get(8..)?)
}

fn utf16(bytes: &[u8]) -> Option<String> {
    let units = bytes
        .chunks_exact(2)
        .filter_map(|unit| unit.try_into().ok());
    let units = units.map(u16::from_le_bytes).take_while(|unit| *unit != 0);
    let text: Option<String> = char::decode_utf16(units.take(MAX_SHOWN))
        .map(|c| c.ok().filter(|c| !c.is_control()))
        .collect();
    text.filter(|text| !text.is_empty())
}

/// Text with nothing but printable characters in it, zeros at its end aside.
fn ascii(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().rposition(|byte| *byte != 0)?;
    let text = bytes.get(..=end)?;
    let printable = text.iter().all(|byte| matches!(byte, b' '..=b'~'));
    let shown = text.iter().take(MAX_SHOWN).map(|byte| char::from(*byte));
    printable.then(|| shown.collect())
}

fn hexadecimal(bytes: &[u8]) -> String {
    let shown = bytes.get(..MAX_SHOWN / 2).unwrap_or(bytes);
    let more = if shown.len() < bytes.len() { "…" } else { "" };
    format!("{}{more}", hex::encode(shown))
}
