// SPDX-License-Identifier: Apache-2.0
//
// Reader and verifier of the snapshot format (snapfmt.h). The image is not trusted: every length
// is bounded against what is left before it is used, and nothing of an image is used before
// snap_open accepted all of it. No state, no lock.

#include <stdio.h>
#include <string.h>

#include <abi/errno.h>

#include "crc32c.h"
#include "snapfmt.h"

#define RETAKE "the image is damaged or not ours: delete it and take the snapshot again"
#define UPGRADE "use the manager that wrote it, or a newer one"

static const char *const type_names[] = {
	[SNAP_SHAPE] = "SHAPE", [SNAP_SLOTS] = "SLOTS",	    [SNAP_PAGES] = "PAGES",
	[SNAP_VCPU] = "VCPU",	[SNAP_IRQCHIP] = "IRQCHIP", [SNAP_TIMER] = "TIMER",
	[SNAP_UART] = "UART",	[SNAP_END] = "END",
};

const char *snap_type_name(uint32_t type)
{
	if (type >= sizeof(type_names) / sizeof(type_names[0]) || type_names[type] == NULL) {
		return "unknown";
	}
	return type_names[type];
}

bool snap_uuid_equal(const struct snap_uuid *a, const struct snap_uuid *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

bool snap_uuid_is_zero(const struct snap_uuid *a)
{
	static const struct snap_uuid zero;

	return snap_uuid_equal(a, &zero);
}

void snap_hash_text(struct hash_value h, char out[33])
{
	snprintf(out, 33, "%016lx%016lx", (unsigned long)h.high, (unsigned long)h.low);
}

static int refuse_header(struct fail *f, const char *text)
{
	return fail_set(f, -TM_EINVAL, "image", RETAKE, "header: %s", text);
}

static int refuse(struct fail *f, const struct snap_cursor *c, const char *text)
{
	return fail_set(f, -TM_EINVAL, "image", RETAKE, "record %u (%s): %s", (unsigned)c->seq,
			c->record != NULL ? snap_type_name(c->record->type) : "head", text);
}

static int check_header(const struct snap_header *h, size_t length, struct fail *f)
{
	struct snap_header copy;
	static const uint8_t zero[sizeof(h->rsvd)];

	if (length < sizeof(*h)) {
		return refuse_header(f, "truncated");
	}
	if (h->magic != SNAP_MAGIC) {
		return refuse_header(f, "this is no snapshot image");
	}
	copy = *h;
	copy.crc = 0;
	if (crc32c(0, &copy, sizeof(copy)) != h->crc) {
		return refuse_header(f, "checksum differs");
	}
	if (h->major != SNAP_MAJOR) {
		return fail_set(f, -TM_EOPNOTSUPP, "image", UPGRADE,
				"header: format %u.%u; this manager reads %u.x",
				(unsigned)h->major, (unsigned)h->minor, SNAP_MAJOR);
	}
	if (h->header_len != sizeof(*h) || h->rsvd2 != 0 ||
	    memcmp(h->rsvd, zero, sizeof(zero)) != 0 ||
	    memchr(h->name, 0, sizeof(h->name)) == NULL) {
		return refuse_header(f, "invalid field");
	}
	return 0;
}

static int check_slots(struct snap_image *img, const struct snap_cursor *c, struct fail *f)
{
	const uint32_t *head = c->payload;
	const struct snap_slot *slots = (const struct snap_slot *)(head + 2);

	if (c->record->length < 8 || head[0] > SNAP_MAX_SLOTS || head[1] != 0 ||
	    c->record->length != 8 + head[0] * sizeof(*slots)) {
		return refuse(f, c, "slot count and length differ");
	}
	for (uint32_t i = 0; i < head[0]; i++) {
		const struct snap_slot *s = &slots[i];

		if (s->size == 0 || s->size % TM_PAGE_SIZE != 0 || s->gpa % TM_PAGE_SIZE != 0 ||
		    s->gpa + s->size < s->gpa || s->size / TM_PAGE_SIZE > UINT32_MAX / 2 ||
		    (i > 0 && s->slot <= slots[i - 1].slot)) {
			return refuse(f, c, "invalid slot");
		}
	}
	img->slots = slots;
	img->slot_count = head[0];
	return 0;
}

static int check_pages(const struct snap_image *img, const struct snap_cursor *c, struct fail *f)
{
	const struct snap_pages *p = c->payload;
	const struct snap_slot *slot = NULL;
	const uint64_t *list;
	uint32_t data = 0;

	if (c->record->length < sizeof(*p) || p->count > SNAP_RUN_MAX ||
	    p->data_count > p->count || p->rsvd != 0 ||
	    c->record->length != sizeof(*p) + (uint64_t)p->data_count * TM_PAGE_SIZE +
				 (uint64_t)p->count * 8) {
		return refuse(f, c, "page count and length differ");
	}
	for (uint32_t i = 0; i < img->slot_count; i++) {
		if (img->slots[i].slot == p->slot) {
			slot = &img->slots[i];
		}
	}
	if (slot == NULL) {
		return refuse(f, c, "page of a slot that the image does not have");
	}
	list = (const uint64_t *)((const uint8_t *)(p + 1) + (size_t)p->data_count * TM_PAGE_SIZE);
	for (uint32_t i = 0; i < p->count; i++) {
		if ((list[i] & ~SNAP_ZERO) >= slot->size / TM_PAGE_SIZE) {
			return refuse(f, c, "page index beyond its slot");
		}
		data += (list[i] & SNAP_ZERO) == 0 ? 1 : 0;
	}
	return data == p->data_count ? 0 : refuse(f, c, "page list and contents differ");
}

static int check_dev(const struct snap_cursor *c, struct fail *f)
{
	const struct snap_dev *d = c->payload;

	if (c->record->length < sizeof(*d) ||
	    c->record->length != ((sizeof(*d) + (uint64_t)d->size + 7) & ~UINT64_C(7)) ||
	    d->id >= TM_MAX_VCPUS) {
		return refuse(f, c, "size and length differ");
	}
	return 0;
}

static int check_shape(struct snap_image *img, const struct snap_cursor *c, struct fail *f)
{
	const struct snap_shape *s = c->payload;

	if (c->record->length != sizeof(*s) || s->vcpus == 0 || s->vcpus > TM_MAX_VCPUS ||
	    s->mmio_count > TM_VM_MMIO_WINDOWS || s->rsvd != 0 ||
	    memchr(s->name, 0, sizeof(s->name)) == NULL) {
		return refuse(f, c, "invalid field");
	}
	img->shape = s;
	return 0;
}

static int check_end(struct snap_image *img, const struct snap_cursor *c, struct fail *f)
{
	const struct snap_end *e = c->payload;
	size_t before = (size_t)((const uint8_t *)c->record - img->data);
	struct hash hash;
	struct hash_value v;

	if (c->record->length != sizeof(*e) || e->records != c->seq + 1 ||
	    e->image_len != before + sizeof(*c->record) + sizeof(*e)) {
		return refuse(f, c, "record count or length differs");
	}
	if (e->image_len != img->length) {
		return refuse(f, c, "bytes behind the end");
	}
	hash_start(&hash, SNAP_END_SEED);
	hash_add(&hash, img->data, before);
	v = hash_end(&hash);
	if (v.low != e->end_hash.low || v.high != e->end_hash.high) {
		return refuse(f, c, "end hash differs");
	}
	img->end = e;
	return 0;
}

// Bounds, CRC and number of the record at c->at; advances nothing.
static int check_record(const struct snap_image *img, struct snap_cursor *c, struct fail *f)
{
	size_t left = img->length - c->at;
	struct snap_record head;
	uint32_t crc;

	c->record = NULL;
	if (left < sizeof(head)) {
		return refuse(f, c, left == 0 ? "truncated: END is missing" : "truncated");
	}
	c->record = (const struct snap_record *)(img->data + c->at);
	head = *c->record;
	if (head.length % 8 != 0 || head.length > left - sizeof(head)) {
		return refuse(f, c, "truncated, or its length is damaged");
	}
	c->payload = c->record + 1;
	crc = head.crc;
	head.crc = 0;
	if (crc32c(crc32c(0, &head, sizeof(head)), c->payload, head.length) != crc) {
		return refuse(f, c, "checksum differs");
	}
	if (head.seq != c->seq || head.rsvd != 0 || (head.flags & ~(uint32_t)SNAP_MANDATORY) != 0) {
		return refuse(f, c, "out of order, or an unknown flag");
	}
	return 0;
}

static int check_payload(struct snap_image *img, const struct snap_cursor *c, struct fail *f)
{
	uint32_t type = c->record->type;

	if ((c->seq == 0) != (type == SNAP_SHAPE) || (c->seq == 1) != (type == SNAP_SLOTS)) {
		return refuse(f, c, "out of order: an image starts with SHAPE and SLOTS");
	}
	switch (type) {
	case SNAP_SHAPE:
		return check_shape(img, c, f);
	case SNAP_SLOTS:
		return check_slots(img, c, f);
	case SNAP_PAGES:
		return check_pages(img, c, f);
	case SNAP_VCPU:
	case SNAP_IRQCHIP:
	case SNAP_TIMER:
	case SNAP_UART:
		return check_dev(c, f);
	case SNAP_END:
		return check_end(img, c, f);
	default:
		if ((c->record->flags & SNAP_MANDATORY) != 0) {
			return fail_set(f, -TM_EOPNOTSUPP, "image", UPGRADE,
					"record %u (type %u): unknown and mandatory",
					(unsigned)c->seq, (unsigned)type);
		}
		return 0;
	}
}

int snap_open(struct snap_image *img, const void *data, size_t length, struct fail *why)
{
	struct snap_cursor c = {sizeof(struct snap_header), 0, NULL, NULL};
	int err;

	memset(img, 0, sizeof(*img));
	img->data = data;
	img->length = length;
	err = check_header(data, length, why);
	if (err != 0) {
		return err;
	}
	img->header = data;
	while (img->end == NULL) {
		err = check_record(img, &c, why);
		if (err == 0) {
			err = check_payload(img, &c, why);
		}
		if (err != 0) {
			return err;
		}
		c.at += sizeof(*c.record) + c.record->length;
		c.seq++;
	}
	return 0;
}

bool snap_next(const struct snap_image *img, struct snap_cursor *c)
{
	if (c->at == 0) {
		c->at = sizeof(struct snap_header);
	} else {
		c->at += sizeof(*c->record) + c->record->length;
	}
	c->record = (const struct snap_record *)(img->data + c->at);
	c->payload = c->record + 1;
	return c->record->type != SNAP_END;
}
