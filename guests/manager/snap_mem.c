// SPDX-License-Identifier: Apache-2.0
//
// A VM's memory as the engine sees it: one window per slot, and the hash over it. Owns no state.

#include <string.h>

#include "snap.h"

int snap_mem_map(struct snap_mem *m, const struct track *t, uint32_t prot, struct fail *f)
{
	memset(m, 0, sizeof(*m));
	m->track = t;
	for (uint32_t i = 0; i < t->slot_count; i++) {
		const struct track_slot *s = &t->slot[i];
		void *at = NULL;
		int err;

		if (!s->content) {
			continue;
		}
		err = hv_map(t->vm, s->desc.gpa, s->pages, prot, &at);
		if (err != 0) {
			snap_mem_unmap(m);
			return fail_set(f, err, "MAP_GUEST", NULL, "slot %u, %lu pages: %s",
					(unsigned)s->desc.slot, (unsigned long)s->pages,
					fail_text(err));
		}
		m->at[i] = at;
	}
	return 0;
}

void snap_mem_unmap(struct snap_mem *m)
{
	for (uint32_t i = 0; m->track != NULL && i < m->track->slot_count; i++) {
		if (m->at[i] != NULL) {
			(void)hv_unmap(m->at[i], m->track->slot[i].pages);
			m->at[i] = NULL;
		}
	}
}

bool snap_page_is_zero(const void *page)
{
	const uint64_t *w = page;

	for (unsigned i = 0; i < TM_PAGE_SIZE / 8; i += 8) {
		uint64_t any = w[i];

		// The empty asm keeps the compiler from vector code, which is slower here.
		for (unsigned k = 1; k < 8; k++) {
			any |= w[i + k];
			__asm__("" : "+r"(any));
		}
		if (any != 0) {
			return false;
		}
	}
	return true;
}

struct hash_value snap_mem_hash(const struct snap_mem *m)
{
	struct hash h;

	hash_start(&h, SNAP_MEM_SEED);
	for (uint32_t i = 0; i < m->track->slot_count; i++) {
		const struct tm_slot_desc *d = &m->track->slot[i].desc;
		uint64_t head[4] = {d->slot, d->gpa, d->size, 0};

		hash_add(&h, head, sizeof(head));
		if (m->at[i] != NULL) {
			hash_add(&h, m->at[i], d->size);
		}
	}
	return hash_end(&h);
}
