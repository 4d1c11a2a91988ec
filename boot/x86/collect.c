// SPDX-License-Identifier: Apache-2.0
/*
 * What the three ways in have in common: RAM as a sorted list of whole pages without overlaps, the
 * module, the command line. Writes boot_info. Boot CPU, boot time.
 */
#include <asm/layout.h>
#include <asm/mmu.h>
#include <boot/x86/ways.h>
#include <hyp/boot_info.h>
#include <hyp/string.h>

#define RAM_END (1ull << HYP_DIRECT_BITS)	/* of what the direct map can hold */

static uint64_t rsdp;

const void *boot_read(uint64_t pa, uint64_t bytes, const char *what)
{
	const void *p = mmu_window(pa, bytes);

	if (!p) {
		cannot_start("cannot read %s at %#lx, %lu bytes", what, pa, bytes);
	}
	return p;
}

static uint64_t end_of(const struct mem_range *r)
{
	return r->base.v + r->size;
}

static void remove_at(unsigned i)
{
	boot_info.ram_count--;
	memmove(&boot_info.ram[i], &boot_info.ram[i + 1],
		(boot_info.ram_count - i) * sizeof(boot_info.ram[0]));
}

/* The list is full: the smallest piece is lost. */
static void make_room(void)
{
	unsigned smallest = 0;

	if (boot_info.ram_count < BOOT_MAX_RANGES) {
		return;
	}
	for (unsigned i = 1; i < boot_info.ram_count; i++) {
		smallest = boot_info.ram[i].size < boot_info.ram[smallest].size ? i : smallest;
	}
	remove_at(smallest);
}

static void insert(uint64_t start, uint64_t end)
{
	unsigned i = 0;

	make_room();
	while (i < boot_info.ram_count && boot_info.ram[i].base.v < start) {
		i++;
	}
	memmove(&boot_info.ram[i + 1], &boot_info.ram[i],
		(boot_info.ram_count - i) * sizeof(boot_info.ram[0]));
	boot_info.ram[i] = (struct mem_range){hpa(start), end - start};
	boot_info.ram_count++;
}

void boot_add_ram(uint64_t base, uint64_t bytes)
{
	uint64_t start, end;

	if (base >= RAM_END) {
		return;
	}
	start = ALIGN_UP(base, PAGE_SIZE);
	end = ALIGN_DOWN(base + MIN(bytes, RAM_END - base), PAGE_SIZE);
	if (start >= end) {
		return;
	}
	/* Whatever it touches or overlaps becomes part of it. */
	for (unsigned i = 0; i < boot_info.ram_count;) {
		struct mem_range r = boot_info.ram[i];

		if (r.base.v <= end && start <= end_of(&r)) {
			start = MIN(start, r.base.v);
			end = MAX(end, end_of(&r));
			remove_at(i);
		} else {
			i++;
		}
	}
	insert(start, end);
}

void boot_cut_ram(uint64_t base, uint64_t bytes)
{
	uint64_t start, end;

	if (base >= RAM_END || bytes == 0) {
		return;
	}
	start = ALIGN_DOWN(base, PAGE_SIZE);
	end = ALIGN_UP(base + MIN(bytes, RAM_END - base), PAGE_SIZE);
	for (unsigned i = 0; i < boot_info.ram_count;) {
		struct mem_range r = boot_info.ram[i];

		if (r.base.v >= end || start >= end_of(&r)) {
			i++;
			continue;
		}
		remove_at(i);
		/* What is left lies outside: looking at it again is harmless. */
		if (r.base.v < start) {
			insert(r.base.v, start);
		}
		if (end < end_of(&r)) {
			insert(end, end_of(&r));
		}
		i = 0;
	}
}

void boot_set_module(uint64_t base, uint64_t bytes)
{
	if (boot_info.modules.size == 0 && bytes && base < RAM_END && bytes <= RAM_END - base) {
		boot_info.modules = (struct mem_range){hpa(base), bytes};
	}
}

void boot_set_cmdline(const char *text, uint64_t bytes)
{
	size_t n = 0;

	for (; n < bytes && n < sizeof(boot_info.cmdline) - 1 && text[n]; n++) {
		boot_info.cmdline[n] = text[n];
	}
	boot_info.cmdline[n] = '\0';
}

void boot_set_rsdp(uint64_t pa)
{
	rsdp = pa;
}

uint64_t boot_rsdp(void)
{
	return rsdp;
}

/* A module outside of RAM could not be read later, when only RAM is mapped. */
static bool in_ram(const struct mem_range *m)
{
	for (unsigned i = 0; i < boot_info.ram_count; i++) {
		const struct mem_range *r = &boot_info.ram[i];

		if (r->base.v <= m->base.v && end_of(m) <= end_of(r)) {
			return true;
		}
	}
	return false;
}

void boot_check_memory(void)
{
	const struct mem_range *m = &boot_info.modules;
	const struct mem_range *image = &boot_info.image;

	if (boot_info.ram_count == 0) {
		cannot_start("no memory: the boot loader gives no memory map");
	}
	if (!in_ram(image)) {
		cannot_start("the image at %#lx is not in memory that the boot loader lists",
			     image->base.v);
	}
	if (m->size && (!in_ram(m) || (m->base.v < end_of(image) && image->base.v < end_of(m)))) {
		cannot_start("bad module: %#lx, %lu bytes, is not in memory, or overlaps the image",
			     m->base.v, m->size);
	}
}
