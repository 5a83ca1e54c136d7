//! What of a text an error shows: who writes policies may write one word of some megabytes.

/// Most characters of it.
const MOST: usize = 128;

/// Its beginning.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(MOST).collect();
    if shown.len() < text.len() {
        shown.push('\u{2026}');
    }
    shown
}
