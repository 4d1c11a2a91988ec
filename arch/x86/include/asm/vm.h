// SPDX-License-Identifier: Apache-2.0
/*
 * The x86 half of a VM: the shared part of its board, and of its stage 2 what TLB maintenance needs.
 */
#ifndef ASM_VM_H
#define ASM_VM_H

#include <asm/board.h>
#include <asm/vcpu.h>
#include <hyp/types.h>

struct arch_vm {
	struct board board;
};

#endif
