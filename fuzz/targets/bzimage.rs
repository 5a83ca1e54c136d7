//! Boot images: the header, and the compressed kernel behind it.
#![no_main]

use bartizan_introspection::{bzimage, payload};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // As an image, and as the payload of one.
    let found = bzimage::payload(data);
    if let Ok(found) = found {
        assert!(data.as_ptr_range().contains(&found.as_ptr()) || found.is_empty());
    }
    if let Ok(kernel) = payload::decompress(found.unwrap_or(data)) {
        assert!(kernel.len() <= payload::LIMIT);
    }
});
