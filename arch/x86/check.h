// SPDX-License-Identifier: Apache-2.0
/* The checks that a guest's state must pass before hardware sees it. Pure; host-tested. */
#ifndef X86_CHECK_H
#define X86_CHECK_H

#include <abi/x86.h>
#include <hyp/types.h>

struct check_state {
	uint64_t rip, rflags, cr0, cr3, cr4, efer, dr7;
	struct tm_segment seg[8];
	struct tm_table gdtr, idtr;
	uint32_t event;			/* as in struct tm_regs; software types too */
	uint32_t blocking;
	bool halted;
	unsigned phys_bits;
};

/* NULL, or what is wrong. Beyond cr4_ok() and efer_ok(), which know what is permitted at all. */
const char *check_state(const struct check_state *s);

#endif
