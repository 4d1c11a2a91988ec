// SPDX-License-Identifier: Apache-2.0
/*
 * The only code that touches guest memory. guest_read/guest_write go through the VM's slots (the
 * manager's: its own RAM or a window), page by page; a write marks what it wrote, after the store,
 * inside the writer section. Failures are synchronous: -TM_EFAULT (nothing there, or
 * read-only), -TM_ENXIO (ring-exclusive VM and no vCPU of its own is writing: refused before memory
 * changes, R-7), -TM_EBUSY (quiesced). *fault_gpa, when given, says where.
 */
#ifndef HYP_GUEST_COPY_H
#define HYP_GUEST_COPY_H

#include <hyp/types.h>

struct vm;
struct vcpu;

int must_check guest_read(struct vm *vm, gpa_t a, void *buf, uint64_t len);
/* by: the vCPU of vm on whose behalf this CPU writes, else NULL. All-or-nothing up to one page;
 * longer writes stop at the first bad page with the pages before it written and marked. */
int must_check guest_write(struct vm *vm, struct vcpu *by, gpa_t a, const void *buf, uint64_t len,
			   uint64_t *fault_gpa);
/* Would guest_write of this range succeed now? Used to check buffers before bits are consumed. */
int must_check guest_check_writable(struct vm *vm, gpa_t a, uint64_t len);

#endif
