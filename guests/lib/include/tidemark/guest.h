// SPDX-License-Identifier: Apache-2.0
/*
 * What every guest program has when main() starts: MMU and caches on with an identity map of
 * 512 GiB (arm64: the first GiB is device memory), exception vectors, a heap, stdio on the console,
 * its device tree. Virtual addresses are guest-physical addresses.
 */
#ifndef TIDEMARK_GUEST_H
#define TIDEMARK_GUEST_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <abi/tidemark.h>

#define TM_GUEST_RANGES 16
#define TM_GUEST_CPUS 64

/* Read from the device tree before main. */
struct tm_boot {
	const void *dtb;
	uint64_t dtb_size;
	const char *bootargs;
	struct tm_range mem[TM_GUEST_RANGES];	/* /memory */
	uint32_t mem_count;
	struct tm_range rsvd[TM_GUEST_RANGES];	/* /reserved-memory and the reserve map */
	uint32_t rsvd_count;
	struct tm_range image;			/* this program, heap and stacks included */
	struct tm_range initrd;			/* size 0: none */
	uint64_t mpidr[TM_GUEST_CPUS];		/* by CPU index, in the tree's order; x86: APIC id */
	uint32_t cpu_count;
	uint32_t gic_version;			/* 2, 3, or 0 when the tree has none */
	struct tm_range gicd;
	struct tm_range gicr;			/* GICv3 */
	struct tm_range gicc;			/* GICv2 */
	uint64_t uart;				/* PL011, 0: none */
	struct tm_range window;			/* where MAP_* may map; size 0: not the manager */
	uint32_t max_vms;
	uint32_t max_vcpus;
	uint32_t restart_count;			/* managers that died before this one */
};
extern struct tm_boot tm_boot;

/* "key=value" of the bootargs. Numbers may be 0x.. and end in K, M or G. */
bool tm_bootarg(const char *key, char *value, size_t size);
uint64_t tm_bootarg_u64(const char *key, uint64_t otherwise);

/* Ends this VM. exit() and returning from main power off; a nonzero code is printed first. */
_Noreturn void tm_power_off(void);
_Noreturn void tm_reset(void);
/* Prints "guest CRASH: ..." and powers off. */
_Noreturn void tm_crash(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Index of this CPU in tm_boot.mpidr; the boot CPU is 0 whatever its place in the tree. */
uint32_t tm_cpu_index(void);
/*
 * Starts a CPU by PSCI CPU_ON or INIT-SIPI on a stack of its own; fn's return turns it off
 * (CPU_OFF), and it may then be started again. Returns 0 or a PSCI error, on x86 too. fn must not
 * use stdio or malloc: newlib is built for one thread. tm_console_puts is safe on any CPU.
 */
int tm_cpu_start(uint32_t index, void (*fn)(void *arg), void *arg);
_Noreturn void tm_cpu_off(void);

/* Called for an exception that no probe expects, before the crash dump; true: resume at *pc.
 * esr and far are as in struct tm_probe. */
typedef bool (*tm_fault_hook)(uint64_t esr, uint64_t far, uint64_t *pc);
void tm_set_fault_hook(tm_fault_hook hook);

/* A spinlock, for programs with several CPUs. */
struct tm_lock {
	uint32_t held;
};
void tm_lock(struct tm_lock *l);
void tm_unlock(struct tm_lock *l);

#endif
