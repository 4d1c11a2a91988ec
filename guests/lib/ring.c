// SPDX-License-Identifier: Apache-2.0
//
// Harvesting one dirty ring; pure, tested on the host against the hypervisor's side. One reader a
// ring. The hypervisor publishes an entry by storing flags with release after slot and offset;
// setting RESET with release hands it back, and nothing of it may be read after that.

#include <stddef.h>
#include <tidemark/ring.h>

/*
 * What an earlier manager harvested and nobody has reset is passed over here, and only here: later
 * a RESET entry at `next` means that the whole ring waits for its reset, and stepping over it would
 * lose the producer's place.
 */
void tm_ring_init(struct tm_ring *r, struct tm_ring_entry *entries, uint32_t count,
		  uint64_t reset_index)
{
	r->entries = entries;
	r->count = count;
	r->next = (uint32_t)reset_index & (count - 1);
	r->harvested = 0;
	for (uint32_t i = 0; i < count; i++) {
		if ((__atomic_load_n(&entries[r->next].flags, __ATOMIC_ACQUIRE) & TM_RING_RESET) ==
		    0) {
			break;
		}
		r->next = (r->next + 1) & (count - 1);
	}
}

/* The entry at next if it waits for us. */
static struct tm_ring_entry *ready(struct tm_ring *r, uint32_t *flags)
{
	struct tm_ring_entry *e = &r->entries[r->next];

	*flags = __atomic_load_n(&e->flags, __ATOMIC_ACQUIRE);
	return (*flags & (TM_RING_DIRTY | TM_RING_RESET)) == TM_RING_DIRTY ? e : NULL;
}

static void give_back(struct tm_ring *r, struct tm_ring_entry *e, uint32_t flags)
{
	__atomic_store_n(&e->flags, flags | TM_RING_RESET, __ATOMIC_RELEASE);
	r->next = (r->next + 1) & (r->count - 1);
	r->harvested++;
}

uint32_t tm_ring_harvest(struct tm_ring *r, tm_ring_fn fn, void *arg, uint32_t max)
{
	uint32_t n = 0;
	uint32_t flags;
	struct tm_ring_entry *e;

	while (n < max && (e = ready(r, &flags)) != NULL) {
		uint32_t slot = e->slot;
		uint64_t offset = e->offset;
		int stop = fn(arg, slot, offset);

		give_back(r, e, flags);
		n++;
		if (stop != 0) {
			break;
		}
	}
	return n;
}

uint32_t tm_ring_harvest_array(struct tm_ring *r, struct tm_ring_entry *out, uint32_t max)
{
	uint32_t n = 0;
	uint32_t flags;
	struct tm_ring_entry *e;

	while (n < max && (e = ready(r, &flags)) != NULL) {
		out[n].flags = flags;
		out[n].slot = e->slot;
		out[n].offset = e->offset;
		give_back(r, e, flags);
		n++;
	}
	return n;
}

uint32_t tm_ring_pending(const struct tm_ring *r, uint32_t max)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < r->count && n < max; i++) {
		const struct tm_ring_entry *e = &r->entries[(r->next + i) & (r->count - 1)];
		uint32_t flags = __atomic_load_n(&e->flags, __ATOMIC_ACQUIRE);

		if ((flags & (TM_RING_DIRTY | TM_RING_RESET)) != TM_RING_DIRTY) {
			break;
		}
		n++;
	}
	return n;
}
