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

/* Vectors that only acknowledge, stop the timer and note it; in place during SGI and timer loops. */
extern const char bench_vectors_v2[], bench_vectors_v3[];
extern uint64_t bench_gicc;

#endif
