// SPDX-License-Identifier: Apache-2.0
/* Between exception.c and panic.c. */
#ifndef ASM_PANIC_H
#define ASM_PANIC_H

struct x86_frame;

/* What arch_panic_dump() on this CPU shall show; NULL, the start value: where it is called from. */
void panic_set_frame(const struct x86_frame *f);

#endif
