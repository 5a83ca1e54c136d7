//! Measurement requests: the input as a whole message, and as a payload that a guest signed.
#![no_main]

use bartizan_attestation::measurement::{MeasurementRequest, PAGE_SIZE, Target};
use bartizan_fuzz::scene::signed_request;
use bartizan_measurer::parse_request;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(request) = parse_request(data) {
        is_right(&request);
    }
    let decoded = MeasurementRequest::decode(data).ok();
    if let Some(request) = &decoded {
        assert_eq!(request.encode(), data, "two encodings of one request");
        is_right(request);
    }
    assert_eq!(parse_request(&signed_request(data)).ok(), decoded);
});

fn is_right(request: &MeasurementRequest) {
    request.check().expect("it was checked");
    let regions = request.target.regions();
    assert!(regions.len() <= MeasurementRequest::MAX_REGIONS);
    assert!(request.target.size() <= Target::MAX_BYTES);
    let mut pages = 0;
    for (index, region) in regions.iter().enumerate() {
        let end = region.end().expect("no region wraps");
        assert!(region.address.is_multiple_of(PAGE_SIZE) && end > region.address);
        assert_eq!(region.pages() * PAGE_SIZE, region.size);
        pages += region.pages();
        for other in &regions[..index] {
            let other_end = other.end().expect("no region wraps");
            assert!(
                end <= other.address || other_end <= region.address,
                "regions overlap"
            );
        }
    }
    assert_eq!(pages, request.target.pages());
}
