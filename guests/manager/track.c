// SPDX-License-Identifier: Apache-2.0
//
// Dirty sets of the VMs under observation (track.h). Owns the trackers; one thread, no lock. The
// order that keeps every page: sync, rings (harvest, reset), bitmap (get, and clear where the VM is
// in manual mode); only then may anybody read content.

#include <stdlib.h>
#include <string.h>

#include <abi/errno.h>

#include "track.h"

static struct track trackers[TRACK_VMS];

static void free_slots(struct track *t)
{
	for (uint32_t i = 0; i < t->slot_count; i++) {
		free(t->slot[i].since);
		free(t->slot[i].todo);
		free(t->slot[i].got);
	}
	memset(t->slot, 0, sizeof(t->slot));
	t->slot_count = 0;
}

static int add_slot(struct track *t, const struct tm_slot_desc *desc)
{
	struct track_slot *s = &t->slot[t->slot_count];

	s->desc = *desc;
	s->pages = desc->size / TM_PAGE_SIZE;
	s->words = (s->pages + 63) / 64;
	s->logged = (desc->flags & (TM_SLOT_READONLY | TM_SLOT_PRIVATE | TM_SLOT_PCI_HOLE)) == 0;
	s->content = (desc->flags & TM_SLOT_PCI_HOLE) == 0;
	s->since = calloc(s->words, 8);
	s->todo = calloc(s->words, 8);
	s->got = calloc(s->words, 8);
	t->slot_count++;
	return s->since != NULL && s->todo != NULL && s->got != NULL ? 0 : -TM_ENOMEM;
}

// Reads the slot table; true in *same when it is the one we have.
static int read_slots(struct track *t, struct tm_slot_desc *out, uint32_t *count, bool *same)
{
	struct tm_slot_info info;
	uint32_t slot = ~0u;

	*count = 0;
	*same = true;
	for (;;) {
		int err = hv_slot_query(t->vm, slot, &info);

		if (err == -TM_ENOENT && *count == 0) {
			break;
		}
		if (err != 0) {
			return err;
		}
		if (*count == TRACK_SLOTS) {
			return -TM_E2BIG;
		}
		if (*count >= t->slot_count || t->slot[*count].desc.slot != info.desc.slot ||
		    t->slot[*count].desc.gpa != info.desc.gpa ||
		    t->slot[*count].desc.size != info.desc.size) {
			*same = false;
		} else {
			t->slot[*count].desc.flags = info.desc.flags;
		}
		out[(*count)++] = info.desc;
		slot = info.next;
		if (slot == ~0u) {
			break;
		}
	}
	*same = *same && *count == t->slot_count;
	return 0;
}

static int refresh(struct track *t, struct fail *f)
{
	struct tm_slot_desc desc[TRACK_SLOTS];
	uint32_t count;
	bool same;
	int err = hv_vm_info(t->vm, &t->info);

	if (err != 0) {
		return fail_call(f, err, "VM_INFO");
	}
	err = read_slots(t, desc, &count, &same);
	if (err != 0) {
		return fail_call(f, err, "SLOT_QUERY");
	}
	// A handle may have been reused for another VM.
	if (same && memcmp(&t->uuid, t->info.uuid, sizeof(t->uuid)) == 0) {
		return 0;
	}
	free_slots(t);
	t->has_base = false;
	memcpy(&t->uuid, t->info.uuid, sizeof(t->uuid));
	t->logging = count > 0;
	for (uint32_t i = 0; i < count; i++) {
		if (add_slot(t, &desc[i]) != 0) {
			return fail_set(f, -TM_ENOMEM, "dirty sets", NULL, "no heap for them");
		}
		t->logging = t->logging && (!t->slot[i].logged ||
					    (desc[i].flags & TM_SLOT_LOG_DIRTY) != 0);
	}
	return 0;
}

struct track *track_find(uint32_t vm)
{
	for (uint32_t i = 0; i < TRACK_VMS; i++) {
		if (trackers[i].used && trackers[i].vm == vm) {
			return &trackers[i];
		}
	}
	return NULL;
}

void track_drop(uint32_t vm)
{
	struct track *t = track_find(vm);

	if (t != NULL) {
		free_slots(t);
		memset(t, 0, sizeof(*t));
	}
}

struct track *track_get(uint32_t vm, struct fail *f)
{
	struct track *t = track_find(vm);

	for (uint32_t i = 0; t == NULL && i < TRACK_VMS; i++) {
		if (!trackers[i].used) {
			t = &trackers[i];
			t->used = true;
			t->vm = vm;
		}
	}
	if (t == NULL) {
		fail_set(f, -TM_ENOMEM, "dirty sets", NULL, "%u VMs are tracked, the most there are",
			 TRACK_VMS);
		return NULL;
	}
	if (refresh(t, f) != 0) {
		track_drop(vm);
		return NULL;
	}
	return t;
}

int track_log(struct track *t, bool on, struct fail *f)
{
	for (uint32_t i = 0; i < t->slot_count; i++) {
		struct tm_slot_desc *d = &t->slot[i].desc;
		uint32_t flags = on ? d->flags | TM_SLOT_LOG_DIRTY :
				      d->flags & ~(uint32_t)TM_SLOT_LOG_DIRTY;
		int err;

		if (!t->slot[i].logged || flags == d->flags) {
			continue;
		}
		// Pages written before this slot was armed are in no set.
		t->has_base = false;
		err = hv_slot_flags(t->vm, d, flags);
		if (err != 0) {
			return fail_set(f, err, "SLOT_SET", NULL, "slot %u: %s", (unsigned)d->slot,
					fail_text(err));
		}
		d->flags = flags;
	}
	t->logging = on;
	return 0;
}

static void note(void *ctx, uint32_t slot, uint64_t page)
{
	struct track *t = ctx;

	for (uint32_t i = 0; i < t->slot_count; i++) {
		struct track_slot *s = &t->slot[i];

		// A ring entry is the hypervisor's word, but for a page behind a changed slot.
		if (s->desc.slot == slot && page < s->pages) {
			s->got[page / 64] |= UINT64_C(1) << page % 64;
		}
	}
}

static int collect_bitmap(struct track *t, struct track_slot *s, uint64_t *bits)
{
	uint64_t set = 0;
	int err = hv_bitmap_get(t->vm, s->desc.slot, bits, s->words * 8, &set);

	// GET in automatic mode armed what it reported; in manual mode CLEAR does.
	if (err == 0 && set != 0 && (t->info.dirty_flags & TM_DIRTY_MANUAL) != 0) {
		err = hv_bitmap_clear(t->vm, s->desc.slot, 0, s->pages, bits);
	}
	for (uint64_t w = 0; err == 0 && set != 0 && w < s->words; w++) {
		s->got[w] |= bits[w];
	}
	return err;
}

static int collect_bitmaps(struct track *t, struct fail *f)
{
	bool any = false;
	int err = hv_bitmap_any(t->vm, &any);

	if (err != 0) {
		return fail_call(f, err, "BITMAP_SUMMARY");
	}
	for (uint32_t i = 0; any && i < t->slot_count; i++) {
		struct track_slot *s = &t->slot[i];
		uint64_t *bits;

		if ((s->desc.flags & TM_SLOT_LOG_DIRTY) == 0) {
			continue;
		}
		bits = calloc(s->words, 8);
		err = bits != NULL ? collect_bitmap(t, s, bits) : -TM_ENOMEM;
		free(bits);
		if (err != 0) {
			return fail_call(f, err, "BITMAP_GET");
		}
	}
	return 0;
}

// Moves what one collection got into the sets; returns the count.
static uint64_t merge(struct track *t)
{
	uint64_t count = 0;

	for (uint32_t i = 0; i < t->slot_count; i++) {
		struct track_slot *s = &t->slot[i];

		for (uint64_t w = 0; w < s->words; w++) {
			uint64_t got = s->got[w];

			if (got == 0) {
				continue;
			}
			count += (uint64_t)__builtin_popcountll(got);
			s->since[w] |= got;
			s->todo[w] |= got;
			s->got[w] = 0;
		}
	}
	t->collected += count;
	return count;
}

int track_collect(struct track *t, bool paused, uint64_t *count, struct fail *f)
{
	bool ring = (t->info.dirty_flags & TM_DIRTY_RING) != 0;
	bool bitmap = !ring || (t->info.dirty_flags & TM_DIRTY_BITMAP) != 0;
	uint64_t n;
	int err = paused ? 0 : hv_sync(t->vm);

	if (err != 0) {
		return fail_call(f, err, "VM_SYNC");
	}
	if (ring) {
		err = hv_ring_drain(t->vm, note, t);
		if (err != 0) {
			fail_call(f, err, "RING_RESET");
		}
	}
	if (err == 0 && bitmap && t->logging) {
		err = collect_bitmaps(t, f);
	}
	// What was consumed is kept, whatever came after it.
	n = merge(t);
	if (count != NULL) {
		*count = n;
	}
	return err;
}

static uint64_t count_set(const struct track *t, bool todo)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < t->slot_count; i++) {
		const struct track_slot *s = &t->slot[i];
		const uint64_t *set = todo ? s->todo : s->since;

		for (uint64_t w = 0; w < s->words; w++) {
			n += (uint64_t)__builtin_popcountll(set[w]);
		}
	}
	return n;
}

uint64_t track_count_todo(const struct track *t)
{
	return count_set(t, true);
}

uint64_t track_count_since(const struct track *t)
{
	return count_set(t, false);
}

void track_todo_all(struct track *t)
{
	for (uint32_t i = 0; i < t->slot_count; i++) {
		struct track_slot *s = &t->slot[i];

		memset(s->todo, s->content ? 0xff : 0, s->words * 8);
		if (s->content && s->pages % 64 != 0) {
			s->todo[s->words - 1] = (UINT64_C(1) << s->pages % 64) - 1;
		}
	}
}

void track_todo_since(struct track *t)
{
	for (uint32_t i = 0; i < t->slot_count; i++) {
		memcpy(t->slot[i].todo, t->slot[i].since, t->slot[i].words * 8);
	}
}

void track_todo_none(struct track *t)
{
	for (uint32_t i = 0; i < t->slot_count; i++) {
		memset(t->slot[i].todo, 0, t->slot[i].words * 8);
	}
}

void track_set_base(struct track *t, const struct snap_uuid *base)
{
	for (uint32_t i = 0; i < t->slot_count; i++) {
		memset(t->slot[i].since, 0, t->slot[i].words * 8);
	}
	t->base = *base;
	t->has_base = true;
}

void track_forget_base(struct track *t)
{
	t->has_base = false;
}
