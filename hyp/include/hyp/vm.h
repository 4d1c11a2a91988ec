// SPDX-License-Identifier: Apache-2.0
/* A VM: lifetime and what it is made of. Fields carry the letter of their lock:
 * [t] handle table, [v] vm->lock, [s] slots_lock + stage-2 lock, [a] atomic, [c] constant once the
 * first vCPU exists.
 */
#ifndef HYP_VM_H
#define HYP_VM_H

#include <abi/vm.h>
#include <asm/vm.h>
#include <hyp/config.h>
#include <hyp/dirty_log.h>
#include <hyp/memslot.h>
#include <hyp/mmio.h>
#include <hyp/page_alloc.h>
#include <hyp/stage2.h>
#include <hyp/vcpu.h>

#define MANAGER_HANDLE 0u

struct vm {
	struct spinlock lock;
	uint16_t handle;		/* [c] index in the table */
	uint32_t refs;			/* [a] */
	uint32_t state;			/* [v] enum tm_vm_state */
	bool is_manager;		/* [c] */
	uint32_t flags;			/* [c] TM_VM_* */
	char name[TM_VM_NAME_LEN];	/* [c] */
	uint8_t uuid[16];		/* [c] */

	uint32_t vcpus_max;		/* [c] */
	uint32_t vcpus_count;		/* [v] */
	struct vcpu *vcpu[TM_MAX_VCPUS]; /* [v] set once; readers load-acquire */

	uint32_t pause_count;		/* [v] */
	uint32_t quiesce_count;		/* [v], read atomically by writers */

	struct mem_pool pool;
	struct spinlock slots_lock;
	struct memslots slots;		/* [s] */
	struct stage2 s2;
	struct dirty_log dirty;
	struct mmio_map mmio;		/* [c] */
	struct tm_range mmio_window[TM_VM_MMIO_WINDOWS]; /* [c] */
	uint32_t mmio_window_count;	/* [c] */
	struct arch_vm arch;		/* interrupt controller, timers, console UART */

	uint32_t windows;		/* [a] windows that the manager has on this VM */
	uint32_t shutdown_type;		/* [v] */
	uint64_t pvtime_gpa;		/* [v] ~0 = off */
	uint32_t destroy_step;		/* [v] */
};

/* NULL when there is no such live VM. vm_put() every one that is not NULL. */
struct vm *vm_get(uint64_t handle);
void vm_put(struct vm *vm);
struct vm *vm_manager(void);

/* Boot: all VMs of the configuration; bad images are reported and skipped. */
void vm_boot_all(const struct config *cfg);
int must_check vm_create(const struct tm_vm_desc *d, struct vm **out);
/* I-5: an internal inconsistency ends this VM; every call on it is -TM_EIO from then on. */
void vm_kill(struct vm *vm, const char *why);

int must_check vm_pause(struct vm *vm, uint64_t flags, struct vcpu *caller);
int must_check vm_resume(struct vm *vm);
/* Returns when every vCPU that was in guest mode has been out of it and is drained. */
void vm_sync(struct vm *vm);
/* The manager shut down, crashed or hung: drop its mappings, load it again (at most 5 times). */
void manager_died(const char *why);

#endif
