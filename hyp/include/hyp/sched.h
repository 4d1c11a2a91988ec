// SPDX-License-Identifier: Apache-2.0
/*
 * Per physical CPU a run queue: fixed priorities (0 first), round robin with a slice inside one,
 * an affinity mask per vCPU. A vCPU alone at its priority gets no tick. No hypervisor threads: the
 * caller of sched_switch() is the CPU's exit path or its idle loop.
 */
#ifndef HYP_SCHED_H
#define HYP_SCHED_H

#include <hyp/lock.h>
#include <hyp/types.h>

#define SCHED_PRIOS 8

struct vcpu;
struct vm;

/* One per physical CPU; arch keeps a pointer to it in its CPU-local register. */
struct pcpu {
	struct vcpu *current;		/* loaded here, or NULL; at offset 0 for the entry code */
	uint64_t stack_top;		/* entry code */
	uint32_t id;
	uint32_t resched;		/* atomic: leave the fast path */
	uint64_t hwid;
	bool online;
	struct spinlock rq_lock;
	struct vcpu *head[SCHED_PRIOS], *tail[SCHED_PRIOS];
	uint32_t queued;
	uint64_t slice_end;		/* 0: no tick */
	uint64_t loaded_at;		/* when `current` came here */
	uint64_t idle_ticks;
	uint64_t exits;
	uint64_t tlb_flushes;
	uint64_t lock_depth;		/* debug: bitmap of held ranks is in lock.c */
	void *arch;
	struct vcpu *handling;		/* neither queued nor on a CPU, but in this one's hands */
};

extern struct pcpu pcpus[];
extern unsigned pcpu_count;
struct pcpu *this_pcpu(void);

void sched_init_cpu(struct pcpu *c);
/* Puts a READY vCPU on the queue of a CPU of its affinity and makes that CPU look. v->lock held. */
void sched_enqueue_locked(struct vcpu *v);
/* Takes it off whatever queue still names it and waits until no CPU has it in hand; it is STOPPED
 * for good, so nobody queues it again. No lock held. */
void sched_forget(struct vcpu *v);
/* VCPU_SCHED_SET, checked by the caller: takes effect at once, queued or running. */
void sched_set(struct vcpu *v, unsigned prio, uint64_t affinity, uint64_t slice_ticks);
/* CPUs that are up, bit by number. */
uint64_t sched_online(void);
/* YIELD of the current vCPU: whoever waits at its priority is next. */
void sched_give_way(void);
/* After VM_RESUME: READY vCPUs that were dropped from their queues come back. */
void sched_requeue_vm(struct vm *vm);
/* The stop of a vCPU that is on no CPU: run page, exit_seq, STOPPED. v->lock held; the caller calls
 * event_set() after unlocking. */
void sched_publish_stop_locked(struct vcpu *v, uint32_t reason, int32_t status);
/*
 * Called with no lock held when `resched` is set or the current vCPU cannot go on: puts the current
 * one away, handles its requests, picks the next (idles until there is one), loads it, returns it.
 */
struct vcpu *sched_switch(void);
/* This CPU's timer: slice over, or a vCPU's software timer. From the arch timer interrupt. */
void sched_timer(void);
/* Never returns: the CPU's first entry. */
void sched_start(void) noreturn_fn;

#endif
