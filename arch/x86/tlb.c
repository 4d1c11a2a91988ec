// SPDX-License-Identifier: Apache-2.0
/*
 * TLB tags and shootdown. x86 broadcasts nothing: a flush raises the generation of the stage 2, and
 * every entry compares (SDM volume 3, 29.4.3; APM volume 2, 15.25.9). Callers of arch_tlb_*() hold
 * the stage-2 lock of what they flush.
 *
 * A CPU publishes the stage 2 that it is about to enter, then looks at the generation; who flushes
 * raises the generation, then looks at who is inside: with a full barrier between the two on each
 * side, one of them sees the other. Who is inside is kicked and waited for until it has left: at most
 * the time of an interrupt, because a CPU clears its mark right after the exit, before it takes any
 * lock. A CPU that is not in guest mode is never waited for, so no lock can be involved.
 */
#include <arch/cpu.h>
#include <arch/tlb.h>
#include <asm/enter.h>
#include <asm/guest.h>
#include <hyp/boot_info.h>
#include <hyp/sched.h>
#include <hyp/stage2.h>
#include <hyp/test_hooks.h>
#include <hyp/vm.h>

struct tlb_cpu tlb_cpus[BOOT_MAX_CPUS];

/* ---- entries --------------------------------------------------------------------------------- */

/* A tag that nothing on this CPU is remembered under once virt->flush() has dropped what was. */
static void new_asid(struct tlb_cpu *c, struct vcpu *v, uint16_t cpu)
{
	if (c->asid_next == 0 || c->asid_next >= virt->asids) {
		c->asid_gen++;		/* from 1 on: 0 is nobody's */
		c->asid_next = 1;
	}
	v->arch.asid = c->asid_next++;
	v->arch.asid_gen = c->asid_gen;
	v->arch.asid_cpu = (uint16_t)(cpu + 1);
	v->arch.new_tag = false;
}

void tlb_enter(struct vcpu *v)
{
	uint16_t cpu = (uint16_t)this_pcpu()->id;
	struct tlb_cpu *c = &tlb_cpus[cpu];
	struct stage2 *s2 = &v->vm->s2;
	bool flush = false;
	uint64_t gen;

	__atomic_store_n(&c->entries, c->entries + 1, __ATOMIC_RELAXED);
	__atomic_store_n(&c->inside, s2, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	gen = __atomic_load_n(&s2->arch.tlb_gen, __ATOMIC_RELAXED);
	if (unlikely(v->arch.new_tag || v->arch.asid_cpu != cpu + 1 ||
		     v->arch.asid_gen != c->asid_gen)) {
		new_asid(c, v, cpu);
		flush = true;
	}
	if (unlikely(flush || v->arch.tlb_gen != gen)) {
		v->arch.tlb_gen = gen;
		virt->flush(v);
	}
}

void tlb_left(struct vcpu *v)
{
	(void)v;
	tlb_cpu_left(&tlb_cpus[this_pcpu()->id]);
}

/* ---- flushes --------------------------------------------------------------------------------- */

static void wait_until_out(struct tlb_cpu *c, const struct stage2 *s2, uint64_t entries)
{
	while (__atomic_load_n(&c->inside, __ATOMIC_ACQUIRE) == s2 &&
	       __atomic_load_n(&c->entries, __ATOMIC_ACQUIRE) == entries) {
		arch_cpu_relax();
	}
}

void arch_tlb_flush_all(struct stage2 *s2)
{
	struct pcpu *self = this_pcpu();
	uint64_t entries[BOOT_MAX_CPUS];
	uint64_t inside = 0;

	_Static_assert(BOOT_MAX_CPUS <= 64, "a bit each");
	__atomic_fetch_add(&s2->arch.tlb_gen, 1, __ATOMIC_SEQ_CST);
	self->tlb_flushes++;
	if (mutant(MUTANT_NO_SHOOTDOWN)) {
		return;
	}
	for (unsigned i = 0; i < pcpu_count; i++) {
		/* The count first: an entry that it does not include sees the new generation. */
		entries[i] = __atomic_load_n(&tlb_cpus[i].entries, __ATOMIC_SEQ_CST);
		if (i != self->id &&
		    __atomic_load_n(&tlb_cpus[i].inside, __ATOMIC_SEQ_CST) == s2) {
			inside |= 1ull << i;
			arch_cpu_kick(&pcpus[i]);
		}
	}
	for (; inside; inside &= inside - 1) {
		unsigned i = (unsigned)__builtin_ctzll(inside);

		wait_until_out(&tlb_cpus[i], s2, entries[i]);
	}
}

/* Neither INVEPT nor an ASID knows ranges. */
void arch_tlb_flush_range(struct stage2 *s2, gpa_t a, uint64_t pages)
{
	(void)a, (void)pages;
	arch_tlb_flush_all(s2);
}

/*
 * A right was given where the guest has just faulted: nothing is to be done. The fault itself drops
 * what was cached for the address (SDM volume 3, 29.4.3.1; APM volume 2, 5.5.2 "TLB Management"), and a
 * right that hardware finds missing in an entry is looked for in memory before it faults again.
 */
void arch_tlb_flush_local(struct stage2 *s2, gpa_t a)
{
	(void)s2, (void)a;
}

/* ---- geometry -------------------------------------------------------------------------------- */

const struct pgtable_format *arch_stage2_format(void)
{
	return virt->format;
}

unsigned arch_stage2_ia_bits(void)
{
	return MIN(cpu_features.phys_bits, 48u);
}

unsigned arch_stage2_root_level(void)
{
	return 3;
}

unsigned arch_stage2_root_pages(void)
{
	return 1;
}

/* Tags are given out per CPU, so a VM needs none of its own. */
uint16_t arch_vmid_count(void)
{
	return UINT16_MAX;
}

unsigned arch_stage2_max_leaf(void)
{
	return virt->max_leaf;
}

unsigned arch_dirty_backends(void)
{
	return virt->backends;
}
