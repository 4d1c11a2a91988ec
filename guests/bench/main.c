// SPDX-License-Identifier: Apache-2.0
//
// Costs of single operations as this guest sees them, for runs under -icount shift=0, where one
// instruction takes one nanosecond: the virtual counter (on x86 the TSC, there and in Bochs) then
// counts instructions, the hypervisor's included. On arm64 a counter tick is several instructions
// long, so each sample is a batch. <arch>/ops.S has the loops, <arch>/ops.c the machine's own ones.
// bootargs: touch=<gpa> touch_pages=<n>  memory that nobody touched yet, for first_touch_4k
//           ctl=<gpa>                    take orders from guests/benchmgr instead
//           force                        go on when this is not an icount run

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tidemark/arch.h>
#include <tidemark/bench_protocol.h>
#include <tidemark/call.h>
#include <tidemark/guest.h>
#include <tidemark/irq.h>
#include "ops.h"

#define SAMPLES 33
#define BATCH 64u

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static uint64_t median(uint64_t *v, unsigned n)
{
	qsort(v, n, sizeof(v[0]), by_value);
	return v[n / 2];
}

static uint64_t null_ticks(uint64_t n)
{
	uint64_t v[SAMPLES];

	for (unsigned i = 0; i < SAMPLES; i++) {
		v[i] = bench_time(bench_null, 0, n);
	}
	return median(v, SAMPLES);
}

/* Ticks of n operations to instructions of one; besides: instructions that the loop adds. */
static uint64_t per_op(uint64_t ticks, uint64_t n, uint64_t besides)
{
	uint64_t null = null_ticks(n);
	uint64_t net = ticks > null ? ticks - null : 0;
	uint64_t insns = (bench_insns(net) + n / 2) / n;

	return insns > besides ? insns - besides : 0;
}

void bench_report(const char *op, uint64_t value)
{
	printf("bench: op=%s how=marker unit=insns value=%llu\n", op, (unsigned long long)value);
}

uint64_t bench_measure(bench_loop *loop, uint64_t arg, uint64_t besides)
{
	uint64_t v[SAMPLES];

	for (unsigned i = 0; i < SAMPLES; i++) {
		v[i] = bench_time(loop, arg, BATCH);
	}
	return per_op(median(v, SAMPLES), BATCH, besides);
}

/* 64 nops must cost 64: else the counter does not count instructions. */
static bool prove(void)
{
	uint64_t cost = bench_measure(bench_nop64, 0, 0);

	printf("bench: nops=64 cost=%llu\n", (unsigned long long)cost);
	if (cost == 64) {
		return true;
	}
	printf("bench: this is no icount run (-icount shift=0)\n");
	return strstr(tm_boot.bootargs, "force") != NULL;
}

/* Fresh pages in each sample. */
static void first_touch(void)
{
	uint64_t v[SAMPLES];
	uint64_t pages = tm_bootarg_u64("touch_pages", SAMPLES * BATCH);
	uint64_t at = tm_bootarg_u64("touch", 0);
	unsigned n = 0;
	uint64_t value;

	while (n < SAMPLES && (n + 1) * BATCH <= pages) {
		BENCH_OP(BENCH_OP_FIRST_TOUCH_4K);
		v[n++] = bench_time(bench_store_pages, at, BATCH);
		BENCH_OP(BENCH_OP_NONE);
		at += (uint64_t)BATCH * TM_PAGE_SIZE;
	}
	value = n != 0 ? per_op(median(v, n), BATCH, 1) : 0;
	if (value < 16) {
		printf("bench: first_touch_4k: this memory does not come page by page\n");
		return;
	}
	bench_report("first_touch_4k", value);
}

static void alone(void)
{
	bench_alone();
	if (tm_bootarg_u64("touch", 0) != 0) {
		first_touch();
	}
}

/* --- under benchmgr --------------------------------------------------------------------------- */

static void obey(struct bench_control *c)
{
	uint64_t done = c->done;

	(void)tm_irq_init();
	for (;;) {
		uint64_t go = __atomic_load_n(&c->go, __ATOMIC_ACQUIRE);
		uint64_t n = c->n;
		uint64_t ticks;
		uint64_t null;

		if (go == done) {
			tm_sleep_us(100);
			continue;
		}
		if (c->cmd == BENCH_END) {
			return;
		}
		null = null_ticks(n);
		if (c->cmd == BENCH_LOAD) {
			BENCH_OP(BENCH_OP_MMIO_EXIT_MANAGER);
			ticks = bench_time(bench_load32, c->arg, n);
		} else if (c->cmd == BENCH_TOUCH_PAGES) {
			BENCH_OP(BENCH_OP_FIRST_TOUCH_4K);
			ticks = bench_time(bench_store_pages, c->arg, n);
		} else {
			BENCH_OP(BENCH_OP_DIRTY_FAULT_WP);
			ticks = bench_time(bench_store_pages, c->arg, n);
		}
		BENCH_OP(BENCH_OP_NONE);
		ticks = ticks > null ? ticks - null : 0;
		c->insns = bench_insns(ticks) - (c->cmd == BENCH_LOAD ? 0 : n);
		done = go;
		__atomic_store_n(&c->done, go, __ATOMIC_RELEASE);
	}
}

int main(void)
{
	uint64_t ctl = tm_bootarg_u64("ctl", 0);
	struct bench_control *c = (struct bench_control *)(uintptr_t)ctl;

	if (!prove()) {
		return 1;
	}
	if (ctl == 0) {
		alone();
	} else if (c->magic == BENCH_MAGIC) {
		obey(c);
	}
	printf("bench: done\n");
	return 0;
}
