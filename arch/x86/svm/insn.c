// SPDX-License-Identifier: Apache-2.0
/*
 * The instruction that caused an exit, where the CPU has no NRIPS and no decode assists: length,
 * operands. Only the few that are intercepted: no immediates, memory operands never used, so the
 * prefixes, the opcode and ModRM are the whole of it. The bytes are the guest's, read again after
 * the exit: they may have changed, so nothing here is trusted beyond the guest itself.
 */
#include <abi/x86.h>
#include <asm/guest.h>

#include "svm.h"

#define INSN_MAX 15u

/* True: p is a legacy prefix, noted in *in. */
static bool prefix(uint8_t p, struct svm_insn *in)
{
	switch (p) {
	case 0x26:
		in->segment = TM_SEG_ES;
		return true;
	case 0x2e:
		in->segment = TM_SEG_CS;
		return true;
	case 0x36:
		in->segment = TM_SEG_SS;
		return true;
	case 0x3e:
		in->segment = TM_SEG_DS;
		return true;
	case 0x64:
		in->segment = TM_SEG_FS;
		return true;
	case 0x65:
		in->segment = TM_SEG_GS;
		return true;
	case 0xf0:
		in->lock = true;
		return true;
	case 0x67:
		in->addr_prefix = true;
		return true;
	case 0x66:
	case 0xf2:
	case 0xf3:
		return true;
	default:
		return false;
	}
}

/* 0F xx: which have a ModRM byte, of those that are intercepted. */
static bool has_modrm(uint8_t opcode)
{
	return opcode == 0x01 || (opcode >= 0x20 && opcode <= 0x23);
}

bool svm_insn_get(struct vcpu *v, struct svm_insn *in)
{
	uint8_t b[INSN_MAX];
	unsigned n = guest_fetch(v, b), i = 0;

	*in = (struct svm_insn){.segment = TM_SEG_DS};
	while (i < n && prefix(b[i], in)) {
		i++;
	}
	if (i < n && (b[i] & 0xf0) == 0x40 && guest_mode(v) == MODE_64) {
		in->rex = b[i++];
	}
	if (i >= n) {
		return false;
	}
	in->opcode = b[i++];
	if (in->opcode == 0x0f) {
		if (i >= n) {
			return false;
		}
		in->opcode = b[i++];
		if (has_modrm(in->opcode)) {
			if (i >= n) {
				return false;
			}
			in->modrm = b[i++];
		}
	}
	in->len = (uint8_t)i;
	return true;
}

uint8_t svm_insn_addr_size(struct vcpu *v, const struct svm_insn *in)
{
	unsigned size = guest_code_bytes(v);

	if (in->addr_prefix) {
		size = size == 4 ? 2 : 4;
	}
	return (uint8_t)size;
}
