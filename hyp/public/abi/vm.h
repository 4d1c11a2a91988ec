// SPDX-License-Identifier: Apache-2.0
/* VMs, vCPUs, run pages and event pages. */
#ifndef TM_ABI_VM_H
#define TM_ABI_VM_H

#include <stdint.h>
#include <abi/assert.h>

enum tm_vm_flags {
	TM_VM_EXIT_ON_UNBACKED = 1,	/* an access outside all slots and devices exits MMIO */
	TM_VM_STATIC = 2,		/* out only: started by the hypervisor from its configuration */
	TM_VM_CONSOLE = 4,		/* give it an emulated console UART */
};

#define TM_VM_NAME_LEN 32
#define TM_VM_MMIO_WINDOWS 8

struct tm_range {
	uint64_t gpa;
	uint64_t size;
};
TM_ASSERT_SIZE(tm_range, 16);

/* VM_CREATE. The pool (page tables, log metadata, anonymous memory) is donated by the call. */
struct tm_vm_desc {
	uint32_t flags;
	uint32_t vcpus;			/* the most that will be created, 1..64 */
	uint64_t pool_gpa;
	uint64_t pool_size;
	uint8_t uuid[16];
	char name[TM_VM_NAME_LEN];	/* NUL-terminated, [a-z0-9_.-]+ */
	uint32_t mmio_count;
	uint32_t rsvd;
	struct tm_range mmio[TM_VM_MMIO_WINDOWS]; /* accesses exit to the manager */
	uint64_t rsvd2[5];
};
TM_ASSERT_SIZE(tm_vm_desc, 248);
TM_ASSERT_OFFSET(tm_vm_desc, pool_gpa, 8);
TM_ASSERT_OFFSET(tm_vm_desc, uuid, 24);
TM_ASSERT_OFFSET(tm_vm_desc, name, 40);
TM_ASSERT_OFFSET(tm_vm_desc, mmio_count, 72);
TM_ASSERT_OFFSET(tm_vm_desc, mmio, 80);
TM_ASSERT_OFFSET(tm_vm_desc, rsvd2, 208);

enum tm_vm_state { TM_VM_STATE_ALIVE = 0, TM_VM_STATE_DYING = 1, TM_VM_STATE_DEAD = 2 };

struct tm_vm_info {
	uint32_t flags;
	uint32_t state;			/* TM_VM_STATE_* */
	uint32_t vcpus_max;
	uint32_t vcpus;
	uint64_t vcpu_mask;		/* ids that exist */
	uint64_t pause_count;
	uint64_t pool_pages;
	uint64_t pool_free;		/* not handed out and not reserved */
	uint64_t slot_count;
	uint64_t slot_pages;
	uint32_t dirty_flags;		/* TM_DIRTY_*; 0 before DIRTY_CONFIG */
	uint32_t ring_entries;
	uint64_t dirty_generation;
	uint8_t uuid[16];
	char name[TM_VM_NAME_LEN];
	uint32_t shutdown_type;		/* last TM_SHUTDOWN_*, 0 if none */
	uint32_t mmio_count;
	struct tm_range mmio[TM_VM_MMIO_WINDOWS];
	uint64_t exits;			/* all vCPUs, all kinds */
	uint64_t pool_gpa;		/* hpa of the pool, which DESTROY gives to the manager */
	uint64_t rsvd[3];
};
TM_ASSERT_SIZE(tm_vm_info, 304);
TM_ASSERT_OFFSET(tm_vm_info, vcpu_mask, 16);
TM_ASSERT_OFFSET(tm_vm_info, dirty_flags, 64);
TM_ASSERT_OFFSET(tm_vm_info, uuid, 80);
TM_ASSERT_OFFSET(tm_vm_info, name, 96);
TM_ASSERT_OFFSET(tm_vm_info, mmio, 136);
TM_ASSERT_OFFSET(tm_vm_info, exits, 264);
TM_ASSERT_OFFSET(tm_vm_info, pool_gpa, 272);

enum tm_exit_reason {
	TM_EXIT_NONE = 0,
	TM_EXIT_KICKED = 1,
	TM_EXIT_MMIO = 2,
	TM_EXIT_PIO = 3,
	TM_EXIT_HALTED = 4,
	TM_EXIT_MEMORY_FAULT = 5,
	TM_EXIT_DIRTY_RING_FULL = 6,
	TM_EXIT_QUOTA = 7,
	TM_EXIT_SHUTDOWN = 8,
	TM_EXIT_INTERNAL = 9,
};

enum tm_fault_flags {
	TM_FAULT_READ = 1,
	TM_FAULT_WRITE = 2,
	TM_FAULT_EXEC = 4,
	TM_FAULT_PRIVATE = 8,
	TM_FAULT_MISSING = 16,
	TM_FAULT_PERM = 32,
	TM_FAULT_PTW = 64,
};

enum tm_shutdown_type { TM_SHUTDOWN_OFF = 1, TM_SHUTDOWN_RESET = 2, TM_SHUTDOWN_CRASH = 3 };

enum tm_run_flags { TM_RUN_OVERFLOW = 1 };

struct tm_exit_memory_fault {
	uint64_t flags;
	uint64_t gpa;
	uint64_t size;
};

struct tm_exit_mmio {
	uint64_t gpa;
	uint32_t len;
	uint8_t is_write;
	uint8_t rsvd[3];
	uint8_t data[64];
};
TM_ASSERT_OFFSET(tm_exit_mmio, data, 16);

struct tm_exit_pio {
	uint16_t port;
	uint8_t size;
	uint8_t is_write;
	uint32_t count;
	uint8_t data[64];
};
TM_ASSERT_OFFSET(tm_exit_pio, data, 8);

/*
 * One per vCPU, shared with the manager. A stop writes union, status, flags and reason, then
 * exit_seq with release. The manager writes immediate_exit and, after an MMIO or PIO exit, data.
 */
struct tm_run_page {
	uint32_t abi;
	uint32_t reason;
	uint64_t exit_seq;
	int32_t status;
	uint32_t flags;
	uint8_t immediate_exit;
	uint8_t rsvd[39];
	union {
		struct tm_exit_memory_fault memory_fault;
		struct tm_exit_mmio mmio;
		struct tm_exit_pio pio;
		struct {
			uint32_t type;
			uint32_t rsvd;
		} shutdown;
		uint8_t pad[4032];
	} u;
};
TM_ASSERT_SIZE(tm_run_page, 4096);
TM_ASSERT_OFFSET(tm_run_page, exit_seq, 8);
TM_ASSERT_OFFSET(tm_run_page, status, 16);
TM_ASSERT_OFFSET(tm_run_page, flags, 20);
TM_ASSERT_OFFSET(tm_run_page, immediate_exit, 24);
TM_ASSERT_OFFSET(tm_run_page, u, 64);

/* Bit index = vm * 64 + vcpu, so word vm holds that VM's vCPUs. */
struct tm_event_page {
	uint64_t word[512];
};
TM_ASSERT_SIZE(tm_event_page, 4096);

enum tm_vcpu_state {
	TM_VCPU_STOPPED = 0,
	TM_VCPU_READY = 1,
	TM_VCPU_RUNNING = 2,
	TM_VCPU_WAITING = 3,
	TM_VCPU_OFF = 4,		/* not stopped, but powered off by its own VM */
};

struct tm_vcpu_stats {
	uint32_t state;			/* TM_VCPU_* */
	uint32_t reason;		/* TM_EXIT_* of the last stop */
	uint32_t prio;
	uint32_t cpu;			/* where it ran last */
	uint64_t affinity;
	uint64_t slice_us;
	uint64_t run_ticks;
	uint64_t exits;
	uint64_t pages_logged;
	uint64_t ring_full;
	uint64_t drains;
	uint64_t faults;
	uint64_t quota_left;
	uint64_t mmio_exits;
	uint64_t hypercalls;
	uint64_t irqs;
	uint64_t sysreg_traps;
	uint64_t wfi;
	uint64_t ring_used;
	uint64_t rsvd[3];
};
TM_ASSERT_SIZE(tm_vcpu_stats, 160);
TM_ASSERT_OFFSET(tm_vcpu_stats, affinity, 16);
TM_ASSERT_OFFSET(tm_vcpu_stats, rsvd, 136);

/* PVTIME_SET: written by the hypervisor when a vCPU of the VM is scheduled in. */
struct tm_pvtime {
	uint32_t revision;		/* 0 */
	uint32_t attributes;		/* 0 */
	uint64_t stolen_ticks;		/* runnable but not running, since the call */
	uint8_t rsvd[48];
};
TM_ASSERT_SIZE(tm_pvtime, 64);
TM_ASSERT_OFFSET(tm_pvtime, stolen_ticks, 8);

/* Test builds: counts over all CPUs since boot. */
struct tm_counters {
	uint64_t exits;
	uint64_t tlb_flushes;		/* operations that reached the hardware */
	uint64_t tlb_checks;		/* comparisons that the TLB checker made */
	uint64_t dirty_faults;
	uint64_t translation_faults;
	uint64_t ring_pushes;
	uint64_t ring_full_stops;
	uint64_t spills;
	uint64_t hyp_pages_free;
	uint64_t manager_restarts;
	uint64_t log_suppressed;
	uint64_t rsvd[5];
};
TM_ASSERT_SIZE(tm_counters, 128);

#endif
