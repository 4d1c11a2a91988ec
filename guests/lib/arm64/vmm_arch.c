// SPDX-License-Identifier: Apache-2.0
//
// Manager side: what a vCPU's registers hold at its start.

#include <string.h>
#include <tidemark/vmm.h>

/* PSTATE: EL1h, DAIF masked. */
#define BOOT_PSTATE 0x3c5u

void vmm_boot_regs(struct tm_regs *regs, uint64_t entry, uint64_t arg, bool powered_on)
{
	memset(regs, 0, sizeof(*regs));
	regs->pc = entry;
	regs->x[0] = arg;
	regs->pstate = BOOT_PSTATE;
	regs->powered_on = powered_on ? 1 : 0;
}
