// SPDX-License-Identifier: Apache-2.0
//
// The snapshot store: images (snapfmt.h) packed one behind the other in one piece of memory. At
// most one image is open for writing, at the end; deleting moves the later images down. An image
// describes itself, so a store that survived the manager can be read in again.

#ifndef MANAGER_STORE_H
#define MANAGER_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fail.h"
#include "snapfmt.h"

#define STORE_IMAGES 64u

struct store_entry {
	size_t at;
	size_t length;
};

struct store {
	uint8_t *base;
	size_t size;
	size_t used;			// of whole images
	size_t open;			// bytes of the image being written
	bool writing;
	uint32_t count;
	struct store_entry entry[STORE_IMAGES];
};

// base 8-byte aligned.
void store_init(struct store *s, void *base, size_t size);
// Reads in the images that lie in the memory from its start, up to the first damaged one.
// Returns how many.
uint32_t store_recover(struct store *s);

// The sink of the new image. -TM_EBUSY while one is open, -TM_ENOSPC when the table is full.
int store_open(struct store *s, struct snap_sink *sink, struct fail *f);
void store_commit(struct store *s);
void store_abort(struct store *s);

const struct snap_header *store_header(const struct store *s, uint32_t index);
const void *store_data(const struct store *s, uint32_t index, size_t *length);
// By name or by the first digits of its uuid; the newest of several. -TM_ENOENT.
int store_find(const struct store *s, const char *name);
int store_find_uuid(const struct store *s, const struct snap_uuid *uuid);
// Refuses an image that another one builds on: -TM_EBUSY.
int store_delete(struct store *s, uint32_t index, struct fail *f);

#endif
