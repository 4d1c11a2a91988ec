// SPDX-License-Identifier: Apache-2.0
//
// Plans the load of what only x86 has: Linux bzImage by the 64-bit boot protocol, and Multiboot 1.
// Pure and careful as image_load.c. A 64-bit ELF file with a Multiboot header counts as Multiboot
// only when the header has its own addresses.

#include "image_priv.h"

/* Linux' setup header (Documentation: "The Linux/x86 Boot Protocol"). */
#define BZ_SETUP_SECTS 0x1f1u
#define BZ_BOOT_FLAG 0x1feu
#define BZ_MAGIC 0x202u
#define BZ_VERSION 0x206u
#define BZ_LOADFLAGS 0x211u
#define BZ_ALIGNMENT 0x230u
#define BZ_RELOCATABLE 0x234u
#define BZ_XLOADFLAGS 0x236u
#define BZ_PREF_ADDRESS 0x258u
#define BZ_INIT_SIZE 0x260u
#define BZ_HEADER_END 0x268u
#define BZ_MAGIC_VALUE 0x53726448u	/* "HdrS" */
#define BZ_XLOADFLAGS_SINCE 0x20cu
#define BZ_LOADED_HIGH 1u
#define BZ_KERNEL_64 1u
#define BZ_ENTRY_64 0x200u

/* Multiboot 1 (specification 0.6.96). */
#define MB_MAGIC 0x1badb002u
#define MB_SEARCH 8192u
#define MB_FLAG_VIDEO 4u
#define MB_FLAG_ADDRESSES 0x10000u
#define MB_REQUIRED 0xffffu		/* what must be understood... */
#define MB_UNDERSTOOD 3u		/* ... page alignment, memory map */

/* ELF32 (System V ABI). */
#define ELF_MAGIC 0x464c457fu
#define E32_HEADER 52u
#define E32_TYPE 16u
#define E32_MACHINE 18u
#define E32_ENTRY 24u
#define E32_PHOFF 28u
#define E32_PHENTSIZE 42u
#define E32_PHNUM 44u
#define E32_PH_SIZE 32u
#define PH32_OFFSET 4u
#define PH32_PADDR 12u
#define PH32_FILESZ 16u
#define PH32_MEMSZ 20u
#define PT_LOAD 1u
#define ET_EXEC 2u
#define EM_386 3u
#define EM_X86_64 62u

static int plan_kernel(const struct image_job *j, struct image_plan *plan)
{
	uint64_t sects = image_get(j->image, BZ_SETUP_SECTS, 1);
	uint64_t setup = ((sects != 0 ? sects : 4) + 1) * 512;
	uint64_t align = image_get(j->image, BZ_ALIGNMENT, 4);
	uint64_t at = image_get(j->image, BZ_PREF_ADDRESS, 8);
	struct image_segment s = {
		.offset = setup,
		.mem_size = image_get(j->image, BZ_INIT_SIZE, 4),
	};
	int error;

	if (image_get(j->image, BZ_VERSION, 2) < BZ_XLOADFLAGS_SINCE ||
	    (image_get(j->image, BZ_LOADFLAGS, 1) & BZ_LOADED_HIGH) == 0 ||
	    (image_get(j->image, BZ_XLOADFLAGS, 2) & BZ_KERNEL_64) == 0) {
		return IMAGE_EPROTOCOL;
	}
	if (setup >= j->size || j->size - setup <= BZ_ENTRY_64 || align < 4096 ||
	    align > 1u << 30 || (align & (align - 1)) != 0) {
		return IMAGE_EHEADER;
	}
	s.file_size = j->size - setup;
	if (s.mem_size < s.file_size) {
		s.mem_size = s.file_size;
	}
	/* A kernel below its preferred place would only move itself there. */
	if (image_get(j->image, BZ_RELOCATABLE, 1) != 0 && at < j->mem_base) {
		at = (j->mem_base + align - 1) & ~(align - 1);
	}
	s.gpa = at;
	error = image_add_segment(j, plan, &s);
	plan->entry = at + BZ_ENTRY_64;
	return error;
}

bool image_plan_bzimage(const struct image_job *j, struct image_plan *plan, int *error)
{
	if (j->size < BZ_HEADER_END || image_get(j->image, BZ_BOOT_FLAG, 2) != 0xaa55 ||
	    image_get(j->image, BZ_MAGIC, 4) != BZ_MAGIC_VALUE) {
		return false;
	}
	plan->kind = IMAGE_BZIMAGE;
	*error = plan_kernel(j, plan);
	return true;
}

/* The header's own addresses: header, load, load end, bss end, entry. */
static int plan_addresses(const struct image_job *j, uint64_t at, struct image_plan *plan)
{
	uint64_t header, load, load_end, bss_end, entry;
	struct image_segment s;
	int error;

	if (!image_inside(at + 12, 20, 0, j->size)) {
		return IMAGE_ESHORT;
	}
	header = image_get(j->image, at + 12, 4);
	load = image_get(j->image, at + 16, 4);
	load_end = image_get(j->image, at + 20, 4);
	bss_end = image_get(j->image, at + 24, 4);
	entry = image_get(j->image, at + 28, 4);
	if (header < load || header - load > at) {
		return IMAGE_EHEADER;
	}
	s.gpa = load;
	s.offset = at - (header - load);
	if (load_end == 0) {
		load_end = load + (j->size - s.offset);
	}
	if (load_end < load || (bss_end != 0 && bss_end < load_end)) {
		return IMAGE_EHEADER;
	}
	s.file_size = load_end - load;
	s.mem_size = (bss_end != 0 ? bss_end : load_end) - load;
	error = image_add_segment(j, plan, &s);
	if (error != IMAGE_OK || plan->count == 0) {
		return error != IMAGE_OK ? error : IMAGE_ESEGMENT;
	}
	plan->entry = entry;
	return image_inside(entry, 1, load, s.file_size) ? IMAGE_OK : IMAGE_EENTRY;
}

static int plan_elf32(const struct image_job *j, struct image_plan *plan)
{
	uint64_t phoff, phnum, entry;
	bool entry_ok = false;

	if (j->size < E32_HEADER || image_get(j->image, 4, 1) != 1 ||
	    image_get(j->image, 5, 1) != 1 || image_get(j->image, E32_TYPE, 2) != ET_EXEC ||
	    (image_get(j->image, E32_MACHINE, 2) != EM_386 &&
	     image_get(j->image, E32_MACHINE, 2) != EM_X86_64)) {
		return IMAGE_ECLASS;
	}
	phoff = image_get(j->image, E32_PHOFF, 4);
	phnum = image_get(j->image, E32_PHNUM, 2);
	entry = image_get(j->image, E32_ENTRY, 4);
	if (image_get(j->image, E32_PHENTSIZE, 2) != E32_PH_SIZE || phnum == 0 ||
	    !image_inside(phoff, phnum * E32_PH_SIZE, 0, j->size)) {
		return IMAGE_EHEADER;
	}
	for (uint64_t ph = phoff; ph < phoff + phnum * E32_PH_SIZE; ph += E32_PH_SIZE) {
		struct image_segment s = {
			.gpa = image_get(j->image, ph + PH32_PADDR, 4),
			.offset = image_get(j->image, ph + PH32_OFFSET, 4),
			.file_size = image_get(j->image, ph + PH32_FILESZ, 4),
			.mem_size = image_get(j->image, ph + PH32_MEMSZ, 4),
		};
		int error = IMAGE_OK;

		if (image_get(j->image, ph, 4) == PT_LOAD) {
			error = image_add_segment(j, plan, &s);
			entry_ok |= image_inside(entry, 1, s.gpa, s.file_size);
		}
		if (error != IMAGE_OK) {
			return error;
		}
	}
	plan->entry = entry;
	return plan->count == 0 ? IMAGE_ESEGMENT : entry_ok ? IMAGE_OK : IMAGE_EENTRY;
}

/* Offset of the header, or the search's end. */
static uint64_t find_multiboot(const struct image_job *j, uint64_t end)
{
	for (uint64_t at = 0; at < end; at += 4) {
		if (image_get(j->image, at, 4) == MB_MAGIC &&
		    (uint32_t)(MB_MAGIC + image_get(j->image, at + 4, 4) +
			       image_get(j->image, at + 8, 4)) == 0) {
			return at;
		}
	}
	return end;
}

bool image_plan_multiboot(const struct image_job *j, struct image_plan *plan, int *error)
{
	uint64_t end = (j->size < MB_SEARCH ? j->size : MB_SEARCH) & ~(uint64_t)3;
	uint64_t at, flags;
	bool elf;

	end = end > 8 ? end - 8 : 0;
	at = find_multiboot(j, end);
	if (at == end) {
		return false;
	}
	flags = image_get(j->image, at + 4, 4);
	elf = image_get(j->image, 0, 4) == ELF_MAGIC;
	if ((flags & MB_FLAG_ADDRESSES) == 0 && (!elf || image_get(j->image, 4, 1) != 1)) {
		return false;	/* a 64-bit ELF file that also knows Multiboot */
	}
	plan->kind = IMAGE_MULTIBOOT;
	*error = (flags & MB_REQUIRED & ~(MB_UNDERSTOOD | MB_FLAG_VIDEO)) != 0 ? IMAGE_EPROTOCOL :
		 (flags & MB_FLAG_ADDRESSES) != 0 ? plan_addresses(j, at, plan) :
						    plan_elf32(j, plan);
	return true;
}
