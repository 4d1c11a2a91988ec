// SPDX-License-Identifier: Apache-2.0
//
// A snapshot as a whole: its chain of images down to the full one, verified byte by byte, and a map
// from each page to the content that counts. Owns only what the caller's struct points to.

#include <stdlib.h>
#include <string.h>

#include <abi/errno.h>

#include "snap.h"

// Names the snapshot in front of what the verifier said.
static int refuse_image(struct fail *f, const char *name, int err)
{
	char why[sizeof(f->why)];

	if (f != NULL) {
		memcpy(why, f->why, sizeof(why));
		why[sizeof(why) - 1] = 0;
		fail_set(f, err, "image", f->todo[0] != 0 ? f->todo : NULL, "%.31s: %s", name, why);
	}
	return err;
}

static bool same_slots(const struct snap_image *a, const struct snap_image *b)
{
	return a->slot_count == b->slot_count &&
	       memcmp(a->slots, b->slots, a->slot_count * sizeof(*a->slots)) == 0;
}

static int open_chain(struct snap_view *v, const struct store *store, uint32_t index,
		      struct fail *f)
{
	int next = (int)index;

	while (next >= 0) {
		struct snap_image *img = &v->img[v->count];
		const struct snap_header *h = store_header(store, (uint32_t)next);
		char name[SNAP_NAME_LEN] = "";
		size_t length;
		const void *data = store_data(store, (uint32_t)next, &length);
		int err = snap_open(img, data, length, f);

		strncpy(name, h->name, sizeof(name) - 1);
		if (err != 0) {
			return refuse_image(f, name, err);
		}
		v->count++;
		if (v->count > 1 && (!same_slots(img, &v->img[0]) ||
				     !snap_uuid_equal(&h->vm, &v->img[0].header->vm))) {
			return fail_set(f, -TM_EINVAL, "image", NULL,
					"%s has other slots or another VM than its child", name);
		}
		if (snap_uuid_is_zero(&h->parent)) {
			return 0;
		}
		next = store_find_uuid(store, &h->parent);
		if (next < 0) {
			return fail_set(f, -TM_ENOENT, "image", "it cannot be restored",
					"the parent of %s is not in the store", name);
		}
		if (v->count == SNAP_CHAIN) {
			return fail_set(f, -TM_E2BIG, "image", NULL,
					"more than %u images in the chain", SNAP_CHAIN);
		}
	}
	return 0;
}

static int check_machine(const struct snap_image *img, struct fail *f)
{
	const struct snap_header *h = img->header;
	uint64_t feature[SNAP_FEATURES];

	if (h->arch != hv_arch()) {
		return fail_set(f, -TM_EOPNOTSUPP, "machine", "restore it on that architecture",
				"header: the image is for architecture %u", (unsigned)h->arch);
	}
	if (h->abi_version >> 16 != hv_abi_version() >> 16) {
		return fail_set(f, -TM_EOPNOTSUPP, "machine", "use that hypervisor",
				"header: taken under ABI %u.%u", (unsigned)(h->abi_version >> 16),
				(unsigned)(h->abi_version & 0xffff));
	}
	hv_cpu_features(feature);
	for (int i = 0; i < SNAP_FEATURES; i++) {
		if (feature[i] != h->cpu_feature[i]) {
			return fail_set(f, -TM_EOPNOTSUPP, "machine",
					"restore it on the same CPU model",
					"header: CPU feature word %d is %lx here, %lx in the image",
					i, (unsigned long)feature[i],
					(unsigned long)h->cpu_feature[i]);
		}
	}
	return 0;
}

static void apply_run(struct snap_view *v, const struct snap_pages *p)
{
	const uint8_t *content = (const uint8_t *)(p + 1);
	const uint64_t *list = (const uint64_t *)(content + (size_t)p->data_count * TM_PAGE_SIZE);
	uint32_t i = 0;

	while (v->img[0].slots[i].slot != p->slot) {
		i++;
	}
	for (uint32_t n = 0; n < p->count; n++) {
		if ((list[n] & SNAP_ZERO) != 0) {
			v->page[i][list[n] & ~SNAP_ZERO] = NULL;
		} else {
			v->page[i][list[n]] = content;
			content += TM_PAGE_SIZE;
		}
	}
}

int snap_view_open(struct snap_view *v, const struct store *store, uint32_t index,
		   struct fail *f)
{
	int err;

	memset(v, 0, sizeof(*v));
	err = open_chain(v, store, index, f);
	if (err == 0) {
		err = check_machine(&v->img[0], f);
	}
	for (uint32_t i = 0; err == 0 && i < v->img[0].slot_count; i++) {
		v->page[i] = calloc(v->img[0].slots[i].size / TM_PAGE_SIZE, sizeof(*v->page[i]));
		if (v->page[i] == NULL) {
			err = fail_set(f, -TM_ENOMEM, "page table", NULL, "no heap for it");
		}
	}
	if (err != 0) {
		snap_view_close(v);
		return err;
	}
	// The oldest first, so that later images win.
	for (uint32_t n = v->count; n-- > 0;) {
		struct snap_cursor c = {0};

		while (snap_next(&v->img[n], &c)) {
			if (c.record->type == SNAP_PAGES) {
				apply_run(v, c.payload);
			}
		}
	}
	return 0;
}

void snap_view_close(struct snap_view *v)
{
	for (uint32_t i = 0; i < SNAP_MAX_SLOTS; i++) {
		free(v->page[i]);
		v->page[i] = NULL;
	}
}

const uint8_t *snap_view_page(const struct snap_view *v, uint32_t slot, uint64_t page)
{
	return v->page[slot][page];
}
