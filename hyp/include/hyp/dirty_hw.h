// SPDX-License-Identifier: Apache-2.0
/*
 * Dirty back ends that let hardware mark what is written; see dirty_hw.c. A VM's back end is chosen
 * when it is made and constant once it has a vCPU.
 */
#ifndef HYP_DIRTY_HW_H
#define HYP_DIRTY_HW_H

#include <abi/hypercall.h>
#include <hyp/err.h>
#include <hyp/types.h>

struct stage2;
struct vcpu;
struct vm;

#define DIRTY_HW_LOG_ENTRIES 512u	/* most that one exit can bring (VMX PML, SDM volume 3, 29.3.6) */

/* The best one that this machine has for any configuration. Before the first vCPU. */
void dirty_hw_choose(struct vm *vm);
/* FORCE_BACKEND: -TM_EINVAL no such, -TM_EOPNOTSUPP not on this machine or not for this VM's
 * DIRTY_CONFIG, -TM_EBUSY once there is a vCPU or a slot. */
int must_check dirty_hw_force(struct vm *vm, uint64_t backend);
/* May this VM have that DIRTY_CONFIG? A ring too small for one full hardware buffer is asked
 * for: the VM falls back to write-protect unless its back end was forced. */
bool dirty_hw_allows(struct vm *vm, uint64_t ring_entries, uint64_t flags);
/*
 * What hardware logged of this vCPU, from its CPU at every exit that brings any: `gpa` of n writes.
 * After the CPU has told others that it is out of the guest's translations (a flush may wait for that
 * with the stage-2 lock held), before guest_exit_begin() (VM_SYNC takes that as proof).
 */
void dirty_hw_logged(struct vcpu *v, const uint64_t *gpas, unsigned n);
/* Everything that hardware knows of this VM's writes so far is in the log on return. */
void dirty_hw_drain(struct vm *vm);
/* A leaf that hardware had marked went away. Stage-2 lock held. */
void dirty_hw_leaf_gone(struct stage2 *s2, gpa_t a);
/* Ring entries to keep free for one full hardware buffer. */
uint32_t dirty_hw_reserve(const struct vm *vm);

#endif
