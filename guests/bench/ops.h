// SPDX-License-Identifier: Apache-2.0
/* The measured loops, in assembly so that their cost is known to the instruction. */
#ifndef GUESTS_BENCH_OPS_H
#define GUESTS_BENCH_OPS_H

#include <stdint.h>

/* Each does its operation n times (n > 0). */
typedef void bench_loop(uint64_t arg, uint64_t n);
bench_loop bench_null, bench_nop64, bench_hvc, bench_load32, bench_store_pages, bench_sgi_v2,
	bench_sgi_v3, bench_timer;

/* isb; mrs cntvct; loop; isb; mrs cntvct: the difference. */
uint64_t bench_time(bench_loop *loop, uint64_t arg, uint64_t n);

/* Vectors that acknowledge, stop the timer and note it; in place during SGI and timer loops. */
extern const char bench_vectors_v2[], bench_vectors_v3[];
extern uint64_t bench_gicc;

/*
 * Tells a measuring emulator which operation follows: hint #(64 + id) is unallocated, so a NOP on
 * every CPU. tests/tools/bench.py has the same numbers.
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
};
#define BENCH_OP(id) __asm__ volatile("hint #%0" : : "i"(64 + (id)) : "memory")

#endif
