// SPDX-License-Identifier: Apache-2.0
//
// boot/x86/guest_start.c: the start block of an x86 guest, read back: memory map, Linux parameters,
// Multiboot information, page tables, ACPI checksums. With START_DUMP=file in the environment the
// ACPI page goes there as well, for a look with iasl.
//
// LINK: boot/guest_board.c boot/guest_fdt.c boot/image_load.c boot/image_x86.c
// LINK: boot/x86/guest_start.c boot/x86/guest_acpi.c
// LIBS: -lfdt

#include <libfdt.h>
#include "boot/guest_start.h"
#include "check.h"

#define MIB 0x100000ull
#define SETUP (5u * 512)

static uint8_t kernel[SETUP + 0x3000];
static uint64_t block[GUEST_START_X86_SIZE / 8];

static uint64_t get(const void *from, unsigned bytes)
{
	uint64_t v = 0;

	memcpy(&v, from, bytes);
	return v;
}

static void put(uint32_t at, uint64_t v, unsigned bytes)
{
	memcpy(kernel + at, &v, bytes);
}

static void make_kernel(void)
{
	memset(kernel, 0, sizeof(kernel));
	put(0x1f1, 4, 1);
	put(0x1fe, 0xaa55, 2);
	put(0x201, 0x66, 1);
	put(0x202, 0x53726448, 4);
	put(0x206, 0x20f, 2);
	put(0x211, 1, 1);
	put(0x230, 0x200000, 4);
	put(0x234, 1, 1);
	put(0x236, 0x7f, 2);
	put(0x258, 16 * MIB, 8);
	put(0x260, 8 * MIB, 4);
}

static int plan_of(uint64_t base, uint64_t size, struct image_plan *p)
{
	return image_plan(kernel, sizeof(kernel), base, size, guest_board_x86.image_flags, p);
}

TEST(bzimage_is_planned)
{
	struct image_plan p;

	make_kernel();
	CHECK_EQ(plan_of(0, 64 * MIB, &p), IMAGE_OK);
	CHECK_EQ(p.kind, IMAGE_BZIMAGE);
	CHECK_EQ(p.seg[0].gpa, 16 * MIB);
	CHECK_EQ(p.seg[0].offset, SETUP);
	CHECK_EQ(p.seg[0].file_size, 0x3000);
	CHECK_EQ(p.high, 24 * MIB);
	CHECK_EQ(p.entry, 16 * MIB + 0x200);
	CHECK_EQ(plan_of(0, 24 * MIB - 1, &p), IMAGE_ERANGE);
	CHECK_EQ(plan_of(64 * MIB + 4096, 64 * MIB, &p), IMAGE_OK);
	CHECK_EQ(p.seg[0].gpa, 66 * MIB);
	put(0x234, 0, 1);
	CHECK_EQ(plan_of(64 * MIB, 64 * MIB, &p), IMAGE_ERANGE);
}

TEST(bzimage_headers_that_are_refused)
{
	static const struct {
		uint32_t at;
		uint64_t v;
		unsigned bytes;
		int want;
	} bad[] = {
		{0x206, 0x20b, 2, IMAGE_EPROTOCOL}, {0x236, 0x7e, 2, IMAGE_EPROTOCOL},
		{0x211, 0, 1, IMAGE_EPROTOCOL},	    {0x1f1, 0xff, 1, IMAGE_EHEADER},
		{0x230, 0x300000, 4, IMAGE_EHEADER}, {0x230, 0, 4, IMAGE_EHEADER},
		{0x258, ~0ull, 8, IMAGE_ERANGE},    {0x260, ~0ull, 4, IMAGE_ERANGE},
	};
	struct image_plan p;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		make_kernel();
		put(bad[i].at, bad[i].v, bad[i].bytes);
		CHECK_EQ(plan_of(0, 64 * MIB, &p), bad[i].want);
	}
}

static void make_multiboot(bool addresses)
{
	uint32_t flags = addresses ? 0x10003 : 3;

	memset(kernel, 0, sizeof(kernel));
	put(0x100, 0x1badb002, 4);
	put(0x104, flags, 4);
	put(0x108, 0u - (0x1badb002 + flags), 4);
	if (addresses) {
		put(0x10c, 0x200100, 4);
		put(0x110, 0x200000, 4);
		put(0x114, 0, 4);
		put(0x118, 0x210000, 4);
		put(0x11c, 0x200120, 4);
		return;
	}
	put(0, 0x464c457f, 4);
	put(4, 0x010101, 3);
	put(16, 2, 2);
	put(18, 3, 2);
	put(24, 0x200010, 4);
	put(28, 52, 4);
	put(42, 32, 2);
	put(44, 1, 2);
	put(52, 1, 4);
	put(56, 0x1000, 4);
	put(60, 0x200000, 4);
	put(64, 0x200000, 4);
	put(68, 0x800, 4);
	put(72, 0x2000, 4);
	put(76, 5, 4);
}

TEST(multiboot_is_planned)
{
	struct image_plan p;

	make_multiboot(true);
	CHECK_EQ(plan_of(0, 64 * MIB, &p), IMAGE_OK);
	CHECK_EQ(p.kind, IMAGE_MULTIBOOT);
	CHECK_EQ(p.seg[0].gpa, 2 * MIB);
	CHECK_EQ(p.seg[0].offset, 0);
	CHECK_EQ(p.seg[0].file_size, sizeof(kernel));
	CHECK_EQ(p.high, 0x210000);
	CHECK_EQ(p.entry, 0x200120);
	make_multiboot(false);
	CHECK_EQ(plan_of(0, 64 * MIB, &p), IMAGE_OK);
	CHECK_EQ(p.kind, IMAGE_MULTIBOOT);
	CHECK_EQ(p.seg[0].file_size, 0x800);
	CHECK_EQ(p.high, 0x202000);
	put(24, 0x201000, 4);
	CHECK_EQ(plan_of(0, 64 * MIB, &p), IMAGE_EENTRY);
	make_multiboot(true);
	put(0x104, 0x10013, 4);
	put(0x108, 0u - (0x1badb002 + 0x10013), 4);
	CHECK_EQ(plan_of(0, 64 * MIB, &p), IMAGE_EPROTOCOL);
}

TEST(random_damage_is_refused_or_harmless)
{
	struct check_rng rng = check_rng_make(11);
	unsigned accepted = 0;

	for (unsigned round = 0; round < 30000; round++) {
		uint64_t size = check_below(&rng, 4) == 0 ? check_below(&rng, sizeof(kernel) + 1) :
							     sizeof(kernel);
		uint64_t kind = check_below(&rng, 3);
		struct image_plan p;
		uint8_t *copy = malloc(size != 0 ? size : 1);

		CHECK(copy != NULL);
		if (kind == 0) {
			make_kernel();
		} else {
			make_multiboot(kind == 1);
		}
		for (unsigned n = 0; n < 4; n++) {
			uint32_t at = (uint32_t)(kind == 0 ? 0x1f1 + check_below(&rng, 0x78) :
					kind == 1 ? 0x10c + check_below(&rng, 20) :
						    check_below(&rng, 84));

			put(at, check_rand(&rng) >> check_below(&rng, 64), 1);
		}
		memcpy(copy, kernel, size);
		if (image_plan(copy, size, 0, 64 * MIB, IMAGE_FOR_X86, &p) == IMAGE_OK) {
			accepted++;
			CHECK(p.high <= 64 * MIB && p.entry < p.high);
			for (uint32_t i = 0; i < p.count; i++) {
				CHECK(p.seg[i].offset <= size &&
				      p.seg[i].file_size <= size - p.seg[i].offset);
				CHECK(p.seg[i].gpa + p.seg[i].mem_size <= p.high);
			}
		}
		free(copy);
	}
	CHECK(accepted > 100);
}

TEST(block_has_its_place)
{
	struct guest_fdt_range low = {0, 64 * MIB}, high = {256 * MIB, 64 * MIB};

	CHECK_EQ(guest_start_place(low, 2 * MIB, 4 * MIB), 0x60000);
	CHECK_EQ(guest_start_place(high, 258 * MIB, 260 * MIB), 256 * MIB);
	CHECK_EQ(guest_start_place(low, 0, 4 * MIB), 64 * MIB - GUEST_START_X86_SIZE);
	CHECK_EQ(guest_start_place(high, 256 * MIB, 320 * MIB), ~0ull);
	CHECK_EQ(guest_start_place((struct guest_fdt_range){0, 0x10000}, 0, 0), ~0ull);
}

static void sum_is_zero(const uint8_t *p, uint64_t size)
{
	uint8_t sum = 0;

	for (uint64_t i = 0; i < size; i++) {
		sum = (uint8_t)(sum + p[i]);
	}
	CHECK_EQ(sum, 0);
}

static void check_acpi(const uint8_t *acpi, uint64_t at, uint32_t cpus)
{
	const uint8_t *xsdt, *fadt, *madt;
	const char *dump = getenv("START_DUMP");
	uint32_t count = 0;

	CHECK(memcmp(acpi, "RSD PTR ", 8) == 0);
	sum_is_zero(acpi, 20);
	sum_is_zero(acpi, 36);
	xsdt = acpi + (get(acpi + 24, 8) - at);
	CHECK(memcmp(xsdt, "XSDT", 4) == 0);
	sum_is_zero(xsdt, get(xsdt + 4, 4));
	fadt = acpi + (get(xsdt + 36, 8) - at);
	madt = acpi + (get(xsdt + 44, 8) - at);
	CHECK(memcmp(fadt, "FACP", 4) == 0 && memcmp(madt, "APIC", 4) == 0);
	sum_is_zero(fadt, get(fadt + 4, 4));
	sum_is_zero(madt, get(madt + 4, 4));
	CHECK(memcmp(acpi + (get(fadt + 140, 8) - at), "DSDT", 4) == 0);
	for (uint32_t i = 44; i < get(madt + 4, 4); i += madt[i + 1]) {
		CHECK(madt[i + 1] >= 6);
		count += madt[i] == 0;
	}
	CHECK_EQ(count, cpus);
	if (dump != NULL) {
		FILE *f = fopen(dump, "wb");

		CHECK(f != NULL && fwrite(acpi, 4096, 1, f) == 1);
		fclose(f);
	}
}

static struct guest_fdt tree_of(uint32_t cpus)
{
	return (struct guest_fdt){
		.mem = {{0, 64 * MIB}},
		.mem_count = 1,
		.cpus = cpus,
		.bootargs = "console=ttyS0",
		.initrd = {48 * MIB, 0x1234},
	};
}

TEST(linux_block)
{
	uint8_t *b = (uint8_t *)block;
	struct guest_fdt g = tree_of(3);
	struct image_plan p;
	uint64_t arg, end = 0;

	make_kernel();
	CHECK_EQ(plan_of(0, 64 * MIB, &p), IMAGE_OK);
	CHECK_EQ(guest_start_build(b, 0x60000, &g, &p, kernel, &arg), 0);
	CHECK_EQ(arg, 0x60000 | GUEST_START_64);
	CHECK_EQ(get(b + 0x202, 4), 0x53726448);
	CHECK_EQ(get(b + 0x258, 8), 16 * MIB);
	CHECK_EQ(get(b + 0x218, 4), 48 * MIB);
	CHECK_EQ(get(b + 0x21c, 4), 0x1234);
	CHECK_EQ(get(b + 0x228, 4), 0x60000 + GUEST_START_CMDLINE);
	CHECK(strcmp((char *)b + GUEST_START_CMDLINE, "console=ttyS0") == 0);
	/* ascending, without holes below 64 MiB */
	for (uint32_t i = 0; i < b[0x1e8]; i++) {
		uint64_t base = get(b + 0x2d0 + i * 20, 8), type = get(b + 0x2e0 + i * 20, 4);

		if (base >= 64 * MIB) {
			CHECK_EQ(type, 2);
			continue;
		}
		CHECK_EQ(base, end);
		CHECK_EQ(type, base == 0x60000 || base == 0xa0000 ? 2 : 1);
		end = base + get(b + 0x2d8 + i * 20, 8);
	}
	CHECK_EQ(end, 64 * MIB);
	CHECK_EQ(get(b + 0x70, 8), 0x60000 + GUEST_START_ACPI);
	check_acpi(b + GUEST_START_ACPI, 0x60000 + GUEST_START_ACPI, 3);
	CHECK(fdt_check_full(b + GUEST_START_FDT, 0x10000) == 0);
	CHECK(fdt_path_offset(b + GUEST_START_FDT, "/psci") < 0);
	CHECK(fdt_path_offset(b + GUEST_START_FDT, "/cpus/cpu@2") > 0);
}

/* The address that the block's tables give for a linear address. */
static uint64_t walk(const uint8_t *b, uint64_t at, uint64_t la)
{
	uint64_t e = get(b + GUEST_START_TABLES + (la >> 39 & 511) * 8, 8);

	CHECK((e & 1) != 0);
	e = get(b + (e - at & ~0xfffull) + (la >> 30 & 511) * 8, 8);
	CHECK((e & 1) != 0);
	if ((e & 0x80) != 0) {
		return (e & ~0x3fffffffull) | (la & 0x3fffffff);
	}
	e = get(b + (e - at & ~0xfffull) + (la >> 21 & 511) * 8, 8);
	CHECK((e & 0x81) == 0x81);
	return (e & ~0x1fffffull) | (la & 0x1fffff);
}

TEST(tables_are_an_identity_map)
{
	uint8_t *b = (uint8_t *)block;
	struct guest_fdt g = tree_of(1);
	struct image_plan p;
	uint64_t arg;

	make_multiboot(true);
	CHECK_EQ(plan_of(0, 64 * MIB, &p), IMAGE_OK);
	CHECK_EQ(guest_start_build(b, 0x60000, &g, &p, kernel, &arg), 0);
	CHECK_EQ(arg, 0x60000 | GUEST_START_MULTIBOOT);
	for (uint64_t la = 0x123456; la < 1ull << 39; la = la * 3 + 7) {
		CHECK_EQ(walk(b, 0x60000, la), la);
	}
	CHECK_EQ(get(b, 4), 0x4d);
	CHECK_EQ(get(b + 20, 4), 1);
	CHECK_EQ(get(b + 24, 4), 0x60000 + 0x100);
	CHECK_EQ(get(b + 0x104, 4), 48 * MIB + 0x1234);
	CHECK(get(b + 44, 4) % 24 == 0);
}

CHECK_MAIN()
