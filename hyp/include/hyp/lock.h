// SPDX-License-Identifier: Apache-2.0
/*
 * Spin locks with ranks. Order: a lock may be taken only while all held ones have a lower rank;
 * debug builds panic otherwise. Interrupts are off in the hypervisor, so there is one flavour.
 * Waiters call arch_cpu_relax(). See the lock table in hyp/README.md.
 */
#ifndef HYP_LOCK_H
#define HYP_LOCK_H

#include <hyp/types.h>

enum lock_rank {
	LOCK_VM_TABLE = 10,	/* vm.c: the handle table */
	LOCK_VM = 20,		/* struct vm: vcpus, configuration */
	LOCK_SLOTS = 30,	/* struct vm: slot-changing calls are serialised by it */
	LOCK_WINDOW = 35,	/* window.c: the manager's window list */
	LOCK_WRITERS = 39,	/* one waiter at a time for writers' sections (dirty_log.c) */
	LOCK_STAGE2_MANAGER = 40, /* the manager's stage-2: taken before ... */
	LOCK_STAGE2 = 41,	/* ... any other VM's; slots, leaves, arming */
	LOCK_RING_RESET = 38,	/* serialises RING_RESET of one VM */
	LOCK_BITMAP = 50,
	LOCK_POOL = 60,		/* a VM's page pool */
	LOCK_PAGE_ALLOC = 62,	/* the hypervisor's page pool */
	LOCK_OWNER = 64,	/* page owner table */
	LOCK_VUART = 68,	/* an emulated console UART; raises its line under it */
	LOCK_BOARD = 69,	/* emulated chips that feed the interrupt controller */
	LOCK_VGIC = 70,		/* the emulated interrupt controller: a VM's GIC */
	LOCK_VCPU = 74,		/* one vCPU's state */
	LOCK_SCHED = 75,	/* a CPU's run queue */
	LOCK_VTIMER = 77,	/* an emulated timer of a vCPU: usable from its reset, under 74 */
	LOCK_TIMER = 78,
	LOCK_CONSOLE = 80,
	LOCK_LOG = 90,
};

struct spinlock {
	uint32_t next;		/* ticket to hand out */
	uint32_t owner;		/* ticket being served */
	uint16_t rank;
	uint16_t cpu_plus1;	/* debug: who holds it */
	uint32_t pad;
};

#define SPINLOCK_INIT(r) {.rank = (r)}

void spin_init(struct spinlock *l, enum lock_rank rank);
void spin_lock(struct spinlock *l);
void spin_unlock(struct spinlock *l);
/* Debug: panics unless this CPU holds it; nothing in a release build. */
#if DEBUG
void spin_assert_held(const struct spinlock *l);
#else
static inline void spin_assert_held(const struct spinlock *l) { (void)l; }
#endif

#endif
