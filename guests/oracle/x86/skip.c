// SPDX-License-Identifier: Apache-2.0
//
// Stepping over a store of guests/dirty: its length, by the list of dirty/x86/stores.h. The guest's
// addresses are guest-physical ones.

#include <string.h>
#include "../oracle.h"

#define RFLAGS_ZF 0x40u

bool skip_store(struct world *w, struct tm_regs *regs)
{
	static const struct {
		uint8_t length;
		uint8_t bytes[5];
	} known[] = {
		{3, {0x48, 0x89, 0x37}},		/* mov %rsi, (%rdi) */
		{3, {0x40, 0x88, 0x37}},		/* mov %sil, (%rdi) */
		{3, {0x0f, 0x11, 0x07}},		/* movups %xmm0, (%rdi) */
		{3, {0xf3, 0x48, 0xab}},		/* rep stosq */
		{5, {0xf0, 0x48, 0x0f, 0xb1, 0x37}},	/* lock cmpxchg %rsi, (%rdi) */
		{5, {0xf0, 0x48, 0x0f, 0xc1, 0x37}},	/* lock xadd %rsi, (%rdi) */
	};
	uint8_t code[8];

	if (vmm_guest_read(w->vm, regs->rip, code, sizeof(code)) != 0) {
		return false;
	}
	for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (memcmp(code, known[i].bytes, known[i].length) == 0) {
			regs->rip += known[i].length;
			/* As if the comparison had held: the loop around it ends. */
			regs->rflags |= RFLAGS_ZF;
			return true;
		}
	}
	return false;
}
