#!/bin/sh
# Runs on the host with the guest's root file system as $1, as the last step of its making.
set -eu
root=$1

# The transport of the attestation API.
echo vmw_vsock_virtio_transport > "$root/etc/modules-load.d/vsock.conf"

# The programs of this checkout come on a second, read-only disk, so that the image need not be made anew for them.
mkdir -p "$root/opt/bartizan"
cat > "$root/etc/systemd/system/opt-bartizan.mount" <<'UNIT'
[Unit]
Description=Bartizan's guest programs
DefaultDependencies=no
Before=local-fs.target

[Mount]
What=/dev/vdb
Where=/opt/bartizan
Type=ext4
Options=ro

[Install]
WantedBy=local-fs.target
UNIT

# What its launch record says of its address, too: any other is refused by its host. Its one interface keeps the kernel's name.
cat > "$root/usr/local/sbin/bartizan-network" <<'NETWORK'
#!/bin/sh
addresses=$(tr ' ' '\n' < /proc/cmdline | sed -n 's/^bartizan.ipv[46]=//p')
[ -n "$addresses" ] || exit 0
modprobe virtio_net
ip link set eth0 up
for address in $addresses; do
    # Nobody else has it: its host sees to that.
    ip address add "$address" dev eth0 $(case $address in *:*) echo nodad ;; esac)
done
NETWORK
chmod 755 "$root/usr/local/sbin/bartizan-network"
mkdir -p "$root/etc/systemd/network"
ln -sf /dev/null "$root/etc/systemd/network/99-default.link"
cat > "$root/etc/systemd/system/bartizan-network.service" <<'UNIT'
[Unit]
Description=Give this guest its address
Before=nginx.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/bartizan-network

[Install]
WantedBy=multi-user.target
UNIT

# Enrolment is the first use of the guest API in a boot: the launch secret is handed out once.
cat > "$root/etc/systemd/system/bartizan-enroll.service" <<'UNIT'
[Unit]
Description=Enrol this guest's key with its host
Requires=opt-bartizan.mount
After=opt-bartizan.mount systemd-modules-load.service
Before=nginx.service

[Service]
Type=oneshot
RemainAfterExit=yes
RuntimeDirectory=bartizan
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=yes
ExecStart=/opt/bartizan/bin/bartizan-guest enroll --state /run/bartizan

[Install]
WantedBy=multi-user.target
UNIT

# The key is certified for a day; this replaces it in time for as long as the guest runs.
cat > "$root/etc/systemd/system/bartizan-renew.service" <<'UNIT'
[Unit]
Description=Renew this guest's key at half of its certificate's life
Requires=bartizan-enroll.service
After=bartizan-enroll.service

[Service]
ExecStart=/opt/bartizan/bin/bartizan-guest renew --watch --state /run/bartizan
Restart=on-failure
RestartSec=60

[Install]
WantedBy=multi-user.target
UNIT

# The tests' and the demo's hand in the guest; absent from the disk of a guest that is not tested.
cat > "$root/etc/systemd/system/bartizan-test-agent.service" <<'UNIT'
[Unit]
Description=Runs what the tests ask for
ConditionPathExists=/opt/bartizan/bin/bartizan-test-agent
After=bartizan-enroll.service nginx.service
# It ends with its connection, which tests cut again and again.
StartLimitIntervalSec=0

[Service]
ExecStart=/opt/bartizan/bin/bartizan-test-agent
# What it has started in the background goes on.
KillMode=process
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
UNIT

# In place of systemd, where a test needs no more of a guest than this (`init=`).
cat > "$root/usr/local/sbin/bartizan-init" <<'INIT'
#!/bin/sh
export PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin
mount -o ro /dev/vdb /opt/bartizan
mkdir -m 700 /run/bartizan
modprobe vmw_vsock_virtio_transport
ip link set lo up
bartizan-network
grep -q bartizan.enroll=no /proc/cmdline || /opt/bartizan/bin/bartizan-guest enroll --state /run/bartizan
nginx
# Whoever starts it returns before it has said who it is.
for _ in $(seq 300); do
    [ -s /run/nginx.pid ] && break
    sleep 0.1
done
while :; do
    /opt/bartizan/bin/bartizan-test-agent
    sleep 1
done
INIT
chmod 755 "$root/usr/local/sbin/bartizan-init"

chroot "$root" systemctl enable --quiet opt-bartizan.mount bartizan-network.service bartizan-enroll.service bartizan-renew.service \
    bartizan-test-agent.service
# What tests have it serve besides pages they start themselves.
chroot "$root" systemctl mask --quiet ssh.service iperf3.service
chroot "$root" systemctl disable --quiet apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer || true
# Nobody sits at its terminals; at its console it says by its prompt that it lives.
chroot "$root" systemctl mask --quiet getty-static.service getty@tty1.service e2scrub_reap.service \
    systemd-update-utmp.service systemd-update-utmp-runlevel.service
# nginx-light pulls in one dynamic module; without it the server is the package's own code and its libraries.
rm -f "$root"/etc/nginx/modules-enabled/*
# One worker: what is attested is one process, its master.
sed -i 's/^worker_processes .*/worker_processes 1;/' "$root/etc/nginx/nginx.conf"
echo guest > "$root/etc/hostname"

# An emulated processor needs half a minute to boot all that a machine may have: this guest has what it uses. Checksums are the kernel's own code
# from the first on: by the processor's instructions, emulated, a boot once took a directory of its disk for damaged that the next found whole.
echo MODULES=list > "$root/etc/initramfs-tools/conf.d/used.conf"
printf '%s\n' virtio_pci virtio_blk ext4 >> "$root/etc/initramfs-tools/modules"
for unused in kvm_amd kvm_intel powernow_k8 acpi_cpufreq aesni_intel ghash_clmulni_intel crct10dif_pclmul \
    crc32_pclmul crc32c_intel sha512_ssse3 sha256_ssse3 sha1_ssse3; do
    echo "blacklist $unused"
done > "$root/etc/modprobe.d/unused.conf"
chroot "$root" update-initramfs -u
# Else each first boot, and all are, has systemd enable its units anew. Any other would do.
echo 42617274697a616e42617274697a616e > "$root/etc/machine-id"
: > "$root/etc/fstab"
