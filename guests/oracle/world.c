// SPDX-License-Identifier: Apache-2.0
//
// The VM under test: a small RAM for guests/dirty, a control page, a ledger, three tracked slots of
// odd size (one with large leaves, one at an odd address, one anonymous) and a read-only slot.

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <tidemark/guest.h>
#include "oracle.h"

#define RAM_SIZE (16u << 20)
#define CONTROL_SLOT 1u
#define CONTROL_GPA 0x50000000u
#define LEDGER_SLOT 2u
#define LEDGER_GPA 0x50200000u
#define LEDGER_STRIDE (256u << 10)
#define TRACK_SLOT 3u
#define RO_SLOT 6u
#define AWAY 0x10000000u

static const struct track tracks[TRACKS] = {
	/* aligned and above 2 MiB: a large leaf and a rest */
	{.id = TRACK_SLOT, .pages = 547, .home = 0x60000000u},
	{.id = TRACK_SLOT + 1, .pages = 259, .home = 0x61003000u},
	{.id = TRACK_SLOT + 2, .pages = 331, .home = 0x62055000u, .anonymous = true},
};

static uint32_t track_pages(const struct world *w, uint32_t i)
{
	static const uint32_t small[TRACKS] = {107, 48, 101};

	return w->small ? small[i] : tracks[i].pages;
}

static uint8_t *shadow_memory;		/* kept over worlds */

bool world_fail(struct world *w, const char *check, const char *fmt, ...)
{
	va_list ap;

	if (!w->failed) {
		w->failed = true;
		(void)snprintf(w->check, sizeof(w->check), "%s", check);
		va_start(ap, fmt);
		(void)vsnprintf(w->text, sizeof(w->text), fmt, ap);
		va_end(ap);
	}
	return false;
}

bool world_lose(struct world *w, const char *check, const struct track *t, uint32_t offset)
{
	w->lost |= !w->failed;
	return world_fail(w, check, "lost page: slot %u offset %u", t->id, offset);
}

struct track *world_track_of_gpa(struct world *w, uint64_t gpa)
{
	for (uint32_t i = 0; i < TRACKS; i++) {
		struct track *t = &w->track[i];

		if (gpa >= t->gpa && gpa - t->gpa < (uint64_t)t->pages * PAGE) {
			return t;
		}
	}
	return NULL;
}

struct track *world_track_of_slot(struct world *w, uint32_t slot)
{
	for (uint32_t i = 0; i < TRACKS; i++) {
		if (w->track[i].id == slot) {
			return &w->track[i];
		}
	}
	return NULL;
}

/* Ring-exclusive VMs refuse writable windows on logging slots. */
bool world_map_track(struct world *w, struct track *t)
{
	uint32_t prot = mode_has_bitmap(w->mode) ? TM_PROT_READ | TM_PROT_WRITE : TM_PROT_READ;

	t->view = vmm_window_map(w->vm, t->gpa, (uint64_t)t->pages * PAGE, prot);
	return t->view != NULL ||
	       world_fail(w, "window", "%s: %s", vmm_last_error(), tm_strerror(vmm_last_status()));
}

void world_unmap_track(struct track *t)
{
	if (t->view != NULL) {
		(void)vmm_window_unmap(t->view, (uint64_t)t->pages * PAGE);
		t->view = NULL;
	}
}

static void describe(const struct world *w, struct vmm_desc *d)
{
	uint32_t n = 0;
	uint64_t cpus = 1;

	memset(d, 0, sizeof(*d));
	d->name = "victim";
	d->vcpus = w->vcpus;
	d->flags = VMM_NO_RUN;
	d->mem_size = RAM_SIZE;
	d->dirty_flags = mode_dirty_flags(w->mode);
	d->ring_entries = mode_has_ring(w->mode) ? w->ring_entries : 0;
	d->backend = w->backend;
	d->bootargs = "control=0x50000000";
	d->slots[n++] = (struct vmm_slot_spec){CONTROL_SLOT, 0, CONTROL_GPA, PAGE, VMM_DONATED};
	d->slots[n++] = (struct vmm_slot_spec){LEDGER_SLOT, 0, LEDGER_GPA,
					       (uint64_t)w->vcpus * LEDGER_STRIDE, VMM_DONATED};
	for (uint32_t i = 0; i < TRACKS; i++) {
		d->slots[n++] = (struct vmm_slot_spec){
			tracks[i].id, i == 1 ? TM_SLOT_LOG_DIRTY : 0, tracks[i].home,
			(uint64_t)track_pages(w, i) * PAGE,
			tracks[i].anonymous ? VMM_ANONYMOUS : VMM_DONATED,
		};
	}
	d->slots[n++] = (struct vmm_slot_spec){RO_SLOT, TM_SLOT_READONLY, RO_GPA, RO_PAGES * PAGE,
					       VMM_DONATED};
	d->slot_count = n;
	/* The guest away from our own CPU: stale translations there are what is hunted. */
	(void)tm_cap_get(0, TM_CAP_PHYS_CPUS, &cpus);
	if (cpus > 1) {
		d->prio = 2;
		d->affinity = cpus >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << cpus) - 1;
		d->affinity &= ~(uint64_t)1;
		d->slice_us = 2000;
	}
}

static void fill_control(struct world *w)
{
	memset(w->ctl, 0, sizeof(*w->ctl));
	w->ctl->version = DIRTY_VERSION;
	w->ctl->ledger_gpa = LEDGER_GPA;
	w->ctl->ledger_stride = LEDGER_STRIDE;
	w->ctl->magic = DIRTY_MAGIC;
}

static bool wait_ready(struct world *w)
{
	for (uint32_t i = 0; i < 50000; i++) {
		if (__atomic_load_n(&w->ctl->state, __ATOMIC_ACQUIRE) == DIRTY_STATE_READY &&
		    __atomic_load_n(&w->ctl->vcpus, __ATOMIC_ACQUIRE) == w->vcpus) {
			return true;
		}
		if (!serve(w, 200)) {
			return false;
		}
	}
	return world_fail(w, "start", "the guest is not ready: state %u, %u of %u vCPUs",
			  w->ctl->state, w->ctl->vcpus, w->vcpus);
}

static bool setup_tracks(struct world *w)
{
	w->pages = 0;
	for (uint32_t i = 0; i < TRACKS; i++) {
		struct track *t = &w->track[i];

		*t = tracks[i];
		t->pages = track_pages(w, i);
		t->gpa = t->home;
		t->away = t->home + AWAY;
		t->first = w->pages;
		w->pages += t->pages;
	}
	if (shadow_memory == NULL) {
		shadow_memory = vmm_ram_alloc((uint64_t)TRACK_PAGES_MAX * PAGE, PAGE);
	}
	w->shadow = shadow_memory;
	if (w->shadow == NULL) {
		return world_fail(w, "memory", "%s", vmm_last_error());
	}
	memset(w->shadow, 0, (uint64_t)w->pages * PAGE);
	for (uint32_t i = 0; i < TRACKS; i++) {
		struct track *t = &w->track[i];

		/* Before the log is on: leaves of its own size, then turned to logging below. */
		if (vmm_slot_flags(w->vm, t->id, TM_SLOT_LOG_DIRTY) != 0) {
			return world_fail(w, "log-on", "%s: %s", vmm_last_error(),
					  tm_strerror(vmm_last_status()));
		}
		if (!world_map_track(w, t)) {
			return false;
		}
	}
	return true;
}

bool world_create(struct world *w)
{
	static struct vmm_desc d;
	struct tm_cpio_file image;
	int status = vmm_module("dirty.bin", &image);

	describe(w, &d);
	if (status == 0) {
		d.image = image.data;
		d.image_size = image.size;
		status = vmm_create(&d, &w->vm);
	}
	if (status != 0) {
		w->vm = NULL;
		return world_fail(w, "create", "%s: %s", vmm_last_error(), tm_strerror(status));
	}
	w->ctl = vmm_window_map(w->vm, CONTROL_GPA, PAGE, TM_PROT_READ | TM_PROT_WRITE);
	w->ledger = vmm_window_map(w->vm, LEDGER_GPA, (uint64_t)w->vcpus * LEDGER_STRIDE,
				   TM_PROT_READ);
	w->ro = vmm_window_map(w->vm, RO_GPA, RO_PAGES * PAGE, TM_PROT_READ);
	if (w->ctl == NULL || w->ledger == NULL || w->ro == NULL) {
		return world_fail(w, "window", "%s", vmm_last_error());
	}
	fill_control(w);
	if (!setup_tracks(w)) {
		return false;
	}
	status = vmm_run(w->vm);
	if (status != 0) {
		return world_fail(w, "run", "%s: %s", vmm_last_error(), tm_strerror(status));
	}
	if (!wait_ready(w)) {
		return false;
	}
	/* Whatever INITIALLY_SET or the start reported is no part of a round. */
	if (!collect_all(w) || !compare_still(w, "start")) {
		return false;
	}
	memset(w->flag, 0, sizeof(w->flag));
	return true;
}

void world_destroy(struct world *w)
{
	if (w->vm == NULL) {
		return;
	}
	for (uint32_t i = 0; i < TRACKS; i++) {
		world_unmap_track(&w->track[i]);
	}
	if (w->ctl != NULL) {
		(void)vmm_window_unmap(w->ctl, PAGE);
	}
	if (w->ledger != NULL) {
		(void)vmm_window_unmap(w->ledger, (uint64_t)w->vcpus * LEDGER_STRIDE);
	}
	if (w->ro != NULL) {
		(void)vmm_window_unmap(w->ro, RO_PAGES * PAGE);
	}
	if (vmm_destroy(w->vm) != 0) {
		(void)world_fail(w, "destroy", "%s: %s", vmm_last_error(),
				 tm_strerror(vmm_last_status()));
	}
	w->vm = NULL;
}
