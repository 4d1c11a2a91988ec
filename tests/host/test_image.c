// SPDX-License-Identifier: Apache-2.0
//
// boot/image_load.c: good images, a table of bad ones, and random damage. Each image lies in a heap
// block of its exact size, so that ASan sees a read of one byte too many.
//
// LINK: boot/image_load.c boot/image_x86.c

#include "boot/image_load.h"
#include "check.h"

#define MEM_BASE 0x40000000ull
#define MEM_SIZE 0x08000000ull
#define MIB2 0x200000ull
#define BUF 8192u

static uint8_t buf[BUF];

static void put(uint64_t at, uint64_t v, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++) {
		buf[at + i] = (uint8_t)(v >> (8 * i));
	}
}

static void make_image(void)
{
	memset(buf, 0x5a, sizeof(buf));
	put(8, 0, 8);
	put(16, 0x10000, 8);
	put(24, 0xa, 8);
	put(56, 0x644d5241, 4);
}

#define PH(n) (64ull + 56ull * (n))

static void make_ph(unsigned n, uint32_t type, uint32_t flags, uint64_t offset, uint64_t addr,
		    uint64_t filesz, uint64_t memsz)
{
	put(PH(n), type, 4);
	put(PH(n) + 4, flags, 4);
	put(PH(n) + 8, offset, 8);
	put(PH(n) + 16, addr, 8);
	put(PH(n) + 24, addr, 8);
	put(PH(n) + 32, filesz, 8);
	put(PH(n) + 40, memsz, 8);
	put(PH(n) + 48, 0x1000, 8);
}

/* Two segments: text at 0x1000 with the entry, data at 0x1800 with bss. */
static void make_elf(bool dyn)
{
	uint64_t base = dyn ? 0 : MEM_BASE + 0x100000;

	memset(buf, 0, sizeof(buf));
	put(0, 0x464c457f, 4);
	put(4, 2, 1);
	put(5, 1, 1);
	put(6, 1, 1);
	put(16, dyn ? 3 : 2, 2);
	put(18, 183, 2);
	put(20, 1, 4);
	put(24, base + 0x10, 8);
	put(32, 64, 8);
	put(52, 64, 2);
	put(54, 56, 2);
	put(56, 2, 2);
	make_ph(0, 1, 5, 0x1000, base, 0x400, 0x400);
	make_ph(1, 1, 6, 0x1800, base + 0x1000, 0x100, 0x3000);
}

static int plan_at(uint64_t size, uint64_t base, uint64_t mem, uint32_t flags,
		   struct image_plan *plan)
{
	uint8_t *copy = malloc(size != 0 ? size : 1);
	int r;

	CHECK(copy != NULL);
	memcpy(copy, buf, size);
	r = image_plan(copy, size, base, mem, flags, plan);
	free(copy);
	return r;
}

static int plan_of(uint64_t size, struct image_plan *plan)
{
	return plan_at(size, MEM_BASE, MEM_SIZE, 0, plan);
}

TEST(image_is_planned)
{
	struct image_plan p;

	make_image();
	CHECK_EQ(plan_of(4096, &p), IMAGE_OK);
	CHECK_EQ(p.kind, IMAGE_ARM64);
	CHECK_EQ(p.count, 1);
	CHECK_EQ(p.entry, MEM_BASE);
	CHECK_EQ(p.seg[0].file_size, 4096);
	CHECK_EQ(p.seg[0].mem_size, 0x10000);
	CHECK_EQ(p.high, MEM_BASE + 0x10000);
}

TEST(image_text_offset_and_odd_memory)
{
	struct image_plan p;

	make_image();
	put(8, 0x80000, 8);
	CHECK_EQ(plan_at(4096, MEM_BASE + 0x1000, MEM_SIZE, 0, &p), IMAGE_OK);
	CHECK_EQ(p.entry, MEM_BASE + MIB2 + 0x80000);
	put(16, 0, 8);	/* before 3.17: no size, so no text_offset either */
	put(8, 0x1234, 8);
	CHECK_EQ(plan_of(4096, &p), IMAGE_OK);
	CHECK_EQ(p.entry, MEM_BASE + 0x80000);
	CHECK_EQ(p.seg[0].mem_size, 4096);
}

TEST(image_larger_file_than_header_says)
{
	struct image_plan p;

	make_image();
	put(16, 100, 8);
	CHECK_EQ(plan_of(4096, &p), IMAGE_OK);
	CHECK_EQ(p.seg[0].mem_size, 4096);
}

TEST(elf_exec_and_dyn_are_planned)
{
	struct image_plan p;

	make_elf(false);
	CHECK_EQ(plan_of(BUF, &p), IMAGE_OK);
	CHECK_EQ(p.kind, IMAGE_ELF64);
	CHECK_EQ(p.count, 2);
	CHECK_EQ(p.entry, MEM_BASE + 0x100010);
	CHECK_EQ(p.low, MEM_BASE + 0x100000);
	CHECK_EQ(p.high, MEM_BASE + 0x104000);
	make_elf(true);
	CHECK_EQ(plan_at(BUF, MEM_BASE + 0x1000, MEM_SIZE, 0, &p), IMAGE_OK);
	CHECK_EQ(p.entry, MEM_BASE + MIB2 + 0x10);
	CHECK_EQ(p.seg[1].gpa, MEM_BASE + MIB2 + 0x1000);
	CHECK_EQ(p.seg[1].mem_size, 0x3000);
}

TEST(raw_only_when_allowed)
{
	struct image_plan p;

	memset(buf, 0x11, sizeof(buf));
	CHECK_EQ(plan_at(100, MEM_BASE, MEM_SIZE, IMAGE_ALLOW_RAW, &p), IMAGE_OK);
	CHECK_EQ(p.kind, IMAGE_RAW);
	CHECK_EQ(p.entry, MEM_BASE + MIB2);
	CHECK_EQ(plan_at(100, MEM_BASE, MIB2, IMAGE_ALLOW_RAW, &p), IMAGE_OK);
	CHECK_EQ(p.entry, MEM_BASE);
	CHECK_EQ(plan_of(100, &p), IMAGE_EMAGIC);
	CHECK_EQ(plan_at(0, MEM_BASE, MEM_SIZE, IMAGE_ALLOW_RAW, &p), IMAGE_ESHORT);
	CHECK_EQ(plan_at(BUF, MEM_BASE, BUF - 1, IMAGE_ALLOW_RAW, &p), IMAGE_ERANGE);
	CHECK_EQ(plan_at(10, MEM_BASE, MEM_SIZE, 0, &p), IMAGE_ESHORT);
	CHECK_EQ(plan_at(0, MEM_BASE, MEM_SIZE, 0, &p), IMAGE_ESHORT);
	put(0, 0x8b1f, 2);
	CHECK_EQ(plan_of(100, &p), IMAGE_EGZIP);
}

/* One field changed, one answer. at >= PH(0) are program headers. */
struct bad {
	const char *what;
	bool image;		/* of a good Image, else of a good ELF */
	bool dyn;
	uint64_t at;
	unsigned bytes;
	uint64_t value;
	uint64_t size;		/* 0: all */
	int want;
};

#define MAX64 0xffffffffffffffffull

static const struct bad table[] = {
	{"image: big-endian", true, false, 24, 8, 0xb, 0, IMAGE_EHEADER},
	{"image: text_offset 2 MiB", true, false, 8, 8, MIB2, 0, IMAGE_EHEADER},
	{"image: text_offset odd", true, false, 8, 8, 0x80001, 0, IMAGE_EHEADER},
	{"image: text_offset huge", true, false, 8, 8, MAX64, 0, IMAGE_EHEADER},
	{"image: text_offset negative", true, false, 8, 8, 0 - MIB2, 0, IMAGE_EHEADER},
	{"image: size of all memory + 1", true, false, 16, 8, MEM_SIZE + 1, 0, IMAGE_ERANGE},
	{"image: size wraps", true, false, 16, 8, MAX64, 0, IMAGE_ERANGE},
	{"image: size wraps to the base", true, false, 16, 8, 0 - MEM_BASE, 0, IMAGE_ERANGE},
	{"image: size negative", true, false, 16, 8, 1ull << 63, 0, IMAGE_ERANGE},
	{"image: 63 bytes", true, false, 0, 0, 0, 63, IMAGE_ESHORT},
	{"image: magic off by one", true, false, 56, 4, 0x644d5242, 0, IMAGE_EMAGIC},
	{"image: magic big-endian", true, false, 56, 4, 0x41524d64, 0, IMAGE_EMAGIC},
	{"elf: 4 bytes", false, false, 0, 0, 0, 4, IMAGE_ESHORT},
	{"elf: 63 bytes", false, false, 0, 0, 0, 63, IMAGE_ESHORT},
	{"elf: header only", false, false, 0, 0, 0, 64, IMAGE_EHEADER},
	{"elf: second header cut", false, false, 0, 0, 0, 64 + 56 + 55, IMAGE_EHEADER},
	{"elf: 32-bit", false, false, 4, 1, 1, 0, IMAGE_ECLASS},
	{"elf: class 0", false, false, 4, 1, 0, 0, IMAGE_ECLASS},
	{"elf: big-endian", false, false, 5, 1, 2, 0, IMAGE_ECLASS},
	{"elf: version 0", false, false, 6, 1, 0, 0, IMAGE_ECLASS},
	{"elf: x86-64", false, false, 18, 2, 62, 0, IMAGE_ECLASS},
	{"elf: 32-bit arm", false, false, 18, 2, 40, 0, IMAGE_ECLASS},
	{"elf: relocatable", false, false, 16, 2, 1, 0, IMAGE_ETYPE},
	{"elf: core", false, false, 16, 2, 4, 0, IMAGE_ETYPE},
	{"elf: type 0", false, false, 16, 2, 0, 0, IMAGE_ETYPE},
	{"elf: phentsize 0", false, false, 54, 2, 0, 0, IMAGE_EHEADER},
	{"elf: phentsize 55", false, false, 54, 2, 55, 0, IMAGE_EHEADER},
	{"elf: phentsize 32-bit's", false, false, 54, 2, 32, 0, IMAGE_EHEADER},
	{"elf: no headers", false, false, 56, 2, 0, 0, IMAGE_EHEADER},
	{"elf: 65,535 headers", false, false, 56, 2, 0xffff, 0, IMAGE_EHEADER},
	{"elf: phoff at the end", false, false, 32, 8, BUF, 0, IMAGE_EHEADER},
	{"elf: phoff past the end", false, false, 32, 8, BUF + 1, 0, IMAGE_EHEADER},
	{"elf: phoff one short", false, false, 32, 8, BUF - 111, 0, IMAGE_EHEADER},
	{"elf: phoff wraps", false, false, 32, 8, MAX64, 0, IMAGE_EHEADER},
	{"elf: phoff + size wraps to 0", false, false, 32, 8, 0 - 112ull, 0, IMAGE_EHEADER},
	{"elf: nothing to load", false, false, 56, 2, 1, 0, IMAGE_OK},
	{"elf: first is a note: entry gone", false, false, PH(0), 4, 4, 0, IMAGE_EENTRY},
	{"elf: offset past the end", false, false, PH(0) + 8, 8, BUF, 0, IMAGE_ESEGMENT},
	{"elf: offset one too far", false, false, PH(0) + 8, 8, BUF - 0x3ff, 0, IMAGE_ESEGMENT},
	{"elf: offset wraps", false, false, PH(0) + 8, 8, 0 - 0x400ull, 0, IMAGE_ESEGMENT},
	{"elf: filesz past the end", false, false, PH(1) + 32, 8, 0x1000, 0, IMAGE_ESEGMENT},
	{"elf: filesz above memsz", false, false, PH(0) + 32, 8, 0x401, 0, IMAGE_ESEGMENT},
	{"elf: filesz negative", false, false, PH(0) + 32, 8, MAX64, 0, IMAGE_ESEGMENT},
	{"elf: memsz 0 with file", false, false, PH(0) + 40, 8, 0, 0, IMAGE_ESEGMENT},
	{"elf: memsz wraps", false, false, PH(1) + 40, 8, MAX64, 0, IMAGE_ERANGE},
	{"elf: memsz wraps exactly", false, false, PH(1) + 40, 8, 0 - (MEM_BASE + 0x101000), 0,
	 IMAGE_ERANGE},
	{"elf: memsz past the memory", false, false, PH(1) + 40, 8, MEM_SIZE, 0, IMAGE_ERANGE},
	{"elf: address below the memory", false, false, PH(1) + 24, 8, MEM_BASE - 1, 0,
	 IMAGE_ERANGE},
	{"elf: address 0", false, false, PH(1) + 24, 8, 0, 0, IMAGE_ERANGE},
	{"elf: address above the memory", false, false, PH(1) + 24, 8, MEM_BASE + MEM_SIZE, 0,
	 IMAGE_ERANGE},
	{"elf: address at the top", false, false, PH(1) + 24, 8, MAX64, 0, IMAGE_ERANGE},
	{"elf: overlap by a byte", false, false, PH(1) + 24, 8, MEM_BASE + 0x1003ff, 0,
	 IMAGE_EOVERLAP},
	{"elf: second swallows first", false, false, PH(1) + 24, 8, MEM_BASE + 0xff000, 0,
	 IMAGE_EOVERLAP},
	{"elf: entry in data", false, false, 24, 8, MEM_BASE + 0x101000, 0, IMAGE_EENTRY},
	{"elf: entry behind text", false, false, 24, 8, MEM_BASE + 0x100400, 0, IMAGE_EENTRY},
	{"elf: entry's last byte behind", false, false, 24, 8, MEM_BASE + 0x1003fd, 0,
	 IMAGE_EENTRY},
	{"elf: entry odd", false, false, 24, 8, MEM_BASE + 0x100011, 0, IMAGE_EENTRY},
	{"elf: entry 0", false, false, 24, 8, 0, 0, IMAGE_EENTRY},
	{"elf: entry at the top", false, false, 24, 8, MAX64, 0, IMAGE_EENTRY},
	{"elf: text not executable", false, false, PH(0) + 4, 4, 4, 0, IMAGE_EENTRY},
	{"pie: address wraps with the bias", false, true, PH(1) + 24, 8, 0 - MEM_BASE, 0,
	 IMAGE_ERANGE},
	{"pie: address at the top", false, true, PH(1) + 24, 8, MAX64, 0, IMAGE_ERANGE},
	{"pie: too far", false, true, PH(1) + 24, 8, MEM_SIZE - 0x2fff, 0, IMAGE_ERANGE},
	{"pie: entry wraps", false, true, 24, 8, 0 - 4ull, 0, IMAGE_EENTRY},
};

TEST(bad_headers_are_refused)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const struct bad *b = &table[i];
		struct image_plan p;
		int got;

		if (b->image) {
			make_image();
		} else {
			make_elf(b->dyn);
		}
		put(b->at, b->value, b->bytes);
		got = plan_of(b->size != 0 ? b->size : BUF, &p);
		if (got != b->want) {
			fprintf(stderr, "%s: got %d (%s), want %d\n", b->what, got,
				image_strerror(got), b->want);
		}
		EXPECT(got == b->want);
	}
}

TEST(too_many_segments)
{
	struct image_plan p;

	make_elf(false);
	put(56, IMAGE_SEGMENTS_MAX + 1, 2);
	for (unsigned n = 0; n <= IMAGE_SEGMENTS_MAX; n++) {
		make_ph(n, 1, 5, 0x1800, MEM_BASE + 0x100000 + n * 0x1000ull, 0x100, 0x100);
	}
	CHECK_EQ(plan_of(BUF, &p), IMAGE_EMANY);
	put(56, IMAGE_SEGMENTS_MAX, 2);
	CHECK_EQ(plan_of(BUF, &p), IMAGE_OK);
	CHECK_EQ(p.count, IMAGE_SEGMENTS_MAX);
}

TEST(memory_that_makes_no_sense)
{
	struct image_plan p;

	make_image();
	CHECK_EQ(plan_at(4096, MEM_BASE, 0, 0, &p), IMAGE_ERANGE);
	CHECK_EQ(plan_at(4096, MAX64, 2, 0, &p), IMAGE_ERANGE);
	CHECK_EQ(plan_at(4096, 0 - MIB2 / 2, MIB2 / 2 - 1, 0, &p), IMAGE_ERANGE);
	CHECK_EQ(plan_at(4096, MEM_BASE + 1, MIB2 - 1, 0, &p), IMAGE_ERANGE);
	CHECK_EQ(plan_at(4096, MEM_BASE, 0xffff, 0, &p), IMAGE_ERANGE);
	CHECK_EQ(plan_at(4096, MEM_BASE, 0x10000, 0, &p), IMAGE_OK);
}

static void check_plan(const struct image_plan *p, uint64_t size)
{
	bool entry_inside = false;

	CHECK(p->count >= 1 && p->count <= IMAGE_SEGMENTS_MAX);
	for (uint32_t i = 0; i < p->count; i++) {
		const struct image_segment *s = &p->seg[i];

		CHECK(s->offset <= size && s->file_size <= size - s->offset);
		CHECK(s->file_size <= s->mem_size);
		CHECK(s->gpa >= MEM_BASE && s->gpa - MEM_BASE <= MEM_SIZE);
		CHECK(s->mem_size <= MEM_SIZE - (s->gpa - MEM_BASE));
		CHECK(p->low <= s->gpa && s->gpa + s->mem_size <= p->high);
		entry_inside |= p->entry >= s->gpa && p->entry - s->gpa < s->mem_size;
		for (uint32_t j = 0; j < i; j++) {
			const struct image_segment *o = &p->seg[j];

			CHECK(s->gpa + s->mem_size <= o->gpa || o->gpa + o->mem_size <= s->gpa);
		}
	}
	CHECK(entry_inside);
}

/* Damage in the headers; whatever is accepted must be sound. */
TEST(random_damage_is_refused_or_harmless)
{
	struct check_rng rng = check_rng_make(7);
	unsigned accepted = 0;

	for (unsigned round = 0; round < 20000; round++) {
		uint64_t size = check_below(&rng, 4) == 0 ? check_below(&rng, BUF + 1) : BUF;
		uint64_t kind = check_below(&rng, 3);
		struct image_plan p;

		if (kind == 0) {
			make_image();
		} else {
			make_elf(kind == 2);
		}
		for (uint64_t n = 1 + check_below(&rng, 4); n > 0; n--) {
			static const uint64_t edges[] = {0, 1, MAX64, 0x1000, BUF, MEM_BASE,
							 MEM_BASE + MEM_SIZE, 1ull << 63};
			uint64_t at = check_below(&rng, 64 + 2 * 56);

			if (check_below(&rng, 2) == 0) {
				put(at, check_rand(&rng), 1);
			} else {
				put(at & ~7ull, edges[check_below(&rng, 8)] -
				    check_below(&rng, 2), 8);
			}
		}
		if (plan_of(size, &p) == IMAGE_OK) {
			accepted++;
			check_plan(&p, size);
		}
	}
	CHECK(accepted > 100);
}

CHECK_MAIN()
