// SPDX-License-Identifier: Apache-2.0
/*
 * What the manager's stage-2 shows besides its own RAM: run pages, the event page, rings and
 * MAP_GUEST windows, all inside the window range. A window leaf on a logging slot is armed with
 * the slot's; the first manager store through it sets the bitmap bit (abi.md "Memory").
 * The list is guarded by LOCK_WINDOW; leaves by the manager's stage-2 lock.
 */
#ifndef HYP_WINDOW_H
#define HYP_WINDOW_H

#include <abi/vm.h>
#include <hyp/owner.h>
#include <hyp/pgtable.h>
#include <hyp/types.h>

struct vm;
struct vcpu;
struct s2_fault;

/* The range of manager gpas that MAP_* targets lie in. */
uint64_t window_base(void);
uint64_t window_size(void);

/*
 * Manager RAM: adds or removes [base, base + pages) 1:1 in the manager's stage-2, flush included.
 * Removing has to split large leaves: -TM_ENOMEM, and the range is mapped as before.
 */
int must_check manager_map_ram(hpa_t base, uint64_t pages);
int must_check manager_unmap_ram(hpa_t base, uint64_t pages);
/* Donation: manager-owned -> `to` and out of its map; all or nothing (-TM_EACCES, -TM_ENOMEM). */
int must_check manager_donate(hpa_t base, uint64_t pages, struct owner to);
/* The way back: `from` -> manager-owned and mapped again. The caller has scrubbed the pages. */
int must_check manager_return(hpa_t base, uint64_t pages, struct owner from);

/* Re-arms (write-protects) window leaves that show these pages of vm. Takes and flushes under the
 * manager's stage-2 lock; call without any stage-2 lock held. Bit i: page first + i of the slot. */
void window_arm(struct vm *vm, gpa_t first, uint64_t mask);
void window_arm_range(struct vm *vm, gpa_t first, uint64_t pages);
/* A MAP_GUEST window of vm exists (a filter; exact while nobody maps or unmaps). */
bool window_any(const struct vm *vm);
bool window_any_writable_on(const struct vm *vm, gpa_t first, uint64_t pages);
/* Revokes every window onto these pages (slot delete, move, VM destroy); flush complete. */
void window_revoke(struct vm *vm, gpa_t first, uint64_t pages);
void window_revoke_all(struct vm *vm);
/* The manager died: drop everything. */
void window_reset(void);
/* A fault of the manager inside the window range; a fault_action of fault.h. */
int window_fault(const struct s2_fault *f);

/* windowcalls.c: what a window shows. */
enum window_kind { WINDOW_RUN, WINDOW_EVENTS, WINDOW_RING, WINDOW_GUEST };
/* Hypervisor pages, mapped at once, RW and never executable. vm: NULL for the event page. */
int must_check window_map_pages(enum window_kind kind, struct vm *vm, hpa_t pages_base,
				uint64_t pages, gpa_t at);
/* Guest pages [guest, + pages), all in slots; leaves appear at first touch. slots_lock held. */
int must_check window_map_guest(struct vm *vm, gpa_t guest, uint64_t pages, gpa_t at, bool write);
/* Removes the windows inside the range; -TM_EINVAL when one sticks out, -TM_ENOENT when there is
 * none. Counts removed pages. */
int must_check window_unmap(gpa_t at, uint64_t pages, uint64_t *removed);

#endif
