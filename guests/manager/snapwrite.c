// SPDX-License-Identifier: Apache-2.0
//
// Writer of the snapshot format (snapfmt.h). Owns the image under construction through its sink;
// knows no VM. Page records are written content first and list last, so that the content has its
// final place at once while the list still grows.

#include <string.h>

#include <abi/errno.h>

#include "crc32c.h"
#include "snapfmt.h"

static int grow(struct snap_writer *w, size_t length, void **at)
{
	int err = w->sink.grow(w->sink.ctx, length, at);

	if (err != 0) {
		return err;
	}
	w->length += length;
	return 0;
}

int snap_write_begin(struct snap_writer *w, struct snap_sink sink, const struct snap_header *h)
{
	void *at;
	int err;

	memset(w, 0, sizeof(*w));
	w->sink = sink;
	err = grow(w, sizeof(*h), &at);
	if (err != 0) {
		return err;
	}
	w->image = at;
	memcpy(at, h, sizeof(*h));
	return 0;
}

static int begin_record(struct snap_writer *w, uint32_t type, uint32_t flags, size_t length,
			struct snap_record **record)
{
	void *at;
	int err = snap_write_flush(w);

	if (err == 0) {
		err = grow(w, sizeof(struct snap_record) + length, &at);
	}
	if (err != 0) {
		return err;
	}
	*record = at;
	memset(at, 0, sizeof(struct snap_record) + length);
	(*record)->type = type;
	(*record)->flags = flags;
	(*record)->length = length;
	(*record)->seq = w->records++;
	return 0;
}

int snap_write_record(struct snap_writer *w, uint32_t type, uint32_t flags, const void *payload,
		      size_t length)
{
	struct snap_record *r;
	int err = begin_record(w, type, flags, (length + 7) & ~(size_t)7, &r);

	if (err == 0) {
		memcpy(r + 1, payload, length);
	}
	return err;
}

int snap_write_slots(struct snap_writer *w, const struct snap_slot *slots, uint32_t count)
{
	struct snap_record *r;
	int err = begin_record(w, SNAP_SLOTS, SNAP_MANDATORY, 8 + count * sizeof(*slots), &r);

	if (err == 0) {
		memcpy(r + 1, &count, 4);
		memcpy((uint8_t *)(r + 1) + 8, slots, count * sizeof(*slots));
	}
	return err;
}

int snap_write_dev(struct snap_writer *w, uint32_t type, uint32_t id, const void *state,
		   size_t size)
{
	struct snap_dev dev = {id, (uint32_t)size};
	struct snap_record *r;
	int err = begin_record(w, type, SNAP_MANDATORY, (sizeof(dev) + size + 7) & ~(size_t)7, &r);

	if (err == 0) {
		memcpy(r + 1, &dev, sizeof(dev));
		memcpy((uint8_t *)(r + 1) + sizeof(dev), state, size);
	}
	return err;
}

static int begin_run(struct snap_writer *w, uint32_t slot)
{
	struct snap_record *r;
	int err = begin_record(w, SNAP_PAGES, SNAP_MANDATORY, sizeof(struct snap_pages), &r);

	if (err != 0) {
		return err;
	}
	w->run = r;
	w->run_head = (struct snap_pages *)(r + 1);
	w->run_head->slot = slot;
	return 0;
}

int snap_write_page(struct snap_writer *w, uint32_t slot, uint64_t index, const void *content,
		    void **at)
{
	void *where = NULL;
	int err = 0;

	if (w->run != NULL && (w->run_head->slot != slot || w->run_head->count == SNAP_RUN_MAX)) {
		err = snap_write_flush(w);
	}
	if (err == 0 && w->run == NULL) {
		err = begin_run(w, slot);
	}
	if (err == 0 && content != NULL) {
		err = grow(w, TM_PAGE_SIZE, &where);
	}
	if (err != 0) {
		return err;
	}
	if (content != NULL) {
		memcpy(where, content, TM_PAGE_SIZE);
		w->run_head->data_count++;
		w->run->length += TM_PAGE_SIZE;
	}
	if (at != NULL) {
		*at = where;
	}
	w->list[w->run_head->count++] = index | (content == NULL ? SNAP_ZERO : 0);
	return 0;
}

int snap_write_flush(struct snap_writer *w)
{
	size_t bytes;
	void *at;
	int err;

	if (w->run == NULL) {
		return 0;
	}
	bytes = w->run_head->count * sizeof(uint64_t);
	err = grow(w, bytes, &at);
	if (err != 0) {
		return err;
	}
	memcpy(at, w->list, bytes);
	w->run->length += bytes;
	w->run = NULL;
	return 0;
}

// The CRCs of all records but END: the contents are final now.
static void seal_records(struct snap_writer *w, size_t end_at)
{
	struct snap_header *h = (struct snap_header *)w->image;
	size_t at = sizeof(*h);

	h->crc = 0;
	h->crc = crc32c(0, h, sizeof(*h));
	while (at < end_at) {
		struct snap_record *r = (struct snap_record *)(w->image + at);

		r->crc = 0;
		r->crc = crc32c(0, r, sizeof(*r) + r->length);
		at += sizeof(*r) + r->length;
	}
}

int snap_write_end(struct snap_writer *w, const struct snap_end *end)
{
	struct snap_record *r;
	struct snap_end *e;
	struct hash hash;
	size_t end_at;
	int err = begin_record(w, SNAP_END, SNAP_MANDATORY, sizeof(*end), &r);

	if (err != 0) {
		return err;
	}
	end_at = (size_t)((uint8_t *)r - w->image);
	seal_records(w, end_at);
	e = (struct snap_end *)(r + 1);
	*e = *end;
	e->image_len = w->length;
	e->records = w->records;
	hash_start(&hash, SNAP_END_SEED);
	hash_add(&hash, w->image, end_at);
	e->end_hash = hash_end(&hash);
	r->crc = crc32c(0, r, sizeof(*r) + r->length);
	return 0;
}
