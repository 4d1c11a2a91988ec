// SPDX-License-Identifier: Apache-2.0
/*
 * A vCPU: states, stops, the run page. State changes under v->lock; `requests` anybody may set
 * atomically. A stop is published only after the registers have left the hardware, so that whoever
 * sees STOPPED may read them and may run the vCPU elsewhere.
 */
#ifndef HYP_VCPU_H
#define HYP_VCPU_H

#include <abi/vm.h>
#include <asm/vcpu.h>
#include <hyp/dirty_ring.h>
#include <hyp/hyptimer.h>
#include <hyp/lock.h>
#include <hyp/types.h>

struct vm;

enum vcpu_request {
	VCPU_REQ_STOP = 1,	/* stop with KICKED */
	VCPU_REQ_IRQ = 2,	/* interrupt state changed: re-evaluate before entry */
	VCPU_REQ_PAUSE = 4,	/* the VM's pause count is not 0, or the VM is dying */
	VCPU_REQ_RESCHED = 8,
	VCPU_REQ_SHUTDOWN = 16,	/* its VM has turned itself off: stop with SHUTDOWN */
};

struct vcpu {
	struct arch_vcpu arch;		/* first: the entry code's offsets are from here */

	struct vm *vm;
	struct spinlock lock;		/* LOCK_VCPU: state, powered_on, cpu */
	uint16_t id;
	uint32_t requests;		/* enum vcpu_request, atomic */
	bool on_cpu;			/* its registers are in hardware; cleared after put (release) */
	bool stop_pending;		/* vcpu_stop() was called; published once it is put away */
	bool wait_pending;		/* vcpu_wait() was called: WAITING once it is put away */
	int32_t stop_status;
	uint32_t state;			/* enum tm_vcpu_state */
	bool powered_on;		/* PSCI / INIT-SIPI */
	bool created;			/* and not destroyed: may be run */
	struct tm_run_page *run;	/* never NULL after creation; shared with the manager (I-4) */
	uint64_t exit_seq;		/* ours; the page's copy is only written */
	uint32_t reason;		/* of the last stop */

	/* pending MMIO/PIO completion: decoded once, acted upon at the next VCPU_RUN */
	bool mmio_pending;
	bool mmio_is_write;
	uint8_t mmio_len;

	struct dirty_ring ring;
	uint64_t ring_pages;		/* backing of ring.entries; outlives the vCPU while mapped */
	uint64_t quota;			/* ~0 = none */
	bool ring_full_sticky;
	bool overflow;			/* it has overflowed at least once */

	/* scheduler */
	struct vcpu *rq_next;
	bool rq_queued;
	bool in_guest;			/* written by its CPU only, seq-cst around entry */
	uint16_t cpu;			/* where it runs or ran last */
	uint8_t prio;
	uint64_t affinity;
	uint64_t slice_ticks;
	uint64_t slice_left;
	uint64_t ready_since;		/* for stolen time */

	struct tm_vcpu_stats stats;
	uint64_t pv_stolen, pv_shown;	/* own CPU only */
};

/* The vCPU that this physical CPU runs, or NULL. */
struct vcpu *vcpu_current(void);

int must_check vcpu_create(struct vm *vm, unsigned id);
/* VCPU_RUN: completes a pending MMIO, then READY (or OFF while powered off). */
int must_check vcpu_run(struct vcpu *v);
/* The manager died: a vCPU that its full ring has stopped goes on. */
void vcpu_run_orphan(struct vcpu *v);
/* Not on any CPU and its registers may be read and written: STOPPED, or its VM paused. */
bool vcpu_is_quiet(const struct vcpu *v);
/*
 * Stops the current vCPU with a reason; the union of the run page has been filled by the caller
 * through vcpu_run_page(). Publishes in the order of abi.md "A stop"; the scheduler then switches.
 */
void vcpu_stop(struct vcpu *v, uint32_t reason, int32_t status);
void vcpu_stop_memory_fault(struct vcpu *v, uint64_t flags, gpa_t a, uint64_t size);
void vcpu_stop_mmio(struct vcpu *v, gpa_t a, unsigned len, bool write, uint64_t data);
void vcpu_stop_shutdown(struct vcpu *v, uint32_t type);
/* WFI / HLT: waits unless an interrupt is pending. */
void vcpu_wait(struct vcpu *v);
/* An interrupt became pending for v: wakes it if WAITING, kicks its CPU if in guest mode. Any CPU. */
void vcpu_irq_kick(struct vcpu *v);
/* Sets request bits and makes the vCPU notice (wakes or interrupts its CPU). Any CPU. */
void vcpu_request(struct vcpu *v, uint32_t bits);
/* Waits until v is out of guest mode, or has left it once since the call. Never waits for itself. */
void vcpu_wait_out_of_guest(struct vcpu *v);
/* Sets event bit and rings the doorbell: the ring needs attention, the vCPU goes on (SPILL). */
void vcpu_event(struct vcpu *v);
/* Frees what a vCPU holds; it is off all CPUs and never runs again. */
void vcpu_free(struct vcpu *v);
/* The bits that keep a vCPU from entering the guest, or that entry has to look at first. */
static inline uint32_t vcpu_requests(const struct vcpu *v)
{
	return __atomic_load_n(&v->requests, __ATOMIC_RELAXED);
}
/* PSCI CPU_ON of a powered-off vCPU; -TM_EALREADY when it is on. */
int must_check vcpu_power_on(struct vcpu *v, uint64_t entry, uint64_t arg);
/* powered_on was written from outside (REGS_SET): READY and OFF follow. v->lock held. */
void vcpu_power_changed_locked(struct vcpu *v);
/* PSCI CPU_OFF: HALTED stop when it was the last one. */
void vcpu_power_off(struct vcpu *v);

#endif
