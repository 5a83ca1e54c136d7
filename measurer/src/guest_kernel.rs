//! The guest's kernel: its profile, and where it runs in this guest's RAM.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_attestation::digest::hash;
use bartizan_attestation::measurement::{Digest, HashAlgorithm, Refusal};
use bartizan_guest_memory::walk::Root;
use bartizan_guest_memory::{Gpa, GuestRam, Gva};
use bartizan_introspection::process::{KernelView, LayoutError, ProcessLayout};
use bartizan_introspection::{Kernel, KernelPlace, KernelProfile, ProfileError};

/// Largest bzImage in bytes.
const MAX_IMAGE: u64 = 128 << 20;
/// Shortest time between two searches for a kernel that has not been found yet.
const SEARCH_EVERY: Duration = Duration::from_millis(50);
/// How much longer than a search took the next one is put off: searching takes 2 % of a core at most.
const SEARCH_SHARE: u32 = 50;

/// What is known of the guest's kernel.
pub(crate) enum GuestKernel {
    /// Nothing: processes cannot be measured, and why.
    Unknown(UnknownKernel),
    /// Its profile, and where it runs once it does.
    Known(Box<KnownKernel>),
}

/// Why the kernel is unknown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnknownKernel {
    /// The supervisor passed no image.
    #[error("the launch record names no kernel image; name one (`introspected_kernel`)")]
    NoImage,
    /// The image cannot be read.
    #[error("the kernel image cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// The image is no kernel that is understood.
    #[error("{0}")]
    Profile(#[from] ProfileError),
    /// Its types are not those of a kernel that is understood.
    #[error("{0}")]
    Layout(#[from] LayoutError),
}

/// The profile of a kernel, and where it was found.
pub(crate) struct KnownKernel {
    profile: Arc<KernelProfile>,
    layout: ProcessLayout,
    image: Digest,
    /// Found before user space runs, so that user space cannot delay or confuse the search with counterfeits.
    place: KernelPlace,
    search_at: Instant,
}

/// A kernel that runs in this guest's RAM now.
pub(crate) struct RunningKernel<'a> {
    pub(crate) kernel: Kernel,
    pub(crate) layout: &'a ProcessLayout,
    /// SHA-256 of the bzImage.
    pub(crate) image: &'a Digest,
    ram: &'a GuestRam,
}

/// Reads the image whole; parsing it is left to the sandbox.
pub(crate) fn read_image(file: &File) -> io::Result<Vec<u8>> {
    let size = file.metadata()?.len();
    if size > MAX_IMAGE {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    let mut image = vec![0; usize::try_from(size).map_err(io::Error::other)?];
    // Not from the descriptor's position, which it shares with whoever else holds it.
    file.read_exact_at(&mut image, 0)?;
    Ok(image)
}

impl GuestKernel {
    /// Builds the profile: about a second of work. `text` is where the kernel was found before.
    pub(crate) fn from_image(image: Option<io::Result<Vec<u8>>>, text: Option<Gpa>) -> Self {
        match known(image, text) {
            Ok(known) => Self::Known(Box::new(known)),
            Err(why) => Self::Unknown(why),
        }
    }

    /// Where the kernel's image starts, once it was found.
    pub(crate) fn found(&self) -> Option<Gpa> {
        match self {
            Self::Unknown(_) => None,
            Self::Known(known) => known.place.text(),
        }
    }

    /// Looks for the kernel if it is time to; answers when to come back.
    pub(crate) fn search(&mut self, ram: &GuestRam) -> Option<Instant> {
        let Self::Known(known) = self else {
            return None;
        };
        if known.place.text().is_some() {
            return None;
        }
        let began = Instant::now();
        if began >= known.search_at && known.locate(ram).is_err() {
            let took = began.elapsed();
            known.search_at = Instant::now() + (took * SEARCH_SHARE).max(SEARCH_EVERY);
        }
        match known.place.text() {
            Some(_) => None,
            None => Some(known.search_at),
        }
    }

    /// The kernel as it runs now.
    pub(crate) fn running<'a>(
        &'a mut self,
        ram: &'a GuestRam,
    ) -> Result<RunningKernel<'a>, Refusal> {
        match self {
            Self::Unknown(why) => Err(Refusal::KernelNotUnderstood(why.to_string())),
            Self::Known(known) => {
                let kernel = known.locate(ram)?;
                Ok(RunningKernel {
                    kernel,
                    layout: &known.layout,
                    image: &known.image,
                    ram,
                })
            }
        }
    }
}

fn known(
    image: Option<io::Result<Vec<u8>>>,
    text: Option<Gpa>,
) -> Result<KnownKernel, UnknownKernel> {
    let image = image.ok_or(UnknownKernel::NoImage)??;
    let profile = KernelProfile::from_bzimage(&image)?;
    Ok(KnownKernel {
        layout: ProcessLayout::from_profile(&profile)?,
        profile: Arc::new(profile),
        image: hash(HashAlgorithm::Sha256, &image),
        place: KernelPlace::new(text),
        search_at: Instant::now(),
    })
}

impl KnownKernel {
    fn locate(&mut self, ram: &GuestRam) -> Result<Kernel, Refusal> {
        let found = self.place.locate(&self.profile, ram);
        found.map_err(|error| Refusal::KernelNotUnderstood(error.to_string()))
    }
}

impl KernelView for RunningKernel<'_> {
    fn read(&self, at: Gva, into: &mut [u8]) -> Option<()> {
        self.kernel.read_virtual(self.ram, at, into).ok()
    }

    fn symbol(&self, name: &str) -> Option<Gva> {
        self.kernel.symbol(name)
    }

    fn user_root(&self, pgd: Gva) -> Option<Root> {
        self.kernel.user_root(self.ram, pgd).ok()
    }
}
