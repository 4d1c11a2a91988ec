// SPDX-License-Identifier: Apache-2.0
//
// Manager side: run pages, rings and events. The event bit is a hint, the run page is the truth:
// a stop is new when exit_seq (read with acquire) differs from the one handled last.

#include <tidemark/arch.h>
#include <tidemark/call.h>
#include <tidemark/irq.h>
#include "vmm_internal.h"

static int map_ring(struct vmm_vm *vm, uint32_t id)
{
	uint64_t bytes = (uint64_t)vm->ring_entries * sizeof(struct tm_ring_entry);
	uint64_t gpa = 0;
	uint64_t index = 0;
	uint64_t entries = 0;
	int status = vmm_window_take(bytes, &gpa);

	if (status != 0) {
		return vmm_note(status, "window for a ring");
	}
	status = tm_map_ring(vm->handle, id, 0, page_up(bytes) / PAGE, gpa, &index, &entries);
	if (status != 0) {
		vmm_window_give(gpa, bytes);
		return vmm_note(status, "MAP_RING %s %u", vm->name, id);
	}
	tm_ring_init(&vm->vcpu[id].ring, (struct tm_ring_entry *)(uintptr_t)gpa, vm->ring_entries,
		     index);
	return 0;
}

int vmm_map_vcpu(struct vmm_vm *vm, uint32_t id)
{
	struct vmm_vcpu *v = &vm->vcpu[id];
	uint64_t gpa = 0;
	int status;

	if (v->run == NULL) {
		status = vmm_window_take(PAGE, &gpa);
		if (status != 0) {
			return vmm_note(status, "window for a run page");
		}
		status = tm_map_run(vm->handle, id, gpa);
		if (status != 0) {
			vmm_window_give(gpa, PAGE);
			return vmm_note(status, "MAP_RUN %s %u", vm->name, id);
		}
		v->run = (struct tm_run_page *)(uintptr_t)gpa;
	}
	if ((vm->dirty_flags & TM_DIRTY_RING) != 0 && v->ring.count == 0) {
		return map_ring(vm, id);
	}
	return 0;
}

static void drop_window(const void *p, uint64_t size)
{
	if (tm_unmap(TM_GPA(p), page_up(size) / PAGE) != -TM_EBUSY) {
		vmm_window_give(TM_GPA(p), size);
	}
}

void vmm_unmap_vcpus(struct vmm_vm *vm)
{
	for (uint32_t id = 0; id < TM_MAX_VCPUS; id++) {
		struct vmm_vcpu *v = &vm->vcpu[id];

		if (v->run != NULL) {
			drop_window(v->run, PAGE);
			v->run = NULL;
		}
		if (v->ring.count != 0) {
			drop_window(v->ring.entries,
				    (uint64_t)v->ring.count * sizeof(struct tm_ring_entry));
			v->ring.count = 0;
		}
	}
}

int64_t vmm_harvest(struct vmm_vm *vm, tm_ring_fn fn, void *arg)
{
	int64_t n = 0;

	for (uint32_t id = 0; id < TM_MAX_VCPUS; id++) {
		struct tm_ring *r = &vm->vcpu[id].ring;

		if (r->count != 0) {
			n += tm_ring_harvest(r, fn, arg, r->count);
		}
	}
	return n;
}

static uint32_t handle_bit(struct vmm_vm *vm, uint32_t id, vmm_event_fn fn, void *arg)
{
	struct vmm_vcpu *v = &vm->vcpu[id];
	uint64_t seq;
	uint32_t stop = 0;

	if (v->run == NULL) {
		return 0;
	}
	seq = __atomic_load_n(&v->run->exit_seq, __ATOMIC_ACQUIRE);
	if (seq != v->seen_seq) {
		v->seen_seq = seq;
		v->stopped = true;
		stop = 1;
		if (v->run->reason == TM_EXIT_SHUTDOWN) {
			vm->shutdown_type = v->run->u.shutdown.type;
		}
	}
	if (fn != NULL) {
		fn(vm, id, v, arg);
	}
	return stop;
}

static uint32_t handle_word(struct vmm_vm *vm, vmm_event_fn fn, void *arg)
{
	uint32_t handle = vm->handle;
	uint64_t *word = &vmm.events->word[handle % TM_MAX_VMS];
	uint32_t stops = 0;
	uint64_t bits;

	/* A plain look first: an exchange takes the line, and mostly for nothing. */
	if (__atomic_load_n(word, __ATOMIC_RELAXED) == 0) {
		return 0;
	}
	bits = __atomic_exchange_n(word, 0, __ATOMIC_ACQUIRE);
	/* Checked each time: the handler may destroy the VM. */
	while (bits != 0 && vm->used && vm->handle == handle) {
		stops += handle_bit(vm, (uint32_t)__builtin_ctzll(bits), fn, arg);
		bits &= bits - 1;
	}
	return stops;
}

/* Words of VMs that we do not know are left alone: attaching reads their run pages anyway. */
uint32_t vmm_poll(vmm_event_fn fn, void *arg)
{
	uint32_t stops = 0;

	for (uint32_t i = 0; vmm.events != NULL && i < VMM_VMS; i++) {
		if (vmm.vm[i].used) {
			stops += handle_word(&vmm.vm[i], fn, arg);
		}
	}
	if (stops == 0) {
		/* For whoever polls in a loop: an emulator that runs one CPU at a time would let
		 * the guests wait for 100 ms of virtual time otherwise. */
		tm_cpu_relax();
	}
	return stops;
}

uint32_t vmm_wait(uint64_t us, vmm_event_fn fn, void *arg)
{
	static uint64_t seen;
	uint64_t daif = tm_irq_save();

	if (*(volatile uint64_t *)&vmm.doorbells == seen && us != 0) {
		tm_timer_arm(tm_us_to_ticks(us));
		tm_wfi();
	}
	tm_irq_restore(daif);
	tm_isb();
	tm_timer_stop();
	seen = *(volatile uint64_t *)&vmm.doorbells;
	return vmm_poll(fn, arg);
}

int vmm_resume(struct vmm_vm *vm, uint32_t id)
{
	vm->vcpu[id].stopped = false;
	return vmm_note(tm_vcpu_run(vm->handle, id), "VCPU_RUN %s %u", vm->name, id);
}

const char *vmm_exit_name(uint32_t reason)
{
	static const char *const names[] = {
		[TM_EXIT_NONE] = "none",
		[TM_EXIT_KICKED] = "kicked",
		[TM_EXIT_MMIO] = "mmio",
		[TM_EXIT_PIO] = "pio",
		[TM_EXIT_HALTED] = "halted",
		[TM_EXIT_MEMORY_FAULT] = "memory-fault",
		[TM_EXIT_DIRTY_RING_FULL] = "ring-full",
		[TM_EXIT_QUOTA] = "quota",
		[TM_EXIT_SHUTDOWN] = "shutdown",
		[TM_EXIT_INTERNAL] = "internal",
	};

	return reason < sizeof(names) / sizeof(names[0]) ? names[reason] : "?";
}

const char *vmm_vcpu_state_name(uint32_t state)
{
	static const char *const names[] = {
		[TM_VCPU_STOPPED] = "stopped",
		[TM_VCPU_READY] = "ready",
		[TM_VCPU_RUNNING] = "running",
		[TM_VCPU_WAITING] = "waiting",
		[TM_VCPU_OFF] = "off",
	};

	return state < sizeof(names) / sizeof(names[0]) ? names[state] : "?";
}
