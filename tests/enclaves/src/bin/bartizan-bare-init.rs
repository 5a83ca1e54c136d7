//! `/init` that says that it is there, and nothing else: what a kernel takes until its first process runs.

#![forbid(unsafe_code)]

fn main() {
    eprintln!("the first process is there");
    // It must never end.
    loop {
        std::thread::park();
    }
}
