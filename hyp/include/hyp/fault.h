// SPDX-License-Identifier: Apache-2.0
/*
 * Stage-2 fault policy: RAM, logged RAM, read-only, MMIO, nothing. Decides once, under the stage-2
 * lock. arch/<a>/exit.c turns the hardware's exit into a struct s2_fault and acts on the answer.
 */
#ifndef HYP_FAULT_H
#define HYP_FAULT_H

#include <hyp/types.h>

struct vcpu;

enum fault_access { ACCESS_READ = 1, ACCESS_WRITE = 2, ACCESS_EXEC = 4 };

struct s2_fault {
	gpa_t gpa;		/* byte address */
	uint8_t access;		/* one of enum fault_access; a stage-1 walk's permission fault is a write */
	bool ptw;		/* on a stage-1 table walk */
	bool permission;	/* hardware found a valid leaf that forbids */
};

enum fault_action {
	FAULT_RETRY,		/* mapped or granted: enter the guest again */
	FAULT_EMULATE,		/* a device in the hypervisor: mmio.h */
	FAULT_MMIO,		/* exit to the manager */
	FAULT_ABORT,		/* nothing there: external abort / all-ones */
	FAULT_STOP,		/* the vCPU has been stopped (run page is filled) */
};

enum fault_action fault_handle(struct vcpu *v, const struct s2_fault *f);
/* PREFAULT: as if each page had been read; no dirty record. Returns pages done; fewer when
 * a page is in no slot or memory is short. */
struct vm;
uint64_t must_check fault_prefault(struct vm *vm, gpa_t a, uint64_t pages);
/* The same for the manager's windows and its own RAM lives in window.c and is called from here. */

#endif
