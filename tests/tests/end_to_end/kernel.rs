//! The guest's kernel: its profile, built from the bzImage alone, against what the running one says of itself; and that
//! root in the guest does not become it.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bartizan_introspection::KernelProfile;

use crate::Case;
use crate::world::World;

pub(crate) const CASES: &[Case] = &[
    (
        "kernel::profile_from_the_image_equals_the_guests_kallsyms",
        kallsyms,
    ),
    (
        "kernel::root_loads_no_module_and_no_kernel",
        root_is_not_the_kernel,
    ),
];

/// What profiles rest on: a kernel that was measured, and that root cannot extend, exchange or write to.
fn root_is_not_the_kernel(world: &mut World) -> Result<()> {
    let (_, web) = world.web()?;
    let lockdown = web.agent.must("cat /sys/kernel/security/lockdown")?;
    ensure!(lockdown.contains("[integrity]"), "{lockdown}");
    // The module that the guest runs on, less its signature.
    let module = web.agent.run(
        "module=$(modinfo -n vmw_vsock_virtio_transport) && head -c -1000 $module > /tmp/unsigned.ko \
         && insmod /tmp/unsigned.ko",
    )?;
    ensure!(module.code == Some(1), "{module:?}");
    ensure!(
        module.stderr.contains("Key was rejected") || module.stderr.contains("not permitted"),
        "{module:?}"
    );
    // kexec_load(2) of nothing at all: without lockdown it unloads what there is to be started.
    let kexec = web
        .agent
        .run("perl -e 'syscall(246, 0, 0, 0, 0) == -1 or exit 0; print STDERR \"$!\"; exit 1'")?;
    ensure!(kexec.code == Some(1), "{kexec:?}");
    ensure!(kexec.stderr.contains("not permitted"), "{kexec:?}");
    Ok(())
}

/// Every symbol's name, kind and address, less the one slide that KASLR added to all of the kernel's text and data.
fn kallsyms(world: &mut World) -> Result<()> {
    let (stack, web) = world.web()?;
    let image = std::fs::read(stack.layout.image.join("vmlinuz"))?;
    let profile = Arc::new(KernelProfile::from_bzimage(&image)?);
    // Lines with a fourth field are of modules and BPF programs, which the image cannot know.
    let running = web.agent.must("awk 'NF == 3' /proc/kallsyms")?;
    let running = running.lines().map(parse).collect::<Result<Vec<_>>>()?;
    ensure!(
        running.len() > 50_000,
        "only {} symbols; is kptr_restrict set?",
        running.len()
    );
    let banner = web.agent.must("cat /proc/version")?;
    ensure!(
        profile.banner().contains(banner.trim()),
        "{} is not {banner}",
        profile.banner()
    );

    let text = profile.symbol("_text").context("the image has no _text")?;
    let running_text = running
        .iter()
        .find(|symbol| symbol.2 == "_text")
        .context("no _text")?
        .0;
    let slide = running_text.wrapping_sub(text);
    let image: Vec<_> = profile.symbols().iter().collect();
    ensure!(
        image.len() == running.len(),
        "{} symbols against {}",
        image.len(),
        running.len()
    );
    for (expected, (address, kind, name)) in image.iter().zip(&running) {
        // Per-CPU symbols are offsets, which KASLR leaves alone.
        let slid = expected.address.wrapping_add(slide);
        let same = expected.name == *name && expected.kind == *kind;
        ensure!(
            same && (slid == *address || expected.address == *address),
            "{name} differs"
        );
    }
    Ok(())
}

fn parse(line: &str) -> Result<(u64, u8, String)> {
    let mut fields = line.split_ascii_whitespace();
    let (Some(address), Some(kind), Some(name)) = (fields.next(), fields.next(), fields.next())
    else {
        anyhow::bail!("/proc/kallsyms has a line `{line}`");
    };
    let kind = *kind.as_bytes().first().context("a kind")?;
    Ok((u64::from_str_radix(address, 16)?, kind, name.to_owned()))
}
