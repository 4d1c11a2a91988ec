// SPDX-License-Identifier: Apache-2.0
//
// boot/config.c: one good guest with one property changed at a time; each bad one is reported with
// its exact line, is skipped, and the VM behind it is kept. Then damaged trees: every byte flipped
// and every truncation must be refused or give a configuration within bounds.
//
// LINK: boot/guest_board.c boot/config.c hyp/print.c
// LIBS: -lfdt

#include <libfdt.h>
#include <string.h>

#include <boot/guest_fdt.h>
#include <hyp/config.h>
#include <hyp/err.h>

#include "check.h"

#define MIB (UINT64_C(1) << 20)
#define BLOB 16384

static uint8_t blob[BLOB] __attribute__((aligned(8)));
static struct config config;
static char said[4096];
static unsigned lines;

static bool has_module(const char *name)
{
	return strstr(name, "missing") == NULL;
}

static void report(const char *text)
{
	size_t used = strlen(said);

	lines++;
	snprintf(said + used, sizeof(said) - used, "%s%s", used ? "\n" : "", text);
}

static const struct config_machine machine = {
	.board = &guest_board_arm64,
	.cpus = 2,
	.ram_free = 1024 * MIB,
	.gpa_bits = 40,
	.has_module = has_module,
	.report = report,
};

enum kind { NONE, U32, U64, FLAG, STR, RAW };

struct prop {
	const char *name;
	enum kind kind;
	uint64_t value;		// RAW: length
	const char *text;	// STR and RAW
};

static void put(const struct prop *p)
{
	switch (p->kind) {
	case NONE:
		break;
	case U32:
		fdt_property_u32(blob, p->name, (uint32_t)p->value);
		break;
	case U64:
		fdt_property_u64(blob, p->name, p->value);
		break;
	case FLAG:
		fdt_property(blob, p->name, "", 0);
		break;
	case STR:
		fdt_property_string(blob, p->name, p->text);
		break;
	case RAW:
		fdt_property(blob, p->name, p->text, (int)p->value);
		break;
	}
}

static const struct prop good[] = {
	{"image", STR, 0, "linux.img"},
	{"memory-size", U64, 64 * MIB, NULL},
	{"vcpus", U32, 2, NULL},
};

// A VM: the good one, with `with` in place of or beside its properties.
static void vm(const char *name, const struct prop *with, unsigned n)
{
	fdt_begin_node(blob, name);
	for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		bool replaced = false;

		for (unsigned j = 0; j < n; j++) {
			replaced |= strcmp(with[j].name, good[i].name) == 0;
		}
		if (!replaced) {
			put(&good[i]);
		}
	}
	for (unsigned j = 0; j < n; j++) {
		put(&with[j]);
	}
}

static void begin(void)
{
	said[0] = '\0';
	lines = 0;
	fdt_create(blob, BLOB);
	fdt_finish_reservemap(blob);
	fdt_begin_node(blob, "");
	fdt_begin_node(blob, "tidemark");
	fdt_property_string(blob, "compatible", "tidemark,config");
}

static int end(void)
{
	fdt_end_node(blob);
	fdt_end_node(blob);
	CHECK_EQ(fdt_finish(blob), 0);
	return config_parse(blob, fdt_totalsize(blob), &machine, &config);
}

struct bad {
	struct prop prop[4];
	const char *says;
};

#define W(base_hi, base, size) "\0\0\0" base_hi base "\0\0\0\0" size

static const struct bad bad_ones[] = {
	{{{"image", NONE, 0, NULL}}, "image: asked nothing, there is no default"},
	{{{"image", STR, 0, "missing.bin"}},
	 "image: asked missing.bin, there is no such module in the archive"},
	{{{"image", U32, 0x41414141, NULL}}, "image: asked 4 bytes, there is a string"},
	{{{"image", STR, 0, "0123456789012345678901234567890123456789012345678901234567890123"}},
	 "image: asked 65 bytes, there is room for 63"},
	{{{"image", FLAG, 0, NULL}}, "image: asked 0 bytes, there is a string"},
	{{{"ramdisk", STR, 0, "missing.cpio"}},
	 "ramdisk: asked missing.cpio, there is no such module in the archive"},
	{{{"dtb", STR, 0, "missing.dtb"}},
	 "dtb: asked missing.dtb, there is no such module in the archive"},
	{{{"bootargs", RAW, 3, "abc"}}, "bootargs: asked 3 bytes, there is a string"},
	{{{"memory-size", NONE, 0, NULL}},
	 "memory-size: asked nothing, there is no default for a guest"},
	{{{"memory-size", U64, 64 * MIB + 1, NULL}},
	 "memory-size: asked 0x4000001, there is a multiple of 0x1000 only"},
	{{{"memory-size", U64, 0, NULL}}, "memory-size: asked 0x0, there is 0x100000 at least"},
	{{{"memory-size", U64, 0x80000, NULL}},
	 "memory-size: asked 0x80000, there is 0x100000 at least"},
	{{{"memory-size", U64, 2048 * MIB, NULL}},
	 "memory-size: asked 0x80000000, there is 0x40000000 left"},
	{{{"memory-size", RAW, 3, "\0\0\1"}},
	 "memory-size: asked 3 bytes, there is a number of 1 or 2 cells"},
	{{{"memory-size", U64, ~UINT64_C(0xfff), NULL}},
	 "memory-size: asked 0xfffffffffffff000, there is 0x40000000 left"},
	{{{"memory-base", U64, 0x1000000, NULL}},
	 "memory-base: asked 0x1000000, there is RAM from 0x40000000 on, in steps of 0x200000"},
	{{{"memory-base", U64, 0x40001000, NULL}},
	 "memory-base: asked 0x40001000, there is RAM from 0x40000000 on, in steps of 0x200000"},
	{{{"memory-base", U64, UINT64_C(1) << 40, NULL}},
	 "memory-size: asked 0x4000000, there is 40 bits of guest-physical memory"},
	{{{"memory-base", U64, ~UINT64_C(0x1fffff), NULL}},
	 "memory-size: asked 0x4000000, there is 40 bits of guest-physical memory"},
	{{{"pool-size", U64, 0x1001, NULL}},
	 "pool-size: asked 0x1001, there is a multiple of 0x1000 only"},
	{{{"pool-size", U64, 1024 * MIB, NULL}},
	 "pool-size: asked 0x40000000, there is 0x3c000000 left"},
	{{{"vcpus", U32, 0, NULL}}, "vcpus: asked 0, there is 1 to 64"},
	{{{"vcpus", U32, 65, NULL}}, "vcpus: asked 65, there is 1 to 64"},
	{{{"vcpus", STR, 0, "many"}}, "vcpus: asked 5 bytes, there is a number of 1 or 2 cells"},
	{{{"priority", U32, 8, NULL}}, "priority: asked 8, there is 0 to 7"},
	{{{"affinity", U64, 0xc, NULL}}, "affinity: asked 0xc, there is CPUs 0x3"},
	{{{"affinity", U32, 0, NULL}}, "affinity: asked 0x0, there is CPUs 0x3"},
	{{{"slice-us", U32, 99, NULL}}, "slice-us: asked 99, there is 100 to 1000000"},
	{{{"slice-us", U64, 1000001, NULL}}, "slice-us: asked 1000001, there is 100 to 1000000"},
	{{{"dirty-flags", U32, 0x80, NULL}}, "dirty-flags: asked 0x80, there is flags 0x7f only"},
	{{{"dirty-flags", U32, 0, NULL}},
	 "dirty-flags: asked 0x0, there is RING (1), BITMAP (2) or both to choose from"},
	{{{"dirty-flags", U32, 5, NULL}, {"ring-entries", U32, 1024, NULL}},
	 "dirty-flags: asked 0x5, there is MANUAL (4) with BITMAP (2) only"},
	{{{"dirty-flags", U32, 10, NULL}},
	 "dirty-flags: asked 0xa, there is INITIALLY_SET (8) with MANUAL (4) and without RING (1) "
	 "only"},
	{{{"dirty-flags", U32, 18, NULL}},
	 "dirty-flags: asked 0x12, there is SPILL (16) with RING (1) and BITMAP (2) only"},
	{{{"dirty-flags", U32, 34, NULL}},
	 "dirty-flags: asked 0x22, there is RING_GEN (32) with RING (1) only"},
	{{{"dirty-flags", U32, 3, NULL}},
	 "ring-entries: asked nothing, there is a ring in dirty-flags that needs it"},
	{{{"ring-entries", U32, 1024, NULL}},
	 "ring-entries: asked 0x400, there is no RING (1) in dirty-flags"},
	{{{"dirty-flags", U32, 3, NULL}, {"ring-entries", U32, 1000, NULL}},
	 "ring-entries: asked 0x3e8, there is a power of two from 0x100 to 0x10000\n"
	 "ring-entries: asked nothing, there is a ring in dirty-flags that needs it"},
	{{{"autostart", U32, 1, NULL}},
	 "autostart: asked 4 bytes, there is a flag without a value"},
	{{{"mmio", RAW, 8, W("\0", "\x0a\0\0\0", "")}},
	 "mmio: asked 8 bytes, there is pairs of base and size, 2 cells each"},
	{{{"mmio", RAW, 16, W("\0", "\x0a\0\0\1", "\0\0\x10\0")}},
	 "mmio: asked 0xa000001, there is whole pages only"},
	{{{"mmio", RAW, 16, W("\0", "\x0a\0\0\0", "\0\0\0\0")}},
	 "mmio: asked 0x0, there is whole pages only"},
	{{{"mmio", RAW, 16, W("\0", "\x09\0\0\0", "\0\0\x10\0")}},
	 "mmio: asked 0x9000000, there is a device of the board"},
	{{{"mmio", RAW, 16, W("\0", "\x40\0\0\0", "\0\0\x10\0")}},
	 "mmio: asked 0x40000000, there is RAM of this VM"},
	{{{"mmio", RAW, 16, "\xff\xff\xff\xff\xff\xff\xf0\0\0\0\0\0\0\0\x20\0"}},
	 "mmio: asked 0xfffffffffffff000, there is nothing above the end of guest-physical memory"},
	{{{"memroy-size", U64, 64 * MIB, NULL}},
	 "memroy-size: asked for it, there is no such property"},
	{{{"manager", FLAG, 0, NULL}, {"memory-base", U64, 0x40000000, NULL}},
	 "memory-base: asked for the manager, there is it for guests only"},
	{{{"manager", FLAG, 0, NULL}, {"memory-size", U64, 4096 * MIB, NULL}},
	 "memory-size: asked 0x100000000, there is 0x40000000 left"},
};

#define BAD_COUNT (sizeof(bad_ones) / sizeof(bad_ones[0]))

// The expected lines with the path in front of each.
static void expand(const char *name, const char *says, char *to, size_t size)
{
	size_t used = 0;

	while (*says) {
		size_t n = strcspn(says, "\n");

		used += (size_t)snprintf(to + used, size - used, "%s/tidemark/%s: %.*s",
					 used ? "\n" : "", name, (int)n, says);
		says += n + (says[n] == '\n');
	}
}

TEST(each_bad_value_is_named_and_only_that_vm_is_skipped)
{
	char want[1024];

	EXPECT(BAD_COUNT >= 30);
	for (unsigned i = 0; i < BAD_COUNT; i++) {
		unsigned n = 0;

		while (n < 4 && bad_ones[i].prop[n].name) {
			n++;
		}
		begin();
		vm("bad", bad_ones[i].prop, n);
		fdt_end_node(blob);
		vm("kept", NULL, 0);
		fdt_end_node(blob);
		CHECK_EQ(end(), 0);
		expand("bad", bad_ones[i].says, want, sizeof(want));
		if (strcmp(said, want) != 0) {
			fprintf(stderr, "case %u\n got: %s\nwant: %s\n", i, said, want);
		}
		EXPECT(strcmp(said, want) == 0);
		CHECK_EQ(config.count, 1);
		CHECK_EQ(config.skipped, 1);
		EXPECT(strcmp(config.vm[0].name, "kept") == 0);
	}
}

TEST(names)
{
	static const struct {
		const char *name, *says;
	} names[] = {
		{"Upper", "name: asked Upper, there is a-z 0-9 _ . - only"},
		{"with,comma", "name: asked with,comma, there is a-z 0-9 _ . - only"},
		{"a23456789a23456789a23456789a23456",
		 "name: asked a23456789a23456789a23456789a23456, there is 1 to 31 characters"},
		{"kept", "name: asked kept, there is a VM of that name already"},
	};
	char want[256];

	for (unsigned i = 0; i < 4; i++) {
		begin();
		vm("kept", NULL, 0);
		fdt_end_node(blob);
		vm(names[i].name, NULL, 0);
		fdt_end_node(blob);
		CHECK_EQ(end(), 0);
		expand(names[i].name, names[i].says, want, sizeof(want));
		if (strcmp(said, want) != 0) {
			fprintf(stderr, " got: %s\nwant: %s\n", said, want);
		}
		EXPECT(strcmp(said, want) == 0);
		CHECK_EQ(config.count, 1);
	}
}

TEST(good_values_arrive)
{
	static const struct prop all[] = {
		{"memory-base", U64, UINT64_C(0x100000000), NULL},
		{"pool-size", U64, 8 * MIB, NULL},
		{"ramdisk", STR, 0, "root.cpio"},
		{"dtb", STR, 0, "board.dtb"},
		{"bootargs", RAW, 8, "one\0two"},
		{"priority", U32, 0, NULL},
		{"affinity", U64, 2, NULL},
		{"slice-us", U32, 5000, NULL},
		{"dirty-flags", U32, 0x13, NULL},
		{"ring-entries", U32, 4096, NULL},
		{"mmio", RAW, 32, W("\0", "\x0a\0\0\0", "\0\0\x10\0") W("\0", "\x0a\0\x10\0", "\0\0\x10\0")},
		{"autostart", FLAG, 0, NULL},
	};
	const struct vm_config *v = &config.vm[0];

	begin();
	vm("all", all, sizeof(all) / sizeof(all[0]));
	fdt_end_node(blob);
	CHECK_EQ(end(), 0);
	CHECK_EQ(lines, 0);
	CHECK_EQ(config.count, 1);
	EXPECT(v->mem_base == UINT64_C(0x100000000) && v->mem_size == 64 * MIB);
	EXPECT(v->pool_size == 8 * MIB && v->vcpus == 2 && v->prio == 0 && v->affinity == 2);
	EXPECT(v->slice_us == 5000 && v->dirty_flags == 0x13 && v->ring_entries == 4096);
	EXPECT(v->mmio_count == 2 && v->mmio[1].gpa == 0xa001000 && v->mmio[1].size == 0x1000);
	EXPECT(v->autostart && !v->manager);
	EXPECT(strcmp(v->bootargs, "one two") == 0 && strcmp(v->ramdisk, "root.cpio") == 0);
	EXPECT(strcmp(v->dtb, "board.dtb") == 0);
}

TEST(defaults)
{
	static const struct prop manager[] = {{"manager", FLAG, 0, NULL}, {"memory-size", NONE, 0, NULL}};

	begin();
	vm("m", manager, 2);
	fdt_end_node(blob);
	vm("g", NULL, 0);
	fdt_end_node(blob);
	CHECK_EQ(end(), 0);
	CHECK_EQ(config.count, 2);
	EXPECT(config.vm[0].manager && config.vm[0].prio == 1 && config.vm[0].mem_size == 0);
	EXPECT(config.vm[1].prio == 2 && config.vm[1].mem_base == 0x40000000);
	EXPECT(config.vm[1].dirty_flags == 6 && config.vm[1].affinity == 0);
}

TEST(a_bad_manager_is_noticed_and_there_is_one_at_most)
{
	static const struct prop one[] = {{"manager", FLAG, 0, NULL}};
	static const struct prop bad[] = {{"manager", FLAG, 0, NULL}, {"image", STR, 0, "missing"}};

	begin();
	vm("m", one, 1);
	fdt_end_node(blob);
	vm("n", one, 1);
	fdt_end_node(blob);
	CHECK_EQ(end(), 0);
	EXPECT(strcmp(said, "/tidemark/n: manager: asked a second one, there is one already") == 0);
	CHECK_EQ(config.count, 1);
	begin();
	vm("m", bad, 2);
	fdt_end_node(blob);
	CHECK_EQ(end(), 0);
	EXPECT(config.manager_bad && config.count == 0);
}

TEST(memory_is_counted_over_all_vms)
{
	static const struct prop big[] = {{"memory-size", U64, 512 * MIB, NULL}};

	begin();
	for (unsigned i = 0; i < 3; i++) {
		char name[] = {'v', (char)('0' + i), '\0'};

		vm(name, big, 1);
		fdt_end_node(blob);
	}
	CHECK_EQ(end(), 0);
	CHECK_EQ(config.count, 2);
	EXPECT(strcmp(said, "/tidemark/v2: memory-size: asked 0x20000000, there is 0x0 left") == 0);
}

TEST(sixteen_vms_and_a_node_inside_one)
{
	static const struct prop small[] = {{"memory-size", U64, MIB, NULL}};

	begin();
	for (unsigned i = 0; i < 17; i++) {
		char name[] = {'v', (char)('a' + i), '\0'};

		vm(name, small, 1);
		if (i == 0) {
			fdt_begin_node(blob, "inner");
			fdt_end_node(blob);
		}
		fdt_end_node(blob);
	}
	CHECK_EQ(end(), 0);
	EXPECT(strcmp(said, "/tidemark/va: inner: asked a node, there is no node inside a VM") == 0);
	CHECK_EQ(config.count, 16);
	CHECK_EQ(config.skipped, 1);
	begin();
	for (unsigned i = 0; i < 17; i++) {
		char name[] = {'v', (char)('a' + i), '\0'};

		vm(name, small, 1);
		fdt_end_node(blob);
	}
	CHECK_EQ(end(), 0);
	EXPECT(strcmp(said, "/tidemark/vq: vm: asked one more, there is room for 16") == 0);
	CHECK_EQ(config.count, 16);
}

TEST(trees_that_are_none)
{
	static uint64_t noise[512];

	said[0] = '\0';
	CHECK_EQ(config_parse(noise, sizeof(noise), &machine, &config), -TM_EINVAL);
	EXPECT(strncmp(said, "/: tree: asked 4096 bytes, there is ", 36) == 0);
	begin();
	CHECK_EQ(end(), 0);
	CHECK_EQ(config.count, 0);
	fdt_create(blob, BLOB);
	fdt_finish_reservemap(blob);
	fdt_begin_node(blob, "");
	fdt_end_node(blob);
	fdt_finish(blob);
	CHECK_EQ(config_parse(blob, fdt_totalsize(blob), &machine, &config), -TM_ENOENT);
}

static void within_bounds(void)
{
	CHECK(config.count <= CONFIG_MAX_VMS);
	for (unsigned i = 0; i < config.count; i++) {
		const struct vm_config *v = &config.vm[i];

		CHECK(memchr(v->name, 0, sizeof(v->name)) && memchr(v->image, 0, CONFIG_STR));
		CHECK(v->vcpus >= 1 && v->vcpus <= 64 && v->mmio_count <= TM_VM_MMIO_WINDOWS);
		CHECK(v->manager || (v->mem_size >= MIB && v->mem_size <= machine.ram_free));
	}
}

TEST(every_byte_flipped_and_every_truncation)
{
	static const struct prop all[] = {
		{"mmio", RAW, 16, W("\0", "\x0a\0\0\0", "\0\0\x10\0")},
		{"bootargs", STR, 0, "a b"},
		{"dirty-flags", U32, 3, NULL},
		{"ring-entries", U32, 512, NULL},
	};
	static uint8_t copy[BLOB] __attribute__((aligned(8)));
	size_t size;

	begin();
	vm("a", all, 4);
	fdt_end_node(blob);
	vm("b", NULL, 0);
	fdt_end_node(blob);
	CHECK_EQ(end(), 0);
	CHECK_EQ(config.count, 2);
	size = fdt_totalsize(blob);
	for (size_t i = 0; i < size; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			memcpy(copy, blob, size);
			copy[i] ^= (uint8_t)(1u << bit);
			said[0] = '\0';
			if (config_parse(copy, size, &machine, &config) == 0) {
				within_bounds();
			}
		}
		// A buffer of exactly that size: reading behind it would be seen.
		uint8_t *cut = malloc(i + 1);

		memcpy(cut, blob, i);
		said[0] = '\0';
		EXPECT(config_parse(cut, i, &machine, &config) < 0);
		free(cut);
	}
}

CHECK_MAIN()
