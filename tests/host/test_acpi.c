// SPDX-License-Identifier: Apache-2.0
//
// boot/x86/acpi.c: tables made by hand, the same cut and flipped at every byte, random ones, and
// those that QEMU 7.2 with SeaBIOS makes (golden/acpi-*.bin: records of address, length, bytes).
// Each piece that the parser maps is a copy of just that length, so that the sanitizer sees a read
// past its end.
//
// LINK: boot/x86/acpi.c

#include <string.h>

#include <abi/errno.h>
#include <boot/x86/acpi.h>

#include "check.h"

#define MAX_REGIONS 16
#define MAX_COPIES 4096
#define RSDP_AT 0xf0010u
#define RSDT_AT 0x7f0000u
#define XSDT_AT 0x7f0100u
#define MADT_AT 0x7f1003u
#define FADT_AT 0x7f2001u
#define DSDT_AT 0x7f3005u
#define X_DSDT_AT 0x7f3105u

struct region {
	uint64_t pa, len;
	uint8_t *bytes;
};

static struct region regions[MAX_REGIONS];
static unsigned region_count;
static void *copies[MAX_COPIES];
static unsigned copy_count;
static uint64_t bytes_mapped;

static const void *mem_map(void *ctx, uint64_t pa, uint64_t len)
{
	(void)ctx;
	for (unsigned i = 0; i < region_count; i++) {
		struct region *r = &regions[i];

		if (pa >= r->pa && pa - r->pa <= r->len && len <= r->len - (pa - r->pa)) {
			uint8_t *copy = malloc(len);

			if (copy_count == MAX_COPIES) {
				abort();
			}
			memcpy(copy, r->bytes + (pa - r->pa), len);
			copies[copy_count++] = copy;
			bytes_mapped += len;
			return copy;
		}
	}
	return NULL;
}

static int parse(uint64_t rsdp, struct acpi_info *info)
{
	struct acpi_memory m = {mem_map, NULL};
	int r = acpi_parse(&m, rsdp, info);

	while (copy_count > 0) {
		free(copies[--copy_count]);
	}
	if (info->cpu_count > BOOT_MAX_CPUS || info->ioapic_count > ACPI_MAX_IOAPICS ||
	    info->why == NULL || info->s5_type_a > 255) {
		abort();
	}
	return r;
}

static uint8_t *add_region(uint64_t pa, uint64_t len)
{
	struct region *r = &regions[region_count++];

	if (region_count > MAX_REGIONS) {
		abort();
	}
	r->pa = pa;
	r->len = len;
	r->bytes = calloc(1, len);
	return r->bytes;
}

// A test that failed leaves its regions to the next one: each starts with this.
static void forget(void)
{
	while (region_count > 0) {
		free(regions[--region_count].bytes);
	}
	bytes_mapped = 0;
}

static void put(uint8_t *p, unsigned bytes, uint64_t v)
{
	for (unsigned i = 0; i < bytes; i++) {
		p[i] = (uint8_t)(v >> 8 * i);
	}
}

// Makes the `len` bytes add up to 0 by the one at `at`.
static void seal(uint8_t *p, uint64_t len, unsigned at)
{
	uint8_t sum = 0;

	p[at] = 0;
	for (uint64_t i = 0; i < len; i++) {
		sum = (uint8_t)(sum + p[i]);
	}
	p[at] = (uint8_t)-sum;
}

static uint8_t *table(uint64_t pa, const char *signature, const void *body, uint32_t len)
{
	uint8_t *t = add_region(pa, 36 + len);

	memcpy(t, signature, 4);
	put(t + 4, 4, 36 + len);
	memcpy(t + 36, body, len);
	seal(t, 36 + len, 9);
	return t;
}

static void rsdp_make(bool xsdt)
{
	uint8_t *p;

	forget();
	p = add_region(RSDP_AT, xsdt ? 36 : 20);

	memcpy(p, "RSD PTR ", 8);
	put(p + 16, 4, RSDT_AT);
	if (xsdt) {
		p[15] = 2;
		put(p + 20, 4, 36);
		put(p + 24, 8, XSDT_AT);
	}
	seal(p, 20, 8);
	if (xsdt) {
		seal(p, 36, 32);
	}
}

static void roots_make(bool xsdt)
{
	static const uint64_t at[] = {0x12345000, FADT_AT, 0, MADT_AT};
	uint8_t body[32] = {0};

	for (unsigned i = 0; i < 4; i++) {
		put(body + 4 * i, 4, at[i]);
	}
	table(RSDT_AT, "RSDT", body, 16);
	for (unsigned i = 0; i < 4; i++) {
		put(body + 8 * i, 8, at[i]);
	}
	if (xsdt) {
		table(XSDT_AT, "XSDT", body, 32);
	}
}

static const uint8_t madt_body[] = {
	0, 0, 0xe0, 0xfe, 1, 0, 0, 0,
	0, 8, 0, 0, 1, 0, 0, 0,				// CPU 0
	0, 8, 1, 4, 0, 0, 0, 0,				// not enabled
	0, 8, 2, 6, 3, 0, 0, 0,				// CPU 6
	0, 8, 3, 0xff, 1, 0, 0, 0,			// broadcast
	1, 12, 7, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0,
	1, 12, 8, 0, 0, 0x10, 0xc0, 0xfe, 24, 0, 0, 0,
	2, 10, 0, 0, 2, 0, 0, 0, 0, 0,			// IRQ 0 is GSI 2
	2, 10, 0, 4, 20, 0, 0, 0, 0xf, 0,		// IRQ 4: GSI 20, level, low
	2, 10, 0, 16, 9, 0, 0, 0, 0, 0,			// no ISA line
	4, 6, 0xff, 0, 0, 1,				// NMI line: not ours
	9, 16, 0, 0, 6, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0,	// CPU 6 again
	9, 16, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0,	// CPU 256
	9, 16, 0, 0, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 9, 0, 0, 0,
	5, 12, 0, 0, 0, 0, 0xd0, 0xfe, 1, 0, 0, 0,	// local APIC elsewhere
};

static const uint8_t dsdt_body[] = {
	0x10, 0x20, '_', 'S', '5', '_', 0x12, 6, 4, 1, 1,	// no name operator: something else
	0x08, '_', 'S', '4', '_', 0x12, 8, 4, 0x0a, 6, 0x0a, 6, 0, 0,
	0x08, 0x5c, '_', 'S', '5', '_', 0x12, 7, 4, 0x0a, 5, 1, 0, 0,
};

static const uint8_t x_dsdt_body[] = {
	0x08, '_', 'S', '5', '_', 0x12, 0x47, 0, 4, 0x0a, 7, 0x0a, 3,	// two bytes of length
};

static void fadt_make(bool extended)
{
	uint8_t t[244] = {0};

	put(t + 40, 4, DSDT_AT);
	put(t + 48, 4, 0xb2);
	t[52] = 2;
	put(t + 64, 4, 0x604);
	put(t + 76, 4, 0x608);
	put(t + 112, 4, 1u << 10 | 1u << 8);
	t[116] = 1;
	t[117] = 8;
	put(t + 120, 8, 0xcf9);
	t[128] = 0xf;
	if (extended) {
		put(t + 140, 8, X_DSDT_AT);
		put(t + 64, 4, 0);
		t[172] = ACPI_SPACE_IO;
		put(t + 176, 8, 0x1804);
		t[184] = ACPI_SPACE_MEMORY;
		put(t + 188, 8, 0x1808);
	}
	table(FADT_AT, "FACP", t + 36, extended ? 244 - 36 : 129 - 36);
}

static void machine_make(bool new)
{
	rsdp_make(new);
	roots_make(new);
	table(MADT_AT, "APIC", madt_body, sizeof(madt_body));
	fadt_make(new);
	table(DSDT_AT, "DSDT", dsdt_body, sizeof(dsdt_body));
	table(X_DSDT_AT, "DSDT", x_dsdt_body, sizeof(x_dsdt_body));
}

static void check_machine(const struct acpi_info *info)
{
	CHECK_EQ(info->cpu_count, 3);
	CHECK_EQ(info->apic_id[0], 0);
	CHECK_EQ(info->apic_id[1], 6);
	CHECK_EQ(info->apic_id[2], 256);
	CHECK_EQ(info->cpus_left_out, 0);
	CHECK_EQ(info->lapic_base, 0x1fed00000);
	CHECK(info->has_pic);
	CHECK_EQ(info->ioapic_count, 2);
	CHECK_EQ(info->ioapic[0].id, 7);
	CHECK_EQ(info->ioapic[0].address, 0xfec00000);
	CHECK_EQ(info->ioapic[1].gsi_base, 24);
	CHECK_EQ(info->isa[0].gsi, 2);
	CHECK(!info->isa[0].is_level && !info->isa[0].is_active_low);
	CHECK_EQ(info->isa[1].gsi, 1);
	CHECK_EQ(info->isa[4].gsi, 20);
	CHECK(info->isa[4].is_level && info->isa[4].is_active_low);
	CHECK(info->has_fadt);
	CHECK_EQ(info->pm_timer_port, 0x608);
	CHECK(info->pm_timer_is_32bit);
	CHECK_EQ(info->smi_cmd, 0xb2);
	CHECK_EQ(info->acpi_enable, 2);
	CHECK_EQ(info->reset.address, 0xcf9);
	CHECK_EQ(info->reset.space, ACPI_SPACE_IO);
	CHECK_EQ(info->reset.width, 8);
	CHECK_EQ(info->reset_value, 0xf);
	CHECK(info->has_s5);
}

TEST(old_tables)
{
	struct acpi_info info;

	machine_make(false);
	CHECK_EQ(parse(RSDP_AT, &info), 0);
	check_machine(&info);
	CHECK_EQ(info.pm1a_cnt, 0x604);
	CHECK_EQ(info.s5_type_a, 5);
	CHECK_EQ(info.s5_type_b, 1);
	forget();
}

TEST(new_tables)
{
	struct acpi_info info;

	machine_make(true);
	CHECK_EQ(parse(RSDP_AT, &info), 0);
	check_machine(&info);
	CHECK_EQ(info.pm1a_cnt, 0x1804);
	CHECK_EQ(info.pm1b_cnt, 0);
	CHECK_EQ(info.s5_type_a, 7);
	CHECK_EQ(info.s5_type_b, 3);
	forget();
}

TEST(bad_xsdt_falls_back)
{
	struct acpi_info info;

	machine_make(true);
	regions[2].bytes[20] ^= 1;
	CHECK_EQ(parse(RSDP_AT, &info), 0);
	check_machine(&info);
	forget();
}

TEST(scan)
{
	struct acpi_info info;
	uint8_t *low, *bios;

	machine_make(false);
	CHECK_EQ(parse(0, &info), -TM_ENOENT);
	// One page is missing in the BIOS area: nothing of it is read.
	bios = add_region(0xe0000, 0x20000);
	memcpy(bios + 0x1fff0 - 16, regions[0].bytes, 20);
	CHECK_EQ(parse(0, &info), 0);
	check_machine(&info);
	memset(bios, 0, 0x20000);
	// At the end: 16 bytes of it are not enough.
	memcpy(bios + 0x1fff0, regions[0].bytes, 16);
	CHECK_EQ(parse(0, &info), -TM_ENOENT);
	// The EBDA, its first KiB.
	low = add_region(0x1, 0x9ffff);
	put(low + 0x40d, 2, 0x9fc0);
	memcpy(low + 0x9fc00 + 0x3e0 - 1, regions[0].bytes, 20);
	CHECK_EQ(parse(0, &info), 0);
	put(low + 0x40d, 2, 0x9fff);
	CHECK_EQ(parse(0, &info), -TM_ENOENT);
	put(low + 0x40d, 2, 0xffff);
	CHECK_EQ(parse(0, &info), -TM_ENOENT);
	forget();
}

TEST(many_cpus)
{
	static uint8_t body[8 + 300 * 16];
	struct acpi_info info;

	put(body, 4, 0xfee00000);
	for (unsigned i = 0; i < 300; i++) {
		uint8_t *e = body + 8 + 16 * i;

		e[0] = 9;
		e[1] = 16;
		put(e + 4, 4, i);
		e[8] = 1;
	}
	rsdp_make(false);
	roots_make(false);
	table(MADT_AT, "APIC", body, sizeof(body));
	CHECK_EQ(parse(RSDP_AT, &info), 0);
	CHECK_EQ(info.cpu_count, BOOT_MAX_CPUS);
	CHECK_EQ(info.cpus_left_out, 300 - BOOT_MAX_CPUS);
	CHECK(!info.has_fadt && !info.has_pic && info.pm_timer_port == 0);
	forget();
}

static int madt_only(const uint8_t *body, uint32_t len, struct acpi_info *info)
{
	int r;

	rsdp_make(false);
	roots_make(false);
	table(MADT_AT, "APIC", body, len);
	r = parse(RSDP_AT, info);
	forget();
	return r;
}

TEST(madt_lacks)
{
	static const uint8_t no_cpu[] = {0, 0, 0xe0, 0xfe, 1, 0, 0, 0};
	static const uint8_t no_length[] = {0, 0, 0xe0, 0xfe, 1, 0, 0, 0, 0, 0, 0, 8, 0, 0, 1, 0, 0, 0};
	static const uint8_t no_lapic[] = {0, 0, 0, 0, 1, 0, 0, 0, 0, 8, 0, 0, 1, 0, 0, 0};
	struct acpi_info info;

	CHECK_EQ(madt_only(no_cpu, sizeof(no_cpu), &info), -TM_EINVAL);
	CHECK_EQ(madt_only(no_cpu, 4, &info), -TM_EINVAL);
	CHECK_EQ(madt_only(no_length, sizeof(no_length), &info), -TM_EINVAL);
	CHECK_EQ(madt_only(no_lapic, sizeof(no_lapic), &info), -TM_EINVAL);
	rsdp_make(false);
	roots_make(false);
	CHECK_EQ(parse(RSDP_AT, &info), -TM_EINVAL);
	CHECK_EQ(info.isa[15].gsi, 15);
	forget();
}

// The MADT ends anywhere, with a good checksum: what stands before the cut counts.
TEST(madt_cut)
{
	struct acpi_info info;

	for (uint32_t len = 0; len <= sizeof(madt_body); len++) {
		int r = madt_only(madt_body, len, &info);

		CHECK_EQ(r == 0, len >= 16);
		CHECK(info.cpu_count <= 3);
	}
}

// _S5_ ends anywhere, with a good checksum.
TEST(dsdt_cut)
{
	struct acpi_info info;

	for (uint32_t len = 0; len <= sizeof(dsdt_body); len++) {
		machine_make(false);
		free(regions[--region_count].bytes);
		free(regions[--region_count].bytes);
		table(DSDT_AT, "DSDT", dsdt_body, len);
		CHECK_EQ(parse(RSDP_AT, &info), 0);
		// The package says how long it is: cut, it reaches past the table.
		CHECK_EQ(info.has_s5, len == sizeof(dsdt_body));
		forget();
	}
}

// Memory ends anywhere in any piece.
TEST(memory_cut)
{
	struct acpi_info info;

	for (unsigned new = 0; new < 2; new++) {
		machine_make(new != 0);
		for (unsigned i = 0; i < region_count; i++) {
			uint64_t whole = regions[i].len;

			for (uint64_t len = 0; len < whole; len++) {
				regions[i].len = len;
				(void)parse(RSDP_AT, &info);
			}
			regions[i].len = whole;
		}
		CHECK_EQ(parse(RSDP_AT, &info), 0);
		forget();
	}
}

static void reseal(unsigned i)
{
	uint8_t *p = regions[i].bytes;

	if (i == 0) {
		seal(p, 20, 8);
		if (regions[i].len == 36) {
			seal(p, 36, 32);
		}
	} else {
		seal(p, regions[i].len, 9);
	}
}

// Every byte becomes something else, with the checksum as it was and repaired.
TEST(bytes_flipped)
{
	static const uint8_t flips[] = {0x01, 0x80, 0xff, 0x55};
	struct acpi_info info;

	for (unsigned new = 0; new < 2; new++) {
		machine_make(new != 0);
		for (unsigned i = 0; i < region_count; i++) {
			for (uint64_t at = 0; at < regions[i].len; at++) {
				for (unsigned f = 0; f < sizeof(flips); f++) {
					uint8_t *p = &regions[i].bytes[at];
					uint8_t was = *p;

					*p ^= flips[f];
					(void)parse(RSDP_AT, &info);
					reseal(i);
					(void)parse(RSDP_AT, &info);
					*p = was;
					reseal(i);
				}
			}
		}
		CHECK_EQ(parse(RSDP_AT, &info), 0);
		forget();
	}
}

// Random bytes behind good headers and checksums.
TEST(random_tables)
{
	struct check_rng rng = check_rng_make(86);
	struct acpi_info info;

	for (unsigned round = 0; round < 20000; round++) {
		machine_make((round & 1) != 0);
		for (unsigned n = 1 + (unsigned)check_below(&rng, 8); n > 0; n--) {
			unsigned i = (unsigned)check_below(&rng, region_count);
			uint64_t from = check_below(&rng, regions[i].len);
			uint64_t to = from + check_below(&rng, regions[i].len - from) + 1;
			uint8_t signature[4];

			memcpy(signature, regions[i].bytes, 4);
			for (uint64_t at = from; at < to; at++) {
				regions[i].bytes[at] = (uint8_t)check_rand(&rng);
			}
			// Mostly the header stays, or nothing behind it would be looked at.
			if (i > 0 && check_below(&rng, 8) != 0) {
				memcpy(regions[i].bytes, signature, 4);
				put(regions[i].bytes + 4, 4, regions[i].len);
			}
			reseal(i);
		}
		(void)parse(RSDP_AT, &info);
		forget();
	}
}

// A root that names itself, or one table very often, is work with a bound.
TEST(work_is_bounded)
{
	static uint8_t body[4 * 5000];
	struct acpi_info info;

	for (unsigned i = 0; i < 5000; i++) {
		put(body + 4 * i, 4, RSDT_AT);
	}
	rsdp_make(false);
	table(RSDT_AT, "RSDT", body, sizeof(body));
	CHECK_EQ(parse(RSDP_AT, &info), -TM_EINVAL);
	CHECK(bytes_mapped < 100000);
	forget();
}

static void golden(const char *name)
{
	char path[64];
	uint64_t head[2];
	FILE *in;

	snprintf(path, sizeof(path), "tests/host/golden/acpi-%s.bin", name);
	in = fopen(path, "rb");
	CHECK(in != NULL);
	while (fread(head, sizeof(head), 1, in) == 1) {
		uint8_t *p = add_region(head[0], head[1]);

		CHECK_EQ(fread(p, head[1], 1, in), 1);
	}
	fclose(in);
}

TEST(qemu)
{
	static const char *const machines[] = {"pc", "q35"};
	struct acpi_info info;

	for (unsigned m = 0; m < 2; m++) {
		for (unsigned cpus = 1; cpus <= 8; cpus *= 2) {
			char name[16];

			snprintf(name, sizeof(name), "%s-%u", machines[m], cpus);
			golden(name);
			CHECK_EQ(parse(regions[0].pa, &info), 0);
			forget();
			CHECK_EQ(info.cpu_count, cpus);
			CHECK_EQ(info.apic_id[cpus - 1], cpus - 1);
			CHECK_EQ(info.lapic_base, 0xfee00000);
			CHECK_EQ(info.ioapic_count, 1);
			CHECK_EQ(info.ioapic[0].address, 0xfec00000);
			CHECK_EQ(info.isa[0].gsi, 2);
			CHECK_EQ(info.isa[4].gsi, 4);
			CHECK(info.has_pic);
			CHECK_EQ(info.pm_timer_port, 0x608);
			CHECK_EQ(info.pm1a_cnt, 0x604);
			CHECK_EQ(info.reset.address, m == 1 ? 0xcf9 : 0);
			// The DSDT is in the files for one CPU only.
			CHECK_EQ(info.has_s5, cpus == 1);
			CHECK_EQ(info.s5_type_a, 0);
		}
	}
}

CHECK_MAIN()
