// SPDX-License-Identifier: Apache-2.0
/*
 * For the manager: own memory, windows, VMs, events. One CPU, no locks. Errors are negative TM_E*;
 * vmm_last_error() names the step that failed. Nothing here prints.
 */
#ifndef TIDEMARK_VMM_H
#define TIDEMARK_VMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <abi/tidemark.h>
#include <tidemark/arena.h>
#include <tidemark/cpio.h>
#include <tidemark/ring.h>

#define VMM_VMS 64			/* VMs that one manager keeps in view */
#define VMM_SLOTS 16			/* slots of a VM that vmm_create makes */
#define VMM_NAME TM_VM_NAME_LEN
#if defined(TM_ABI_X86) || (defined(__x86_64__) && !defined(TM_ABI_ARM64))
#define VMM_RAM_BASE 0u
#else
#define VMM_RAM_BASE 0x40000000u
#endif
/* A VM of a raw image (U-Boot) has empty read-only memory where QEMU virt's second flash bank is. */
#define VMM_FLASH_BASE 0x04000000u
#define VMM_FLASH_SIZE 0x00040000u

/* One vCPU as the manager sees it. run is NULL for a vCPU that was never mapped. */
struct vmm_vcpu {
	bool exists;
	bool stopped;			/* a stop was seen and it was not run again */
	struct tm_run_page *run;
	uint64_t seen_seq;		/* exit_seq of the last stop handled */
	struct tm_ring ring;		/* count 0: no ring mapped */
};

struct vmm_slot {
	bool used;
	struct tm_slot_desc desc;	/* as last set: flags, gpa, size, backing */
};

struct vmm_vm {
	bool used;
	bool is_static;			/* found, not made by us */
	uint32_t handle;
	uint32_t vcpus;			/* ids 0..vcpus-1 may exist */
	char name[VMM_NAME];
	uint8_t uuid[16];
	uint32_t dirty_flags;		/* TM_DIRTY_* */
	uint32_t ring_entries;
	struct tm_range pool;		/* own memory that was donated, to be given back */
	struct vmm_slot slot[VMM_SLOTS];
	struct vmm_vcpu vcpu[TM_MAX_VCPUS];
	uint64_t entry;			/* where it was started */
	uint64_t start_arg;		/* and with what: boot/guest_start.h */
	uint32_t shutdown_type;		/* TM_SHUTDOWN_* once it ended, else 0 */
	void *user;			/* the program's own */
};

struct vmm {
	struct tm_arena ram;		/* free pages of our own RAM */
	struct tm_arena window;
	const void *modules;		/* the cpio archive, in our own memory */
	uint64_t modules_size;
	struct tm_event_page *events;
	uint32_t doorbell;		/* INTID */
	uint64_t doorbells;		/* taken */
	struct vmm_vm vm[VMM_VMS];
};

/* The one instance; vmm_init fills it from tm_boot, maps the event page, enables the doorbell
 * (tm_irq_init included) and unmasks interrupts. */
extern struct vmm vmm;
int vmm_init(void);
/* "SLOT_SET slot 2" or "" : the step at which the last failing vmm_ function stopped. */
const char *vmm_last_error(void);

/* --- own memory, modules ---------------------------------------------------------------------- */

/* Contiguous pages of our own RAM, not zeroed. align: power of two >= 4096. NULL: none. */
void *vmm_ram_alloc(uint64_t size, uint64_t align);
void vmm_ram_free(void *p, uint64_t size);
int vmm_module(const char *name, struct tm_cpio_file *file);

/* --- windows ---------------------------------------------------------------------------------- */

/* A view of [gpa, gpa + size) of the VM (whole pages); prot is TM_PROT_*. NULL: see
 * vmm_last_status(). */
void *vmm_window_map(struct vmm_vm *vm, uint64_t gpa, uint64_t size, uint32_t prot);
int vmm_window_unmap(void *p, uint64_t size);
int vmm_last_status(void);
/* Through short windows. The VM's slots must cover it. */
int vmm_guest_write(struct vmm_vm *vm, uint64_t gpa, const void *data, uint64_t size);
int vmm_guest_read(struct vmm_vm *vm, uint64_t gpa, void *data, uint64_t size);
int vmm_guest_zero(struct vmm_vm *vm, uint64_t gpa, uint64_t size);

/* --- making and ending VMs -------------------------------------------------------------------- */

enum vmm_slot_backing { VMM_DONATED = 0, VMM_ANONYMOUS = 1 };

struct vmm_slot_spec {
	uint32_t id;
	uint32_t flags;			/* TM_SLOT_* */
	uint64_t gpa;
	uint64_t size;
	enum vmm_slot_backing backing;
};

enum vmm_create_flags {
	VMM_NO_RUN = 1,			/* all done but VCPU_RUN */
	VMM_NO_UART = 2,
	VMM_NO_IMAGE = 8,		/* memory and vCPUs only: for a restore */
	VMM_NO_EXIT_PAGES = 16,		/* do not map run pages and rings */
};

/*
 * What vmm_create makes. slots[0..slot_count) in addition to slot 0 at VMM_RAM_BASE of mem_size
 * bytes (mem_size 0: no slot 0; then all slots come from the list). Image, initrd and tree are
 * put into slot 0 (or the lowest listed). The image is of a kind that boot/image_load.h knows.
 */
struct vmm_desc {
	const char *name;
	uint32_t vcpus;			/* 0: 1 */
	uint32_t flags;			/* VMM_* */
	uint64_t mem_size;
	uint32_t mem_flags;		/* TM_SLOT_* of slot 0 */
	enum vmm_slot_backing mem_backing;
	uint32_t slot_count;
	struct vmm_slot_spec slots[VMM_SLOTS];
	uint64_t pool_size;		/* 0: chosen from the slots */
	uint32_t vm_flags;		/* TM_VM_*; TM_VM_CONSOLE is added unless VMM_NO_UART */
	uint32_t dirty_flags;		/* 0: DIRTY_CONFIG is not called */
	uint32_t ring_entries;
	uint32_t backend;	/* test builds: 1 + TM_BACKEND_*; 0: as the hypervisor chooses */
	const void *image;
	uint64_t image_size;
	const void *initrd;
	uint64_t initrd_size;
	const void *dtb;		/* NULL: built */
	uint64_t dtb_size;
	const char *bootargs;
	uint8_t uuid[16];		/* all zero: made up from the counter */
	uint32_t mmio_count;
	struct tm_range mmio[TM_VM_MMIO_WINDOWS];
	uint32_t prio;			/* nonzero: VCPU_SCHED_SET for each vCPU, with */
	uint64_t affinity;		/* this (0: all) */
	uint64_t slice_us;
};

/* Everything or nothing: on error what was made is destroyed and the memory is back. */
int vmm_create(const struct vmm_desc *desc, struct vmm_vm **vm);
/* Starts (again) every vCPU that exists; boot vCPU first. vCPUs that run already are left. */
int vmm_run(struct vmm_vm *vm);
/* Destroys, unmaps, and takes the memory back into vmm.ram. */
int vmm_destroy(struct vmm_vm *vm);
/* Boot state of a vCPU: entry and arg as arch_vcpu_reset() takes them (boot/guest_start.h). */
void vmm_boot_regs(struct tm_regs *regs, uint64_t entry, uint64_t arg, bool powered_on);
/* Loads again what vmm_create loaded (fresh zeroed RAM is the caller's business) and sets vm->entry
 * and vm->start_arg. */
int vmm_load(struct vmm_vm *vm, const struct vmm_desc *desc);

/* A VM that exists already (static, or of an earlier manager); the VM_NEXT loop over all. */
int vmm_attach(uint32_t handle, struct vmm_vm **vm);
int vmm_attach_all(void);
struct vmm_vm *vmm_find(uint32_t handle);
struct vmm_vm *vmm_find_name(const char *name);

int vmm_slot_set(struct vmm_vm *vm, const struct vmm_slot_spec *spec);
int vmm_slot_flags(struct vmm_vm *vm, uint32_t id, uint32_t flags);
/* SLOT_SET with size 0; donated backing goes back to vmm.ram. */
int vmm_slot_delete(struct vmm_vm *vm, uint32_t id);
struct vmm_slot *vmm_slot_of(struct vmm_vm *vm, uint32_t id);
/* flags on every slot that has LOG_DIRTY differing from `on`; ledger-like slots can be left out by
 * a mask of slot ids to touch. */
int vmm_log_all(struct vmm_vm *vm, bool on, uint64_t id_mask);

/* Run page and ring (where DIRTY_CONFIG asked for one) of a vCPU. */
int vmm_map_vcpu(struct vmm_vm *vm, uint32_t id);
/* All rings of the VM once; returns entries harvested (they are not reset), or an error. */
int64_t vmm_harvest(struct vmm_vm *vm, tm_ring_fn fn, void *arg);

/* --- events ----------------------------------------------------------------------------------- */

/*
 * Called for each stop not seen before, with vcpu->stopped set; the handler may call vmm_resume.
 * Also called with stopped false when the event bit came without a stop: look at the ring.
 */
typedef void (*vmm_event_fn)(struct vmm_vm *vm, uint32_t id, struct vmm_vcpu *vcpu, void *arg);

/* Exchanges the event words and calls fn; returns stops seen. Never waits. */
uint32_t vmm_poll(vmm_event_fn fn, void *arg);
/* Waits until a doorbell rang, another interrupt came, or us passed; then vmm_poll. */
uint32_t vmm_wait(uint64_t us, vmm_event_fn fn, void *arg);
/* VCPU_RUN, with vcpu->stopped cleared first. */
int vmm_resume(struct vmm_vm *vm, uint32_t id);
const char *vmm_exit_name(uint32_t reason);
const char *vmm_vcpu_state_name(uint32_t state);

#endif
