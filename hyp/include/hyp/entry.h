// SPDX-License-Identifier: Apache-2.0
/*
 * The protocol around guest mode, the same on every architecture. A CPU stores in_guest, then looks
 * at what was asked of it; whoever asks sets a request, then looks at in_guest: with a full barrier
 * between the two on each side, one of them sees the other. Inline: every exit passes through here.
 */
#ifndef HYP_ENTRY_H
#define HYP_ENTRY_H

#include <arch/vcpu.h>
#include <hyp/sched.h>
#include <hyp/vcpu.h>

/* First thing after an exit (and after hardware's log was drained): whoever changes stage-2 or wants
 * a drain waits for this before anything else happens. */
static inline void guest_exit_begin(struct pcpu *c, struct vcpu *v)
{
	__atomic_store_n(&v->in_guest, false, __ATOMIC_RELEASE);
	/* After the above: vcpu_wait_out_of_guest() takes a new count as proof. */
	__atomic_store_n(&v->stats.exits, v->stats.exits + 1, __ATOMIC_RELEASE);
	c->exits++;
}

static inline bool guest_entry_is_free(const struct pcpu *c, struct vcpu *v)
{
	__atomic_store_n(&v->in_guest, true, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return likely(!(READ_ONCE(c->resched) | READ_ONCE(v->requests)));
}

/* Somebody asked for something (sched.c). Returns the vCPU to enter, with in_guest set. */
struct vcpu *sched_finish_exit(struct pcpu *c, struct vcpu *v);

/* Last thing of an exit: the vCPU to enter, the same one unless somebody asked for more. */
static inline struct vcpu *guest_exit_finish(struct pcpu *c, struct vcpu *v)
{
	return guest_entry_is_free(c, v) ? v : sched_finish_exit(c, v);
}

#endif
