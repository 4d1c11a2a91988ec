// SPDX-License-Identifier: Apache-2.0
/* Host stand-in: the fake architecture's half of a VM (tests/host/fake_arch.c). */
#ifndef ASM_VM_H
#define ASM_VM_H

#include <hyp/types.h>

struct arch_vm {
	bool live;
	uint64_t line_level;	/* of interrupt lines 0..63 */
	uint64_t pulses, console_inputs;
};

#endif
