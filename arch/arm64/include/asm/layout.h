// SPDX-License-Identifier: Apache-2.0
/*
 * The hypervisor's virtual addresses. One table (TTBR0_EL2, 48 bits, 4 levels):
 *   0 .. 2^47              identity: RAM read-write, never executable; devices
 *   HYP_VA_BASE            the image, W^X, linked here, loaded at any 2 MiB boundary
 *   HYP_STACK_BASE         one stack a CPU: a hole, then the stack in the upper half of its stride
 * Also read by the linker script and by assembly: constants only.
 */
#ifndef ASM_LAYOUT_H
#define ASM_LAYOUT_H

#define HYP_VA_BASE 0x800000000000
#define HYP_STACK_BASE 0x804000000000

/* The bit HYP_STACK_SHIFT of a good stack pointer is set: the entry code tests just that. */
#define HYP_STACK_SHIFT 15
#define HYP_STACK_SIZE (1 << HYP_STACK_SHIFT)
#define HYP_STACK_STRIDE (2 << HYP_STACK_SHIFT)

/* The slot behind the last CPU's (BOOT_MAX_CPUS): where a CPU reports that its own overflowed. */
#define HYP_STACK_EMERGENCY 64

#endif
