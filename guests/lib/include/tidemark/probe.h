// SPDX-License-Identifier: Apache-2.0
/*
 * One access or instruction of which a fault is expected: an exception during a probe ends it and
 * is reported instead of ending the program. Probes work on every CPU and do not nest.
 */
#ifndef TIDEMARK_PROBE_H
#define TIDEMARK_PROBE_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>

enum tm_probe_kind {
	TM_PROBE_OK = 0,
	TM_PROBE_ABORT = 1,	/* data abort, page fault; esr tells which */
	TM_PROBE_FETCH = 2,	/* instruction abort */
	TM_PROBE_UNDEF = 3,	/* undefined instruction, or trapped and reflected as one */
	TM_PROBE_SERROR = 4,	/* x86: NMI */
	TM_PROBE_OTHER = 5,
	TM_PROBE_GP = 6,	/* x86: general protection */
};

struct tm_probe {
	enum tm_probe_kind kind;
	uint64_t value;		/* x0 or RAX after an instruction, data of a load */
	uint64_t esr;		/* x86: vector << 32 | error code */
	uint64_t far;		/* x86: CR2 of a page fault */
};

/* size 1, 2, 4 or 8. */
struct tm_probe tm_probe_read(uint64_t addr, unsigned size);
struct tm_probe tm_probe_write(uint64_t addr, unsigned size, uint64_t value);
/* arm64: one instruction word with x0..x5 = a[0..5]; it may change any register but SP's owner. */
struct tm_probe tm_probe_insn(uint32_t insn, const uint64_t a[6]);
/* x86: at most 31 bytes of code with RDI, RSI, RDX, RCX, R8, R9 = a[0..5]. */
struct tm_probe tm_probe_code(const void *code, size_t size, const uint64_t a[6]);
/* Calls fn(arg); its result is value. */
struct tm_probe tm_probe_call(uint64_t (*fn)(uint64_t), uint64_t arg);
/* ESR.DFSC or IFSC says: synchronous external abort. Never on x86, where memory of nobody reads as
 * ones. */
bool tm_probe_is_external(const struct tm_probe *p);
/* There is memory at the address (8-byte aligned, nobody else writes to it now). */
bool tm_gpa_is_ram(uint64_t gpa);

#endif
