// SPDX-License-Identifier: Apache-2.0
//
// arm64: the order of its attacks, and faults without end.

#include <tidemark/arm64.h>
#include <tidemark/irq.h>
#include "attacks.h"

void arch_prepare(void)
{
}

void arch_attack_first(struct hostile *h)
{
	attack_timers(h);	/* before SGIs are left active, which would keep it asleep */
}

void arch_attack_middle(struct hostile *h)
{
	attack_instructions(h);
	attack_sgis(h);
}

void arch_attack_last(struct hostile *h)
{
	attack_sysregs(h);
	attack_devices(h);
}

/* No translation works from here on: each fault's handler faults. */
_Noreturn void arch_spin_in_faults(void)
{
	tm_sysreg_write(ttbr0_el1, 0x0b000000u);
	tm_isb();
	__asm__ volatile("tlbi vmalle1\n dsb sy\n isb");
	for (;;) {
		*(volatile uint64_t *)16 = 1;
	}
}

void arch_end(struct hostile *h, const char *how)
{
	(void)h, (void)how;
}
