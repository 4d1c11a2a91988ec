// SPDX-License-Identifier: Apache-2.0
//
// vCPU stops seen by the manager. Owns the set of VMs that wait for a collection; one thread. The
// handler runs inside vmm_wait, which the engine calls in the middle of its own collections, so it
// only notes; events_collect does the work from the main loop.

#include <stdio.h>

#include <tidemark/call.h>

#include "events.h"
#include "track.h"

static uint64_t wanted[TM_MAX_VMS / 64];
static bool printed;

bool events_printed(void)
{
	bool was = printed;

	printed = false;
	return was;
}

static const char *shutdown_name(uint32_t type)
{
	static const char *const names[] = {"", "powered off", "asked for a reset", "crashed"};

	return type < sizeof(names) / sizeof(names[0]) ? names[type] : "ended";
}

static void report_stop(const struct vmm_vm *vm, uint32_t id, const struct tm_run_page *run)
{
	uint32_t reason = run->reason;

	printed = true;
	switch (reason) {
	case TM_EXIT_SHUTDOWN:
		printf("\nvm %s: %s\n", vm->name, shutdown_name(run->u.shutdown.type));
		break;
	case TM_EXIT_MEMORY_FAULT:
		printf("\nvm %s vcpu %u: memory fault at %lx (flags %lx)\n", vm->name, (unsigned)id,
		       (unsigned long)run->u.memory_fault.gpa,
		       (unsigned long)run->u.memory_fault.flags);
		break;
	default:
		printf("\nvm %s vcpu %u: stopped, %s (status %d)\n", vm->name, (unsigned)id,
		       vmm_exit_name(reason), (int)run->status);
		break;
	}
}

void events_handle(struct vmm_vm *vm, uint32_t id, struct vmm_vcpu *vcpu, void *arg)
{
	(void)arg;
	if (!vcpu->stopped || (vcpu->run != NULL && vcpu->run->reason == TM_EXIT_DIRTY_RING_FULL)) {
		wanted[vm->handle / 64] |= UINT64_C(1) << vm->handle % 64;
		return;
	}
	if (vcpu->run != NULL && vcpu->run->reason != TM_EXIT_KICKED) {
		report_stop(vm, id, vcpu->run);
	}
}

void events_collect(void)
{
	for (uint32_t vm = 0; vm < TM_MAX_VMS; vm++) {
		struct track *t;

		if ((wanted[vm / 64] >> vm % 64 & 1) == 0) {
			continue;
		}
		wanted[vm / 64] &= ~(UINT64_C(1) << vm % 64);
		t = vmm_find(vm) != NULL ? track_get(vm, NULL) : NULL;
		if (t != NULL) {
			(void)track_collect(t, false, NULL, NULL);
		}
	}
}

int events_run_full_rings(struct vmm_vm *vm)
{
	for (uint32_t id = 0; id < TM_MAX_VCPUS; id++) {
		struct vmm_vcpu *v = &vm->vcpu[id];

		if (v->exists && v->run != NULL && v->run->reason == TM_EXIT_DIRTY_RING_FULL) {
			int err = vmm_resume(vm, id);

			// -EBUSY: it is paused; hv_resume comes here again.
			if (err != 0 && err != -TM_EALREADY && err != -TM_EBUSY) {
				return err;
			}
		}
	}
	return 0;
}
