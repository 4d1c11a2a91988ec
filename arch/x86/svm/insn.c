// SPDX-License-Identifier: Apache-2.0
/*
 * The instruction that caused an exit, where the CPU has no NRIPS and no decode assists. The bytes
 * are the guest's, read again after the exit: they may have changed, so nothing here is trusted
 * beyond the guest itself.
 */
#include <abi/x86.h>
#include <asm/guest.h>

#include "svm.h"

bool svm_insn_get(struct vcpu *v, struct x86_insn *in)
{
	uint8_t bytes[X86_INSN_MAX];
	unsigned n = guest_fetch(v, bytes);

	if (x86_decode(bytes, n, guest_code_bytes(v), in)) {
		return true;
	}
	/* All bytes are there, and it is none that exits: run again, it would exit for ever. */
	if (n == X86_INSN_MAX) {
		inject_ud(v);
	}
	return false;
}

/* INS and OUTS are no more than their prefixes and one byte. */
bool svm_insn_string(struct vcpu *v, struct exit_io *io)
{
	unsigned size = guest_code_bytes(v), n, i;
	uint8_t bytes[X86_INSN_MAX];

	n = guest_fetch(v, bytes);
	io->segment = TM_SEG_DS;
	for (i = 0; i < n && (bytes[i] & 0xfc) != 0x6c; i++) {
		switch (bytes[i]) {
		case 0x26:
		case 0x2e:
		case 0x36:
		case 0x3e:
			/* ES, CS, SS, DS: the order of enum tm_segment_index */
			io->segment = bytes[i] >> 3 & 3;
			break;
		case 0x64:
		case 0x65:
			io->segment = bytes[i] & 1 ? TM_SEG_GS : TM_SEG_FS;
			break;
		case 0x67:
			io->addr_size = size == 4 ? 2 : 4;
			break;
		default:
			break;
		}
	}
	if (!io->addr_size) {
		io->addr_size = (uint8_t)size;
	}
	return i < n;
}
