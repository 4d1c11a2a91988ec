// SPDX-License-Identifier: Apache-2.0
//
// x86: the start block of a guest (boot/guest_start.h): Linux' boot_params or the Multiboot
// information, GDT, first page tables, command line, ACPI tables, device tree. Pure: no state, no
// locks; the image's header was checked by image_plan() and is copied, never followed.

#include <boot/guest_start.h>
#include "guest_acpi.h"

#define LOW_PLACE 0x60000u		/* well above the BIOS data, below 640 KiB */
#define LOW_RAM_END 0xa0000u
#define HIGH_RAM 0x100000u
#define PAGE 0x1000u

/* boot_params (Linux: "Zero Page") and its setup_header ("The Linux/x86 Boot Protocol"). */
#define BP_RSDP 0x070u
#define BP_EXT_RAMDISK_IMAGE 0x0c0u
#define BP_EXT_RAMDISK_SIZE 0x0c4u
#define BP_EXT_CMDLINE 0x0c8u
#define BP_E820_COUNT 0x1e8u
#define BP_HDR 0x1f1u
#define BP_BOOT_FLAG 0x1feu
#define BP_HDR_LENGTH 0x201u		/* header ends at 0x202 + this byte */
#define BP_HDR_END_MAX 0x290u
#define BP_MAGIC 0x202u
#define BP_VERSION 0x206u
#define BP_LOADER 0x210u
#define BP_LOADFLAGS 0x211u
#define BP_RAMDISK_IMAGE 0x218u
#define BP_RAMDISK_SIZE 0x21cu
#define BP_CMDLINE 0x228u
#define BP_SUBARCH 0x23cu
#define BP_SETUP_DATA 0x250u
#define BP_E820 0x2d0u
#define CMDLINE_MAX 2048u

enum e820_type { E820_RAM = 1, E820_RESERVED = 2 };
#define E820_MAX 32

struct e820 {
	struct guest_fdt_range r[E820_MAX];
	uint32_t type[E820_MAX];
	uint32_t count;
};

/* Multiboot 1 information (specification 0.6.96, 3.3) and where its parts lie in the page. */
#define MBI_MEM 1u
#define MBI_CMDLINE 4u
#define MBI_MODS 8u
#define MBI_MMAP 0x40u
#define MBI_MODULE_AT 0x100u
#define MBI_MMAP_AT 0x200u

static void put(uint8_t *p, uint64_t v, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++) {
		p[i] = (uint8_t)(v >> (8 * i));
	}
}

const struct guest_board *guest_start_board(void)
{
	return &guest_board_x86;
}

uint64_t guest_start_size(void)
{
	return GUEST_START_X86_SIZE;
}

static int apart(uint64_t at, uint64_t low, uint64_t high)
{
	return at >= high || at + GUEST_START_X86_SIZE <= low;
}

uint64_t guest_start_place(struct guest_fdt_range ram, uint64_t low, uint64_t high)
{
	uint64_t end = ram.base + ram.size;

	if (ram.size < GUEST_START_X86_SIZE) {
		return ~(uint64_t)0;
	}
	if (ram.base <= LOW_PLACE && end >= LOW_RAM_END && apart(LOW_PLACE, low, high)) {
		return LOW_PLACE;
	}
	if (ram.base >= HIGH_RAM && apart(ram.base, low, high)) {
		return ram.base;
	}
	end = (end - GUEST_START_X86_SIZE) & ~(uint64_t)(PAGE - 1);
	return end >= ram.base && apart(end, low, high) ? end : ~(uint64_t)0;
}

/* ---- memory map ------------------------------------------------------------------------------ */

static void add(struct e820 *m, uint64_t start, uint64_t end, uint32_t type)
{
	if (end > start && m->count < E820_MAX) {
		m->r[m->count] = (struct guest_fdt_range){start, end - start};
		m->type[m->count++] = type;
	}
}

/* What is RAM in [start, end): all but [from, to). */
static void add_ram(struct e820 *m, uint64_t start, uint64_t end, uint64_t from, uint64_t to)
{
	if (to <= start || from >= end) {
		add(m, start, end, E820_RAM);
		return;
	}
	add(m, start, from, E820_RAM);
	add(m, from > start ? from : start, to < end ? to : end, E820_RESERVED);
	add(m, to, end, E820_RAM);
}

/* The memory of the tree without the block and without the places where PCs have no RAM. */
static void make_map(struct e820 *m, const struct guest_fdt *g, uint64_t at)
{
	m->count = 0;
	for (uint32_t i = 0; i < g->mem_count; i++) {
		uint64_t start = g->mem[i].base, end = start + g->mem[i].size;
		uint64_t low = end < LOW_RAM_END ? end : LOW_RAM_END;

		if (start < HIGH_RAM) {
			add_ram(m, start, low, at, at + GUEST_START_X86_SIZE);
			add(m, start > low ? start : low, end < HIGH_RAM ? end : HIGH_RAM,
			    E820_RESERVED);
			start = HIGH_RAM;
		}
		if (end > start) {
			add_ram(m, start, end, at, at + GUEST_START_X86_SIZE);
		}
	}
	for (uint32_t i = 0; i < guest_board_x86.device_count; i++) {
		const struct guest_fdt_range *d = &guest_board_x86.device[i];

		add(m, d->base, d->base + d->size, E820_RESERVED);
	}
}

/* ---- Linux ----------------------------------------------------------------------------------- */

static void build_params(uint8_t *p, uint64_t at, const struct guest_fdt *g,
			 const struct image_plan *plan, const uint8_t *image)
{
	uint64_t cmdline = at + GUEST_START_CMDLINE;
	struct e820 m;

	if (plan->kind == IMAGE_BZIMAGE) {
		uint32_t end = BP_MAGIC + image[BP_HDR_LENGTH];

		end = end < BP_HDR_END_MAX ? end : BP_HDR_END_MAX;
		/* image_plan() wants 0x268 bytes of header and more than a sector behind it */
		for (uint32_t i = BP_HDR; i < end; i++) {
			p[i] = image[i];
		}
	} else {
		/* For other programs that take boot_params, an ELF vmlinux for one. */
		put(p + BP_BOOT_FLAG, 0xaa55, 2);
		put(p + BP_MAGIC, 0x53726448u, 4);
		put(p + BP_VERSION, 0x20f, 2);
		put(p + BP_LOADFLAGS, 1, 1);
	}
	put(p + BP_LOADER, 0xff, 1);
	put(p + BP_SUBARCH, 0, 4);
	put(p + BP_SETUP_DATA, 0, 8);
	put(p + BP_CMDLINE, cmdline, 4);
	put(p + BP_EXT_CMDLINE, cmdline >> 32, 4);
	put(p + BP_RAMDISK_IMAGE, g->initrd.size != 0 ? g->initrd.base : 0, 4);
	put(p + BP_EXT_RAMDISK_IMAGE, g->initrd.size != 0 ? g->initrd.base >> 32 : 0, 4);
	put(p + BP_RAMDISK_SIZE, g->initrd.size, 4);
	put(p + BP_EXT_RAMDISK_SIZE, g->initrd.size >> 32, 4);
	put(p + BP_RSDP, at + GUEST_START_ACPI, 8);
	make_map(&m, g, at);
	put(p + BP_E820_COUNT, m.count, 1);
	for (uint32_t i = 0; i < m.count; i++) {
		put(p + BP_E820 + i * 20, m.r[i].base, 8);
		put(p + BP_E820 + i * 20 + 8, m.r[i].size, 8);
		put(p + BP_E820 + i * 20 + 16, m.type[i], 4);
	}
}

/* ---- Multiboot ------------------------------------------------------------------------------- */

static void build_multiboot(uint8_t *p, uint64_t at, const struct guest_fdt *g)
{
	uint64_t upper = 0;
	struct e820 m;

	make_map(&m, g, at);
	for (uint32_t i = 0; i < m.count; i++) {
		put(p + MBI_MMAP_AT + i * 24, 20, 4);
		put(p + MBI_MMAP_AT + i * 24 + 4, m.r[i].base, 8);
		put(p + MBI_MMAP_AT + i * 24 + 12, m.r[i].size, 8);
		put(p + MBI_MMAP_AT + i * 24 + 20, m.type[i], 4);
		if (m.type[i] == E820_RAM && m.r[i].base == HIGH_RAM) {
			upper = m.r[i].size / 1024;
		}
	}
	put(p, MBI_MEM | MBI_CMDLINE | MBI_MMAP, 4);
	put(p + 4, LOW_PLACE / 1024, 4);
	put(p + 8, upper, 4);
	put(p + 16, at + GUEST_START_CMDLINE, 4);
	put(p + 44, m.count * 24, 4);
	put(p + 48, at + MBI_MMAP_AT, 4);
	if (g->initrd.size != 0) {
		put(p, MBI_MEM | MBI_CMDLINE | MBI_MODS | MBI_MMAP, 4);
		put(p + 20, 1, 4);
		put(p + 24, at + MBI_MODULE_AT, 4);
		put(p + MBI_MODULE_AT, g->initrd.base, 4);
		put(p + MBI_MODULE_AT + 4, g->initrd.base + g->initrd.size, 4);
		put(p + MBI_MODULE_AT + 8, at + GUEST_START_CMDLINE, 4);
	}
}

/* ---- the rest -------------------------------------------------------------------------------- */

/* Flat segments (SDM volume 3, 3.4.5): 0x10 64-bit code, 0x18 data, 0x20 32-bit code. */
static void build_gdt(uint8_t *p)
{
	put(p + 0x10, 0x00af9b000000ffffull, 8);
	put(p + 0x18, 0x00cf93000000ffffull, 8);
	put(p + 0x20, 0x00cf9b000000ffffull, 8);
}

/* The first 4 GiB in 2 MiB pages; above, for programs whose RAM is there, in 1 GiB pages. */
static void build_tables(uint8_t *p, uint64_t at)
{
	uint8_t *pdpt = p + PAGE, *pd = p + 2 * PAGE;

	put(p, (at + PAGE) | 3, 8);
	for (uint64_t i = 0; i < 512; i++) {
		put(pdpt + i * 8, i < 4 ? (at + (2 + i) * PAGE) | 3 : i << 30 | 0x83, 8);
	}
	for (uint64_t i = 0; i < 4 * 512; i++) {
		put(pd + i * 8, i << 21 | 0x83, 8);
	}
}

static int build_cmdline(uint8_t *p, const char *s)
{
	for (uint32_t i = 0; i < CMDLINE_MAX; i++) {
		p[i] = (uint8_t)s[i];
		if (s[i] == '\0') {
			return 0;
		}
	}
	return -1;
}

int guest_start_build(void *buf, uint64_t at, const struct guest_fdt *g,
		      const struct image_plan *plan, const void *image, uint64_t *arg)
{
	struct guest_fdt tree = *g;
	uint8_t *p = buf;

	for (uint32_t i = 0; i < GUEST_START_X86_SIZE; i++) {
		p[i] = 0;
	}
	if (g->cpus == 0 || g->cpus > GUEST_FDT_CPU_MAX ||
	    build_cmdline(p + GUEST_START_CMDLINE, g->bootargs != NULL ? g->bootargs : "") != 0) {
		return -1;
	}
	if (plan->kind == IMAGE_MULTIBOOT) {
		build_multiboot(p + GUEST_START_PARAMS, at, g);
	} else {
		build_params(p + GUEST_START_PARAMS, at, g, plan, image);
	}
	build_gdt(p + GUEST_START_GDT);
	build_tables(p + GUEST_START_TABLES, at + GUEST_START_TABLES);
	guest_acpi_build(p + GUEST_START_ACPI, at + GUEST_START_ACPI, g->cpus);
	tree.machine = GUEST_X86;
	*arg = at | (plan->kind == IMAGE_MULTIBOOT ? GUEST_START_MULTIBOOT : GUEST_START_64);
	p += GUEST_START_FDT;
	return guest_fdt_build(p, GUEST_START_X86_SIZE - GUEST_START_FDT, &tree) < 0 ? -1 : 0;
}
