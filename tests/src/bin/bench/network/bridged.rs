//! Two machines on TAP devices, a bridge and nftables, in a network namespace of their own.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bartizan_tests::layout::{Layout, text};
use bartizan_tests::network::{CLIENT, WEB};
use bartizan_tests::process::Process;
use bartizan_tests::stack::Stack;
use serde_json::Value;

use super::terminal::Terminal;

/// How long QEMU may take until its socket is there.
const STARTS: Duration = Duration::from_secs(20);

/// As `servers_only` has it for guests of ours.
const RULES: &str = "
table inet bartizan {
    chain forward {
        type filter hook forward priority 0; policy drop;
        ct state invalid drop
        ct state established,related counter name passed accept
        ip saddr CLIENT ip daddr WEB tcp dport { 22, 53, 80, 5201 } ct state new accept
        ip saddr CLIENT ip daddr WEB udp dport { 53, 5201 } ct state new accept
    }
    counter passed { }
}
";

/// What a machine's kernel is told: a shell is its first process.
const COMMAND_LINE: &str = "root=/dev/vda rw console=ttyS0 quiet random.trust_cpu=on init=/bin/sh";

/// The two machines. All of it is gone when this is dropped.
pub(super) struct Bridged {
    /// The server's shell.
    pub(super) web: Terminal,
    /// Its client's.
    pub(super) client: Terminal,
    _machines: [Machine; 2],
    network: Namespace,
}

struct Machine(Child);

struct Namespace(String);

impl Bridged {
    /// Two machines like the one of that QEMU, but for their network.
    pub(super) fn beside(stack: &Stack, like: Process) -> Result<Self> {
        let network = Namespace::new()?;
        let like = Like::of(like)?;
        let start = |name: &str, number: u8, address: &str| -> Result<(Machine, Terminal)> {
            let machine = network.start(&stack.layout, &like, name, number)?;
            let socket = stack.layout.path(&format!("{name}.console"));
            let mut terminal = Terminal::wait(connect(&socket)?)?;
            terminal.must(&format!(
                "modprobe virtio_net; mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /tmp; \
                 ip link set lo up; nic=$(ls /sys/class/net | grep -v lo); \
                 ip address add {address}/24 dev $nic; ip link set $nic up"
            ))?;
            Ok((machine, terminal))
        };
        let (first, web) = start("bridged-web", 1, WEB)?;
        let (second, client) = start("bridged-client", 2, CLIENT)?;
        Ok(Self {
            web,
            client,
            _machines: [first, second],
            network,
        })
    }

    /// That nftables judged what was measured: it let pass, and lets pass nothing else.
    pub(super) fn check(&mut self) -> Result<()> {
        let listed = self.network.output(&["nft", "-j", "list", "counters"])?;
        let listed: Value = serde_json::from_slice(&listed)?;
        let mut counters = listed["nftables"].as_array().into_iter().flatten();
        let passed = counters.find_map(|one| one["counter"]["packets"].as_u64());
        ensure!(passed > Some(1000), "nftables saw {passed:?} packets");
        let denied = format!("! timeout 5 bash -c 'exec 3<>/dev/tcp/{WEB}/5202' 2>/dev/null");
        let begun = Instant::now();
        self.client.must(&denied)?;
        // A port that nobody has is refused at once, where it is let by.
        ensure!(
            begun.elapsed() > Duration::from_secs(4),
            "another port was let by"
        );
        Ok(())
    }
}

impl Namespace {
    fn new() -> Result<Self> {
        let network = Self(format!("bzb{}", std::process::id()));
        let name = &network.0;
        network.shell(&format!(
            "ip netns add {name}
            ip -n {name} link add bridge type bridge forward_delay 0 mcast_snooping 0
            for number in 1 2; do
                ip -n {name} tuntap add dev tap$number mode tap vnet_hdr
                ip -n {name} link set tap$number master bridge
                ip -n {name} link set tap$number up
            done
            ip -n {name} link set bridge up
            ip netns exec {name} sh -c 'echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables'
            ip netns exec {name} sh -c 'echo 1 > /proc/sys/net/bridge/bridge-nf-call-ip6tables'"
        ))?;
        let mut nft = network.command("nft");
        let mut nft = nft.args(["-f", "-"]).stdin(Stdio::piped()).spawn();
        let nft = nft
            .as_mut()
            .ok()
            .context("nft (Debian: nftables) cannot be started")?;
        let rules = RULES.replace("CLIENT", CLIENT).replace("WEB", WEB);
        let mut stdin = nft.stdin.take().context("its input")?;
        stdin.write_all(rules.as_bytes())?;
        drop(stdin);
        ensure!(nft.wait()?.success(), "nft refuses the rules");
        Ok(network)
    }

    fn command(&self, program: &str) -> Command {
        let mut ip = Command::new("ip");
        ip.args(["netns", "exec", &self.0, program]);
        ip
    }

    fn output(&self, words: &[&str]) -> Result<Vec<u8>> {
        let mut ip = Command::new("ip");
        let output = ip.args(["netns", "exec", &self.0]).args(words).output()?;
        ensure!(output.status.success(), "{words:?}: {output:?}");
        Ok(output.stdout)
    }

    fn shell(&self, words: &str) -> Result<()> {
        let output = Command::new("sh").args(["-ec", words]).output()?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            bail!("{}: {}", self.0, why.trim());
        }
        Ok(())
    }

    fn start(&self, layout: &Layout, like: &Like, name: &str, number: u8) -> Result<Machine> {
        let image = &layout.image;
        let disk = layout.path(&format!("{name}.img"));
        let copied = Command::new("cp")
            .args(["--sparse=always", "--reflink=auto"])
            .arg(image.join("disk.img"))
            .arg(&disk)
            .status()?;
        ensure!(copied.success(), "the machine's disk could not be copied");
        let console = layout.path(&format!("{name}.console"));
        // In the kernel, where that can be: what TAP devices are fast by.
        let vhost = if Path::new("/dev/vhost-net").exists() {
            "on"
        } else {
            "off"
        };
        let path = |file: &Path| text(file);
        let mut qemu = self.command("qemu-system-x86_64");
        qemu.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"])
            .args(&like.0)
            .args(["-kernel", &path(&image.join("vmlinuz"))?])
            .args(["-initrd", &path(&image.join("initrd.img"))?])
            .args(["-append", COMMAND_LINE])
            .arg("-drive")
            .arg(format!("file={},format=raw,if=none,id=disk", path(&disk)?))
            .args(["-device", "virtio-blk-pci,drive=disk"])
            .args(["-object", "rng-builtin,id=rng", "-device", "virtio-rng-pci,rng=rng"])
            .arg("-serial")
            .arg(format!("unix:{},server=on,wait=off", path(&console)?))
            .arg("-netdev")
            .arg(format!("tap,id=net,ifname=tap{number},script=no,downscript=no,vhost={vhost}"))
            .arg("-device")
            .arg(format!(
                "virtio-net-pci,netdev=net,mac=02:00:00:00:77:{number:02x},host_mtu=1500,rx_queue_size=1024,mq=off"
            ));
        let child = qemu.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        Ok(Machine(child.context("QEMU cannot be started")?))
    }
}

/// QEMU's options for a machine like another's: what it is, what runs it, its processors and its RAM.
struct Like(Vec<String>);

impl Like {
    fn of(qemu: Process) -> Result<Self> {
        const SAME: [&str; 5] = ["-machine", "-accel", "-cpu", "-smp", "-m"];
        let line = fs::read(format!("/proc/{}/cmdline", qemu.pid()))?;
        let words: Vec<_> = line
            .split(|byte| *byte == 0)
            .map(String::from_utf8_lossy)
            .collect();
        let mut options = Vec::new();
        for option in SAME {
            let at = words.iter().position(|word| word == option);
            let value = at.and_then(|at| words.get(at + 1));
            let value = value.with_context(|| format!("QEMU has no {option}"))?;
            options.extend([option.to_owned(), value.clone().into_owned()]);
            if option == "-m" {
                let bytes = value.trim_end_matches('B');
                options.extend([
                    "-object".into(),
                    format!("memory-backend-memfd,id=mem,size={bytes},share=on,merge=off,dump=off"),
                ]);
            }
        }
        Ok(Self(options))
    }
}

fn connect(socket: &Path) -> Result<UnixStream> {
    let begun = Instant::now();
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => return Ok(stream),
            Err(error) if begun.elapsed() > STARTS => {
                return Err(error).context("QEMU's console");
            }
            // Its QEMU makes the socket, and says nothing of that.
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // `ip netns exec` has become QEMU.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = self.shell(&format!("ip netns del {}", self.0)) {
            eprintln!("the namespace could not be removed: {error:#}");
        }
    }
}
