// SPDX-License-Identifier: Apache-2.0
/*
 * What the manager's stage-2 shows besides its own RAM: run pages, the event page, rings and
 * MAP_GUEST windows, all inside the window range. A window leaf on a logging slot is armed with
 * the slot's; the first manager store through it sets the bitmap bit (abi.md "Memory").
 * The list is guarded by LOCK_WINDOW; leaves by the manager's stage-2 lock.
 */
#ifndef HYP_WINDOW_H
#define HYP_WINDOW_H

#include <hyp/pgtable.h>
#include <hyp/types.h>

struct vm;
struct vcpu;
struct s2_fault;

/* The range of manager gpas that MAP_* targets lie in. */
uint64_t window_base(void);
uint64_t window_size(void);

/* Manager RAM: adds or removes [base, base + pages) 1:1 in the manager's stage-2, flush included. */
int must_check manager_map_ram(hpa_t base, uint64_t pages);
void manager_unmap_ram(hpa_t base, uint64_t pages);

/* Re-arms (write-protects) window leaves that show these pages of vm. Takes and flushes under the
 * manager's stage-2 lock; call without any stage-2 lock held. Bit i: page first + i of the slot. */
void window_arm(struct vm *vm, gpa_t first, uint64_t mask);
void window_arm_range(struct vm *vm, gpa_t first, uint64_t pages);
bool window_any(const struct vm *vm);
bool window_any_writable_on(const struct vm *vm, gpa_t first, uint64_t pages);
/* Revokes every window onto these pages (slot delete, move, VM destroy); flush complete. */
void window_revoke(struct vm *vm, gpa_t first, uint64_t pages);
void window_revoke_all(struct vm *vm);
/* The manager died: drop everything. */
void window_reset(void);
/* A fault of the manager inside the window range; a fault_action of fault.h. */
int window_fault(struct vcpu *v, const struct s2_fault *f);

#endif
