// SPDX-License-Identifier: Apache-2.0
/*
 * The only site of TLB maintenance. Callers hold the stage-2 lock of what they flush.
 *
 * The sequence of a flush (DDI 0487, D8.13): the VM's own VTTBR_EL2 loaded, so that the VMID is
 * right; stage-2 entries by IPA; DSB; then everything of the VMID, because combined entries of
 * both stages may stand under any virtual address; DSB; ISB. The whole is done twice: several
 * cores can let a store that used the old entry past the first DSB, and a list of them is never
 * complete.
 */
#include <abi/hypercall.h>
#include <arch/tlb.h>
#include <asm/barrier.h>
#include <asm/cpu.h>
#include <asm/sysreg.h>
#include <asm/tlb.h>
#include <hyp/sched.h>
#include <hyp/stage2.h>

extern const struct pgtable_format arm64_stage2_format;

/* From so many pages on, dropping the whole VMID is cheaper than naming them. */
#define FLUSH_PAGES_MAX 64u

/* Loads the VM's VTTBR if need be; returns the one to go back to. */
static uint64_t enter_vmid(uint64_t vttbr)
{
	uint64_t old = read_sysreg(vttbr_el2);

	/* Page table stores before the invalidation. */
	dsb(ishst);
	if (old != vttbr) {
		write_sysreg(vttbr, vttbr_el2);
		isb();
	}
	return old;
}

static void leave_vmid(uint64_t old, uint64_t vttbr)
{
	if (old != vttbr) {
		write_sysreg(old, vttbr_el2);
	}
	isb();
	this_pcpu()->tlb_flushes++;
}

static void flush_vmid_twice(uint64_t vttbr)
{
	uint64_t old = enter_vmid(vttbr);

	for (unsigned i = 0; i < 2; i++) {
		__asm__ volatile("tlbi vmalls12e1is" ::: "memory");
		dsb(ish);
		isb();
	}
	leave_vmid(old, vttbr);
}

void arch_tlb_flush_all(struct stage2 *s2)
{
	flush_vmid_twice(cpu_vttbr(s2));
}

void arch_tlb_flush_range(struct stage2 *s2, gpa_t a, uint64_t pages)
{
	uint64_t vttbr = cpu_vttbr(s2);
	uint64_t old;

	if (pages == 0 || pages > FLUSH_PAGES_MAX) {
		flush_vmid_twice(vttbr);
		return;
	}
	old = enter_vmid(vttbr);
	for (unsigned round = 0; round < 2; round++) {
		uint64_t frame = a.v >> PAGE_SHIFT;

		for (uint64_t i = 0; i < pages; i++) {
			__asm__ volatile("tlbi ipas2e1is, %0" : : "r"(frame + i) : "memory");
		}
		dsb(ish);
		__asm__ volatile("tlbi vmalle1is" ::: "memory");
		dsb(ish);
		isb();
	}
	leave_vmid(old, vttbr);
}

void arch_tlb_flush_local(struct stage2 *s2, gpa_t a)
{
	uint64_t vttbr = cpu_vttbr(s2);
	uint64_t old = enter_vmid(vttbr);

	__asm__ volatile("tlbi ipas2e1, %0" : : "r"(a.v >> PAGE_SHIFT) : "memory");
	dsb(nsh);
	__asm__ volatile("tlbi vmalle1" ::: "memory");
	dsb(nsh);
	leave_vmid(old, vttbr);
}

void arm64_tlb_flush_vmid_local(void)
{
	__asm__ volatile("tlbi vmalle1" ::: "memory");
	dsb(nsh);
	isb();
}

void tlb_flush_hyp(void)
{
	dsb(ishst);
	__asm__ volatile("tlbi alle2is" ::: "memory");
	dsb(ish);
	isb();
}

const struct pgtable_format *arch_stage2_format(void)
{
	return &arm64_stage2_format;
}

unsigned arch_stage2_ia_bits(void)
{
	return cpu_features.stage2_bits;
}

unsigned arch_stage2_root_level(void)
{
	return 2;
}

unsigned arch_stage2_root_pages(void)
{
	/* One table is 39 bits of input; the first level may have up to 16 side by side. */
	return cpu_features.stage2_bits > 39 ? 1u << (cpu_features.stage2_bits - 39) : 1u;
}

uint16_t arch_vmid_count(void)
{
	return cpu_features.vmid16 ? UINT16_MAX : 256;
}

unsigned arch_stage2_max_leaf(void)
{
	return 2;
}

unsigned arch_dirty_backends(void)
{
	return 1u << TM_BACKEND_WP;
}
