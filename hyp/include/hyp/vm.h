// SPDX-License-Identifier: Apache-2.0
/* A VM: lifetime and what it is made of. Fields carry the letter of their lock:
 * [t] handle table, [v] vm->lock, [s] slots_lock + stage-2 lock, [a] atomic, [c] constant once the
 * first vCPU exists.
 */
#ifndef HYP_VM_H
#define HYP_VM_H

#include <abi/hypercall.h>
#include <abi/vm.h>
#include <asm/vm.h>
#include <hyp/config.h>
#include <hyp/console.h>
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
	uint32_t refs;			/* [t] */
	uint32_t state;			/* [a] enum tm_vm_state; to and from DYING also [t] */
	bool is_manager;		/* [c] */
	uint32_t flags;			/* [c] TM_VM_* */
	char name[TM_VM_NAME_LEN];	/* [c] */
	uint8_t uuid[16];		/* [c] */

	uint32_t vcpus_max;		/* [c] */
	uint32_t vcpus_count;		/* [v] */
	struct vcpu *vcpu[TM_MAX_VCPUS]; /* [v] readers load-acquire */
	struct vcpu *vcpu_dead[TM_MAX_VCPUS]; /* [v] destroyed; kept until re-created or VM end */

	uint64_t vcpu_busy;		/* [v] bit per vCPU that is being created or destroyed */

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
	struct console_vm console;	/* console.c */
	struct arch_vm arch;		/* interrupt controller, timers, console UART */

	uint32_t windows;		/* [a] what the manager has mapped of this VM: see vm_window_get */
	uint32_t windows_rw;		/* [a] of those, writable MAP_GUEST ones (window.c) */
	uint32_t windows_guest;		/* [a] of those, MAP_GUEST ones */
	uint32_t shutdown_type;		/* [v] */
	uint64_t pvtime_gpa;		/* [v] ~0 = off */
	uint32_t destroy_step;		/* [v] enum in vm.c */
	bool destroying;		/* [t] a CPU is building it or inside a step of VM_DESTROY */
	uint64_t destroy_cursor;	/* [v] */
	uint64_t touched;		/* counted: management calls that changed it */
};

/* NULL when there is no such live VM. vm_put() every one that is not NULL. */
struct vm *vm_get(uint64_t handle);
void vm_put(struct vm *vm);
struct vm *vm_manager(void);
/* Next existing VM with a handle above `after` (-1: from the start), counted; NULL at the end. */
struct vm *vm_next(int after);
/*
 * Rings, run pages and MAP_GUEST windows in the manager each count once: the handle is reused, and
 * the ring and run pages are freed, only after DESTROY is done and the last of them is unmapped.
 */
void vm_window_get(struct vm *vm);
void vm_window_put(struct vm *vm);
static inline bool vm_paused(const struct vm *vm)
{
	return __atomic_load_n(&vm->pause_count, __ATOMIC_ACQUIRE) != 0;
}
/* The manager is running and may be exited to. */
bool manager_alive(void);
/* Turns the VM off from inside (PSCI, triple fault): every vCPU stops with SHUTDOWN. */
void vm_shutdown(struct vm *vm, uint32_t type);

/* Boot: all VMs of the configuration; bad images are reported and skipped. */
void vm_boot_all(const struct config *cfg);
/* The VM without memory: for VM_CREATE after its checks, and for the boot configuration. */
int must_check vm_alloc(const struct tm_vm_desc *d, hpa_t pool, uint64_t pool_pages,
			struct vm **out);
/* *out is counted: the caller calls vm_put(). */
int must_check vm_create(const struct tm_vm_desc *d, struct vm **out);
/* One bounded step: TM_CONTINUE until all memory is back with the manager. */
int must_check vm_destroy(uint64_t handle);
/* The manager died between two calls of VM_DESTROY: what it began is finished. */
void vm_destroy_dying(void);
/* VCPU_DESTROY: -TM_EBUSY unless STOPPED. */
int must_check vm_vcpu_destroy(struct vm *vm, struct vcpu *v);
void vm_info(struct vm *vm, struct tm_vm_info *out);
/* I-5: an internal inconsistency ends this VM; every call on it is -TM_EIO from then on. */
void vm_kill(struct vm *vm, const char *why);

int must_check vm_pause(struct vm *vm, uint64_t flags, struct vcpu *caller);
int must_check vm_resume(struct vm *vm);
/* The manager is gone: all its pauses are lifted. */
void vm_unpause(struct vm *vm);
/* Test builds, C-104: sets the counter of a paused VM, so that its overflow can be seen. */
int must_check vm_pause_preset(struct vm *vm, uint64_t count);
/* Returns when every vCPU that was in guest mode has been out of it and is drained. */
void vm_sync(struct vm *vm);
/* The manager shut down, crashed or hung: drop its mappings, load it again (at most 5 times). */
void manager_died(const char *why);

#endif
