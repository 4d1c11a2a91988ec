// SPDX-License-Identifier: Apache-2.0
/* What the vmm*.c files share. */
#ifndef GUESTS_LIB_VMM_INTERNAL_H
#define GUESTS_LIB_VMM_INTERNAL_H

#include <tidemark/vmm.h>

/* Notes the step and the status when it is an error; returns status. */
int vmm_note(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Whole pages of the window range, naturally aligned up to 2 MiB. */
int vmm_window_take(uint64_t size, uint64_t *gpa);
void vmm_window_give(uint64_t gpa, uint64_t size);
struct vmm_vm *vmm_new(uint32_t handle);
void vmm_unmap_vcpus(struct vmm_vm *vm);

#define PAGE ((uint64_t)TM_PAGE_SIZE)
#define BIG_PAGE 0x200000u

static inline uint64_t page_up(uint64_t v)
{
	return (v + PAGE - 1) & ~(PAGE - 1);
}

#endif
