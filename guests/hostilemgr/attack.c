// SPDX-License-Identifier: Apache-2.0
//
// Episodes, one call, and the account of it.

#include <stdio.h>
#include <string.h>
#include <tidemark/arch.h>
#include <tidemark/guest.h>
#include <tidemark/irq.h>
#include <tidemark/probe.h>
#include <tidemark/tap.h>
#include "attack.h"

#define CALLS_AN_EPISODE 1000u
#define ROWS_MAX 64
#define WARM_UP 20u
#define CONTINUE_MAX 100000u

static struct call_count counts[ROWS_MAX];
static uint64_t scribbles;

static const int32_t errnos[] = {
#define ROW(name, number, text) -(number),
	TM_ERRNO_LIST(ROW)
#undef ROW
};
static const uint32_t errno_count = sizeof(errnos) / sizeof(errnos[0]);

static void note(struct call_count *n, int64_t status)
{
	n->calls++;
	if (status >= 0) {
		n->done++;
		return;
	}
	n->failed++;
	for (uint32_t i = 0; i < errno_count; i++) {
		if (errnos[i] == status) {
			n->by_errno[i]++;
			return;
		}
	}
	n->by_errno[errno_count]++;	/* not a number of the ABI */
}

static uint64_t edge_handle(struct attack *a)
{
	uint64_t h = tm_prng_below(&a->rng, 3) == 0 ? 0 : edge_value(&a->rng);

	/* The neighbours are not ours to play with: they are what must stay as it is. */
	return h == a->canary || h == a->counter ? 511 : h;
}

/* One good argument becomes an edge value. */
static void spoil(struct attack *a, const struct call_row *row, uint64_t x[6])
{
	uint32_t i = (uint32_t)tm_prng_below(&a->rng, row->args);

	if (i == 0 && row->has_vm) {
		x[0] = edge_handle(a);
	} else if ((row->gpas >> i & 1) != 0) {
		x[i] = edge_pointer(a);
	} else {
		x[i] = edge_value(&a->rng);
	}
}

/* What an edge value must not do, because it would be our own doing: print our memory, turn the
 * machine off, write into ourselves, give ourselves away. */
static bool allowed(const struct attack *a, const struct call_row *row, const uint64_t x[6])
{
	switch (row->fn) {
	case TM_HC_MACHINE:
		return x[0] > TM_MACHINE_RESET;
	case TM_HC_CONSOLE_WRITE:
		return x[1] == 0 || x[0] < TM_GPA(a->scratch) ||
		       x[0] > TM_GPA(a->scratch) + SCRATCH_SIZE;
	case TM_HC_UNMAP:
		/* Our own windows on the neighbours, run pages and events lie below. */
		return x[0] >= a->window || x[0] + x[1] * PAGE <= tm_boot.window.gpa;
	case TM_HC_VM_CREATE:
		return a->v.vm == ~(uint64_t)0 || x[1] != sizeof(struct tm_vm_desc) || a->edge;
	default:
		return true;
	}
}

static int64_t call(struct attack *a, const struct call_row *row, uint64_t x[6])
{
	struct tm_result r;
	uint32_t n = 0;

	do {
		r = tm_call(row->fn, x[0], x[1], x[2], x[3], x[4], x[5]);
		x[row->cursor] = r.status == TM_CONTINUE ? r.val[0] : x[row->cursor];
		n++;
	} while (r.status == TM_CONTINUE && n < CONTINUE_MAX);
	if (n == CONTINUE_MAX) {
		tap_ok(false, "%s never ends", row->name);
	}
	memcpy(a->scratch + SCRATCH_SIZE - 64, &r.val[0], 8);
	return r.status;
}

static void one_call(struct attack *a, uint32_t index)
{
	const struct call_row *row = &call_rows[index];
	uint64_t x[6] = {0};
	int64_t status;

	a->edge = tm_prng_below(&a->rng, 5) < 2;
	row->good(a, x);
	if (row->has_vm) {
		x[0] = a->v.vm;
	}
	if (a->edge && row->args != 0 && tm_prng_below(&a->rng, 2) == 0) {
		spoil(a, row, x);
	}
	if (!allowed(a, row, x)) {
		return;
	}
	if (row->fn == TM_HC_SLOT_SET && !a->v.slot[0]) {
		/* The program of the vCPUs; the page is ours unless an episode went astray. */
		for (const uint8_t *p = payload_start; p < payload_end; p += 8) {
			uint64_t at = TM_GPA(a->backing) + (uint64_t)(p - payload_start);
			uint64_t word;

			memcpy(&word, p, 8);
			if (tm_probe_write(at, 8, word).kind != TM_PROBE_OK) {
				break;
			}
		}
		tm_dsb();
	}
	status = call(a, row, x);
	note(&counts[index], status);
	if (row->after != NULL) {
		row->after(a, x, status);
	}
}

/* Rings and run pages are shared: anything may stand in them at any time (C-060..C-065). */
static void scribble(struct attack *a)
{
	static const uint32_t flags[] = {0, 1, 2, 3, 4, 0xfffffffe, 0xffffffff};
	uint64_t at = a->v.ring_gpa != 0 && tm_prng_below(&a->rng, 2) == 0 ?
		      a->v.ring_gpa : a->window + tm_prng_below(&a->rng, WINDOW_SIZE / PAGE) * PAGE;

	for (unsigned i = 0; i < 8; i++) {
		uint64_t off = tm_prng_below(&a->rng, 256) * 16;

		(void)tm_probe_write(at + off, 4, flags[tm_prng_below(&a->rng, 7)]);
		if (tm_probe_write(at + off + 4 + tm_prng_below(&a->rng, 3) * 4, 4,
				   edge_value(&a->rng)).kind != TM_PROBE_OK) {
			break;
		}
		scribbles++;
	}
}

static uint32_t draw_row(struct attack *a)
{
	static uint32_t sum;
	uint64_t at;

	if (sum == 0) {
		for (uint32_t i = 0; i < call_row_count; i++) {
			sum += call_rows[i].weight;
		}
	}
	at = tm_prng_below(&a->rng, sum);
	for (uint32_t i = 0; i < call_row_count; i++) {
		if (at < call_rows[i].weight) {
			return i;
		}
		at -= call_rows[i].weight;
	}
	return 0;
}

static uint32_t row_of(uint32_t fn)
{
	for (uint32_t i = 0; i < call_row_count; i++) {
		if (call_rows[i].fn == fn) {
			return i;
		}
	}
	return 0;
}

/* Some VM of ours that is left, destroyed; the neighbours are not. */
static void end_all(struct attack *a)
{
	uint64_t vm = ~(uint64_t)0;

	(void)tm_unmap(a->window, WINDOW_SIZE / PAGE);
	while (tm_vm_next(vm, &vm) == 0) {
		if (vm != 0 && vm != a->canary && vm != a->counter) {
			(void)tm_vm_destroy((uint32_t)vm);
			vm = ~(uint64_t)0;
		}
	}
	(void)tm_unmap(a->window, WINDOW_SIZE / PAGE);
	for (uint32_t site = 1; site <= 4; site++) {
		(void)tm_fault_inject(site, 0);
	}
	a->v.vm = ~(uint64_t)0;
	a->v.ring_gpa = 0;
}

static void episode(struct attack *a, uint64_t calls)
{
	/* A back end is chosen for a VM with nothing in it yet. */
	static const uint32_t start[] = {TM_HC_VM_CREATE, TM_HC_FORCE_BACKEND, TM_HC_FORCE_BACKEND,
					 TM_HC_DIRTY_CONFIG, TM_HC_SLOT_SET, TM_HC_SLOT_SET,
					 TM_HC_VCPU_CREATE};

	for (uint32_t i = 0; i < sizeof(start) / sizeof(start[0]); i++) {
		one_call(a, row_of(start[i]));
	}
	for (uint64_t i = 0; i < calls; i++) {
		one_call(a, draw_row(a));
		if (tm_prng_below(&a->rng, 16) == 0) {
			scribble(a);
		}
		/* Not more than a few pauses deep, or nothing runs any more. */
		while (a->v.pauses > 2) {
			one_call(a, row_of(TM_HC_VM_RESUME));
		}
		if (a->v.vm == ~(uint64_t)0) {
			one_call(a, row_of(TM_HC_VM_CREATE));
		}
	}
	if (a->v.vm != ~(uint64_t)0) {
		one_call(a, row_of(TM_HC_VM_DESTROY));
	}
	end_all(a);
}

/* Every page that was given away is ours again, and holds nothing of a VM. */
static bool memory_is_back(const uint8_t *p, uint64_t size)
{
	for (uint64_t off = 0; off < size; off += PAGE) {
		if (!tm_gpa_is_ram(TM_GPA(p) + off)) {
			tap_diag("page 0x%llx is not back", (unsigned long long)(TM_GPA(p) + off));
			return false;
		}
	}
	return true;
}

static void report(uint64_t least)
{
	for (uint32_t i = 0; i < call_row_count; i++) {
		const struct call_row *row = &call_rows[i];
		const struct call_count *n = &counts[i];
		char text[200];
		int len = 0;

		text[0] = '\0';
		for (uint32_t e = 0; e < errno_count; e++) {
			if (n->by_errno[e] != 0 && len < (int)sizeof(text) - 32) {
				len += snprintf(text + len, sizeof(text) - (size_t)len, " %s=%llu",
						tm_strerror_name(errnos[e]),
						(unsigned long long)n->by_errno[e]);
			}
		}
		printf("# %s calls=%llu OK=%llu%s\n", row->name, (unsigned long long)n->calls,
		       (unsigned long long)n->done, text);
		tap_ok(n->calls >= least && (n->done >= least || !row->may_do) &&
		       (n->failed > 0 || !row->may_fail) && n->by_errno[errno_count] == 0,
		       "%s: %llu calls, %llu done, %llu refused", row->name,
		       (unsigned long long)n->calls, (unsigned long long)n->done,
		       (unsigned long long)n->failed);
	}
}

static bool prepare(struct attack *a)
{
	uint64_t at = 0;

	memset(a, 0, sizeof(*a));
	a->v.vm = ~(uint64_t)0;
	a->backing_size = 32u << 20;
	a->pool_size = 3u << 20;
	a->scratch = vmm_ram_alloc(SCRATCH_SIZE, PAGE);
	a->backing = vmm_ram_alloc(a->backing_size, 2u << 20);
	a->pool = vmm_ram_alloc(a->pool_size, PAGE);
	if (a->scratch == NULL || a->backing == NULL || a->pool == NULL ||
	    tm_arena_alloc(&vmm.window, WINDOW_SIZE, 2u << 20, &at) != 0) {
		return false;
	}
	memset(a->scratch, 0, SCRATCH_SIZE);
	a->window = at;
	return true;
}

void scene_attack(void)
{
	static struct attack a;
	static struct neighbour idle, counter;
	uint64_t ops = tm_bootarg_u64("ops", 100000);
	uint64_t seed = tm_bootarg_u64("seed", 1);
	uint64_t hyp;
	uint64_t own;
	uint64_t done = 0;
	bool counted = true;

	tap_ok(neighbour_start(&idle, "canary", true, 0), "the canary starts");
	tap_ok(neighbour_start(&counter, "counter", false, 0), "the counting neighbour starts");
	if (!tap_ok(prepare(&a) && idle.vm != NULL && counter.vm != NULL, "memory and windows")) {
		return;
	}
	a.canary = idle.vm->handle;
	a.counter = counter.vm->handle;
	tm_prng_seed(&a.rng, seed);
	/* First some that do not count: the hypervisor's tables of our own map grow to what they
	 * will be. */
	for (unsigned i = 0; i < WARM_UP; i++) {
		episode(&a, CALLS_AN_EPISODE);
	}
	memset(counts, 0, sizeof(counts));
	hyp = hyp_pages_free();
	own = vmm.ram.free_bytes;
	while (done < ops) {
		tm_prng_seed(&a.rng, seed * 7919 + done / CALLS_AN_EPISODE);
		episode(&a, CALLS_AN_EPISODE);
		done += CALLS_AN_EPISODE;
		/* The neighbour may have had no turn in one episode; in sixteen it must. */
		if (done / CALLS_AN_EPISODE % 16 == 0) {
			counted &= neighbour_counts(&counter);
		}
	}
	report(ops / 1000);
	tap_ok(counted, "the neighbour counted all the time");
	tap_eq(hyp_pages_free(), hyp, "the hypervisor's pages are back");
	tap_eq(vmm.ram.free_bytes, own, "the arena is as it was");
	tap_ok(memory_is_back(a.backing, a.backing_size) && memory_is_back(a.pool, a.pool_size),
	       "memory that was given away is back");
	tap_ok(neighbour_hash(&idle) == idle.hash, "the canary's memory is as it was");
	tap_ok(neighbour_end(&idle) && vmm_destroy(counter.vm) == 0, "neighbours destroyed");
	tap_diag("%llu calls in episodes, %llu words scribbled", (unsigned long long)done,
		 (unsigned long long)scribbles);
}
