// SPDX-License-Identifier: Apache-2.0
//
// Arguments, the loop over seeds, TAP and the summary.
// bootargs: seed= first seed (1); seeds= how many (1); rounds= of each (100); vcpus= (1);
//   mode=stop|spill|bitmap|ring|auto|init; expect=clean|lost: what each seed must end with;
//   backend=wp|dbm|pml: not what the hypervisor would choose; small: 256 tracked pages;
//   verbose: the plan of each round.
// A seed that ends early prints `# check=<name>`: what caught it.

#include <stdio.h>
#include <string.h>
#include <tidemark/guest.h>
#include <tidemark/irq.h>
#include <tidemark/tap.h>
#include "oracle.h"

static struct world world;
static struct tally total;

static void print_plan(const struct world *w)
{
	const struct plan *p = &w->plan;

	printf("# round %llu writes %u slots 0x%x vcpus 0x%x wait %u pace %u:",
	       (unsigned long long)p->round, p->n_writes, p->slot_mask, p->vcpu_mask, p->wait_mode,
	       p->pace);
	for (uint32_t i = 0; i < p->n_ops; i++) {
		printf(" %s", op_name[p->op[i]]);
	}
	printf("\n");
}

static void add_tally(const struct tally *t)
{
	total.rounds += t->rounds;
	total.writes += t->writes;
	total.stops += t->stops;
	total.spills += t->spills;
	total.faults += t->faults;
	total.sticky += t->sticky;
	total.kicks += t->kicks;
	total.reported += t->reported;
	total.changed += t->changed;
	total.unexplained += t->unexplained;
	for (int op = 0; op < OPS; op++) {
		total.op[op] += t->op[op];
	}
}

/* What the guest and the hypervisor counted. */
static void read_counts(struct world *w)
{
	static struct tm_vcpu_stats s;
	static struct tm_dirty_rate rate;

	for (uint32_t v = 0; v < w->vcpus && w->ctl != NULL; v++) {
		for (uint32_t k = 0; k < DIRTY_KINDS; k++) {
			w->t.writes += w->ctl->count[v][k];
		}
		if (tm_vcpu_stats(w->vm->handle, v, &s) == 0) {
			w->t.faults += s.pages_logged;
		}
	}
	if (tm_dirty_rate(w->vm->handle, &rate) == 0) {
		w->t.spills = rate.spills;
	}
}

/* Returns whether a page was lost. */
static bool one_seed(uint64_t seed, uint64_t rounds, bool expect_lost)
{
	struct world *w = &world;
	bool good;

	w->seed = seed;
	good = world_create(w);
	for (uint64_t r = 1; r <= rounds && good; r++) {
		if (w->verbose) {
			plan_round(w, r, &w->plan);
			print_plan(w);
		}
		good = run_round(w, r);
		if (!w->verbose && !good && !expect_lost) {
			print_plan(w);
		}
	}
	if (!good) {
		printf("# %s seed=%llu round=%llu mode=%s vcpus=%u: %s\n",
		       w->lost ? "lost" : "failed",
		       (unsigned long long)seed, (unsigned long long)w->plan.round,
		       mode_name[w->mode], w->vcpus, w->text);
		printf("# check=%s\n", w->check);
	}
	if (w->vm != NULL) {
		read_counts(w);
	}
	world_destroy(w);
	add_tally(&w->t);
	return w->lost;
}

/* 1 + TM_BACKEND_*, or 0. */
static uint32_t backend_arg(void)
{
	static const char *const name[] = {"wp", "dbm", "pml"};
	char text[16];

	for (uint32_t i = 0; i < 3; i++) {
		if (tm_bootarg("backend", text, sizeof(text)) && strcmp(text, name[i]) == 0) {
			return i + 1;
		}
	}
	return 0;
}

static void reset_world(enum mode mode, uint32_t vcpus, bool test_build, bool verbose)
{
	char text[16];
	bool pml = backend_arg() == 1 + TM_BACKEND_PML;

	memset(&world, 0, sizeof(world));
	world.mode = mode;
	world.vcpus = vcpus;
	world.test_build = test_build;
	world.verbose = verbose;
	world.backend = backend_arg();
	world.small = tm_bootarg("small", text, sizeof(text));
	world.ring_entries = pml ? PML_RING_ENTRIES : RING_ENTRIES;
	world.ring_soft_limit = world.ring_entries - RING_RESERVE - (pml ? PML_ENTRIES : 0);
}

static void summary(enum mode mode, uint32_t vcpus, uint64_t seeds, uint64_t lost)
{
	uint64_t ratio = total.changed != 0 ? total.reported * 1000 / total.changed : 0;

	printf("# oracle mode=%s vcpus=%u seeds=%llu rounds=%llu writes=%llu faults=%llu "
	       "stops=%llu spills=%llu lost=%llu\n",
	       mode_name[mode], vcpus, (unsigned long long)seeds, (unsigned long long)total.rounds,
	       (unsigned long long)total.writes, (unsigned long long)total.faults,
	       (unsigned long long)total.stops, (unsigned long long)total.spills,
	       (unsigned long long)lost);
	printf("# oracle reported=%llu changed=%llu ratio=%llu.%03llu unexplained=%llu "
	       "sticky=%llu\n",
	       (unsigned long long)total.reported, (unsigned long long)total.changed,
	       (unsigned long long)(ratio / 1000), (unsigned long long)(ratio % 1000),
	       (unsigned long long)total.unexplained, (unsigned long long)total.sticky);
	printf("# oracle ops");
	for (int op = 0; op < OPS; op++) {
		printf(" %s=%llu", op_name[op], (unsigned long long)total.op[op]);
	}
	printf("\n");
}

static void check_counts(enum mode mode, bool test_build)
{
	(void)tap_ok(total.writes > 0, "writes: %llu", (unsigned long long)total.writes);
	(void)tap_ok(total.faults > 0, "faults: %llu", (unsigned long long)total.faults);
	if (mode == MODE_STOP || mode == MODE_RING) {
		(void)tap_ok(total.stops > 0, "stops: %llu", (unsigned long long)total.stops);
		(void)tap_ok(total.sticky > 0, "sticky stops: %llu",
			     (unsigned long long)total.sticky);
	}
	if (mode == MODE_SPILL) {
		(void)tap_ok(total.spills > 0, "spills: %llu", (unsigned long long)total.spills);
	}
	for (int op = 0; op < OPS; op++) {
		if (mode_has_op(mode, (enum op)op, test_build)) {
			(void)tap_ok(total.op[op] > 0, "%s: %llu", op_name[op],
				     (unsigned long long)total.op[op]);
		}
	}
	/* I-3 (a): at most one page for each stop and each kick. */
	(void)tap_ok(total.unexplained <= total.stops + total.kicks,
		     "over-reporting within I-3: %llu unexplained, %llu stops and kicks",
		     (unsigned long long)total.unexplained,
		     (unsigned long long)(total.stops + total.kicks));
}

static enum mode mode_arg(void)
{
	char text[16];

	for (int m = 0; m < MODES; m++) {
		if (tm_bootarg("mode", text, sizeof(text)) && strcmp(text, mode_name[m]) == 0) {
			return (enum mode)m;
		}
	}
	return MODE_STOP;
}

static struct tm_counters counters;

static uint64_t hyp_pages_free(void)
{
	return tm_counters(&counters) == 0 ? counters.hyp_pages_free : 0;
}

static void run_all(enum mode mode, bool test_build)
{
	uint32_t vcpus = (uint32_t)tm_bootarg_u64("vcpus", 1);
	uint64_t seed = tm_bootarg_u64("seed", 1);
	uint64_t seeds = tm_bootarg_u64("seeds", 1);
	uint64_t rounds = tm_bootarg_u64("rounds", 100);
	uint64_t lost = 0;
	uint64_t own = 0;
	uint64_t hyp = 0;
	char text[16];
	bool expect_lost = tm_bootarg("expect", text, sizeof(text)) && strcmp(text, "lost") == 0;
	bool verbose = tm_bootarg("verbose", text, sizeof(text));

	for (uint64_t i = 0; i < seeds; i++) {
		bool l;

		reset_world(mode, vcpus, test_build, verbose);
		l = one_seed(seed + i, rounds, expect_lost);
		lost += l;
		(void)tap_ok(expect_lost ? l : !world.failed, "seed %llu: %s after %llu rounds%s%s",
			     (unsigned long long)(seed + i),
			     l ? "lost" : world.failed ? "failed" : "nothing lost",
			     (unsigned long long)world.t.rounds, world.failed ? " check=" : "",
			     world.failed ? world.check : "");
		if (i == 0) {
			/* The first world leaves the shadow and our map's tables behind. */
			own = vmm.ram.free_bytes;
			hyp = hyp_pages_free();
		}
		(void)fflush(stdout);
	}
	if (!expect_lost) {
		check_counts(mode, test_build);
		(void)tap_eq(vmm.ram.free_bytes, own, "the manager's memory is back");
		(void)tap_eq(hyp_pages_free(), hyp, "the hypervisor's pages are back");
	}
	summary(mode, vcpus, seeds, lost);
	if (hyp_pages_free() != 0) {
		printf("# oracle exits=%llu flushes=%llu checks=%llu\n",
		       (unsigned long long)counters.exits,
		       (unsigned long long)counters.tlb_flushes,
		       (unsigned long long)counters.tlb_checks);
	}
}

int main(void)
{
	uint64_t features = 0;
	int status = vmm_init();

	if (status != 0) {
		printf("Bail out! %s: %s\n", vmm_last_error(), tm_strerror(status));
		return 1;
	}
	(void)tm_features(&features);
	run_all(mode_arg(), (features & TM_FEATURE_TEST_BUILD) != 0);
	status = tap_done();
	printf("oracle: done\n");
	(void)fflush(stdout);
	(void)tm_machine(TM_MACHINE_OFF);
	return status;
}
