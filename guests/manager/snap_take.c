// SPDX-License-Identifier: Apache-2.0
//
// Taking a snapshot of a VM that runs: log on, full pass, rounds, pause, last sync with device
// state, resume, seal. Every page is read after the collection that reported it armed it (I-2).
// Owns the table of where each page lies in the image; one snapshot at a time, no lock.

#include <stdlib.h>
#include <string.h>

#include <abi/errno.h>

#include "snap.h"

// A page's place in the image, in units of 8 bytes. Contents lie behind the header, so small
// numbers are free for these two.
enum { PLACE_NONE = 0, PLACE_ZERO = 1 };

#define PACE_PAGES 512u		/* a breath for guests on a shared CPU after so many pages */
#define PACE_US 1000u

struct taking {
	const struct snap_take_opts *o;
	struct snap_stats *s;
	struct fail *f;
	struct store *store;
	struct track *t;
	struct snap_writer w;
	struct snap_mem mem;
	uint32_t *place[TRACK_SLOTS];
	bool paused;
	bool lose;		// still to be done
	bool we_logged;
};

static void progress(struct taking *k, enum snap_phase phase)
{
	k->s->phase = phase;
	if (k->o->progress != NULL) {
		k->o->progress(k->o->ctx, k->s);
	}
}

void snap_take_defaults(struct snap_take_opts *o)
{
	memset(o, 0, sizeof(*o));
	o->limit = 64;
	o->max_rounds = 30;
	o->round_us = 20000;
}

static int store_page(struct taking *k, struct track_slot *s, uint64_t page, const void *content,
		      uint32_t *place)
{
	void *at = NULL;
	int err = snap_write_page(&k->w, s->desc.slot, page, content, &at);

	if (err != 0) {
		return fail_set(k->f, err, "store", NULL,
				"it is full after %lu KiB of this snapshot; the VM runs on",
				(unsigned long)(k->w.length >> 10));
	}
	*place = content == NULL ? PLACE_ZERO : (uint32_t)(((uint8_t *)at - k->w.image) / 8);
	return 0;
}

// Would leaving this page out change what is restored?
static bool is_changed(const struct taking *k, uint32_t place, const void *content)
{
	if (place > PLACE_ZERO) {
		return memcmp(k->w.image + (size_t)place * 8, content, TM_PAGE_SIZE) != 0;
	}
	return k->o->parent == NULL && !snap_page_is_zero(content);
}

static int copy_page(struct taking *k, uint32_t i, uint64_t page)
{
	struct track_slot *s = &k->t->slot[i];
	const uint8_t *content = k->mem.at[i] + page * TM_PAGE_SIZE;
	uint32_t *place = &k->place[i][page];

	k->s->copied++;
	if (k->lose && k->paused && is_changed(k, *place, content)) {
		k->lose = false;
		k->s->lost = true;
		k->s->lost_slot = s->desc.slot;
		k->s->lost_page = page;
		return 0;
	}
	if (*place > PLACE_ZERO) {
		memcpy(k->w.image + (size_t)*place * 8, content, TM_PAGE_SIZE);
		return 0;
	}
	if (!snap_page_is_zero(content)) {
		return store_page(k, s, page, content, place);
	}
	// A full image's unlisted pages are zero; an incremental one's are the parent's.
	if (k->o->parent != NULL && *place == PLACE_NONE) {
		return store_page(k, s, page, NULL, place);
	}
	return 0;
}

// Copies what is in todo and empties it.
static int copy_todo(struct taking *k, enum snap_phase phase)
{
	k->s->done = 0;
	k->s->total = track_count_todo(k->t);
	for (uint32_t i = 0; i < k->t->slot_count; i++) {
		struct track_slot *s = &k->t->slot[i];

		for (uint64_t w = 0; w < s->words; w++) {
			for (; s->todo[w] != 0; s->todo[w] &= s->todo[w] - 1) {
				uint64_t bit = (uint64_t)__builtin_ctzll(s->todo[w]);
				int err = copy_page(k, i, w * 64 + bit);

				if (err != 0) {
					return err;
				}
				k->s->done++;
				if (!k->paused && k->s->done % PACE_PAGES == 0) {
					progress(k, phase);
					hv_wait(PACE_US);
				}
			}
		}
	}
	progress(k, phase);
	return 0;
}

static int collect(struct taking *k)
{
	uint64_t count = 0;
	int err = track_collect(k->t, k->paused, &count, k->f);

	k->s->dirtied += count;
	if (k->paused) {
		k->s->last_pages = count;
	}
	return err;
}

static void fill_header(struct taking *k, struct snap_header *h)
{
	memset(h, 0, sizeof(*h));
	h->magic = SNAP_MAGIC;
	h->major = SNAP_MAJOR;
	h->minor = SNAP_MINOR;
	h->header_len = sizeof(*h);
	h->arch = hv_arch();
	h->abi_version = hv_abi_version();
	h->freq = hv_ticks_freq();
	h->uuid = snap_uuid_make();
	h->vm = k->t->uuid;
	if (k->o->parent != NULL) {
		h->parent = *k->o->parent;
	}
	strncpy(h->name, k->o->name, sizeof(h->name) - 1);
	hv_cpu_features(h->cpu_feature);
}

static int write_head(struct taking *k)
{
	const struct tm_vm_info *info = &k->t->info;
	struct snap_slot slots[TRACK_SLOTS];
	struct snap_shape shape;
	struct snap_sink sink;
	struct snap_header h;
	int err = store_open(k->store, &sink, k->f);

	if (err != 0) {
		return err;
	}
	fill_header(k, &h);
	memset(&shape, 0, sizeof(shape));
	shape.vm_flags = info->flags & ~(uint32_t)TM_VM_STATIC;
	shape.vcpus = info->vcpus_max;
	shape.dirty_flags = info->dirty_flags;
	shape.ring_entries = info->ring_entries;
	shape.pool_pages = info->pool_pages;
	shape.mmio_count = info->mmio_count;
	memcpy(shape.mmio, info->mmio, sizeof(shape.mmio));
	memcpy(shape.name, info->name, sizeof(shape.name) - 1);
	for (uint32_t i = 0; i < k->t->slot_count; i++) {
		const struct tm_slot_desc *d = &k->t->slot[i].desc;

		slots[i] = (struct snap_slot){d->slot, d->flags & ~(uint32_t)TM_SLOT_LOG_DIRTY,
					      d->gpa, d->size};
	}
	err = snap_write_begin(&k->w, sink, &h);
	if (err == 0) {
		err = snap_write_record(&k->w, SNAP_SHAPE, SNAP_MANDATORY, &shape, sizeof(shape));
	}
	if (err == 0) {
		err = snap_write_slots(&k->w, slots, k->t->slot_count);
	}
	return err == 0 ? 0 : fail_set(k->f, err, "store", NULL, "it is full");
}

// Everything up to the first page: refusals, logging, tables, windows.
static int prepare(struct taking *k)
{
	struct track *t = k->t;
	int err = 0;

	for (uint32_t i = 0; i < t->slot_count; i++) {
		if ((t->slot[i].desc.flags & TM_SLOT_PRIVATE) != 0) {
			return fail_set(k->f, -TM_EACCES, "VM", NULL, "slot %u is private to it",
					(unsigned)t->slot[i].desc.slot);
		}
		k->s->pages += t->slot[i].content ? t->slot[i].pages : 0;
	}
	if (k->o->parent != NULL &&
	    (!t->has_base || !snap_uuid_equal(&t->base, k->o->parent))) {
		return fail_set(k->f, -TM_EINVAL, "parent", "take a full snapshot (no parent)",
				"what changed since it is not known for this VM");
	}
	if (!t->logging) {
		k->we_logged = true;
		err = track_log(t, true, k->f);
	}
	for (uint32_t i = 0; err == 0 && i < t->slot_count; i++) {
		k->place[i] = calloc(t->slot[i].pages, sizeof(uint32_t));
		if (k->place[i] == NULL) {
			err = fail_set(k->f, -TM_ENOMEM, "page table", NULL, "no heap for it");
		}
	}
	if (err == 0) {
		err = snap_mem_map(&k->mem, t, TM_PROT_READ, k->f);
	}
	// What an earlier round or an earlier manager left in the log is covered by the full pass.
	if (err == 0) {
		track_todo_none(t);
		err = track_collect(t, false, NULL, k->f);
	}
	if (err == 0) {
		err = write_head(k);
	}
	return err;
}

static int run_rounds(struct taking *k)
{
	const struct snap_take_opts *o = k->o;
	uint32_t turns = 0;
	int err;

	if (o->parent == NULL) {
		track_todo_all(k->t);
	} else {
		track_todo_since(k->t);
	}
	err = copy_todo(k, SNAP_PHASE_FULL);
	while (err == 0) {
		uint64_t left;

		err = collect(k);
		left = track_count_todo(k->t);
		if (err != 0 || turns++ >= o->max_rounds ||
		    (left <= o->limit && k->s->rounds >= o->min_rounds &&
		     k->s->dirtied >= o->min_dirtied)) {
			break;
		}
		if (left > 0) {
			k->s->rounds++;
			err = copy_todo(k, SNAP_PHASE_ROUND);
		} else {
			progress(k, SNAP_PHASE_WAIT);
		}
		if (left <= o->limit) {
			hv_wait(o->round_us);
		}
	}
	return err;
}

// The pause window: last sync, device state, the rest, hash A.
static int last_round(struct taking *k, struct snap_header *h)
{
	uint64_t hash_start_at;
	int err = collect(k);

	if (err == 0) {
		h->time = hv_ticks();
		err = copy_todo(k, SNAP_PHASE_PAUSED);
	}
	if (err == 0) {
		k->s->rounds++;
		err = snap_state_save(&k->w, k->t, k->f);
	}
	if (err == 0 && snap_write_flush(&k->w) != 0) {
		err = fail_set(k->f, -TM_ENOSPC, "store", NULL, "it is full; the VM runs on");
	}
	if (err == 0) {
		hash_start_at = hv_ticks();
		k->s->mem_hash = snap_mem_hash(&k->mem);
		k->s->hash_ticks = hv_ticks() - hash_start_at;
		progress(k, SNAP_PHASE_LAST);
	}
	return err;
}

static int pause_window(struct taking *k)
{
	uint64_t from = hv_ticks();
	int err = hv_pause(k->o->vm);
	int resume_err;

	if (err != 0) {
		return fail_call(k->f, err, "VM_PAUSE");
	}
	k->paused = true;
	progress(k, SNAP_PHASE_PAUSED);
	err = last_round(k, (struct snap_header *)k->w.image);
	resume_err = hv_resume(k->o->vm);
	k->paused = false;
	k->s->downtime = hv_ticks() - from;
	if (err == 0 && resume_err != 0) {
		err = fail_call(k->f, resume_err, "VM_RESUME");
	}
	return err;
}

static int seal(struct taking *k)
{
	struct snap_stats *s = k->s;
	struct snap_end end;
	int err;

	progress(k, SNAP_PHASE_SEAL);
	memset(&end, 0, sizeof(end));
	end.mem_hash = s->mem_hash;
	end.pages = s->pages;
	end.pages_copied = s->copied;
	end.pages_dirtied = s->dirtied;
	end.downtime = s->downtime;
	end.rounds = s->rounds;
	for (uint32_t i = 0; i < k->t->slot_count; i++) {
		for (uint64_t p = 0; p < k->t->slot[i].pages; p++) {
			end.pages_stored += k->place[i][p] > PLACE_ZERO ? 1 : 0;
		}
	}
	err = snap_write_end(&k->w, &end);
	if (err != 0) {
		return fail_set(k->f, err, "store", NULL, "it is full; the VM runs on");
	}
	s->image_bytes = k->w.length;
	return 0;
}

static void finish(struct taking *k, int err)
{
	snap_mem_unmap(&k->mem);
	for (uint32_t i = 0; i < TRACK_SLOTS; i++) {
		free(k->place[i]);
	}
	track_todo_none(k->t);
	if (err == 0) {
		// Nothing was collected since the pause: all later writes are still in the log.
		track_set_base(k->t, &((struct snap_header *)k->w.image)->uuid);
		store_commit(k->store);
		k->s->index = (int)k->store->count - 1;
		progress(k, SNAP_PHASE_DONE);
		return;
	}
	if (k->w.image != NULL || k->store->writing) {
		store_abort(k->store);
	}
	if (k->we_logged) {
		(void)track_log(k->t, false, NULL);
	}
}

int snap_take(struct store *store, const struct snap_take_opts *o, struct snap_stats *s,
	      struct fail *f)
{
	static struct taking k;
	int err;

	memset(s, 0, sizeof(*s));
	memset(&k, 0, sizeof(k));
	s->start = hv_ticks();
	s->index = -1;
	if (store->writing) {
		return fail_set(f, -TM_EBUSY, "store", NULL, "another snapshot is being taken");
	}
	k.o = o;
	k.s = s;
	k.f = f;
	k.store = store;
	k.lose = o->lose;
	k.t = track_get(o->vm, f);
	if (k.t == NULL) {
		return f != NULL ? f->err : -TM_ENOENT;
	}
	err = prepare(&k);
	if (err == 0) {
		err = run_rounds(&k);
	}
	if (err == 0) {
		err = pause_window(&k);
	}
	if (err == 0) {
		err = seal(&k);
	}
	if (err == 0 && o->lose && !s->lost) {
		err = fail_set(f, -TM_EAGAIN, "lose", "take it while the VM writes",
			       "no page changed in the last round");
	}
	finish(&k, err);
	return err;
}
