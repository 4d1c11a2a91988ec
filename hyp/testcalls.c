// SPDX-License-Identifier: Apache-2.0
/*
 * Group 0x7E00, in test builds only: the dispatcher does not know these numbers otherwise and the
 * linker drops this file.
 */
#include <arch/cpu.h>
#include <hyp/bootvms.h>
#include <hyp/dirty_hw.h>
#include <hyp/guest_copy.h>
#include <hyp/hypercall.h>
#include <hyp/log.h>
#include <hyp/page_alloc.h>
#include <hyp/sched.h>
#include <hyp/string.h>
#include <hyp/test_hooks.h>
#include <hyp/vm.h>

/* (vm, gpa, len <= 512, value): len bytes written as a hypervisor-originated writer would. */
int64_t hc_hyp_write(struct hc_call *c)
{
	uint64_t buf[64];
	struct vm *vm;
	int err;

	if (c->arg[2] > sizeof(buf)) {
		return -TM_E2BIG;
	}
	vm = vm_get(c->arg[0]);
	if (!vm) {
		return -TM_ENOENT;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(buf); i++) {
		buf[i] = c->arg[3] + i;
	}
	err = vm->is_manager ? -TM_EACCES :
	      guest_write(vm, NULL, gpa(c->arg[1]), buf, c->arg[2], NULL);
	vm_put(vm);
	return err;
}

int64_t hc_force_backend(struct hc_call *c)
{
	struct vm *vm = vm_get(c->arg[0]);
	int err;

	if (!vm) {
		return -TM_ENOENT;
	}
	err = vm->is_manager ? -TM_EACCES : dirty_hw_force(vm, c->arg[1]);
	vm_put(vm);
	return err;
}

/* C-104: (TM_INJECT_PAUSE_COUNT, vm, count) presets the pause counter of a paused VM. */
static int64_t preset_pauses(struct hc_call *c)
{
	struct vm *vm = vm_get(c->arg[1]);
	int err;

	if (!vm) {
		return -TM_ENOENT;
	}
	err = vm->is_manager ? -TM_EACCES : vm_pause_preset(vm, c->arg[2]);
	vm_put(vm);
	return err;
}

int64_t hc_fault_inject(struct hc_call *c)
{
	if (c->arg[0] == TM_INJECT_PAUSE_COUNT) {
		return preset_pauses(c);
	}
	if (c->arg[0] > UINT32_MAX) {
		return -TM_EINVAL;
	}
	return inject_configure((uint32_t)c->arg[0], c->arg[1]);
}

static void count_vm(const struct vm *vm, struct tm_counters *out)
{
#if DEBUG
	out->tlb_checks += vm->s2.check.comparisons;
#endif
	out->ring_pushes += vm->dirty.pages_ring;
	out->spills += vm->dirty.spills;
	for (unsigned i = 0; i < vm->vcpus_max; i++) {
		const struct vcpu *v = __atomic_load_n(&vm->vcpu[i], __ATOMIC_ACQUIRE);

		if (v) {
			out->dirty_faults += v->stats.pages_logged;
			out->translation_faults += v->stats.faults - v->stats.pages_logged;
			out->ring_full_stops += v->stats.ring_full;
		}
	}
}

int64_t hc_counters(struct hc_call *c)
{
	struct tm_counters out;
	struct vm *vm;

	memset(&out, 0, sizeof(out));
	for (unsigned i = 0; i < pcpu_count; i++) {
		out.exits += pcpus[i].exits;
		out.tlb_flushes += pcpus[i].tlb_flushes;
	}
	for (int h = -1; (vm = vm_next(h)) != NULL; h = vm->handle, vm_put(vm)) {
		count_vm(vm, &out);
	}
	out.hyp_pages_free = page_alloc_free_count();
	out.manager_restarts = manager_restarts();
	out.log_suppressed = log_suppressed_total();
	return hc_write_struct(c, c->arg[0], c->arg[1], &out, sizeof(out));
}
