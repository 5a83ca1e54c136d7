//! Services of the host.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;

/// Serves `path`, each connection by `work` in a thread of its own.
pub(crate) fn serve(path: PathBuf, work: fn(UnixStream)) -> PathBuf {
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            thread::spawn(move || work(stream));
        }
    });
    path
}

/// Sends back what comes until the end comes, then ends.
pub(crate) fn echo(directory: &Path) -> PathBuf {
    serve(directory.join("echo.sock"), |mut stream| {
        let mut buffer = vec![0; 32 << 10];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            if stream.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
    })
}

/// Reads to the end first, and only then answers with the number of bytes.
pub(crate) fn count(directory: &Path) -> PathBuf {
    serve(directory.join("count.sock"), |mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        let _ = stream.write_all(all.len().to_string().as_bytes());
    })
}

/// Never reads, until the end of the test.
pub(crate) fn deaf(directory: &Path) -> PathBuf {
    serve(directory.join("deaf.sock"), |stream| {
        std::mem::forget(stream)
    })
}
