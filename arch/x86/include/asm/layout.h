// SPDX-License-Identifier: Apache-2.0
/*
 * The hypervisor's virtual addresses. One table (4 levels), the upper half only:
 *   HYP_DIRECT_BASE   all RAM but the image, read-write, never executable; devices, uncached
 *   HYP_WINDOW_BASE   boot only: what firmware and loader left in memory, read-only
 *   HYP_STACK_BASE    a CPU's stacks, a stride each
 *   HYP_VA_BASE       the image, W^X, linked here, loaded at any page
 * A stride of stacks: three small ones for exceptions that must not trust the stack pointer
 * (interrupt stack table), a hole below each, a large hole, and the CPU's stack at the top.
 * Also read by the linker script and by assembly: constants only.
 */
#ifndef ASM_LAYOUT_H
#define ASM_LAYOUT_H

#define HYP_DIRECT_BASE 0xffff800000000000
#define HYP_DIRECT_BITS 46		/* up to HYP_WINDOW_BASE: physical addresses below 64 TiB */
#define HYP_WINDOW_BASE 0xffffc00000000000
#define HYP_STACK_BASE 0xffffff0000000000
#define HYP_VA_BASE 0xffffffff80000000

#define HYP_STACK_SIZE 0x8000
#define HYP_STACK_STRIDE 0x20000
#define HYP_IST_SIZE 0x2000
#define HYP_IST_STRIDE 0x4000
#define HYP_IST_COUNT 3			/* 1: #DF, 2: NMI, 3: #MC */

/* Where Multiboot puts the image. */
#define HYP_LOAD_ADDR 0x200000

#endif
