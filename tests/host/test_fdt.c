// SPDX-License-Identifier: Apache-2.0
//
// boot/arm64/fdt.c: trees as firmware makes them, with 32-bit and 64-bit cells, and damaged ones.
//
// LINK: boot/arm64/fdt.c
// LIBS: -lfdt

#include <libfdt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <boot/arm64/fdt.h>
#include <hyp/boot_info.h>

#include "check.h"

#define BLOB 8192

struct boot_info boot_info;
static uint8_t blob[BLOB] __attribute__((aligned(8)));
static char refusal[256];
static jmp_buf refused;
static unsigned devices;
static uint64_t device_base, device_size, seed_seen;

void cannot_start(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(refusal, sizeof(refusal), fmt, ap);
	va_end(ap);
	longjmp(refused, 1);
}

void machine_node(const struct fdt_node *n)
{
	if (fdt_is_compatible(n, "test,device")) {
		devices++;
		fdt_node_reg(n, 0, &device_base, &device_size);
	}
}

void machine_chosen(const void *fdt, const char *stdout_path, uint64_t seed)
{
	(void)fdt;
	(void)stdout_path;
	seed_seen = seed;
}

// Refusals leave by longjmp, so nothing local may be needed behind it.
static bool parse(const void *tree)
{
	memset(&boot_info, 0, sizeof(boot_info));
	refusal[0] = '\0';
	devices = 0;
	if (setjmp(refused)) {
		return false;
	}
	fdt_parse(tree);
	return true;
}

static void reg(unsigned cells, uint64_t base, uint64_t size)
{
	fdt32_t v[4] = {
		cpu_to_fdt32((uint32_t)(base >> 32)), cpu_to_fdt32((uint32_t)base),
		cpu_to_fdt32((uint32_t)(size >> 32)), cpu_to_fdt32((uint32_t)size),
	};
	fdt32_t w[2] = {v[1], v[3]};

	if (cells == 2) {
		fdt_property(blob, "reg", v, 16);
	} else {
		fdt_property(blob, "reg", w, 8);
	}
}

static void memory(unsigned cells, uint64_t base, uint64_t size)
{
	char name[32];

	snprintf(name, sizeof(name), "memory@%" PRIx64, base);
	fdt_begin_node(blob, name);
	fdt_property_string(blob, "device_type", "memory");
	reg(cells, base, size);
	fdt_end_node(blob);
}

static void begin(unsigned cells)
{
	fdt_create(blob, BLOB);
	fdt_add_reservemap_entry(blob, 0x41000000, 0x1000);
	fdt_finish_reservemap(blob);
	fdt_begin_node(blob, "");
	fdt_property_u32(blob, "#address-cells", cells);
	fdt_property_u32(blob, "#size-cells", cells);
}

static void cpus(unsigned n)
{
	fdt_begin_node(blob, "cpus");
	fdt_property_u32(blob, "#address-cells", 1);
	fdt_property_u32(blob, "#size-cells", 0);
	for (unsigned i = 0; i < n; i++) {
		char name[16];

		snprintf(name, sizeof(name), "cpu@%x", i);
		fdt_begin_node(blob, name);
		fdt_property_string(blob, "device_type", "cpu");
		fdt_property_u32(blob, "reg", i * 0x100);
		if (i == 2) {
			fdt_property_string(blob, "status", "disabled");
		}
		fdt_end_node(blob);
	}
	fdt_end_node(blob);
}

static void rest(unsigned cells)
{
	fdt_begin_node(blob, "reserved-memory");
	fdt_property_u32(blob, "#address-cells", cells);
	fdt_property_u32(blob, "#size-cells", cells);
	fdt_begin_node(blob, "keep@42000000");
	reg(cells, 0x42000000, 0x2000);
	fdt_end_node(blob);
	fdt_begin_node(blob, "hide@43000000");
	fdt_property(blob, "no-map", "", 0);
	reg(cells, 0x43000800, 0x1000);
	fdt_end_node(blob);
	fdt_end_node(blob);
	fdt_begin_node(blob, "soc");
	fdt_property_u32(blob, "#address-cells", 2);
	fdt_property_u32(blob, "#size-cells", 2);
	fdt_begin_node(blob, "dev@9000000");
	fdt_property(blob, "compatible", "first,name\0test,device", 23);
	reg(2, 0x9000000, 0x1000);
	fdt_end_node(blob);
	fdt_begin_node(blob, "dev@9001000");
	fdt_property(blob, "compatible", "test,device", 12);
	fdt_property_string(blob, "status", "disabled");
	reg(2, 0x9001000, 0x1000);
	fdt_end_node(blob);
	fdt_end_node(blob);
	fdt_begin_node(blob, "chosen");
	fdt_property_string(blob, "bootargs", "log=dbg a=b");
	if (cells == 2) {
		fdt_property_u64(blob, "linux,initrd-start", 0x44000000);
		fdt_property_u64(blob, "linux,initrd-end", 0x44010001);
	} else {
		fdt_property_u32(blob, "linux,initrd-start", 0x44000000);
		fdt_property_u32(blob, "linux,initrd-end", 0x44010001);
	}
	fdt_property(blob, "rng-seed", "12345678", 8);
	fdt_end_node(blob);
	fdt_end_node(blob);
	fdt_finish(blob);
}

static bool ram_is(unsigned i, uint64_t base, uint64_t size)
{
	return i < boot_info.ram_count && boot_info.ram[i].base.v == base &&
	       boot_info.ram[i].size == size;
}

TEST(both_cell_sizes)
{
	for (unsigned c = 1; c <= 2; c++) {
		begin(c);
		memory(c, 0x40000000, 0x10000000);
		cpus(4);
		rest(c);
		CHECK(parse(blob));
		// The page with the no-map area is gone, rounded outwards.
		CHECK_EQ(boot_info.ram_count, 2);
		EXPECT(ram_is(0, 0x40000000, 0x3000000));
		EXPECT(ram_is(1, 0x43002000, 0xcffe000));
		CHECK_EQ(boot_info.reserved_count, 2);
		EXPECT(boot_info.reserved[0].base.v == 0x42000000);
		EXPECT(boot_info.reserved[1].base.v == 0x41000000);
		CHECK_EQ(boot_info.cpu_count, 3);
		EXPECT(boot_info.cpus[2].hwid == 0x300);
		EXPECT(boot_info.modules.base.v == 0x44000000 && boot_info.modules.size == 0x10001);
		EXPECT(strcmp(boot_info.cmdline, "log=dbg a=b") == 0);
		EXPECT(devices == 1 && device_base == 0x9000000 && device_size == 0x1000);
		EXPECT(seed_seen != 0 && hpa_is_none(boot_info.fdt));
	}
}

TEST(memory_is_sorted_merged_and_cut)
{
	begin(2);
	memory(2, 0x80000000, 0x1000000);
	memory(2, 0x40000800, 0x1000000);
	memory(2, 0x40800000, 0x1000000);
	memory(2, 0x81000000, 0x1000);
	memory(2, 0xffffffffff000000, 0xfff000);
	memory(2, 0xc0000000, 0);
	cpus(1);
	rest(2);
	CHECK(parse(blob));
	CHECK_EQ(boot_info.ram_count, 2);
	EXPECT(ram_is(0, 0x40001000, 0x17ff000));
	EXPECT(ram_is(1, 0x80000000, 0x1001000));
}

TEST(refusals)
{
	begin(2);
	cpus(1);
	rest(2);
	EXPECT(!parse(blob) && strcmp(refusal, "no memory in the device tree") == 0);
	begin(2);
	memory(2, 0x40000000, 0x10000000);
	cpus(0);
	rest(2);
	EXPECT(!parse(blob) && strcmp(refusal, "no CPUs in the device tree") == 0);
	begin(2);
	for (uint64_t i = 0; i < BOOT_MAX_RANGES + 1; i++) {
		memory(2, 0x40000000 + i * 0x100000, 0x1000);
	}
	cpus(1);
	rest(2);
	EXPECT(!parse(blob) && strcmp(refusal, "more than 64 memory ranges in the device tree") == 0);
	begin(2);
	fdt_end_node(blob);
	fdt_finish(blob);
	fdt_set_off_dt_struct(blob, 0x10000);
	EXPECT(!parse(blob) && strncmp(refusal, "bad device tree: FDT_ERR_", 25) == 0);
}

static void within_bounds(void)
{
	CHECK(boot_info.ram_count >= 1 && boot_info.ram_count <= BOOT_MAX_RANGES);
	CHECK(boot_info.reserved_count <= BOOT_MAX_RANGES && boot_info.cpu_count <= BOOT_MAX_CPUS);
	CHECK(memchr(boot_info.cmdline, 0, BOOT_CMDLINE_LEN));
	for (unsigned i = 0; i < boot_info.ram_count; i++) {
		uint64_t base = boot_info.ram[i].base.v, end = base + boot_info.ram[i].size;

		CHECK(base < end && end <= UINT64_C(1) << 47 && base % 4096 == 0 && end % 4096 == 0);
		CHECK(i == 0 || boot_info.ram[i - 1].base.v + boot_info.ram[i - 1].size < base);
	}
}

TEST(every_bit_flipped)
{
	size_t size;
	unsigned good = 0, bad = 0;

	begin(2);
	memory(2, 0x40000000, 0x10000000);
	cpus(4);
	rest(2);
	size = fdt_totalsize(blob);
	for (size_t i = 0; i < size * 8; i++) {
		// Exactly as large as its header says, unless that is what was changed.
		uint8_t *copy = aligned_alloc(8, (size + 7) & ~7ul);

		memcpy(copy, blob, size);
		copy[i / 8] ^= (uint8_t)(1u << i % 8);
		if (fdt_totalsize(copy) <= size) {
			if (parse(copy)) {
				within_bounds();
				good++;
			} else {
				bad++;
			}
		}
		free(copy);
	}
	EXPECT(good > 1000 && bad > 1000);
}

CHECK_MAIN()
