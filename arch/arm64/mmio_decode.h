// SPDX-License-Identifier: Apache-2.0
/* What a data abort's syndrome says about the access. Pure; tests run it on any host. */
#ifndef ARM64_MMIO_DECODE_H
#define ARM64_MMIO_DECODE_H

#include <stdbool.h>
#include <stdint.h>

struct mmio_insn {
	bool valid;		/* ISV: the rest means something */
	bool cache_op;		/* CM: cache maintenance, no data */
	bool write;
	bool sign;		/* sign-extend a load */
	bool wide;		/* load writes 64 bits, else 32 */
	uint8_t len;
	uint8_t reg;		/* 31: zero register */
};
struct mmio_insn mmio_decode(uint64_t esr);
/* What a store puts on the bus; what a load leaves in its register. */
uint64_t mmio_store_data(const struct mmio_insn *m, uint64_t reg);
uint64_t mmio_load_data(const struct mmio_insn *m, uint64_t data);

#endif
