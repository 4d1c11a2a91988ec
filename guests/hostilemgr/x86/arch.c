// SPDX-License-Identifier: Apache-2.0
//
// What hostilemgr does with registers and timers of x86.

#include <string.h>
#include <tidemark/call.h>
#include <tidemark/irq.h>
#include "../attack.h"

/* MSRs with state, and their neighbours without. */
void arch_edge_regs(struct attack *a, struct tm_regs *r)
{
	static const uint32_t base[] = {0x10, 0x1b, 0x174, 0x250, 0x268, 0x277, 0x2ff, 0x40000000u,
					0xc0000080u, 0xc0000100u, 0xc0010110u, 0xffffffffu};

	r->n = 1 + (uint32_t)tm_prng_below(&a->rng, TM_REGS_MSR_MAX);
	for (uint32_t i = 0; i < r->n; i++) {
		r->msr[i].msr = base[tm_prng_below(&a->rng, sizeof(base) / sizeof(base[0]))] +
				(uint32_t)tm_prng_below(&a->rng, 8);
		r->msr[i].val = edge_value(&a->rng);
	}
}

void arch_edge_timer(struct attack *a, struct tm_timer_state *s)
{
	s->tsc = edge_value(&a->rng);
	s->tsc_deadline = edge_value(&a->rng);
}

/* What guests/hostile runs as long as it may be asked says in R13 and R12 where it goes on. Else: MOV
 * between a register and memory or a segment register, which its probes are made of. */
#define SKIP_MAGIC 0x70696b7365736163ull
#define R12 12
#define R13 13

void arch_skip(struct vmm_vm *vm, struct tm_regs *regs)
{
	uint8_t code[4] = {0};
	uint64_t length = 2;

	if (regs->gpr[R13] == SKIP_MAGIC) {
		regs->rip = regs->gpr[R12];
		return;
	}
	if (vmm_guest_read(vm, regs->rip, code, sizeof(code)) == 0 &&
	    (code[0] == 0x66 || code[0] == 0x0f || (code[0] & 0xf0) == 0x40)) {
		length = 3;
	}
	regs->rip += length;
}

void arch_count_back(struct tm_timer_state *s, uint64_t ticks)
{
	s->tsc -= ticks;
}

bool arch_wrapping_deadline(struct vmm_vm *vm, struct tm_prng *rng)
{
	static struct tm_timer_state now;
	static struct tm_timer_state set;
	uint64_t back = tm_prng_below(rng, 4);

	memset(&set, 0, sizeof(set));
	set.tsc = tm_prng_below(rng, 1u << tm_prng_below(rng, 20));
	set.tsc_deadline = ~(uint64_t)0 -
			   (back != 0 ? back - 1 : tm_prng_below(rng, tm_timer_now() / 2));
	if (tm_vm_pause(vm->handle, TM_PAUSE_QUIESCE) != 0 ||
	    tm_timer_state(vm->handle, 0, TM_STATE_SET, &set) != 0 ||
	    tm_vm_resume(vm->handle) != 0) {
		return false;
	}
	/* Put away and loaded several times. */
	(void)vmm_wait(20000, NULL, NULL);
	return tm_vm_pause(vm->handle, TM_PAUSE_QUIESCE) == 0 &&
	       tm_timer_state(vm->handle, 0, TM_STATE_GET, &now) == 0 && now.tsc > set.tsc &&
	       now.tsc_deadline == set.tsc_deadline && tm_vm_resume(vm->handle) == 0;
}

/* guests/hostile/x86/ends.c */
const struct end_row arch_ends[] = {
	{"triple", END_CRASH}, {"cr3", END_CRASH}, {"cr3dev", END_CRASH}, {"cr3high", END_CRASH},
	{"halt", END_HALTED}, {"s5", END_OFF}, {"s5b", END_OFF}, {"rst64", END_RESET},
	{"rst92", END_RESET}, {"rstcf9", END_RESET},
	{"rstwide", END_OFF},	/* 0xcf8 as PCI has it: no reset, it powers off */
	{"gdt", END_ANY}, {"idt", END_CRASH}, {"init", END_ANY}, {"stack", END_CRASH},
	{"db", END_RUNS},	/* but QEMU's TCG has no breakpoints behind VMRUN: an empty loop */
	{"spin", END_RUNS}, {"real", END_ANY}, {"pm16", END_ANY}, {"pm32", END_ANY},
	{"big", END_ANY}, {"vm86", END_ANY}, {"segs", END_ANY}, {"long", END_ANY}, {NULL, END_ANY},
};
