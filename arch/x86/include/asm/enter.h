// SPDX-License-Identifier: Apache-2.0
/*
 * The short way back into the guest, for virt->run(): all that arch_enter_guest() does before an
 * entry, when none of it has anything to do. Inline: every exit that is worth counting passes here.
 */
#ifndef ASM_ENTER_H
#define ASM_ENTER_H

#include <hyp/hypercall.h>
#include <hyp/sched.h>
#include <hyp/vcpu.h>
#include <hyp/vm.h>

/* tlb.c's row of a CPU; written by that CPU only. */
struct tlb_cpu {
	struct stage2 *inside;		/* in the guest of this one, or about to be */
	uint64_t entries;		/* a new count: it has been out meanwhile */
	uint64_t asid_gen;
	uint32_t asid_next;
} __attribute__((aligned(64)));

extern struct tlb_cpu tlb_cpus[];

/* tlb_left() of this CPU. */
static inline void tlb_cpu_left(struct tlb_cpu *t)
{
	__atomic_store_n(&t->inside, NULL, __ATOMIC_RELEASE);
}

/*
 * True: everything has been published (guest_entry_is_free(), tlb_enter()) and nobody wants
 * anything: enter, with v->arch.event if there is one. False: nothing is published; back to
 * arch_enter_guest().
 * v has not left this CPU since its last entry, so its TLB tag is good.
 */
static inline bool enter_again(struct pcpu *c, struct tlb_cpu *t, struct vcpu *v)
{
	struct arch_vcpu *a = &v->arch;
	struct vm *vm = v->vm;
	uint64_t wanted;

	__atomic_store_n(&v->in_guest, true, __ATOMIC_RELAXED);
	__atomic_store_n(&t->entries, t->entries + 1, __ATOMIC_RELAXED);
	__atomic_store_n(&t->inside, &vm->s2, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	wanted = READ_ONCE(c->resched) | READ_ONCE(v->requests);
	wanted |= READ_ONCE(a->before_entry) | a->again.valid;
	wanted |= READ_ONCE(a->lapic.irr_words) | READ_ONCE(vm->arch.board.pic_out);
	wanted |= READ_ONCE(vm->s2.arch.tlb_gen) ^ a->tlb_gen;
	if (likely(!wanted)) {
		return true;
	}
	tlb_cpu_left(t);
	__atomic_store_n(&v->in_guest, false, __ATOMIC_RELEASE);
	return false;
}

/* A hypercall of 64-bit code at CPL 0 that is behind RIP already. */
static inline void hypercall_now(struct vcpu *v)
{
	uint64_t *r = v->arch.gpr;
	struct hc_call c;

	c.vcpu = v;
	c.arg[0] = r[GPR_RDI];
	c.arg[1] = r[GPR_RSI];
	c.arg[2] = r[GPR_RDX];
	c.arg[3] = r[GPR_R10];
	c.arg[4] = r[GPR_R8];
	c.arg[5] = r[GPR_R9];
	/* Upper bits of the number are 0 in every call there is. */
	r[GPR_RAX] = (uint64_t)hypercall_dispatch(&c, r[GPR_RAX] >> 32 ? ~0u : (uint32_t)r[GPR_RAX]);
	r[GPR_RDI] = c.res[0];
	r[GPR_RSI] = c.res[1];
	r[GPR_RDX] = c.res[2];
}

#endif
