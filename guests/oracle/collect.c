// SPDX-License-Identifier: Apache-2.0
//
// Collecting what was reported, and comparing content with the shadow. The order is always the one
// that I-2 asks for: harvest or get, reset or clear (which arms), and only then read the content.

#include <string.h>
#include "oracle.h"

#define WORDS_MAX ((TRACK_PAGES_MAX + 63) / 64)

typedef uint64_t vec __attribute__((vector_size(16), may_alias));

bool compare_pages(const uint8_t *a, const uint8_t *b, uint32_t pages)
{
	const vec *x = (const vec *)(const void *)a;
	const vec *y = (const vec *)(const void *)b;
	vec acc = {0, 0};

	for (uint32_t i = 0; i < pages * (PAGE / sizeof(vec)); i += 8) {
		acc |= (x[i] ^ y[i]) | (x[i + 1] ^ y[i + 1]) | (x[i + 2] ^ y[i + 2]) |
		       (x[i + 3] ^ y[i + 3]) | (x[i + 4] ^ y[i + 4]) | (x[i + 5] ^ y[i + 5]) |
		       (x[i + 6] ^ y[i + 6]) | (x[i + 7] ^ y[i + 7]);
	}
	return (acc[0] | acc[1]) == 0;
}

/* to = from; true when that changed nothing. One load of each word: the guest may be writing. */
static bool copy_page(uint8_t *to, const uint8_t *from)
{
	const volatile vec *x = (const volatile vec *)(const void *)from;
	vec *y = (vec *)(void *)to;
	vec acc = {0, 0};

	for (uint32_t i = 0; i < PAGE / sizeof(vec); i++) {
		vec v = x[i];

		acc |= v ^ y[i];
		y[i] = v;
	}
	return (acc[0] | acc[1]) == 0;
}

void page_set(struct world *w, struct track *t, uint32_t offset, uint8_t flags)
{
	w->flag[t->first + offset] |= flags;
}

static void page_reported(struct world *w, struct track *t, uint32_t offset)
{
	uint8_t *f = &w->flag[t->first + offset];

	*f = (uint8_t)((*f | P_FRESH | P_REPORTED) & ~(P_OWED | P_MARKED));
}

/* --- rings ------------------------------------------------------------------------------------ */

static int ring_entry(void *arg, uint32_t slot, uint64_t offset)
{
	struct world *w = arg;
	struct track *t = world_track_of_slot(w, slot);

	if (t == NULL || offset >= t->pages) {
		(void)world_fail(w, "bad-entry", "ring entry slot 0x%x offset %llu", slot,
				 (unsigned long long)offset);
		return 1;
	}
	page_reported(w, t, (uint32_t)offset);
	return 0;
}

bool collect_rings(struct world *w, uint32_t max_per_ring)
{
	uint64_t harvested = 0;
	uint64_t reset = 0;
	int status;

	if (!mode_has_ring(w->mode)) {
		return true;
	}
	for (uint32_t id = 0; id < w->vcpus; id++) {
		struct tm_ring *r = &w->vm->vcpu[id].ring;

		harvested += tm_ring_harvest(r, ring_entry, w, max_per_ring);
	}
	if (w->failed) {
		return false;
	}
	status = tm_ring_reset(w->vm->handle, &reset);
	if (status != 0) {
		return world_fail(w, "ring-reset", "RING_RESET: %s", tm_strerror(status));
	}
	/* nobody else harvests, so the counts agree. */
	if (reset != harvested) {
		return world_fail(w, "reset-count", "harvested %llu, reset %llu",
				  (unsigned long long)harvested, (unsigned long long)reset);
	}
	copy_fresh(w);
	return true;
}

/* --- bitmaps ---------------------------------------------------------------------------------- */

static uint64_t bits[WORDS_MAX], again[WORDS_MAX];

static uint32_t words_of(const struct track *t)
{
	return (t->pages + 63) / 64;
}

static uint64_t tail_mask(const struct track *t, uint32_t word)
{
	uint32_t left = t->pages - word * 64;

	return left >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << left) - 1;
}

static bool get(struct world *w, struct track *t, uint64_t *buf)
{
	uint64_t n = 0;
	uint64_t have = 0;
	int status;

	memset(buf, 0xff, words_of(t) * 8);
	status = tm_bitmap_get(w->vm->handle, t->id, buf, words_of(t) * 8, &n);
	if (status != 0) {
		return world_fail(w, "bitmap-get", "BITMAP_GET slot %u: %s", t->id,
				  tm_strerror(status));
	}
	for (uint32_t i = 0; i < words_of(t); i++) {
		have += (uint64_t)__builtin_popcountll(buf[i]);
		if ((buf[i] & ~tail_mask(t, i)) != 0) {
			return world_fail(w, "bitmap-tail", "slot %u word %u: bits beyond the end",
					  t->id, i);
		}
	}
	return have == n || world_fail(w, "bitmap-count", "slot %u: %llu bits, said %llu", t->id,
				       (unsigned long long)have, (unsigned long long)n);
}

static bool clear(struct world *w, struct track *t, const uint64_t *buf)
{
	struct tm_clear_desc d = {
		.slot = t->id, .first = 0, .npages = t->pages, .bitmap_gpa = TM_GPA(buf),
		.bitmap_len = words_of(t) * 8,
	};
	uint64_t want = 0;
	uint64_t n = 0;
	int status = tm_bitmap_clear(w->vm->handle, &d, &n);

	if (status != 0) {
		return world_fail(w, "bitmap-clear", "BITMAP_CLEAR slot %u: %s", t->id,
				  tm_strerror(status));
	}
	for (uint32_t i = 0; i < words_of(t); i++) {
		want += (uint64_t)__builtin_popcountll(buf[i]);
	}
	return n == want || world_fail(w, "clear-count", "slot %u: %llu bits set, %llu cleared",
				       t->id, (unsigned long long)want, (unsigned long long)n);
}

static void report_bits(struct world *w, struct track *t, const uint64_t *buf)
{
	for (uint32_t i = 0; i < words_of(t); i++) {
		for (uint64_t v = buf[i]; v != 0; v &= v - 1) {
			page_reported(w, t, i * 64 + (uint32_t)__builtin_ctzll(v));
		}
	}
}

bool collect_bitmap(struct world *w, struct track *t)
{
	if (!mode_has_bitmap(w->mode)) {
		return true;
	}
	if (!get(w, t, bits) || (mode_is_manual(w->mode) && !clear(w, t, bits))) {
		return false;
	}
	report_bits(w, t, bits);
	copy_fresh(w);
	return true;
}

bool collect_subset(struct world *w, struct track *t, struct tm_prng *rng)
{
	if (!get(w, t, bits)) {
		return false;
	}
	for (uint32_t i = 0; i < words_of(t); i++) {
		bits[i] &= tm_prng_next(rng);
	}
	if (!clear(w, t, bits)) {
		return false;
	}
	report_bits(w, t, bits);
	copy_fresh(w);
	return true;
}

/* Pairs into a bitmap. Automatic mode consumes and arms with them; manual mode only shows. */
static bool sparse(struct world *w, struct track *t, uint64_t *buf)
{
	static struct tm_sparse_pair pair[WORDS_MAX];
	uint64_t cursor = 0;
	int status;

	memset(buf, 0, words_of(t) * 8);
	do {
		uint64_t n = 0;

		/* A small buffer, so that CONTINUE and its cursor are used. */
		status = tm_bitmap_get_sparse_once(w->vm->handle, t->id, pair, 4 * sizeof(pair[0]),
						   &cursor, &n);
		if (status < 0 || n > 4) {
			return world_fail(w, "bitmap-sparse", "GET_SPARSE slot %u: %s, %llu pairs",
					  t->id, tm_strerror(status), (unsigned long long)n);
		}
		for (uint64_t i = 0; i < n; i++) {
			if (pair[i].word >= words_of(t) || pair[i].bits == 0 ||
			    (pair[i].bits & ~tail_mask(t, (uint32_t)pair[i].word)) != 0) {
				return world_fail(w, "bitmap-sparse", "slot %u: bad pair", t->id);
			}
			buf[pair[i].word] |= pair[i].bits;
		}
	} while (status == TM_CONTINUE);
	return true;
}

bool collect_sparse(struct world *w, struct track *t, bool standing_still)
{
	if (!sparse(w, t, again)) {
		return false;
	}
	if (!mode_is_manual(w->mode)) {
		report_bits(w, t, again);
		copy_fresh(w);
		return true;
	}
	if (!standing_still) {
		return true;
	}
	/* Both views of one bitmap that nobody changes. */
	if (!get(w, t, bits)) {
		return false;
	}
	return memcmp(bits, again, words_of(t) * 8) == 0 ||
	       world_fail(w, "sparse-differs", "slot %u: GET and GET_SPARSE disagree", t->id);
}

/* --- all -------------------------------------------------------------------------------------- */

void copy_fresh(struct world *w)
{
	for (uint32_t i = 0; i < TRACKS; i++) {
		struct track *t = &w->track[i];

		for (uint32_t p = 0; p < t->pages; p++) {
			uint32_t g = t->first + p;

			if ((w->flag[g] & P_FRESH) != 0 && t->view != NULL) {
				w->flag[g] &= (uint8_t)~P_FRESH;
				w->t.reported++;
				w->t.changed += !copy_page(w->shadow + (uint64_t)g * PAGE,
							   t->view + (uint64_t)p * PAGE);
			}
		}
	}
}

/* Pages that had to be in this collection and are not. */
static bool check_owed(struct world *w)
{
	for (uint32_t i = 0; i < TRACKS; i++) {
		struct track *t = &w->track[i];

		for (uint32_t p = 0; p < t->pages; p++) {
			uint8_t f = w->flag[t->first + p];

			if ((f & P_OWED) != 0) {
				return world_lose(w, "next-round", t, p);
			}
			if ((f & P_MARKED) != 0) {
				return world_lose(w, "mark-dirty", t, p);
			}
		}
	}
	return true;
}

bool collect_all(struct world *w)
{
	int status = tm_vm_sync(w->vm->handle);

	if (status != 0) {
		return world_fail(w, "sync", "VM_SYNC: %s", tm_strerror(status));
	}
	if (!collect_rings(w, ~0u)) {
		return false;
	}
	for (uint32_t i = 0; i < TRACKS; i++) {
		if (!collect_bitmap(w, &w->track[i])) {
			return false;
		}
	}
	return check_owed(w);
}

bool compare_track(struct world *w, struct track *t, const char *check)
{
	const uint8_t *shadow = w->shadow + (uint64_t)t->first * PAGE;

	for (uint32_t p = 0; p < t->pages; p += 16) {
		uint32_t n = t->pages - p < 16 ? t->pages - p : 16;
		uint64_t at = (uint64_t)p * PAGE;

		if (compare_pages(shadow + at, t->view + at, n)) {
			continue;
		}
		for (; compare_pages(shadow + at, t->view + at, 1); at += PAGE) {
			p++;
		}
		return world_lose(w, check, t, p);
	}
	return true;
}

bool compare_still(struct world *w, const char *check)
{
	copy_fresh(w);
	for (uint32_t i = 0; i < TRACKS; i++) {
		if (!compare_track(w, &w->track[i], check)) {
			return false;
		}
	}
	return true;
}

void compare_running(struct world *w)
{
	copy_fresh(w);
	for (uint32_t i = 0; i < TRACKS; i++) {
		struct track *t = &w->track[i];

		for (uint32_t p = 0; p < t->pages; p++) {
			uint64_t at = (uint64_t)(t->first + p) * PAGE;

			if (!compare_pages(w->shadow + at, t->view + (uint64_t)p * PAGE, 1)) {
				w->flag[t->first + p] |= P_OWED;
			}
		}
	}
}
