//! What the demo and the tests need on the machine, and installing it.

use anyhow::{Result, bail};

use crate::{progress::step, sh, users};

/// A program, or a file by its absolute path, and the Debian package that brings it.
struct Component {
    program: &'static str,
    package: &'static str,
}

const COMPONENTS: &[Component] = &[
    Component {
        program: "qemu-system-x86_64",
        package: "qemu-system-x86",
    },
    Component {
        program: "mmdebstrap",
        package: "mmdebstrap",
    },
    Component {
        program: "mke2fs",
        package: "e2fsprogs",
    },
    Component {
        program: "nft",
        package: "nftables",
    },
    Component {
        program: "dpkg-deb",
        package: "dpkg",
    },
    Component {
        program: "cc",
        package: "build-essential",
    },
    Component {
        program: "c++",
        package: "build-essential",
    },
    Component {
        program: "setpriv",
        package: "util-linux",
    },
    Component {
        program: "unshare",
        package: "util-linux",
    },
    Component {
        program: "script",
        package: "bsdutils",
    },
    Component {
        program: "openssl",
        package: "openssl",
    },
    Component {
        program: "tcpdump",
        package: "tcpdump",
    },
    Component {
        program: "sqlite3",
        package: "sqlite3",
    },
    Component {
        program: "pkg-config",
        package: "pkg-config",
    },
    Component {
        program: "/usr/include/tss2/tss2_esys.h",
        package: "libtss2-dev",
    },
    Component {
        program: "swtpm",
        package: "swtpm",
    },
    Component {
        program: "swtpm_setup",
        package: "swtpm-tools",
    },
    Component {
        program: "tpm2_checkquote",
        package: "tpm2-tools",
    },
    Component {
        program: "softhsm2-util",
        package: "softhsm2",
    },
    Component {
        program: "/usr/lib/softhsm/libsofthsm2.so",
        package: "softhsm2",
    },
    Component {
        program: "p11-kit",
        package: "p11-kit",
    },
    Component {
        program: "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so",
        package: "p11-kit-modules",
    },
    Component {
        program: "pkcs11-tool",
        package: "opensc",
    },
    Component {
        program: "ip",
        package: "iproute2",
    },
    Component {
        program: "ping",
        package: "iputils-ping",
    },
    Component {
        program: "dpdk-testpmd",
        package: "dpdk-dev",
    },
];

/// What the enclave's own kernel is built with, beside these; nothing else needs it.
const OF_ENCLAVE_KERNEL: &[Component] = &[
    Component {
        program: "/usr/src/linux-source-6.1.tar.xz",
        package: "linux-source-6.1",
    },
    Component {
        program: "gcc",
        package: "build-essential",
    },
    Component {
        program: "make",
        package: "build-essential",
    },
    Component {
        program: "flex",
        package: "flex",
    },
    Component {
        program: "bison",
        package: "bison",
    },
    Component {
        program: "m4",
        package: "m4",
    },
    Component {
        program: "bc",
        package: "bc",
    },
    Component {
        program: "xz",
        package: "xz-utils",
    },
    Component {
        program: "/usr/include/gelf.h",
        package: "libelf-dev",
    },
];

/// The version of cargo-deny that `deny.toml` is written for.
const CARGO_DENY: &str = "0.20";

/// Installs everything; without root it says which one line to run.
pub(crate) fn setup() -> Result<()> {
    step("components", || packages(COMPONENTS))?;
    step("system users", users::ensure)
}

/// Installs what the enclave's own kernel is built with; without root it says which one line to run.
pub(crate) fn setup_enclave_kernel() -> Result<()> {
    step("components of the enclave's kernel", || {
        packages(OF_ENCLAVE_KERNEL)
    })
}

/// Makes sure that cargo-deny is there.
pub(crate) fn ensure_cargo_deny() -> Result<std::path::PathBuf> {
    let tools = sh::root().join("target/tools");
    let program = tools.join("bin/cargo-deny");
    if program.is_file() {
        return Ok(program);
    }
    if let Ok(version) = sh::output(sh::cargo().args(["deny", "--version"]))
        && version.contains(&format!(" {CARGO_DENY}."))
    {
        return Ok("cargo-deny".into());
    }
    step("cargo-deny (once)", || {
        sh::quiet(
            sh::cargo()
                .args(["install", "cargo-deny", "--locked", "--debug", "--version"])
                .arg(format!("~{CARGO_DENY}"))
                .arg("--root")
                .arg(&tools)
                // Nobody looks into it by a debugger.
                .env("CARGO_PROFILE_DEV_DEBUG", "false"),
        )
    })?;
    Ok(program)
}

/// Whether we are root.
pub(crate) fn is_root() -> Result<bool> {
    Ok(sh::output(sh::command("id").arg("-u"))?.trim() == "0")
}

/// Refuses to go on as another user than root.
pub(crate) fn demand_root(command: &str) -> Result<()> {
    if !is_root()? {
        bail!(
            "each process of the stack is started as its own user, which takes root; run:\n  sudo --preserve-env=PATH,HOME cargo xtask {command}"
        );
    }
    Ok(())
}

fn packages(components: &[Component]) -> Result<()> {
    let mut missing: Vec<_> = components
        .iter()
        .filter(|it| !sh::has(it.program))
        .map(|it| it.package)
        .collect();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    if !is_root()? {
        bail!(
            "missing components; run this line once:\n  sudo apt-get update && sudo apt-get install --yes --no-install-recommends {}",
            missing.join(" ")
        );
    }
    sh::quiet(sh::command("apt-get").args(["update", "--quiet"]))?;
    sh::quiet(
        sh::command("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["install", "--yes", "--no-install-recommends"])
            .args(&missing),
    )?;
    Ok(())
}
