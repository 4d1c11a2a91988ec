// SPDX-License-Identifier: Apache-2.0
/*
 * The physical CPU: features, the EL2 registers that depend on them, who am I, caches, idle.
 * cpu_features is written once by the boot CPU before the others start; no lock.
 */
#include <arch/cpu.h>
#include <arch/tlb.h>
#include <asm/barrier.h>
#include <asm/cpu.h>
#include <asm/irq.h>
#include <asm/sysreg.h>
#include <hyp/boot_info.h>
#include <hyp/sched.h>
#include <hyp/stage2.h>
#include <hyp/string.h>

#include <drivers/gic/gic.h>

/* Stage 2 starts at the 1 GiB level with at most 16 tables side by side: 43 bits (D8.2.9). */
#define STAGE2_BITS_MAX 43u
#define STAGE2_BITS_USUAL 40u

struct cpu_features cpu_features;

static unsigned stage2_bits(unsigned pa_bits)
{
	uint64_t top = 0;
	unsigned bits = MIN(pa_bits, STAGE2_BITS_USUAL);

	for (unsigned i = 0; i < boot_info.ram_count; i++) {
		top = MAX(top, boot_info.ram[i].base.v + boot_info.ram[i].size);
	}
	/* The manager sees RAM where it is. */
	while (bits < MIN(pa_bits, STAGE2_BITS_MAX) && top > 1ull << bits) {
		bits++;
	}
	return bits;
}

void cpu_features_init(void)
{
	static const uint8_t pa_range[8] = {32, 36, 40, 42, 44, 48, 52, 56};
	struct cpu_features *f = &cpu_features;
	uint64_t ctr = read_sysreg(ctr_el0);

	f->pfr0 = read_sysreg(id_aa64pfr0_el1);
	f->mmfr0 = read_sysreg(id_aa64mmfr0_el1);
	f->mmfr1 = read_sysreg(id_aa64mmfr1_el1);
	f->dfr0 = read_sysreg(id_aa64dfr0_el1);
	/* head.S has refused values above 7. */
	f->pa_bits = MIN(pa_range[id_field(f->mmfr0, 0) & 7], 48u);
	f->stage2_bits = stage2_bits(f->pa_bits);
	f->vmid16 = id_field(f->mmfr1, 4) == 2;
	f->gicv3_regs = id_field(f->pfr0, 24) != 0;
	f->dcache_line = 4u << ((ctr >> 16) & 0xf);
	f->icache_line = 4u << (ctr & 0xf);
	/* TGran4_2 = 1: the granule is there for stage 1 only. */
	if (id_field(f->mmfr0, 40) == 1) {
		cannot_start("this CPU has no 4 KiB granule for stage 2");
	}
}

uint64_t cpu_vtcr(void)
{
	uint64_t ps = MIN(id_field(cpu_features.mmfr0, 0), 5u);

	return VTCR_BASE | (64 - cpu_features.stage2_bits) | ps << VTCR_PS_SHIFT |
	       (cpu_features.vmid16 ? VTCR_VS : 0);
}

uint64_t cpu_vttbr(const struct stage2 *s2)
{
	return (uint64_t)s2->vmid << VTTBR_VMID_SHIFT | s2->pt.root.v;
}

void cpu_el2_init(struct pcpu *c)
{
	write_sysreg(c, tpidr_el2);
	write_sysreg(cpu_vtcr(), vtcr_el2);
	isb();
}

struct pcpu *this_pcpu(void)
{
	return (struct pcpu *)read_sysreg(tpidr_el2);
}

void arch_cpu_relax(void)
{
	__asm__ volatile("yield" ::: "memory");
}

void arch_cpu_wait_event(void)
{
	__asm__ volatile("wfe" ::: "memory");
}

void arch_cpu_wake_waiters(void)
{
	__asm__ volatile("dsb ishst\n\tsev" ::: "memory");
}

void arch_cpu_kick(struct pcpu *c)
{
	gic_send_sgi(c->id, IRQ_SGI_KICK);
}

void arch_cpu_idle(void)
{
	/* A pending interrupt ends the wait although PSTATE.I masks it. */
	dsb(sy);
	__asm__ volatile("wfi" ::: "memory");
	arch_irq_handle();
}

void arch_halt(void)
{
	__asm__ volatile("msr daifset, #0xf");
	for (;;) {
		__asm__ volatile("wfi");
	}
}

/* Sixteen lines a turn: first touches and freed pages spend most of their time in these loops. */
#define DC_LINES 16u
#define DC_RUN(op, a, step)                                                                        \
	__asm__ volatile(".rept 16\n\tdc " op ", %0\n\tadd %0, %0, %1\n\t.endr"                     \
			 : "+r"(a)                                                                 \
			 : "r"(step)                                                               \
			 : "memory")

void arch_clean_to_poc(const void *p, uint64_t bytes)
{
	uint64_t end = (uint64_t)p + bytes, line = cpu_features.dcache_line;
	uint64_t a = ALIGN_DOWN((uint64_t)p, line);

	while (a < end && end - a >= DC_LINES * line) {
		DC_RUN("cvac", a, line);
	}
	for (; a < end; a += line) {
		__asm__ volatile("dc cvac, %0" : : "r"(a) : "memory");
	}
	dsb(sy);
}

void arch_sync_icache(const void *p, uint64_t bytes)
{
	uint64_t end = (uint64_t)p + bytes;

	for (uint64_t a = ALIGN_DOWN((uint64_t)p, (uint64_t)cpu_features.dcache_line); a < end;
	     a += cpu_features.dcache_line) {
		__asm__ volatile("dc cvau, %0" : : "r"(a) : "memory");
	}
	dsb(ish);
	for (uint64_t a = ALIGN_DOWN((uint64_t)p, (uint64_t)cpu_features.icache_line); a < end;
	     a += cpu_features.icache_line) {
		__asm__ volatile("ic ivau, %0" : : "r"(a) : "memory");
	}
	dsb(ish);
	isb();
}

void arch_zero_page(void *page)
{
	uint64_t dczid = read_sysreg(dczid_el0);
	uint64_t step = 4ull << (dczid & 0xf);

	if (dczid & 0x10 || step > PAGE_SIZE / DC_LINES) {	/* DZP: prohibited */
		memset(page, 0, PAGE_SIZE);
		return;
	}
	for (uint64_t a = (uint64_t)page, end = a + PAGE_SIZE; a < end;) {
		DC_RUN("zva", a, step);
	}
}
