// SPDX-License-Identifier: Apache-2.0
//
// The snapshot store of store.h. Owns the memory it was given; one thread, no lock. Knows images
// only by their headers and lengths.

#include <stdio.h>
#include <string.h>

#include <abi/errno.h>

#include "store.h"

void store_init(struct store *s, void *base, size_t size)
{
	memset(s, 0, sizeof(*s));
	s->base = base;
	s->size = size & ~(size_t)7;
}

// Length of the image at `at` by its record heads, 0 when there is none that ends in the store.
static size_t image_length(const struct store *s, size_t at)
{
	size_t pos = at + sizeof(struct snap_header);

	if (at + sizeof(struct snap_header) > s->size) {
		return 0;
	}
	while (s->size - pos >= sizeof(struct snap_record)) {
		const struct snap_record *r = (const struct snap_record *)(s->base + pos);

		pos += sizeof(*r);
		if (r->length % 8 != 0 || r->length > s->size - pos) {
			return 0;
		}
		pos += r->length;
		if (r->type == SNAP_END) {
			return pos - at;
		}
	}
	return 0;
}

uint32_t store_recover(struct store *s)
{
	struct snap_image img;

	s->count = 0;
	s->used = 0;
	s->open = 0;
	s->writing = false;
	while (s->count < STORE_IMAGES) {
		const struct snap_header *h = (const struct snap_header *)(s->base + s->used);
		size_t length;

		if (s->size - s->used < sizeof(*h) || h->magic != SNAP_MAGIC) {
			break;
		}
		length = image_length(s, s->used);
		if (length == 0 || snap_open(&img, h, length, NULL) != 0) {
			break;
		}
		s->entry[s->count].at = s->used;
		s->entry[s->count].length = length;
		s->count++;
		s->used += length;
	}
	return s->count;
}

static int store_grow(void *ctx, size_t length, void **at)
{
	struct store *s = ctx;

	if (length > s->size - s->used - s->open) {
		return -TM_ENOSPC;
	}
	*at = s->base + s->used + s->open;
	s->open += length;
	return 0;
}

int store_open(struct store *s, struct snap_sink *sink, struct fail *f)
{
	if (s->writing) {
		return fail_set(f, -TM_EBUSY, "store", NULL, "another snapshot is being taken");
	}
	if (s->count == STORE_IMAGES) {
		return fail_set(f, -TM_ENOSPC, "store", "delete snapshots (snap delete)",
				"it holds %u snapshots, the most it can", STORE_IMAGES);
	}
	s->writing = true;
	s->open = 0;
	sink->grow = store_grow;
	sink->ctx = s;
	return 0;
}

void store_commit(struct store *s)
{
	s->entry[s->count].at = s->used;
	s->entry[s->count].length = s->open;
	s->count++;
	s->used += s->open;
	s->open = 0;
	s->writing = false;
}

// What a later store_recover may look at must not look like an image.
static void blank_tail(struct store *s)
{
	if (s->size - s->used >= sizeof(struct snap_header)) {
		memset(s->base + s->used, 0, sizeof(struct snap_header));
	}
}

void store_abort(struct store *s)
{
	s->open = 0;
	s->writing = false;
	blank_tail(s);
}

const struct snap_header *store_header(const struct store *s, uint32_t index)
{
	return (const struct snap_header *)(s->base + s->entry[index].at);
}

const void *store_data(const struct store *s, uint32_t index, size_t *length)
{
	*length = s->entry[index].length;
	return s->base + s->entry[index].at;
}

static bool uuid_starts_with(const struct snap_uuid *uuid, const char *text)
{
	char hex[33];
	size_t n = strlen(text);

	for (int i = 0; i < 16; i++) {
		snprintf(hex + 2 * i, 3, "%02x", uuid->b[i]);
	}
	return n >= 4 && n <= 32 && strncmp(hex, text, n) == 0;
}

int store_find(const struct store *s, const char *name)
{
	for (uint32_t i = s->count; i-- > 0;) {
		if (strcmp(store_header(s, i)->name, name) == 0) {
			return (int)i;
		}
	}
	for (uint32_t i = s->count; i-- > 0;) {
		if (uuid_starts_with(&store_header(s, i)->uuid, name)) {
			return (int)i;
		}
	}
	return -TM_ENOENT;
}

int store_find_uuid(const struct store *s, const struct snap_uuid *uuid)
{
	for (uint32_t i = 0; i < s->count; i++) {
		if (snap_uuid_equal(&store_header(s, i)->uuid, uuid)) {
			return (int)i;
		}
	}
	return -TM_ENOENT;
}

int store_delete(struct store *s, uint32_t index, struct fail *f)
{
	const struct snap_header *h;
	size_t length;
	size_t after;

	if (s->writing) {
		return fail_set(f, -TM_EBUSY, "store", NULL, "a snapshot is being taken");
	}
	h = store_header(s, index);
	for (uint32_t i = 0; i < s->count; i++) {
		if (snap_uuid_equal(&store_header(s, i)->parent, &h->uuid)) {
			return fail_set(f, -TM_EBUSY, "delete", "delete the later one first",
					"%s builds on it", store_header(s, i)->name);
		}
	}
	length = s->entry[index].length;
	after = s->entry[index].at + length;
	memmove(s->base + s->entry[index].at, s->base + after, s->used - after);
	s->used -= length;
	s->count--;
	for (uint32_t i = index; i < s->count; i++) {
		s->entry[i] = s->entry[i + 1];
		s->entry[i].at -= length;
	}
	blank_tail(s);
	return 0;
}
