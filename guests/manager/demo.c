// SPDX-License-Identifier: Apache-2.0
//
// The scripted run behind `make run`: the dirty rate of a guest, a live snapshot of it, its end,
// its memory overwritten, its return, and the proof that memory and device state are what they
// were. The last line is
//   tidemark: run PASS arch=arm64 guest=linux pages=N rounds=N downtime_insns=N memory=identical
//   hash=...
// (one line; pages: dirtied while the snapshot was taken; downtime: from pause to resume, hash A
// included) or `tidemark: run FAIL arch=.. guest=..: why`.

#include <stdio.h>
#include <string.h>

#include <tidemark/call.h>
#include <tidemark/console.h>
#include <tidemark/guest.h>
#include <tidemark/irq.h>

#include "hv.h"
#include "hv_arch.h"
#include "manager.h"
#include "track.h"

#define SNAP_NAME "run"
#define PATTERN UINT64_C(0xdeadf00ddeadf00d)

struct demo {
	const char *guest;
	uint32_t vm;
	struct snap_stats snap;
	struct snap_restore_result back;
	struct fail f;
};

static const char *arch_name(void)
{
	return hv_arch() == SNAP_ARCH_ARM64 ? "arm64" : "x86";
}

static int verdict(struct demo *d, int err)
{
	char why[sizeof(struct fail)];
	char hash[33];

	if (err != 0) {
		if (d->f.err == 0) {
			fail_call(&d->f, err, "run");
		}
		fail_format(&d->f, NULL, why, sizeof(why));
		printf("tidemark: run FAIL arch=%s guest=%s: %s\n", arch_name(), d->guest, why);
		fflush(stdout);
		return err;
	}
	snap_hash_text(d->back.mem_hash, hash);
	printf("tidemark: run PASS arch=%s guest=%s pages=%lu rounds=%u downtime_insns=%lu "
	       "memory=identical hash=%s\n",
	       arch_name(), d->guest, (unsigned long)d->snap.dirtied, (unsigned)d->snap.rounds,
	       (unsigned long)hv_arch_insns(d->snap.downtime), hash);
	fflush(stdout);
	return 0;
}

static int exits_of(uint32_t vm, uint64_t *exits, struct fail *f)
{
	struct tm_vm_info info;
	int err = tm_vm_info(vm, &info);

	*exits = info.exits;
	return err == 0 ? 0 : fail_call(f, err, "VM_INFO");
}

// Waits, at most that long: whoever reads the guest's console may know that it is enough.
static void wait_or_key(uint64_t ms)
{
	uint64_t end = tm_timer_now() + tm_us_to_ticks(ms * 1000);

	while (tm_timer_now() < end && tm_console_getc(0) < 0) {
		idle(100000);
	}
}

// The guest has its own console; that its number rises is for whoever reads it. We see that it
// runs.
static int wait_for_guest(struct demo *d)
{
	uint64_t ms = tm_bootarg_u64("settle", 5000);
	uint64_t before = 0;
	uint64_t after = 0;
	int err;

	if (hv_vm_find(d->guest, &d->vm) != 0) {
		return fail_set(&d->f, -TM_ENOENT, "guest", "name it in the configuration",
				"there is no VM called %.32s", d->guest);
	}
	printf("run: %s runs; %lu ms for it to start up, or until a key comes\n", d->guest,
	       (unsigned long)ms);
	wait_or_key(ms);
	err = exits_of(d->vm, &before, &d->f);
	if (err == 0) {
		idle(500000);
		err = exits_of(d->vm, &after, &d->f);
	}
	if (err == 0 && (after == before || vmm_find(d->vm)->shutdown_type != 0)) {
		return fail_set(&d->f, -TM_EIO, "guest", "read its console", "it does not run");
	}
	return err;
}

static int show_dirty_rate(struct demo *d)
{
	struct track *t = track_get(d->vm, &d->f);
	int err = t != NULL ? 0 : d->f.err;

	if (err == 0 && !t->logging) {
		err = track_log(t, true, &d->f);
	}
	for (int i = 0; err == 0 && i < 3; i++) {
		uint64_t from = tm_timer_now();
		uint64_t count = 0;
		uint64_t us;

		idle(300000);
		err = track_collect(t, false, &count, &d->f);
		us = tm_ticks_to_us(tm_timer_now() - from);
		printf("run: dirty rate %lu pages/s (%lu pages in %lu ms)\n",
		       (unsigned long)(us == 0 ? 0 : count * 1000000 / us), (unsigned long)count,
		       (unsigned long)(us / 1000));
	}
	return err;
}

#define LOSE_TRIES 12

static int take_live(struct demo *d, bool lose)
{
	struct snap_take_opts o;
	int old = store_find(&store, SNAP_NAME);
	int err;

	if (old >= 0) {
		(void)store_delete(&store, (uint32_t)old, NULL);
	}
	snap_take_defaults(&o);
	o.vm = d->vm;
	o.name = SNAP_NAME;
	o.min_rounds = 2;
	o.min_dirtied = 1000;
	o.max_rounds = 200;
	o.round_us = 50000;
	o.limit = 256;
	o.lose = lose;
	o.progress = snap_bar;
	printf("run: live snapshot\n");
	err = snap_take(&store, &o, &d->snap, &d->f);
	// A page can be lost only from a last round that has one: at another moment, then.
	for (unsigned i = 1; lose && err == -TM_EAGAIN && i < LOSE_TRIES; i++) {
		idle(130000u * i);
		err = snap_take(&store, &o, &d->snap, &d->f);
	}
	if (err != 0) {
		return err;
	}
	snap_summary(&d->snap);
	if (d->snap.lost) {
		printf("run: lose=1: page %lu of slot %u was left out\n",
		       (unsigned long)d->snap.lost_page, (unsigned)d->snap.lost_slot);
	}
	if (d->snap.rounds < 2 || d->snap.dirtied < 1000) {
		return fail_set(&d->f, -TM_EAGAIN, "snapshot", "give the guest more to do",
				"only %lu pages were dirtied in %u rounds",
				(unsigned long)d->snap.dirtied, (unsigned)d->snap.rounds);
	}
	return 0;
}

// Ends the guest and overwrites what it leaves: nothing of the old VM can help the new one.
static int destroy_guest(struct demo *d)
{
	struct tm_range freed[VMM_SLOTS];
	struct vmm_vm *vm = vmm_find(d->vm);
	uint64_t before = vmm.ram.free_bytes;
	uint64_t pages = 0;
	uint32_t count = 0;
	int err;

	for (uint32_t i = 0; i < VMM_SLOTS; i++) {
		if (vm->slot[i].used && vm->slot[i].desc.backing != 0) {
			freed[count++] = (struct tm_range){vm->slot[i].desc.backing,
							   vm->slot[i].desc.size};
		}
	}
	err = end_vm(vm, &d->f);
	if (err != 0) {
		return err;
	}
	if (vmm.ram.free_bytes == before) {
		return fail_set(&d->f, -TM_EIO, "destroy", "see `log`", "no memory came back");
	}
	for (uint32_t i = 0; i < count; i++) {
		uint64_t *p = (uint64_t *)(uintptr_t)freed[i].gpa;

		for (uint64_t w = 0; w < freed[i].size / 8; w++) {
			p[w] = PATTERN ^ w;
		}
		pages += freed[i].size / TM_PAGE_SIZE;
	}
	printf("run: %s destroyed; its %lu pages came back and were filled with a pattern\n",
	       d->guest, (unsigned long)pages);
	return 0;
}

static int restore_guest(struct demo *d)
{
	struct snap_restore_opts o = {.name = d->guest};
	int err = snap_restore(&store, (uint32_t)d->snap.index, &o, &d->back, &d->f);
	char hash[33];

	if (err != 0) {
		return err;
	}
	d->vm = d->back.vm;
	snap_hash_text(d->back.mem_hash, hash);
	printf("run: restored %lu pages into vm %u; device state reads back equal; hash B %s\n",
	       (unsigned long)d->back.pages, (unsigned)d->vm, hash);
	if (d->back.mem_hash.low != d->snap.mem_hash.low ||
	    d->back.mem_hash.high != d->snap.mem_hash.high) {
		return fail_set(&d->f, -TM_EIO, "memory", NULL, "hash B differs from hash A");
	}
	return 0;
}

static int run_on(struct demo *d)
{
	uint64_t before = 0;
	uint64_t after = 0;
	int err = exits_of(d->vm, &before, &d->f);

	if (err == 0) {
		printf("run: %s starts again\n", d->guest);
		err = hv_vm_run(d->vm);
	}
	if (err != 0) {
		return fail_call(&d->f, err, "VCPU_RUN");
	}
	wait_or_key(tm_bootarg_u64("after", 2000));
	err = exits_of(d->vm, &after, &d->f);
	if (err == 0 && (after == before || vmm_find(d->vm)->shutdown_type != 0)) {
		return fail_set(&d->f, -TM_EIO, "guest", "read its console",
				"it does not run after the restore");
	}
	return err;
}

int demo_run(const char *guest, bool lose)
{
	static struct demo d;
	int err;

	memset(&d, 0, sizeof(d));
	d.guest = guest;
	err = wait_for_guest(&d);
	err = err != 0 ? err : show_dirty_rate(&d);
	err = err != 0 ? err : take_live(&d, lose);
	err = err != 0 ? err : destroy_guest(&d);
	err = err != 0 ? err : restore_guest(&d);
	err = err != 0 ? err : run_on(&d);
	return verdict(&d, err);
}
