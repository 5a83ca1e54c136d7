//! Debian packages. The first byte says whether the rest is a package, or a `data.tar` within one, and how that is
//! compressed.
#![no_main]

use bartizan_cli::profile::Packages;
use bartizan_fuzz::package;
use libfuzzer_sys::fuzz_target;

const PATHS: [&str; 5] = [
    "/bin/true",
    "/bin/yes",
    "/usr/lib/a/x",
    "/lib/../lib64/libx.so.1",
    "/",
];

fuzz_target!(|data: &[u8]| {
    let Some((&selector, rest)) = data.split_first() else {
        return;
    };
    let mut packages = Packages::default();
    // What was taken in before the fault stays; it must be of use all the same.
    let _ = match selector % 5 {
        0 => packages.add_deb(rest),
        1 => packages.add_deb(&package::deb("", rest)),
        2 => packages.add_deb(&package::deb(".gz", rest)),
        3 => packages.add_deb(&package::deb(".xz", rest)),
        _ => packages.add_deb(&package::deb(".zst", rest)),
    };
    let own = str::from_utf8(rest.get(..64).unwrap_or(rest)).unwrap_or("/usr");
    for path in PATHS.into_iter().chain([own]) {
        if let Ok(resolved) = packages.resolve(path) {
            assert!(resolved.starts_with('/') && !resolved.split('/').any(|part| part == ".."));
            assert_eq!(packages.resolve(&resolved).ok().as_ref(), Some(&resolved));
            let bytes = packages.bytes(&resolved).expect("what resolves is there");
            assert!(bytes.starts_with(b"\x7fELF"));
        }
    }
});
