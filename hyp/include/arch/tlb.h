// SPDX-License-Identifier: Apache-2.0
/*
 * Contract: TLB maintenance; the only site of such instructions. On return no CPU uses a stale
 * translation of the range any more (amendment R-25). pages == 0: the whole VMID.
 */
#ifndef ARCH_TLB_H
#define ARCH_TLB_H

#include <hyp/types.h>

struct stage2;

void arch_tlb_flush_range(struct stage2 *s2, gpa_t a, uint64_t pages);
void arch_tlb_flush_all(struct stage2 *s2);
/* This CPU only: a stale read-only entry after a grant. */
void arch_tlb_flush_local(struct stage2 *s2, gpa_t a);

/* Stage-2 geometry and format of this machine. */
struct pgtable_format;
const struct pgtable_format *arch_stage2_format(void);
unsigned arch_stage2_ia_bits(void);
unsigned arch_stage2_root_level(void);
unsigned arch_stage2_root_pages(void);
uint16_t arch_vmid_count(void);
/* Dirty back ends of this machine: 1 << TM_BACKEND_*; write-protect always. */
unsigned arch_dirty_backends(void);
/* Largest leaf level: 2 = 1 GiB. */
unsigned arch_stage2_max_leaf(void);

#endif
