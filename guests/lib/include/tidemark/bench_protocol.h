// SPDX-License-Identifier: Apache-2.0
/*
 * guests/bench under guests/benchmgr: the manager puts an order into a shared page (bootargs
 * ctl=<gpa>), the guest does it between its markers and answers.
 */
#ifndef TIDEMARK_BENCH_PROTOCOL_H
#define TIDEMARK_BENCH_PROTOCOL_H

#include <stdint.h>
#include <abi/assert.h>

#define BENCH_MAGIC 0x48434e42u

enum bench_cmd {
	BENCH_STORE_PAGES = 1,	/* one store to each of n pages from arg on */
	BENCH_TOUCH_PAGES = 4,	/* the same, to pages that nobody touched yet */
	BENCH_LOAD = 2,		/* n loads of 4 bytes from arg */
	BENCH_END = 3,
};

struct bench_control {
	uint32_t magic;
	uint32_t cmd;
	uint64_t arg;
	uint64_t n;
	uint64_t go;		/* the manager counts it up with release */
	uint64_t done;		/* the guest follows with release */
	uint64_t insns;		/* of all n, marker overhead subtracted */
};
TM_ASSERT_SIZE(bench_control, 48);

#endif
