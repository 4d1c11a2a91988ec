// SPDX-License-Identifier: Apache-2.0
/* Arithmetic of the emulated instructions (SDM volume 1, 7.3). Pure; host tests compare it with the
 * CPU they run on. */
#ifndef X86_ALU_H
#define X86_ALU_H

#include <asm/decode.h>
#include <stdint.h>

#define ALU_CF 0x001u
#define ALU_PF 0x004u
#define ALU_AF 0x010u
#define ALU_ZF 0x040u
#define ALU_SF 0x080u
#define ALU_OF 0x800u
#define ALU_FLAGS (ALU_CF | ALU_PF | ALU_AF | ALU_ZF | ALU_SF | ALU_OF)

/* a op b with operands of `size` bytes; flags as before the instruction in *flags, and after it on
 * return. The result is what the destination becomes (CMP, TEST, BT: unchanged a). */
uint64_t alu_compute(unsigned op, uint64_t a, uint64_t b, unsigned size, uint64_t *flags);

#endif
