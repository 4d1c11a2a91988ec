// SPDX-License-Identifier: Apache-2.0
// LINK: guests/manager/snapfmt.c guests/manager/snapwrite.c guests/manager/crc32c.c
// LINK: guests/manager/hash.c guests/manager/fail.c guests/manager/store.c
//
// The snapshot format: an image written by the test must equal the golden file; the verifier must
// refuse every changed byte and every truncation and name the record. TM_WRITE_GOLDEN=1 in the
// environment writes the golden file instead of comparing (for a new minor version).

#include <abi/errno.h>

#include "check.h"
#include "guests/manager/crc32c.h"
#include "guests/manager/snapfmt.h"
#include "guests/manager/store.h"

#define GOLDEN "tests/host/golden/snap-1.0.img"
#define IMAGE_MAX 65536u

static uint64_t image_words[IMAGE_MAX / 8];
static uint64_t copy_words[IMAGE_MAX / 8];
static uint8_t *const image = (uint8_t *)image_words;
static uint8_t *const copy = (uint8_t *)copy_words;
static size_t image_limit;
static size_t image_used;

static int grow(void *ctx, size_t length, void **at)
{
	(void)ctx;
	if (length > image_limit - image_used) {
		return -TM_ENOSPC;
	}
	*at = image + image_used;
	image_used += length;
	return 0;
}

static void fill_page(uint8_t *page, uint64_t seed)
{
	for (unsigned i = 0; i < TM_PAGE_SIZE; i++) {
		page[i] = (uint8_t)((seed * 31 + i * 7) ^ (i >> 5));
	}
}

static void golden_header(struct snap_header *h)
{
	memset(h, 0, sizeof(*h));
	h->magic = SNAP_MAGIC;
	h->major = 1;
	h->header_len = sizeof(*h);
	h->arch = SNAP_ARCH_ARM64;
	h->abi_version = 0x10000;
	h->time = 123456789;
	h->freq = 62500000;
	for (uint8_t i = 0; i < 16; i++) {
		h->uuid.b[i] = (uint8_t)(0xa0 + i);
		h->vm.b[i] = (uint8_t)(0x10 + i);
	}
	strcpy(h->name, "golden");
	for (unsigned i = 0; i < SNAP_FEATURES; i++) {
		h->cpu_feature[i] = 0x1122334455667788u + i;
	}
}

static int write_pages(struct snap_writer *w)
{
	uint8_t page[TM_PAGE_SIZE];
	void *at = NULL;
	int err = 0;

	fill_page(page, 1);
	err |= snap_write_page(w, 0, 3, page, &at);
	err |= snap_write_page(w, 0, 4, NULL, NULL);
	fill_page(page, 2);
	err |= snap_write_page(w, 0, 15, page, NULL);
	fill_page(page, 3);
	err |= snap_write_page(w, 7, 0, page, NULL);
	// The first page was dirtied again: replaced in place.
	if (at != NULL) {
		fill_page(at, 4);
	}
	return err;
}

static int build_image(size_t limit)
{
	static const struct snap_slot slots[2] = {{0, 0, 0x40000000, 16 * 4096},
						  {7, 2, 0x80000000, 4096}};
	struct snap_shape shape = {.vcpus = 2, .dirty_flags = 6, .pool_pages = 512, .name = "linux"};
	struct snap_end end = {.mem_hash = {1, 2}, .pages = 17, .pages_stored = 3,
			       .pages_copied = 20, .pages_dirtied = 4, .downtime = 999, .rounds = 3};
	struct snap_sink sink = {grow, NULL};
	struct snap_header h;
	struct snap_writer w;
	uint8_t state[100];
	int err;

	image_used = 0;
	image_limit = limit;
	memset(image, 0xee, IMAGE_MAX);
	for (uint8_t i = 0; i < sizeof(state); i++) {
		state[i] = i;
	}
	golden_header(&h);
	err = snap_write_begin(&w, sink, &h);
	err = err != 0 ? err : snap_write_record(&w, SNAP_SHAPE, 1, &shape, sizeof(shape));
	err = err != 0 ? err : snap_write_slots(&w, slots, 2);
	err = err != 0 ? err : write_pages(&w);
	err = err != 0 ? err : snap_write_record(&w, 1000, 0, "a later version's", 17);
	err = err != 0 ? err : snap_write_dev(&w, SNAP_VCPU, 0, state, 100);
	err = err != 0 ? err : snap_write_dev(&w, SNAP_VCPU, 1, state, 96);
	err = err != 0 ? err : snap_write_dev(&w, SNAP_TIMER, 0, state, 64);
	err = err != 0 ? err : snap_write_dev(&w, SNAP_UART, 0, state, 64);
	err = err != 0 ? err : snap_write_dev(&w, SNAP_IRQCHIP, 0, state, 33);
	return err != 0 ? err : snap_write_end(&w, &end);
}

// Offsets of the records' heads; returns how many.
static unsigned record_offsets(size_t offset[32])
{
	struct snap_image img;
	struct snap_cursor c = {0};
	unsigned n = 0;

	CHECK_EQ(snap_open(&img, image, image_used, NULL), 0);
	while (snap_next(&img, &c)) {
		offset[n++] = c.at;
	}
	offset[n++] = c.at;
	return n;
}

static void expect_refused(size_t length, unsigned record)
{
	struct snap_image img;
	struct fail f = {0};
	char head[32];
	int err = snap_open(&img, copy, length, &f);

	snprintf(head, sizeof(head), "record %u (", record);
	if (err == 0 || f.err != err || strstr(f.why, head) != f.why) {
		fprintf(stderr, "record %u: %d \"%s\"\n", record, err, f.why);
		check_fail(__FILE__, __LINE__, "refused with the record named");
	}
}

TEST(crc32c_known_answers)
{
	uint8_t zeros[32] = {0};

	CHECK_EQ(crc32c(0, "123456789", 9), 0xe3069283);
	CHECK_EQ(crc32c_table(0, zeros, 32), 0x8a9136aa);
	CHECK_EQ(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xe3069283);
}

TEST(hash_sees_every_bit)
{
	uint64_t data[40] = {0};
	struct hash_value seen;
	struct hash h;

	hash_start(&h, 1);
	hash_add(&h, data, sizeof(data));
	seen = hash_end(&h);
	for (unsigned bit = 0; bit < sizeof(data) * 8; bit++) {
		struct hash_value v;

		data[bit / 64] ^= UINT64_C(1) << bit % 64;
		hash_start(&h, 1);
		hash_add(&h, data, 64);
		hash_add(&h, data + 8, sizeof(data) - 64);
		v = hash_end(&h);
		data[bit / 64] ^= UINT64_C(1) << bit % 64;
		CHECK(v.low != seen.low && v.high != seen.high);
	}
}

TEST(golden_file)
{
	FILE *file;
	size_t n;

	CHECK_EQ(build_image(IMAGE_MAX), 0);
	if (getenv("TM_WRITE_GOLDEN") != NULL) {
		file = fopen(GOLDEN, "wb");
		CHECK(file != NULL && fwrite(image, 1, image_used, file) == image_used);
		fclose(file);
	}
	file = fopen(GOLDEN, "rb");
	CHECK(file != NULL);
	n = fread(copy, 1, IMAGE_MAX, file);
	fclose(file);
	CHECK_EQ(n, image_used);
	CHECK(memcmp(copy, image, n) == 0);
}

TEST(reads_back)
{
	struct snap_image img;
	struct snap_cursor c = {0};
	uint8_t want[TM_PAGE_SIZE];
	unsigned skipped = 0;

	CHECK_EQ(build_image(IMAGE_MAX), 0);
	CHECK_EQ(snap_open(&img, image, image_used, NULL), 0);
	CHECK_EQ(img.slot_count, 2);
	CHECK_EQ(img.shape->vcpus, 2);
	CHECK_EQ(img.end->downtime, 999);
	fill_page(want, 4);
	while (snap_next(&img, &c)) {
		const struct snap_pages *p = c.payload;

		skipped += c.record->type == 1000 ? 1 : 0;
		if (c.record->type == SNAP_PAGES && p->slot == 0) {
			const uint64_t *list = (const uint64_t *)((const uint8_t *)(p + 1) + 8192);

			CHECK_EQ(p->count, 3);
			CHECK_EQ(list[0], 3);
			CHECK_EQ(list[1], (int64_t)(4 | SNAP_ZERO));
			CHECK_EQ(list[2], 15);
			CHECK(memcmp(p + 1, want, TM_PAGE_SIZE) == 0);
		}
	}
	CHECK_EQ(skipped, 1);
}

// Every byte that is not page content, all eight bits of it.
TEST(every_header_and_index_byte)
{
	size_t offset[32];
	unsigned n;
	unsigned flips = 0;

	CHECK_EQ(build_image(IMAGE_MAX), 0);
	n = record_offsets(offset);
	memcpy(copy, image, image_used);
	for (size_t at = 0; at < image_used; at++) {
		unsigned r = n;
		const struct snap_record *rec;

		while (r > 0 && offset[r - 1] > at) {
			r--;
		}
		rec = (const struct snap_record *)(image + offset[r > 0 ? r - 1 : 0]);
		if (r > 0 && rec->type == SNAP_PAGES) {
			const struct snap_pages *p = (const struct snap_pages *)(rec + 1);
			size_t from = offset[r - 1] + sizeof(*rec) + sizeof(*p);

			if (at >= from && at < from + (size_t)p->data_count * TM_PAGE_SIZE) {
				continue;
			}
		}
		for (int bit = 0; bit < 8; bit++) {
			copy[at] ^= (uint8_t)(1 << bit);
			if (r > 0) {
				expect_refused(image_used, r - 1);
			} else {
				struct snap_image img;
				struct fail f;

				EXPECT(snap_open(&img, copy, image_used, &f) != 0);
				EXPECT(strstr(f.why, "header: ") == f.why);
			}
			copy[at] ^= (uint8_t)(1 << bit);
			flips++;
		}
	}
	CHECK(flips > 8 * 1000);
}

TEST(thousand_payload_bytes)
{
	struct check_rng rng = check_rng_make(1);
	size_t offset[32];
	unsigned n;

	CHECK_EQ(build_image(IMAGE_MAX), 0);
	n = record_offsets(offset);
	memcpy(copy, image, image_used);
	for (int i = 0; i < 1000; i++) {
		// Somewhere in the contents of the first page record (record 2).
		size_t at = offset[2] + 48 + check_below(&rng, 2 * TM_PAGE_SIZE);
		uint8_t flip = (uint8_t)(1 + check_below(&rng, 255));

		copy[at] ^= flip;
		expect_refused(image_used, 2);
		copy[at] ^= flip;
	}
	CHECK(n > 8);
}

TEST(truncations)
{
	size_t offset[32];
	unsigned n;

	CHECK_EQ(build_image(IMAGE_MAX), 0);
	n = record_offsets(offset);
	memcpy(copy, image, image_used);
	for (unsigned r = 0; r < n; r++) {
		size_t next = r + 1 < n ? offset[r + 1] : image_used;

		expect_refused(offset[r], r);
		for (size_t at = offset[r] + 8; at < next; at += 8 + (next - offset[r]) / 16 / 8 * 8) {
			expect_refused(at, r);
		}
	}
	for (size_t at = 0; at < sizeof(struct snap_header); at += 8) {
		struct snap_image img;
		struct fail f;

		EXPECT(snap_open(&img, copy, at, &f) != 0 && strstr(f.why, "header: ") == f.why);
	}
	// Bytes behind END.
	memset(copy + image_used, 0, 64);
	expect_refused(image_used + 8, n - 1);
}

static void reseal(struct snap_record *r)
{
	r->crc = 0;
	r->crc = crc32c(0, r, sizeof(*r) + r->length);
}

// Valid checksums, wrong contents: what a faulty or later writer might leave.
TEST(valid_crc_bad_content)
{
	static const struct {
		unsigned record;
		size_t at;
		uint8_t value;
	} bad[] = {
		{2, 40, 9},		// data_count > count
		{2, 36, 200},		// count and length differ
		{2, 32, 5},		// slot that is not there
		{2, 48 + 8192, 16},	// page index beyond the slot
		{2, 48 + 8192 + 15, 0},	// zero flag gone: list and contents differ
		{2, 44, 1},		// reserved
		{1, 32, 3},		// slot count
		{1, 40, 8},		// slot order
		{1, 57, 1},		// slot size not whole pages
		{0, 36, 65},		// vcpus
		{0, 36, 0},		// vcpus
		{0, 56, 9},		// MMIO windows
		{5, 32, 64},		// vCPU id
		{5, 36, 200},		// size beyond the record
		{4, 4, 2},		// unknown flag
		{4, 16, 7},		// sequence
		{4, 24, 1},		// reserved
		{5, 0, 1},		// a second SHAPE
	};
	size_t offset[32];

	CHECK_EQ(build_image(IMAGE_MAX), 0);
	(void)record_offsets(offset);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memcpy(copy, image, image_used);
		copy[offset[bad[i].record] + bad[i].at] = bad[i].value;
		reseal((struct snap_record *)(copy + offset[bad[i].record]));
		expect_refused(image_used, bad[i].record);
	}
}

TEST(unknown_versions)
{
	struct snap_image img;
	struct snap_header *h = (struct snap_header *)copy;
	size_t offset[32];
	struct snap_record *r;
	struct fail f;

	CHECK_EQ(build_image(IMAGE_MAX), 0);
	(void)record_offsets(offset);
	memcpy(copy, image, image_used);
	h->major = 2;
	h->crc = 0;
	h->crc = crc32c(0, h, sizeof(*h));
	CHECK_EQ(snap_open(&img, copy, image_used, &f), -TM_EOPNOTSUPP);
	CHECK(strstr(f.why, "format 2.0; this manager reads 1.x") != NULL);

	memcpy(copy, image, image_used);
	r = (struct snap_record *)(copy + offset[4]);
	CHECK_EQ(r->type, 1000);
	r->flags = SNAP_MANDATORY;
	reseal(r);
	CHECK_EQ(snap_open(&img, copy, image_used, &f), -TM_EOPNOTSUPP);
	CHECK(strstr(f.why, "record 4 (type 1000): unknown and mandatory") != NULL);
}

TEST(writer_out_of_space)
{
	size_t full;

	CHECK_EQ(build_image(IMAGE_MAX), 0);
	full = image_used;
	for (size_t limit = 0; limit < full; limit += 8) {
		CHECK_EQ(build_image(limit), -TM_ENOSPC);
		CHECK(image_used <= limit);
	}
	CHECK_EQ(build_image(full), 0);
}

static void put_in_store(struct store *s, uint8_t id, uint8_t parent, const char *name)
{
	struct snap_header *h = (struct snap_header *)image;
	struct snap_sink sink;
	void *at;

	CHECK_EQ(build_image(IMAGE_MAX), 0);
	memset(&h->uuid, id, 16);
	memset(&h->parent, parent, 16);
	snprintf(h->name, sizeof(h->name), "%s", name);
	h->crc = 0;
	h->crc = crc32c(0, h, sizeof(*h));
	// The end hash covers the header too.
	{
		size_t offset = image_used - sizeof(struct snap_end) - sizeof(struct snap_record);
		struct snap_record *r = (struct snap_record *)(image + offset);
		struct hash hash;

		hash_start(&hash, SNAP_END_SEED);
		hash_add(&hash, image, offset);
		((struct snap_end *)(r + 1))->end_hash = hash_end(&hash);
		reseal(r);
	}
	CHECK_EQ(store_open(s, &sink, NULL), 0);
	CHECK_EQ(sink.grow(sink.ctx, image_used, &at), 0);
	memcpy(at, image, image_used);
	store_commit(s);
}

TEST(store_keeps_order_and_parents)
{
	static uint64_t memory[IMAGE_MAX / 2];
	struct store s;
	struct store again;
	struct snap_image img;
	struct snap_sink sink;
	struct fail f;
	size_t length;
	const void *data;

	store_init(&s, memory, sizeof(memory));
	put_in_store(&s, 1, 0, "first");
	put_in_store(&s, 2, 1, "second");
	put_in_store(&s, 3, 0, "third");
	CHECK_EQ(store_find(&s, "second"), 1);
	CHECK_EQ(store_find(&s, "0303"), 2);
	CHECK_EQ(store_find(&s, "none"), -TM_ENOENT);
	CHECK_EQ(store_delete(&s, 0, &f), -TM_EBUSY);
	CHECK(strcmp(f.why, "second builds on it") == 0);
	CHECK_EQ(store_delete(&s, 1, NULL), 0);
	CHECK_EQ(s.count, 2);
	for (uint32_t i = 0; i < 2; i++) {
		data = store_data(&s, i, &length);
		CHECK_EQ(snap_open(&img, data, length, NULL), 0);
	}
	CHECK_EQ(store_find(&s, "third"), 1);

	// An aborted image leaves nothing; a manager that comes later finds the others.
	CHECK_EQ(store_open(&s, &sink, NULL), 0);
	CHECK_EQ(store_open(&s, &sink, NULL), -TM_EBUSY);
	store_abort(&s);
	store_init(&again, memory, sizeof(memory));
	CHECK_EQ(store_recover(&again), 2);
	CHECK_EQ(again.used, s.used);
	CHECK_EQ(store_delete(&s, 0, NULL), 0);
	CHECK_EQ(store_delete(&s, 0, NULL), 0);
	CHECK_EQ(s.used, 0);
	store_init(&again, memory, sizeof(memory));
	CHECK_EQ(store_recover(&again), 0);
}

CHECK_MAIN()
