// SPDX-License-Identifier: Apache-2.0
//
// Commands on dirty logging: start, stop, and the rate while a VM runs.

#include <stdio.h>
#include <string.h>

#include <tidemark/call.h>
#include <tidemark/console.h>
#include <tidemark/irq.h>

#include "events.h"
#include "manager.h"
#include "track.h"

static struct track *need_track(const char *name, struct fail *f)
{
	struct vmm_vm *vm = need_vm(name, f);

	return vm != NULL ? track_get(vm->handle, f) : NULL;
}

static int dirty_start(int argc, char **argv, struct fail *f)
{
	struct track *t = need_track(argv[0], f);
	int err;

	(void)argc;
	if (t == NULL) {
		return f->err;
	}
	if (t->logging) {
		return fail_set(f, -TM_EALREADY, "log", "see `dirty stat`", "it is on");
	}
	err = track_log(t, true, f);
	if (err == 0) {
		printf("  every write of %s is logged now; `dirty stat %s` shows the rate\n",
		       t->info.name, t->info.name);
	}
	return err;
}

static int dirty_stop(int argc, char **argv, struct fail *f)
{
	struct track *t = need_track(argv[0], f);
	uint64_t count = 0;
	int err;

	(void)argc;
	if (t == NULL) {
		return f->err;
	}
	if (!t->logging) {
		return fail_set(f, -TM_EALREADY, "log", "see `dirty start`", "it is off");
	}
	err = track_collect(t, false, &count, f);
	if (err == 0) {
		err = track_log(t, false, f);
	}
	if (err == 0) {
		printf("  off; %lu pages were dirtied since the last look, %lu in all\n",
		       (unsigned long)count, (unsigned long)t->collected);
	}
	return err;
}

static unsigned long per_second(uint64_t pages, uint64_t ticks)
{
	return ticks == 0 ? 0 : (unsigned long)(pages * tm_timer_freq() / ticks);
}

// One line over the time between two readings.
static void show_rate(const struct track *t, const struct tm_dirty_rate *a,
		      const struct tm_dirty_rate *b, uint64_t collected)
{
	uint64_t ticks = b->time - a->time;
	uint64_t events = b->pages_ring + b->pages_bitmap - a->pages_ring - a->pages_bitmap;

	printf("  %s: %6lu pages/s (%lu KiB/s), %lu collected", t->info.name,
	       per_second(events, ticks), per_second(events * 4, ticks), (unsigned long)collected);
	for (uint32_t id = 0; id < TM_MAX_VCPUS; id++) {
		if ((t->info.vcpu_mask >> id & 1) != 0) {
			printf("; vcpu%u %lu/s", (unsigned)id,
			       per_second(b->per_vcpu[id] - a->per_vcpu[id], ticks));
		}
	}
	if (b->spills != a->spills) {
		printf("; %lu spills", (unsigned long)(b->spills - a->spills));
	}
	printf("\n");
}

static void show_totals(const struct track *t, const struct tm_dirty_rate *r)
{
	printf("  since its creation: %lu pages into rings, %lu into bitmaps, %lu spills, %lu chunk "
	       "fallbacks, %lu bad ring entries\n",
	       (unsigned long)r->pages_ring, (unsigned long)r->pages_bitmap,
	       (unsigned long)r->spills, (unsigned long)r->chunk_fallbacks,
	       (unsigned long)r->bad_reset_entries);
	for (uint32_t id = 0; id < TM_MAX_VCPUS; id++) {
		struct tm_vcpu_stats s = {0};

		if ((t->info.vcpu_mask >> id & 1) != 0 && tm_vcpu_stats(t->vm, id, &s) == 0) {
			printf("  vcpu%u: %lu logged, %lu faults, %lu drains, ring full %lu times, "
			       "%lu in the ring\n",
			       (unsigned)id, (unsigned long)s.pages_logged,
			       (unsigned long)s.faults, (unsigned long)s.drains,
			       (unsigned long)s.ring_full, (unsigned long)s.ring_used);
		}
	}
}

static int stat_lines(struct track *t, uint64_t seconds, struct fail *f)
{
	static struct tm_dirty_rate a;
	static struct tm_dirty_rate b;
	int err = tm_dirty_rate(t->vm, &a);

	for (uint64_t n = 0; err == 0 && (seconds == 0 || n < seconds); n++) {
		uint64_t count = 0;

		idle(1000000);
		// Collecting arms again, so that pages written again count again.
		err = track_collect(t, false, &count, f);
		if (err == 0) {
			err = tm_dirty_rate(t->vm, &b);
		}
		if (err == 0) {
			show_rate(t, &a, &b, count);
			a = b;
		}
		if (tm_console_getc(0) >= 0) {
			break;
		}
	}
	if (err == 0) {
		show_totals(t, &a);
	}
	return err == 0 ? 0 : f->err != 0 ? err : fail_call(f, err, "DIRTY_RATE");
}

static int dirty_stat(int argc, char **argv, struct fail *f)
{
	struct track *t = need_track(argv[0], f);
	uint64_t seconds = 0;

	if (t == NULL) {
		return f->err;
	}
	if (argc > 1 && !shell_number(argv[1], &seconds)) {
		return fail_set(f, -TM_EINVAL, "seconds", "give a number", "\"%.20s\" is none",
				argv[1]);
	}
	if (!t->logging) {
		return fail_set(f, -TM_ENOENT, "log", "`dirty start` it first", "it is off");
	}
	if (seconds == 0) {
		printf("  any key ends this\n");
	}
	return stat_lines(t, seconds, f);
}

const struct command dirty_commands[] = {
	{"dirty start", "<vm>", "log its writes", 1, 1, dirty_start},
	{"dirty stop", "<vm>", "end logging", 1, 1, dirty_stop},
	{"dirty stat", "<vm> [seconds]", "pages a second, live until a key is pressed", 1, 2,
	 dirty_stat},
};
const size_t dirty_command_count = sizeof(dirty_commands) / sizeof(dirty_commands[0]);
