// SPDX-License-Identifier: Apache-2.0
//
// Scene "ends": guests that end themselves in every way there is, or run into nonsense. Only they may
// be touched: the neighbours count on and keep their memory, and every page comes back.

#include <stdio.h>
#include <string.h>
#include <tidemark/guest.h>
#include <tidemark/irq.h>
#include <tidemark/tap.h>
#include "hostilemgr.h"

#define LIMIT_US 5000000u

static const char *const kind_names[] = {
	"still starts", "off", "reset", "crash", "halted", "runs", "other",
};

struct verdict {
	enum end_kind kind;
	uint32_t reason;
};

static void on_stop(struct vmm_vm *vm, uint32_t id, struct vmm_vcpu *v, void *arg)
{
	struct verdict *seen = arg;

	(void)id;
	if (v->stopped && vm->shutdown_type == 0) {
		seen->reason = v->run->reason;
		seen->kind = seen->reason == TM_EXIT_HALTED ? END_HALTED : END_ANY;
	}
}

/* Waits for its end, `us` at most. */
static struct verdict watch_end(struct vmm_vm *vm, uint64_t us)
{
	struct verdict seen = {END_RUNS, 0};
	uint64_t limit = tm_timer_now() + tm_us_to_ticks(us);

	while (vm->shutdown_type == 0 && seen.kind == END_RUNS && tm_timer_now() < limit) {
		(void)vmm_wait(1000, on_stop, &seen);
	}
	if (vm->shutdown_type != 0) {
		seen.kind = (enum end_kind)vm->shutdown_type;
	}
	return seen;
}

static void one_end(struct neighbour *n, const struct end_row *row, uint64_t seed, uint64_t us)
{
	struct vmm_vm *vm;
	struct verdict seen;
	char args[64];
	bool good;

	(void)snprintf(args, sizeof(args), "ops=0 end=%s seed=%llu", row->name,
		       (unsigned long long)seed);
	vm = start_hostile(args, 1, seed % 2 != 0 ? 4 : 2);
	if (vm == NULL) {
		tap_ok(false, "end=%s starts: %s", row->name, vmm_last_error());
		return;
	}
	seen = watch_end(vm, row->kind == END_ANY || row->kind == END_RUNS ? us : LIMIT_US);
	good = row->kind == END_ANY || seen.kind == row->kind;
	good &= neighbour_counts(n);
	good &= vmm_destroy(vm) == 0;
	tap_ok(good, "end=%s seed %llu: %s %u, the neighbour counts", row->name,
	       (unsigned long long)seed, kind_names[seen.kind], seen.reason);
}

void scene_ends(void)
{
	static struct neighbour counter, idle;
	uint64_t seeds = tm_bootarg_u64("seeds", 4);
	uint64_t first = tm_bootarg_u64("seed", 1);
	uint64_t us = tm_bootarg_u64("wait", 300000);
	uint64_t own, hyp;
	struct vmm_vm *vm;

	tap_ok(neighbour_start(&idle, "idle", true, 1) && neighbour_start(&counter, "counter", false, 2),
	       "the neighbours start %s", vmm_last_error());
	/* Tables of our own map have grown to what they will be. */
	vm = start_hostile("ops=0 end=off", 1, 4);
	tap_ok(vm != NULL && watch_end(vm, LIMIT_US).kind == END_OFF && vmm_destroy(vm) == 0,
	       "the first one ends %s", vmm_last_error());
	own = vmm.ram.free_bytes;
	hyp = hyp_pages_free();
	for (const struct end_row *row = arch_ends; row->name != NULL; row++) {
		for (uint64_t seed = first; seed < first + (row->kind == END_ANY ? seeds : 1); seed++) {
			one_end(&counter, row, seed, us);
		}
	}
	tap_eq(vmm.ram.free_bytes, own, "the manager's memory is back");
	tap_eq(hyp_pages_free(), hyp, "the hypervisor's pages are back");
	tap_ok(neighbour_hash(&idle) == idle.hash, "the idle neighbour's memory is as it was");
	tap_ok(neighbour_end(&counter), "the counting neighbour ended in order");
	tap_ok(neighbour_end(&idle), "the idle neighbour destroyed");
}
