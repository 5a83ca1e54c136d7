//! Debian packages (deb(5)): the `ar` archive around their parts.

/// A package around a `data.tar` with that suffix.
#[must_use]
pub fn deb(suffix: &str, data: &[u8]) -> Vec<u8> {
    let members = [
        member("debian-binary", b"2.0\n"),
        member("control.tar", b""),
        member(&format!("data.tar{suffix}"), data),
    ];
    [b"!<arch>\n".to_vec(), members.concat()].concat()
}

/// A member's header (ar(5)): name, time, owner, group, mode, size; then its contents, padded to even length.
fn member(name: &str, body: &[u8]) -> Vec<u8> {
    let size = body.len();
    let head = format!(
        "{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n",
        0, 0, 0, 100_644
    );
    let mut bytes = [head.as_bytes(), body].concat();
    bytes.resize(bytes.len().next_multiple_of(2), b'\n');
    bytes
}
