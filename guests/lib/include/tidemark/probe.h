// SPDX-License-Identifier: Apache-2.0
/*
 * One access or instruction of which a fault is expected: an exception during a probe ends it and
 * is reported instead of ending the program. Probes work on every CPU and do not nest.
 */
#ifndef TIDEMARK_PROBE_H
#define TIDEMARK_PROBE_H

#include <stdint.h>
#include <stdbool.h>

enum tm_probe_kind {
	TM_PROBE_OK = 0,
	TM_PROBE_ABORT = 1,	/* data abort; esr tells which */
	TM_PROBE_FETCH = 2,	/* instruction abort */
	TM_PROBE_UNDEF = 3,	/* undefined instruction, or trapped and reflected as one */
	TM_PROBE_SERROR = 4,
	TM_PROBE_OTHER = 5,
};

struct tm_probe {
	enum tm_probe_kind kind;
	uint64_t value;		/* x0 after an instruction, data of a load */
	uint64_t esr;
	uint64_t far;
};

/* size 1, 2, 4 or 8. */
struct tm_probe tm_probe_read(uint64_t addr, unsigned size);
struct tm_probe tm_probe_write(uint64_t addr, unsigned size, uint64_t value);
/* Runs one instruction word with x0..x5 = a[0..5]; it may change any register but SP's owner. */
struct tm_probe tm_probe_insn(uint32_t insn, const uint64_t a[6]);
/* Calls fn(arg); its result is value. */
struct tm_probe tm_probe_call(uint64_t (*fn)(uint64_t), uint64_t arg);
/* ESR.DFSC or IFSC says: synchronous external abort. */
bool tm_probe_is_external(const struct tm_probe *p);

#endif
