// SPDX-License-Identifier: Apache-2.0
/*
 * Data-abort syndrome -> access. Pure: no state, runs on the host in tests; inline, because every
 * device access goes through it. Only what ISS says is believed (Arm ARM D17.2.37, "ISS encoding for
 * an exception from a Data Abort"); with ISV = 0 nothing is guessed, the caller stops the vCPU.
 */
#ifndef ARM64_MMIO_DECODE_H
#define ARM64_MMIO_DECODE_H

#include <stdbool.h>
#include <stdint.h>

#define ISS_ISV (1u << 24)
#define ISS_SAS(iss) (((iss) >> 22) & 3u)
#define ISS_SSE (1u << 21)
#define ISS_SRT(iss) (((iss) >> 16) & 31u)
#define ISS_SF (1u << 15)
#define ISS_CM (1u << 8)
#define ISS_WNR (1u << 6)

struct mmio_insn {
	bool valid;		/* ISV: the rest means something */
	bool cache_op;		/* CM: cache maintenance, no data */
	bool write;
	bool sign;		/* sign-extend a load */
	bool wide;		/* load writes 64 bits, else 32 */
	uint8_t len;
	uint8_t reg;		/* 31: zero register */
};

static inline struct mmio_insn mmio_decode(uint64_t esr)
{
	uint32_t iss = (uint32_t)esr & 0x1ffffffu;
	struct mmio_insn m = {
		.valid = iss & ISS_ISV,
		.cache_op = iss & ISS_CM,
		/* Cache maintenance reports WnR = 1 but stores nothing. */
		.write = (iss & ISS_WNR) && !(iss & ISS_CM),
	};

	if (m.valid) {
		m.len = (uint8_t)(1u << ISS_SAS(iss));
		m.sign = iss & ISS_SSE;
		m.wide = iss & ISS_SF;
		m.reg = (uint8_t)ISS_SRT(iss);
	}
	return m;
}

static inline uint64_t mmio_low_bytes(uint64_t val, unsigned len)
{
	__builtin_assume(len >= 1 && len <= 8);
	return val & (~0ull >> (64 - 8 * len));
}

/* What a store puts on the bus; what a load leaves in its register. */
static inline uint64_t mmio_store_data(const struct mmio_insn *m, uint64_t reg)
{
	return mmio_low_bytes(reg, m->len);
}

static inline uint64_t mmio_load_data(const struct mmio_insn *m, uint64_t data)
{
	data = mmio_low_bytes(data, m->len);
	if (m->sign && m->len < 8 && (data >> (8 * m->len - 1)) & 1) {
		data |= ~0ull << (8 * m->len);
	}
	return m->wide ? data : data & 0xffffffffu;
}

#endif
