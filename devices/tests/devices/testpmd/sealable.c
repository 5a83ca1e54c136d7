/*
 * Preloaded into dpdk-testpmd, which is as Debian has it: its memory is a memfd that cannot be sealed, and the daemon maps no RAM that
 * could shrink under it. QEMU's is sealed (seal=on); this has testpmd's sealed likewise, which may still grow to its size.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

int memfd_create(const char *name, unsigned int flags)
{
	int memory = syscall(SYS_memfd_create, name, flags | MFD_ALLOW_SEALING);

	if (memory >= 0 && fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK) < 0) {
		close(memory);
		return -1;
	}
	return memory;
}
