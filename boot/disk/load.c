// SPDX-License-Identifier: Apache-2.0
/*
 * The bootable disk, second stage: 32-bit code below 64 KiB that asks the BIOS for the memory map and
 * for sectors, puts image and archive where they belong, and enters the image as Multiboot 1 does.
 * One CPU, interrupts off, no locks. An error is one line on screen and COM1, then the end.
 */
#include <boot/disk/disk.h>
#include <stdbool.h>
#include <stddef.h>

#define FLAG_CARRY 1u
#define COM1 0x3f8u
#define MAP_MAX 128u
#define E820_SMAP 0x534d4150u
#define E820_RAM 1u
#define PAGE 4096u
#define MIB (1u << 20)

/* Multiboot 0.6.96, section 3.3. */
#define MULTIBOOT_MAGIC 0x2badb002u
#define INFO_MEMORY (1u << 0)
#define INFO_CMDLINE (1u << 2)
#define INFO_MODULES (1u << 3)
#define INFO_MAP (1u << 6)
#define INFO_LOADER (1u << 9)

struct map_entry {
	uint32_t bytes;			/* of what follows */
	uint64_t base, size;
	uint32_t kind;
} __attribute__((packed));

struct module {
	uint32_t start, end, name, zero;
};

struct info {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr;
	uint32_t symbols[4];
	uint32_t map_length, map_addr, drives_length, drives_addr, config, loader_name;
	uint32_t unused[8];
};

/* All that is handed over, in one place. */
struct handoff {
	struct info info;
	struct module module;
	struct map_entry map[MAP_MAX];
};

static struct handoff *const out = (struct handoff *)DISK_INFO_AT;
static uint32_t map_count;
static uint32_t boot_drive;

/* The compiler may call these. */
void *memset(void *to, int value, size_t bytes);
void *memcpy(void *restrict to, const void *restrict from, size_t bytes);

void *memset(void *to, int value, size_t bytes)
{
	void *p = to;

	__asm__ volatile("rep stosb" : "+D"(p), "+c"(bytes) : "a"(value) : "memory");
	return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
	void *p = to;
	size_t words = bytes / 4;

	__asm__ volatile("rep movsl" : "+D"(p), "+S"(from), "+c"(words) : : "memory");
	bytes %= 4;
	__asm__ volatile("rep movsb" : "+D"(p), "+S"(from), "+c"(bytes) : : "memory");
	return to;
}

/* --- messages --------------------------------------------------------------------------------- */
static void port_write(uint32_t port, uint32_t value)
{
	__asm__ volatile("outb %b0, %w1" : : "a"(value), "d"(port));
}

static uint32_t port_read(uint32_t port)
{
	uint8_t value;

	__asm__ volatile("inb %w1, %0" : "=a"(value) : "d"(port));
	return value;
}

static void print(const char *text)
{
	for (; *text != '\0'; text++) {
		struct bios_regs r = {.eax = 0x0e00u | (uint8_t)*text, .ebx = 7};

		bios_call(0x10, &r);
		/* Bounded: there may be no UART. */
		for (unsigned i = 0; i < 100000 && (port_read(COM1 + 5) & 0x20) == 0; i++) {
		}
		port_write(COM1, (uint8_t)*text);
	}
}

static void __attribute__((noreturn)) fail(const char *why)
{
	/* 115200 8N1. */
	port_write(COM1 + 1, 0);
	port_write(COM1 + 3, 0x80);
	port_write(COM1, 1);
	port_write(COM1 + 1, 0);
	port_write(COM1 + 3, 3);
	print("tidemark: cannot start: ");
	print(why);
	print("\r\n");
	for (;;) {
		__asm__ volatile("cli; hlt");
	}
}

/* --- memory ----------------------------------------------------------------------------------- */
static void map_read(void)
{
	/* ACPI's 24 bytes; older BIOSes write 20. */
	static struct {
		uint64_t base, size;
		uint32_t kind, attributes;
	} e820;
	uint32_t next = 0;

	do {
		struct bios_regs r = {.eax = 0xe820, .ebx = next, .ecx = 24, .edx = E820_SMAP,
				      .edi = (uint32_t)&e820};
		struct map_entry *e = &out->map[map_count];

		e820.attributes = 1;
		bios_call(0x15, &r);
		if ((r.flags & FLAG_CARRY) != 0 || r.eax != E820_SMAP) {
			break;
		}
		next = r.ebx;
		if (e820.size != 0 && (r.ecx < 24 || (e820.attributes & 1) != 0)) {
			e->bytes = sizeof(*e) - sizeof(e->bytes);
			e->base = e820.base;
			e->size = e820.size;
			e->kind = e820.kind;
			map_count++;
		}
	} while (next != 0 && map_count < MAP_MAX);
	if (map_count == 0) {
		fail("the BIOS gives no memory map");
	}
}

/* The part of entry i that we can use: from 1 MiB to 4 GiB. */
static bool map_ram(uint32_t i, uint32_t *start, uint32_t *end)
{
	const struct map_entry *e = &out->map[i];
	uint64_t from = e->base < MIB ? MIB : e->base;
	uint64_t to = e->base + e->size;

	to = to < e->base || to > 0xfffff000u ? 0xfffff000u : to;
	if (e->kind != E820_RAM || from >= to) {
		return false;
	}
	*start = (uint32_t)(from + PAGE - 1) & ~(PAGE - 1);
	*end = (uint32_t)to & ~(PAGE - 1);
	return *start < *end;
}

static bool is_ram(uint32_t base, uint32_t bytes)
{
	uint32_t start, end;

	for (uint32_t i = 0; i < map_count; i++) {
		if (map_ram(i, &start, &end) && base >= start && base < end && bytes <= end - base) {
			return true;
		}
	}
	return false;
}

/* As high as it goes, and not over the image. 0: nowhere. */
static uint32_t place_module(const struct disk_header *h)
{
	uint32_t bytes = (h->module_bytes + PAGE - 1) & ~(PAGE - 1);
	uint32_t best = 0;
	uint32_t start, end;

	for (uint32_t i = 0; i < map_count; i++) {
		if (!map_ram(i, &start, &end)) {
			continue;
		}
		if (h->image_at >= start && h->image_at < end) {
			start = h->image_at + h->image_memory;
		}
		if (end > start && bytes <= end - start && end - bytes > best) {
			best = end - bytes;
		}
	}
	return best;
}

/* --- disk ------------------------------------------------------------------------------------- */
static void read_sectors(uint32_t lba, uint32_t count)
{
	static struct {
		uint8_t bytes, zero;
		uint16_t count, offset, segment;
		uint64_t lba;
	} packet;
	struct bios_regs r = {.eax = 0x4200, .edx = boot_drive, .esi = (uint32_t)&packet};

	packet.bytes = 16;
	packet.count = (uint16_t)count;
	packet.segment = DISK_BUFFER >> 4;
	packet.lba = lba;
	bios_call(0x13, &r);
	if ((r.flags & FLAG_CARRY) != 0) {
		fail("the boot disk cannot be read");
	}
}

static void load(uint32_t lba, uint32_t bytes, uint32_t to)
{
	while (bytes > 0) {
		uint32_t sectors = (bytes + DISK_SECTOR - 1) / DISK_SECTOR;
		uint32_t part;

		sectors = sectors < DISK_BUFFER_SECTORS ? sectors : DISK_BUFFER_SECTORS;
		part = sectors * DISK_SECTOR < bytes ? sectors * DISK_SECTOR : bytes;
		read_sectors(lba, sectors);
		memcpy((void *)to, (const void *)DISK_BUFFER, part);
		lba += sectors;
		bytes -= part;
		to += part;
	}
}

static void a20_on(void)
{
	struct bios_regs r = {.eax = 0x2401};

	bios_call(0x15, &r);
	/* The fast gate as well: where the call failed, mostly this is there. Never bit 0: reset. */
	port_write(0x92, (port_read(0x92) | 2u) & 0xfeu);
}

static void fill_info(const struct disk_header *h)
{
	struct info *info = &out->info;

	info->flags = INFO_MEMORY | INFO_CMDLINE | INFO_MAP | INFO_LOADER;
	info->mem_lower = 639;
	for (uint32_t i = 0; i < map_count; i++) {
		uint32_t start, end;

		if (map_ram(i, &start, &end) && start == MIB) {
			info->mem_upper = (end - MIB) / 1024;
		}
	}
	info->cmdline = (uint32_t)h->cmdline;
	info->map_addr = (uint32_t)out->map;
	info->map_length = map_count * (uint32_t)sizeof(out->map[0]);
	info->loader_name = (uint32_t)"tidemark disk";
}

void load_main(struct disk_header *h, uint32_t drive)
{
	boot_drive = drive;
	memset(out, 0, sizeof(*out));
	a20_on();
	map_read();
	fill_info(h);
	if (!is_ram(h->image_at, h->image_memory)) {
		fail("not enough memory for the image");
	}
	load(h->image_lba, h->image_bytes, h->image_at);
	memset((void *)(h->image_at + h->image_bytes), 0, h->image_memory - h->image_bytes);
	if (h->module_bytes != 0) {
		uint32_t at = place_module(h);

		if (at == 0) {
			fail("not enough memory for the modules archive");
		}
		load(h->module_lba, h->module_bytes, at);
		out->module.start = at;
		out->module.end = at + h->module_bytes;
		out->module.name = (uint32_t)"modules.cpio";
		out->info.flags |= INFO_MODULES;
		out->info.mods_count = 1;
		out->info.mods_addr = (uint32_t)&out->module;
	}
	enter_image(h->image_entry, MULTIBOOT_MAGIC, &out->info);
}
