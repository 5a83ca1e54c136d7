//! `/init` of a machine in the enclave's place, as whoever has the release key could sign it: it serves nothing, and does what its
//! configuration says. What it finds and does it tells at its console, of which the keeper logs some.
//!
//! | configuration | what it does |
//! |---|---|
//! | `burn` | burns every processor, begins processes without end, each of which takes memory without end |
//! | `silent` | opens its links to the card and to the hypervisor, and says nothing over either |

#![forbid(unsafe_code)]

use std::fs;
use std::hint::{black_box, spin_loop};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};
use bartizan_enclave::machine::{self, Ports};
use rustix::process::{WaitOptions, wait};

/// What a process that is one of many is started with.
const ONE_OF_MANY: &str = "one-of-many";
/// How much each takes at once, in bytes.
const PIECE: usize = 1 << 20;
/// From so many processes on it is told that there are many.
const MANY: u32 = 10;

fn main() {
    if std::env::args().nth(1).as_deref() == Some(ONE_OF_MANY) {
        take_all();
    }
    if let Err(error) = live() {
        eprintln!("rogue: {error:#}");
    }
    machine::end()
}

fn live() -> Result<()> {
    machine::set_up()?;
    let listed = |folder: &str| -> Result<String> {
        let entries = fs::read_dir(folder).with_context(|| folder.to_owned())?;
        let names = entries.flatten().map(|entry| entry.file_name());
        let names: Vec<_> = names.map(|name| name.display().to_string()).collect();
        Ok(names.join(" "))
    };
    let (interfaces, disks) = (listed("/sys/class/net")?, listed("/sys/block")?);
    eprintln!("rogue: interfaces [{interfaces}], disks [{disks}]");
    let told = machine::configuration()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut ports = Ports::open().await?;
        // Its keeper is content with that.
        let _card = ports.card.open().await?;
        match told.trim() {
            "burn" => burn(),
            "silent" => {
                let _hypervisor = ports.hypervisor.open().await?;
                eprintln!("rogue: says nothing");
                std::future::pending().await
            }
            other => bail!("nothing is called {other}"),
        }
    })
}

fn burn() -> ! {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    eprintln!("rogue: burns {processors} processors");
    for _ in 0..processors {
        thread::spawn(|| {
            loop {
                spin_loop();
            }
        });
    }
    let (mut begun, mut killed) = (0_u32, 0_u32);
    loop {
        if another().is_ok() {
            begun = begun.saturating_add(1);
            if begun == MANY {
                eprintln!("rogue: began {begun} processes, each of which begins others");
            }
        }
        while let Ok(Some((_, how))) = wait(WaitOptions::NOHANG) {
            if how.signaled() {
                killed = killed.saturating_add(1);
                if killed == 1 {
                    eprintln!("rogue: a process was killed, there is no memory left");
                }
            }
        }
    }
}

/// Takes memory, and begins others that do.
fn take_all() -> ! {
    let mut taken = Vec::new();
    loop {
        taken.push(black_box(vec![1_u8; PIECE]));
        // Where there is none to be had, it goes on alone.
        let _ = another();
    }
}

fn another() -> std::io::Result<()> {
    let mut one = Command::new("/proc/self/exe");
    one.arg(ONE_OF_MANY).stdin(Stdio::null());
    // Whoever ends is the first process's to take leave of.
    one.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    Ok(())
}
