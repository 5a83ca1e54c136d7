//! Links the libraries that speak to a TPM by name. libtss2-tctildr would load them when it connects: a confined vault
//! that connects anew cannot load code any more, but finds what is loaded already.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-arg=-Wl,--no-as-needed");
    println!("cargo:rustc-link-arg=-ltss2-tcti-device");
    println!("cargo:rustc-link-arg=-ltss2-tcti-swtpm");
    println!("cargo:rustc-link-arg=-Wl,--as-needed");
}
