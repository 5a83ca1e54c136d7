//! What is granted.

use std::path::{Path, PathBuf};

/// What may be done with a file, or with everything beneath a folder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rights {
    /// Reading files, listing folders.
    Read,
    /// That, and executing.
    Execute,
    /// Reading and writing what is there, devices by ioctl too; nothing is made, removed or truncated.
    Write,
    /// Files come and go: reading, writing, making, replacing, removing them.
    Replace,
    /// That, and sockets come and go as well.
    Serve,
    /// That, and folders and symbolic links come and go as well.
    Manage,
}

/// A path and what is granted there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Grant {
    pub(super) path: PathBuf,
    pub(super) rights: Rights,
    /// Whether it is no error that the path is not there.
    pub(super) optional: bool,
}

/// Landlock rules. Without any, nothing is granted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rules {
    pub(super) paths: Vec<Grant>,
    pub(super) listen: Vec<u16>,
    pub(super) connect: Vec<u16>,
    /// Whether processes outside of the domain may be signalled.
    pub(super) signals: bool,
}

impl Rules {
    /// Grants nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Grants rights at a path, which must be there.
    #[must_use]
    pub fn grant(mut self, path: impl AsRef<Path>, rights: Rights) -> Self {
        self.push(path.as_ref(), rights, false);
        self
    }

    /// Grants rights at those of these paths that are there.
    #[must_use]
    pub fn grant_any<P: AsRef<Path>>(
        mut self,
        paths: impl IntoIterator<Item = P>,
        rights: Rights,
    ) -> Self {
        for path in paths {
            self.push(path.as_ref(), rights, true);
        }
        self
    }

    /// Lets TCP ports be listened at; 0 is any that the kernel chooses.
    #[must_use]
    pub fn listen(mut self, ports: impl IntoIterator<Item = u16>) -> Self {
        self.listen.extend(ports);
        self
    }

    /// Lets a TCP port be connected to, of whatever host.
    #[must_use]
    pub fn connect(mut self, port: u16) -> Self {
        self.connect.push(port);
        self
    }

    /// Lets processes outside of the domain be signalled, as far as user and capabilities allow it.
    #[must_use]
    pub const fn signal_strangers(mut self) -> Self {
        self.signals = true;
        self
    }

    fn push(&mut self, path: &Path, rights: Rights, optional: bool) {
        // The folder of a bare file name is the present one.
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        self.paths.push(Grant {
            path: path.to_owned(),
            rights,
            optional,
        });
    }
}
