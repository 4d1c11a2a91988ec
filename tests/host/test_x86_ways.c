// SPDX-License-Identifier: Apache-2.0
//
// The three ways into the x86 image: Multiboot 1 and 2 and our own hand-over, made by hand, cut and
// flipped; RAM lists against a model with a bit for each page. Memory that the parsers map is a copy
// of just the length they asked for, so that the sanitizer sees a read past its end.
//
// ARCH: x86
// LINK: boot/x86/collect.c boot/x86/multiboot1.c boot/x86/multiboot2.c boot/x86/handoff.c
#include <string.h>

#include <asm/mmu.h>
#include <boot/x86/entry.h>
#include <boot/x86/ways.h>
#include <hyp/boot_info.h>

#include "check.h"

#define MEMORY 65536u		/* physical memory of the tests, at 0 */
#define PAGES 256u
#define COPIES 64u

struct boot_info boot_info;
static uint8_t memory[MEMORY];
static void *copy[COPIES];
static unsigned copies;
static jmp_buf refused;
static char reason[256];
static struct check_rng rng;

void cannot_start(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(reason, sizeof(reason), fmt, ap);
	va_end(ap);
	longjmp(refused, 1);
}

const void *mmu_window(uint64_t pa, uint64_t bytes)
{
	if (pa > MEMORY || bytes > MEMORY - pa || bytes == 0 || copies == COPIES) {
		return NULL;
	}
	copy[copies] = malloc(bytes);
	memcpy(copy[copies], memory + pa, bytes);
	return copy[copies++];
}

static void reset(void)
{
	while (copies) {
		free(copy[--copies]);
	}
	memset(&boot_info, 0, sizeof(boot_info));
	memset(memory, 0, sizeof(memory));
	boot_set_rsdp(0);
	reason[0] = '\0';
}

// True: parsed; false: refused. Whatever was read is a list that the rest may rely on.
static bool parse(void (*way)(uint64_t), uint64_t pa)
{
	bool done = false;

	if (setjmp(refused) == 0) {
		way(pa);
		done = true;
	}
	CHECK(boot_info.ram_count <= BOOT_MAX_RANGES);
	for (unsigned i = 0; i < boot_info.ram_count; i++) {
		const struct mem_range *r = &boot_info.ram[i];

		CHECK(r->size && IS_ALIGNED(r->base.v | r->size, PAGE_SIZE));
		CHECK(r->base.v + r->size <= 1ull << 46);
		CHECK(i == 0 || r[-1].base.v + r[-1].size < r->base.v ||
		      r[-1].base.v + r[-1].size == r->base.v);
	}
	CHECK(memchr(boot_info.cmdline, 0, sizeof(boot_info.cmdline)));
	while (copies) {
		free(copy[--copies]);
	}
	return done;
}

static void put32(unsigned at, uint32_t v)
{
	memcpy(memory + at, &v, 4);
}

static void put64(unsigned at, uint64_t v)
{
	memcpy(memory + at, &v, 8);
}

// ---- RAM ----------------------------------------------------------------------------------------

TEST(ram_against_a_model)
{
	rng = check_rng_make(0x86);
	for (unsigned turn = 0; turn < 2000; turn++) {
		bool model[PAGES] = {false};

		reset();
		for (unsigned i = 0, n = 1 + (unsigned)check_rand(&rng) % 24; i < n; i++) {
			bool add = i < n / 2 + 1;
			uint64_t at = check_rand(&rng) % (PAGES * PAGE_SIZE);
			uint64_t len = check_rand(&rng) % (PAGES * PAGE_SIZE / 4);

			len = MIN(len, PAGES * PAGE_SIZE - at);
			at &= check_rand(&rng) & 1 ? ~(uint64_t)0 : ~PAGE_MASK;
			if (add) {
				boot_add_ram(at, len);
			} else {
				boot_cut_ram(at, len);
			}
			for (uint64_t p = 0; p < PAGES; p++) {
				uint64_t lo = p * PAGE_SIZE, hi = lo + PAGE_SIZE;

				if (add && at <= lo && hi <= at + len) {
					model[p] = true;
				} else if (!add && len && at < hi && lo < at + len) {
					model[p] = false;
				}
			}
		}
		for (uint64_t p = 0; p < PAGES; p++) {
			bool found = false;

			for (unsigned i = 0; i < boot_info.ram_count; i++) {
				const struct mem_range *r = &boot_info.ram[i];

				found |= r->base.v <= p * PAGE_SIZE &&
					 (p + 1) * PAGE_SIZE <= r->base.v + r->size;
			}
			CHECK(found == model[p]);
		}
	}
}

TEST(ram_at_the_edges)
{
	reset();
	boot_add_ram(~0ull - 4096, 8192);
	boot_add_ram(0x1000, 0);
	boot_add_ram(0x1001, 0x1ffe);
	CHECK_EQ(boot_info.ram_count, 0u);
	boot_add_ram(0x1000, ~0ull);
	CHECK_EQ(boot_info.ram_count, 1u);
	CHECK_EQ(boot_info.ram[0].base.v + boot_info.ram[0].size, 1ull << 46);
	boot_cut_ram(0x2000, ~0ull);
	CHECK_EQ(boot_info.ram[0].size, 0x1000ull);
	boot_cut_ram(~0ull, ~0ull);
	CHECK_EQ(boot_info.ram_count, 1u);
}

TEST(ram_in_too_many_pieces)
{
	reset();
	for (uint64_t i = 0; i < 2 * BOOT_MAX_RANGES; i++) {
		boot_add_ram(i * 0x10000, (1 + i % 3) * PAGE_SIZE);
	}
	CHECK_EQ(boot_info.ram_count, (unsigned)BOOT_MAX_RANGES);
	reset();
	boot_add_ram(0, 0x1000000);
	for (uint64_t i = 0; i < 2 * BOOT_MAX_RANGES; i++) {
		boot_cut_ram(i * 0x10000, PAGE_SIZE);
		CHECK(boot_info.ram_count <= BOOT_MAX_RANGES);
	}
}

TEST(module_and_memory_are_checked)
{
	static const struct {
		uint64_t image, module, bytes;
		bool good;
	} row[] = {
		{0x100000, 0, 0, true},		    {0x100000, 0x200000, 0x1000, true},
		{0x100000, 0x10f000, 0x1000, false}, {0x100000, 0x110000, 0x1000, true},
		{0x100000, 0x3ff000, 0x1001, false}, {0x3f8000, 0, 0, false},
		{0x100000, 1ull << 46, 0x1000, true},	/* not taken: as if there were none */
	};

	for (unsigned i = 0; i < ARRAY_SIZE(row); i++) {
		bool good = false;

		reset();
		boot_add_ram(0x10000, 0x3f0000);
		boot_info.image = (struct mem_range){hpa(row[i].image), 0x10000};
		boot_set_module(row[i].module, row[i].bytes);
		if (setjmp(refused) == 0) {
			boot_check_memory();
			good = true;
		}
		EXPECT(good == row[i].good);
	}
	reset();
	if (setjmp(refused) == 0) {
		boot_check_memory();
	}
	CHECK(strstr(reason, "no memory"));
}

// ---- Multiboot 1 --------------------------------------------------------------------------------

static void make_mb1(void)
{
	reset();
	put32(0x1000, 1u << 2 | 1u << 3 | 1u << 6);
	put32(0x1010, 0x2000);			/* command line */
	put32(0x1014, 1);
	put32(0x1018, 0x3000);			/* modules */
	put32(0x102c, 72);
	put32(0x1030, 0x4000);			/* memory map */
	strcpy((char *)memory + 0x2000, "tidemark.img log=dbg");
	put32(0x3000, 0x300000);
	put32(0x3004, 0x300123);
	for (unsigned i = 0; i < 3; i++) {
		static const uint64_t map[3][3] = {
			{0, 0x9fc00, 1}, {0x9fc00, 0x400, 2}, {0x100000, 0x700000, 1}};

		put32(0x4000 + 24 * i, 20);
		put64(0x4004 + 24 * i, map[i][0]);
		put64(0x400c + 24 * i, map[i][1]);
		put32(0x4014 + 24 * i, (uint32_t)map[i][2]);
	}
}

static void check_usual(void)
{
	CHECK_EQ(boot_info.ram_count, 2u);
	CHECK_EQ(boot_info.ram[0].size, 0x9f000ull);
	CHECK_EQ(boot_info.ram[1].base.v, 0x100000ull);
	CHECK_EQ(boot_info.ram[1].size, 0x700000ull);
	CHECK_EQ(boot_info.modules.base.v, 0x300000ull);
	CHECK_EQ(boot_info.modules.size, 0x123ull);
	CHECK(strstr(boot_info.cmdline, "log=dbg"));
}

TEST(multiboot1)
{
	make_mb1();
	CHECK(parse(multiboot1_parse, 0x1000));
	check_usual();
	make_mb1();
	put32(0x1000, 1);			/* sizes only */
	put32(0x1004, 639);
	put32(0x1008, 7 * 1024);
	CHECK(parse(multiboot1_parse, 0x1000));
	CHECK_EQ(boot_info.ram_count, 2u);
	CHECK_EQ(boot_info.modules.size, 0ull);
	CHECK(!parse(multiboot1_parse, MEMORY - 4));
}

// ---- Multiboot 2 --------------------------------------------------------------------------------

static void make_mb2(void)
{
	unsigned at = 0x1008;

	reset();
	put32(at, 1);				/* command line */
	put32(at + 4, 8 + 8);
	memcpy(memory + at + 8, "log=dbg", 8);
	at += 16;
	put32(at, 3);				/* module */
	put32(at + 4, 17);
	put32(at + 8, 0x300000);
	put32(at + 12, 0x300123);
	at += 24;
	put32(at, 6);				/* memory map */
	put32(at + 4, 16 + 48);
	put32(at + 8, 24);
	put64(at + 16, 0);
	put64(at + 24, 0x9fc00);
	put32(at + 32, 1);
	put64(at + 40, 0x100000);
	put64(at + 48, 0x700000);
	put32(at + 56, 1);
	at += 64;
	put32(at, 15);				/* RSDP */
	put32(at + 4, 8 + 36);
	at += 48;
	put32(at + 4, 8);
	put32(0x1000, at + 8 - 0x1000);
}

TEST(multiboot2)
{
	make_mb2();
	CHECK(parse(multiboot2_parse, 0x1000));
	check_usual();
	CHECK(boot_rsdp() > 0x1000 && boot_rsdp() < 0x1100);
	put32(0x1000, 0x10000000);
	CHECK(!parse(multiboot2_parse, 0x1000));
}

// ---- entry.h ------------------------------------------------------------------------------------

static void make_handoff(void)
{
	const struct boot_handoff h = {
		.magic = BOOT_HANDOFF_MAGIC, .ranges = 0x2000, .range_count = 3,
		.module_base = 0x300000, .module_size = 0x123, .cmdline = 0x3000, .rsdp = 0x1234};
	const struct boot_range r[3] = {{0x9f000, 0x1000, BOOT_RANGE_RESERVED},
					{0x100000, 0x700000, BOOT_RANGE_RAM},
					{0, 0xa0000, BOOT_RANGE_RAM}};

	reset();
	memcpy(memory + 0x1000, &h, sizeof(h));
	memcpy(memory + 0x2000, r, sizeof(r));
	strcpy((char *)memory + 0x3000, "log=dbg");
}

TEST(handoff)
{
	make_handoff();
	CHECK(parse(handoff_parse, 0x1000));
	check_usual();
	CHECK_EQ(boot_rsdp(), 0x1234ull);
	put64(0x1018, 5000);
	CHECK(!parse(handoff_parse, 0x1000));
	make_handoff();
	memory[0x1000] ^= 1;
	CHECK(!parse(handoff_parse, 0x1000));
	CHECK(strstr(reason, "neither"));
}

// ---- all of them, damaged -----------------------------------------------------------------------

TEST(any_bytes)
{
	static const struct {
		void (*make)(void);
		void (*parse)(uint64_t);
	} way[] = {{make_mb1, multiboot1_parse}, {make_mb2, multiboot2_parse},
		   {make_handoff, handoff_parse}};

	rng = check_rng_make(0x86);
	for (unsigned w = 0; w < ARRAY_SIZE(way); w++) {
		for (unsigned turn = 0; turn < 20000; turn++) {
			way[w].make();
			for (unsigned n = 1 + (unsigned)check_rand(&rng) % 4; n; n--) {
				unsigned page = 0x1000 * (1 + (unsigned)check_rand(&rng) % 4);
				unsigned at = page + (unsigned)check_rand(&rng) % 0xa0;

				memory[at] = (uint8_t)check_rand(&rng);
			}
			(void)parse(way[w].parse, 0x1000);
		}
	}
}

CHECK_MAIN()
