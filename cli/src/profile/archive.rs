//! The outer shape of a Debian package: an `ar` archive (deb(5), ar(5)).
//!
//! Read here rather than by a crate: deb(5) allows only short names, and general readers make room for whatever
//! size a long-name member announces.

/// First bytes of every archive.
const MAGIC: &[u8] = b"!<arch>\n";
/// Bytes of a member's header.
const HEADER: usize = 60;

/// An archive cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// It does not begin as an `ar` archive does.
    #[error("not a Debian package: it does not begin with `!<arch>`")]
    Magic,
    /// A member's header is malformed.
    #[error("not a Debian package: the archive member at byte {at} is malformed")]
    Header {
        /// Offset of the member in bytes.
        at: usize,
    },
    /// A member is longer than the rest of the archive.
    #[error("the package is cut off: the archive member at byte {at} goes on beyond its end")]
    Truncated {
        /// Offset of the member in bytes.
        at: usize,
    },
    /// It is of another version than 2.x, or lacks its parts.
    #[error("not a Debian package of format 2: `debian-binary` and `data.tar` must be in it")]
    Format,
}

/// `data.tar` of a package: its suffix (`.xz`, …, empty) and its bytes, still compressed.
pub(super) fn data_of(deb: &[u8]) -> Result<(&str, &[u8]), ArchiveError> {
    let mut rest = deb.strip_prefix(MAGIC).ok_or(ArchiveError::Magic)?;
    let mut first = true;
    while !rest.is_empty() {
        let at = deb.len() - rest.len();
        let (name, body, after) = member(rest, at)?;
        if first && (name != "debian-binary" || !body.starts_with(b"2.")) {
            return Err(ArchiveError::Format);
        }
        first = false;
        if let Some(suffix) = name.strip_prefix("data.tar") {
            return Ok((suffix, body));
        }
        rest = after;
    }
    Err(ArchiveError::Format)
}

/// Name, content and what follows.
fn member(bytes: &[u8], at: usize) -> Result<(&str, &[u8], &[u8]), ArchiveError> {
    let malformed = ArchiveError::Header { at };
    let (header, body) = bytes.split_at_checked(HEADER).ok_or(malformed.clone())?;
    let text = std::str::from_utf8(header).map_err(|_| malformed.clone())?;
    let (Some(name), Some(size), Some("`\n")) = (text.get(..16), text.get(48..58), text.get(58..))
    else {
        return Err(malformed);
    };
    let name = name.trim_end_matches(' ');
    let size: usize = size.trim_end_matches(' ').parse().map_err(|_| malformed)?;
    let (body, after) = body
        .split_at_checked(size)
        .ok_or(ArchiveError::Truncated { at })?;
    // Members begin at even offsets; the last one's padding may lack.
    let padding = usize::from(!size.is_multiple_of(2)).min(after.len());
    Ok((
        name.strip_suffix('/').unwrap_or(name),
        body,
        after.get(padding..).unwrap_or_default(),
    ))
}
