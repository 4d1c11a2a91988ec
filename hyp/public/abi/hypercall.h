// SPDX-License-Identifier: Apache-2.0
/*
 * Function numbers: group + position. How a number is put into a register is in <abi/arch.h>.
 * After each name: (arguments) -> results. "vm" is a handle (0..511), "id" a vCPU id (0..63);
 * gpa, buf, desc and list are addresses in the caller's guest-physical space; buf, desc and list
 * are 8-byte aligned, a gpa as the call says (the console's two take any).
 * Every call may return TM_CONTINUE: result 1 is the cursor to pass back in the argument named
 * "cursor", else in the last argument (x6 / R9), which starts at 0; result 2 counts what this
 * call did.
 */
#ifndef TM_ABI_HYPERCALL_H
#define TM_ABI_HYPERCALL_H

enum tm_hc {
	/* 0x0000 discovery */
	TM_HC_VERSION = 0x0000,		/* () -> major << 16 | minor */
	TM_HC_FEATURES = 0x0001,	/* () -> TM_FEATURE_* bits */
	TM_HC_CAP_GET = 0x0002,		/* (vm, cap) -> value */
	TM_HC_CAP_ENABLE = 0x0003,	/* (vm, cap, flags, arg) */
	TM_HC_LOG_READ = 0x0004,	/* manager: (buf, len, cursor) -> next cursor, bytes */
	TM_HC_MACHINE = 0x0005,		/* manager: (op): TM_MACHINE_* */

	/* 0x0100 VMs; all for the manager */
	TM_HC_VM_CREATE = 0x0100,	/* (desc, len) -> handle */
	TM_HC_VM_DESTROY = 0x0101,	/* (vm) */
	TM_HC_VM_INFO = 0x0102,		/* (vm, buf, len) */
	TM_HC_VM_NEXT = 0x0103,		/* (after; ~0 = start) -> handle; -ENOENT at the end */
	TM_HC_VM_PAUSE = 0x0104,	/* (vm, TM_PAUSE_* flags) */
	TM_HC_VM_RESUME = 0x0105,	/* (vm) */
	TM_HC_VM_SYNC = 0x0106,		/* (vm) */

	/* 0x0200 vCPUs */
	TM_HC_VCPU_CREATE = 0x0200,	/* (vm, id) -> event bit */
	TM_HC_VCPU_RUN = 0x0201,	/* (vm, id) */
	TM_HC_VCPU_KICK = 0x0202,	/* (vm, id, flags): 0 drain, 1 stop */
	TM_HC_VCPU_REGS_GET = 0x0203,	/* (vm, id, desc, len) */
	TM_HC_VCPU_REGS_SET = 0x0204,	/* (vm, id, desc, len) */
	TM_HC_VCPU_STATS = 0x0205,	/* (vm, id, buf, len) */
	TM_HC_QUOTA_SET = 0x0206,	/* (vm, id, pages; ~0 = none) */
	TM_HC_VCPU_SCHED_SET = 0x0207,	/* (vm, id, prio, affinity, slice_us) */
	TM_HC_VCPU_DESTROY = 0x0208,	/* (vm, id) */

	/* 0x0300 memory */
	TM_HC_SLOT_SET = 0x0300,	/* (vm, desc, len) */
	TM_HC_SLOT_DELETE_COLLECT = 0x0301, /* (vm, slot, buf, len) -> , bits set */
	TM_HC_MEM_TXN = 0x0302,		/* (vm, list, n) */
	TM_HC_SLOT_QUERY = 0x0303,	/* (vm, slot, buf, len) */
	TM_HC_POPULATE = 0x0304,	/* (vm, gpa, src, n) */
	TM_HC_PREFAULT = 0x0305,	/* (vm, gpa, n) */
	TM_HC_PERM_SET = 0x0306,	/* (vm, gpa, n, rwx, level) */
	TM_HC_ATTR_SET = 0x0307,	/* (vm, gpa, n, attrs) */
	TM_HC_MARK_DIRTY = 0x0308,	/* (vm, slot, first, n) */

	/* 0x0400 dirty tracking */
	TM_HC_DIRTY_CONFIG = 0x0400,	/* (vm, ring_entries, TM_DIRTY_* flags) */
	TM_HC_RING_RESET = 0x0401,	/* (vm, cursor) -> cursor, entries reset */
	TM_HC_BITMAP_GET = 0x0402,	/* (vm, slot, buf, len, cursor) -> next page, bits set */
	TM_HC_BITMAP_CLEAR = 0x0403,	/* (vm, desc, len) -> , bits cleared */
	TM_HC_BITMAP_GET_SPARSE = 0x0404, /* (vm, slot, buf, len, cursor) -> next page, pairs */
	TM_HC_BITMAP_SUMMARY = 0x0405,	/* (vm) -> any, dirty_generation, leaves in use */
	TM_HC_DIRTY_RATE = 0x0406,	/* (vm, buf, len) */

	/* 0x0500 mappings into the manager */
	TM_HC_MAP_RUN = 0x0500,		/* (vm, id, gpa) */
	TM_HC_MAP_EVENTS = 0x0501,	/* (gpa, vcpu, vector) -> INTID on arm64 */
	TM_HC_MAP_RING = 0x0502,	/* (vm, id, page, n, gpa) -> reset index, ring entries */
	TM_HC_MAP_GUEST = 0x0503,	/* (vm, guest_gpa, n, gpa, prot) */
	TM_HC_UNMAP = 0x0504,		/* (gpa, n) */

	/* 0x0600 write tracking */
	TM_HC_TRACK_REGISTER = 0x0600,
	TM_HC_TRACK_UNREGISTER = 0x0601,
	TM_HC_TRACK_ADD = 0x0602,
	TM_HC_TRACK_REMOVE = 0x0603,
	TM_HC_MAP_TRACK = 0x0604,

	/* 0x0700 interrupts and device state */
	TM_HC_IRQ_LINE = 0x0700,	/* (vm, line, level): INTID on arm64, GSI on x86 */
	TM_HC_MSI = 0x0701,		/* (vm, addr, data, devid) */
	TM_HC_GIC_STATE = 0x0702,	/* (vm, TM_STATE_*, desc, len): x86: tm_board_state */
	TM_HC_ITS_STATE = 0x0703,	/* (vm, its, op, desc, len) */
	TM_HC_APIC_STATE = 0x0704,	/* (vm, id, TM_STATE_*, desc, len); x86 only */
	TM_HC_TIMER_STATE = 0x0705,	/* (vm, id, TM_STATE_*, desc, len) */
	TM_HC_UART_STATE = 0x0706,	/* (vm, TM_STATE_*, desc, len) */

	/* 0x0800 any VM */
	TM_HC_CONSOLE_WRITE = 0x0800,	/* (gpa, len) -> bytes written */
	TM_HC_CONSOLE_READ = 0x0801,	/* (gpa, len) -> bytes read (0 = none there) */
	TM_HC_YIELD = 0x0802,		/* () */
	TM_HC_PVTIME_SET = 0x0803,	/* (gpa; ~0 = off) of a struct tm_pvtime, 64-byte aligned */

	/* 0x0900 a VM with levels */
	TM_HC_LEVEL_PROTECT = 0x0900,
	TM_HC_LEVEL_SWITCH = 0x0901,

	/* 0x7E00 test builds only */
	TM_HC_FAULT_INJECT = 0x7e00,	/* (site, nth), or (TM_INJECT_PAUSE_COUNT, vm, count) */
	TM_HC_HYP_WRITE = 0x7e01,	/* (vm, gpa, len, value): as a hypervisor-originated writer */
	TM_HC_FORCE_BACKEND = 0x7e02,	/* (vm, backend) */
	TM_HC_COUNTERS = 0x7e03,	/* (buf, len): struct tm_counters */
};

#define TM_VERSION_MAJOR 1u
#define TM_VERSION_MINOR 0u

#define TM_MAX_VMS 512u
#define TM_MAX_VCPUS 64u

/* FAULT_INJECT: not an allocation site; sets the pause counter of a paused VM. */
#define TM_INJECT_PAUSE_COUNT 0x5043u

enum tm_machine_op { TM_MACHINE_OFF = 0, TM_MACHINE_RESET = 1 };
enum tm_state_op { TM_STATE_GET = 0, TM_STATE_SET = 1 };
enum tm_kick_flags { TM_KICK_DRAIN = 0, TM_KICK_STOP = 1 };
enum tm_pause_flags { TM_PAUSE_QUIESCE = 1 };
enum tm_prot { TM_PROT_READ = 1, TM_PROT_WRITE = 2, TM_PROT_EXEC = 4 };
enum tm_backend { TM_BACKEND_WP = 0, TM_BACKEND_DBM = 1, TM_BACKEND_PML = 2 };

/* TM_HC_FEATURES */
enum tm_feature {
	TM_FEATURE_MANAGER = 1,		/* the caller is the manager */
	TM_FEATURE_TEST_BUILD = 2,	/* group 0x7E00 is there */
	TM_FEATURE_DEBUG = 4,		/* run-time checkers are on */
};

/* Capabilities. A value is 0 where the machine or this VM does not have it. */
enum tm_cap {
	TM_CAP_MAX_SLOTS = 0,		/* highest slot id + 1 */
	TM_CAP_NR_AS = 1,		/* address spaces */
	TM_CAP_GPA_BITS = 2,
	TM_CAP_DIRTY_RING = 3,		/* most entries */
	/* bit 0 supported, bit 1 required for this VM when it has a ring, bit 2 never sets a bit */
	TM_CAP_RING_WITH_BITMAP = 4,
	TM_CAP_MANUAL_PROTECT = 5,	/* TM_DIRTY_MANUAL | TM_DIRTY_INITIALLY_SET as supported */
	TM_CAP_SPILL = 6,
	TM_CAP_RING_GEN = 7,
	TM_CAP_BACKENDS = 8,		/* mask of 1 << TM_BACKEND_* */
	TM_CAP_READONLY_SLOT = 9,
	TM_CAP_DELETE_COLLECT = 10,
	TM_CAP_PAUSE_QUIESCE = 11,
	TM_CAP_PVTIME = 12,
	TM_CAP_GIC_VERSION = 13,	/* of the virtual interrupt controller: 2 or 3; 0 on x86 */
	TM_CAP_DMA_ISOLATED = 14,
	TM_CAP_QUOTA = 15,
	TM_CAP_CONSOLE_FOCUS = 16,	/* CAP_ENABLE gives this VM the console input */
	TM_CAP_EXIT_ON_MISSING = 17,
	TM_CAP_PCI_HOLE = 18,
	TM_CAP_PERM_VIEWS = 19,
	TM_CAP_PRIVATE = 20,
	TM_CAP_TRACK = 21,
	TM_CAP_MEM_TXN = 22,
	TM_CAP_PHYS_CPUS = 23,
};

#endif
