#!/bin/bash
# Makes ovmf.log and ovmf.pcrs: what OVMF measures into a swtpm on its way to a Linux kernel, and what the PCRs hold then.
# Usage: make.sh FOLDER WORK, where WORK is empty. Needs Debian's qemu-system-x86, swtpm, swtpm-tools, and the packages
# ovmf, busybox-static and linux-image-6.1 unpacked (dpkg -x) in FOLDER.
set -euo pipefail
packages=$(realpath "$1") work=$(realpath "$2") here=$(dirname "$(realpath "$0")")
cd "$work"

mkdir -p root/bin tpm
cp "$packages"/bin/busybox root/bin/
cat >root/init <<'INIT'
#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys
/bin/busybox mount -t proc none /proc
/bin/busybox mount -t sysfs none /sys
/bin/busybox mount -t securityfs none /sys/kernel/security
echo BEGIN-LOG
/bin/busybox base64 /sys/kernel/security/tpm0/binary_bios_measurements
echo END-LOG
for bank in sha256 sha384; do
    for pcr in 0 1 2 3 4 5 6 7 8 9; do
        echo "PCR $bank $pcr $(/bin/busybox cat /sys/class/tpm/tpm0/pcr-$bank/$pcr)"
    done
done
/bin/busybox poweroff -f
INIT
chmod +x root/init
(cd root && find . | "$packages"/bin/busybox cpio -o -H newc 2>/dev/null) >initrd

swtpm_setup --tpm2 --pcr-banks sha256,sha384 --tpmstate "$work"/tpm >/dev/null
swtpm socket --tpm2 --tpmstate dir="$work"/tpm --ctrl type=unixio,path="$work"/tpm.sock --daemon
cp "$packages"/usr/share/OVMF/OVMF_VARS_4M.fd vars.fd
timeout 300 qemu-system-x86_64 -machine q35,accel=tcg -m 512 -nodefaults -display none -no-reboot -serial file:console \
    -drive if=pflash,format=raw,readonly=on,file="$packages"/usr/share/OVMF/OVMF_CODE_4M.fd \
    -drive if=pflash,format=raw,file=vars.fd \
    -chardev socket,id=tpm,path=tpm.sock -tpmdev emulator,id=tpm,chardev=tpm -device tpm-tis,tpmdev=tpm \
    -kernel "$packages"/boot/vmlinuz-* -initrd initrd -append "console=ttyS0 quiet"

tr -d '\r' <console >lines
sed -n '/^BEGIN-LOG$/,/^END-LOG$/p' lines | grep -v -e BEGIN-LOG -e END-LOG | base64 -d >"$here"/ovmf.log
sed -n 's/^PCR //p' lines | tr A-F a-f >"$here"/ovmf.pcrs
