// SPDX-License-Identifier: Apache-2.0
//
// Scene "watch": guests/hostile once on the CPU of the counting neighbour, once beside it; timer
// states that wrap, as a snapshot may hold them.

#include <stdio.h>
#include <string.h>
#include <tidemark/arch.h>
#include <tidemark/call.h>
#include <tidemark/guest.h>
#include <tidemark/irq.h>
#include <tidemark/prng.h>
#include <tidemark/tap.h>
#include "hostilemgr.h"

#define RAM_SIZE (16u << 20)
#define LOOK_US 1000000u		/* the neighbour has counted on in that time */
#define LIMIT_US 600000000u
#define RESTORES 16u
#define SPIN_US 1500000u		/* how long a guest that only faults is watched */

static uint64_t skipped;

/* What a guest's wild access may end in besides its own abort: a store that the exit page cannot
 * describe. The program wants to go on, so it is stepped over. */
static void on_stop(struct vmm_vm *vm, uint32_t id, struct vmm_vcpu *v, void *arg)
{
	static struct tm_regs regs;
	int status;

	(void)arg;
	if (!v->stopped) {
		return;
	}
	if (v->run->reason != TM_EXIT_MEMORY_FAULT) {
		if (v->run->reason != TM_EXIT_SHUTDOWN) {
			tap_diag("hostile vcpu %u stopped: reason %u", id, v->run->reason);
		}
		return;
	}
	status = tm_vcpu_regs_get(vm->handle, id, &regs);
	if (status == 0) {
		arch_skip(vm, &regs);
		status = tm_vcpu_regs_set(vm->handle, id, &regs);
	}
	if (status == 0) {
		skipped++;
		(void)vmm_resume(vm, id);
	} else {
		tap_diag("hostile vcpu %u at 0x%llx, gpa 0x%llx: %s", id,
			 (unsigned long long)*tm_regs_pc(&regs),
			 (unsigned long long)v->run->u.memory_fault.gpa, tm_strerror(status));
	}
}

struct vmm_vm *start_hostile(const char *args, uint32_t vcpus, uint64_t affinity)
{
	static struct vmm_desc d;
	struct tm_cpio_file image;
	struct vmm_vm *vm = NULL;

	memset(&d, 0, sizeof(d));
	if (vmm_module("hostile.bin", &image) != 0) {
		return NULL;
	}
	d.name = "hostile";
	d.vcpus = vcpus;
	d.mem_size = RAM_SIZE;
	d.image = image.data;
	d.image_size = image.size;
	d.bootargs = args;
	d.prio = 2;
	d.affinity = affinity;
	d.slice_us = 2000;
	(void)vmm_create(&d, &vm);
	return vm;
}

/* Runs the attacker to its end; the neighbour's share of CPU 1 in per mille. */
static uint64_t one_attack(struct neighbour *n, const char *args, uint32_t vcpus, uint64_t affinity,
			   bool ends)
{
	struct vmm_vm *vm = start_hostile(args, vcpus, affinity);
	uint64_t start = tm_timer_now();
	uint64_t ran = neighbour_run_ticks(n);
	uint64_t limit = start + tm_us_to_ticks(ends ? LIMIT_US : SPIN_US);
	uint64_t share;
	bool counts = true;

	if (!tap_ok(vm != NULL, "hostile starts: %s", vm != NULL ? "yes" : vmm_last_error())) {
		return 0;
	}
	while (vm->shutdown_type == 0 && tm_timer_now() < limit) {
		uint64_t until = tm_timer_now() + tm_us_to_ticks(LOOK_US);

		while (vm->shutdown_type == 0 && tm_timer_now() < until && tm_timer_now() < limit) {
			(void)vmm_wait(1000, on_stop, NULL);
		}
		counts &= tm_timer_now() < until || neighbour_counts(n);
	}
	share = (neighbour_run_ticks(n) - ran) * 1000 / (tm_timer_now() - start);
	tap_ok(counts, "the neighbour counted all the time");
	tap_ok((vm->shutdown_type != 0) == ends, ends ? "hostile came to its end" :
	       "hostile still faults");
	tap_ok(vmm_destroy(vm) == 0, "hostile destroyed");
	return share;
}

static void restored_deadlines(struct neighbour *n)
{
	struct vmm_vm *vm = start_hostile("ops=0 end=spin", 1, 2);
	struct tm_prng rng;
	uint32_t good = 0;

	tm_prng_seed(&rng, tm_bootarg_u64("seed", 1));
	(void)vmm_wait(100000, NULL, NULL);
	(void)neighbour_counts(n);
	while (vm != NULL && good < RESTORES && arch_wrapping_deadline(vm, &rng)) {
		good++;
	}
	tap_eq(good, RESTORES, "restored compare values that wrap");
	tap_ok(neighbour_counts(n), "the neighbour counted meanwhile");
	tap_ok(vm != NULL && vmm_destroy(vm) == 0, "their VM destroyed");
}

/* The count of a paused VM is put back, with the state of one vCPU, while the other one sleeps: its
 * deadline is later now, and it must not be lost. */
static void later_deadline(void)
{
	static struct tm_timer_state s;
	struct vmm_vm *vm = start_hostile("ops=0 end=nap", 2, 4);
	uint64_t limit = tm_timer_now() + tm_us_to_ticks(20000000);
	bool good = vm != NULL;

	if (good) {
		(void)vmm_wait(200000, NULL, NULL);
		good = tm_vm_pause(vm->handle, TM_PAUSE_QUIESCE) == 0 &&
		       tm_timer_state(vm->handle, 1, TM_STATE_GET, &s) == 0;
		arch_count_back(&s, tm_us_to_ticks(100000));
		good &= tm_timer_state(vm->handle, 1, TM_STATE_SET, &s) == 0 &&
			tm_vm_resume(vm->handle) == 0;
	}
	while (good && vm->shutdown_type == 0 && tm_timer_now() < limit) {
		(void)vmm_wait(1000, NULL, NULL);
	}
	tap_ok(good && vm->shutdown_type == TM_SHUTDOWN_OFF, "a sleeper outlives a later deadline");
	tap_ok(vm != NULL && vmm_destroy(vm) == 0, "the sleeper destroyed");
}

/* All of it once in small: the hypervisor's tables of our own map grow to what they will be. */
static void warm_up(void)
{
	struct neighbour a, b;
	struct vmm_vm *vm;
	bool good = neighbour_start(&a, "idle", true, 1) &&
		    neighbour_start(&b, "counter", false, 2);

	vm = good ? start_hostile("ops=0 end=spin", 2, 4) : NULL;
	tap_ok(vm != NULL, "first round of VMs starts %s", vmm_last_error());
	if (vm != NULL) {
		(void)vmm_wait(1000, NULL, NULL);
		tap_ok(vmm_destroy(vm) == 0 && neighbour_end(&b) && neighbour_end(&a),
		       "first round of VMs ends");
	}
}

void scene_watch(void)
{
	static struct neighbour counter, idle;
	uint64_t ops = tm_bootarg_u64("ops", 100000);
	uint64_t stride = tm_bootarg_u64("stride", 1);
	uint64_t least = tm_bootarg_u64("share", 450);	/* of a shared CPU, per mille */
	uint64_t own, hyp, share;
	char args[160];
	char only[64] = "";

	(void)tm_bootarg("only", only, sizeof(only));
	warm_up();
	own = vmm.ram.free_bytes;
	hyp = hyp_pages_free();
	tap_ok(neighbour_start(&idle, "idle", true, 1), "the idle neighbour starts %s",
	       vmm_last_error());
	tap_ok(neighbour_start(&counter, "counter", false, 2), "the counting neighbour starts %s",
	       vmm_last_error());
	if (idle.vm == NULL || counter.vm == NULL) {
		return;
	}
	(void)snprintf(args, sizeof(args), "ops=%llu stride=%llu step=7 seed=1%s%s",
		       (unsigned long long)ops / 2, (unsigned long long)stride * 16,
		       only[0] != 0 ? " only=" : "", only);
	share = one_attack(&counter, args, 1, 2, true);
	tap_ok(share >= least, "shared CPU: the neighbour kept %llu.%llu %%",
	       (unsigned long long)share / 10, (unsigned long long)share % 10);
	(void)snprintf(args, sizeof(args), "ops=%llu stride=%llu seed=2%s%s",
		       (unsigned long long)ops, (unsigned long long)stride,
		       only[0] != 0 ? " only=" : "", only);
	share = one_attack(&counter, args, 2, 4, true);
	tap_ok(share >= 980, "own CPU: the neighbour kept %llu.%llu %%",
	       (unsigned long long)share / 10, (unsigned long long)share % 10);
	share = one_attack(&counter, "ops=0 end=spin", 1, 2, false);
	tap_ok(share >= least, "faults without end: the neighbour kept %llu.%llu %%",
	       (unsigned long long)share / 10, (unsigned long long)share % 10);
	restored_deadlines(&counter);
	later_deadline();
	tap_ok(neighbour_hash(&idle) == idle.hash, "the idle neighbour's memory is as it was");
	tap_ok(neighbour_end(&counter), "the counting neighbour ended in order");
	tap_ok(neighbour_end(&idle), "the idle neighbour destroyed");
	tap_eq(vmm.ram.free_bytes, own, "the manager's memory is back");
	tap_eq(hyp_pages_free(), hyp, "the hypervisor's pages are back");
	tap_diag("stepped over %llu accesses", (unsigned long long)skipped);
}
