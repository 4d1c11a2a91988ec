// SPDX-License-Identifier: Apache-2.0
/* The measured loops, in assembly so that their cost is known to the instruction. */
#ifndef GUESTS_BENCH_OPS_H
#define GUESTS_BENCH_OPS_H

#include <stdint.h>

/* Each does its operation n times (n > 0). */
typedef void bench_loop(uint64_t arg, uint64_t n);
bench_loop bench_null, bench_nop64, bench_load32, bench_store_pages;

/* The counter, loop, the counter: the difference. */
uint64_t bench_time(bench_loop *loop, uint64_t arg, uint64_t n);

/* main.c: instructions of one operation; besides: instructions that the loop adds to it. */
uint64_t bench_measure(bench_loop *loop, uint64_t arg, uint64_t besides);
void bench_report(const char *op, uint64_t value);
/* <arch>/ops.c: instructions in so many ticks; operations that need nobody else. */
uint64_t bench_insns(uint64_t ticks);
void bench_alone(void);

/*
 * Tells a measuring emulator which operation follows: hint #(64 + id) is unallocated, so a NOP on
 * every CPU; on x86 a NOP with a displacement. tests/tools/bench.py has the same numbers.
 */
enum bench_op {
	BENCH_OP_NONE = 0,
	BENCH_OP_HYPERCALL_NULL = 1,
	BENCH_OP_PSCI_VERSION = 2,
	BENCH_OP_GICD_TYPER_READ = 3,
	BENCH_OP_SGI_SELF = 4,
	BENCH_OP_TIMER_IRQ = 5,
	BENCH_OP_FIRST_TOUCH_4K = 6,
	BENCH_OP_MMIO_EXIT_MANAGER = 7,
	BENCH_OP_DIRTY_FAULT_WP = 8,
	BENCH_OP_CPUID = 9,
	BENCH_OP_PORT_READ = 10,
	BENCH_OP_APIC_WRITE = 11,
};
#if defined(__x86_64__)
#define BENCH_OP(id) __asm__ volatile("nopl %c0(%%rax)" : : "i"(0x746d0000 + (id)) : "memory")
#else
#define BENCH_OP(id) __asm__ volatile("hint #%0" : : "i"(64 + (id)) : "memory")
#endif

#endif
