// SPDX-License-Identifier: Apache-2.0
//
// Plans the load of arm64 Image, ELF64 and raw programs. Pure: no state, no locks, no libc. The
// image is hostile: fields are read once, by bytes, and every sum is checked for wrap before use.

#include <stdbool.h>
#include <stddef.h>
#include "image_load.h"

#define LOAD_ALIGN 0x200000u

/* arm64 Image header (Documentation: "Booting AArch64 Linux"). */
#define IMAGE_HEADER 64u
#define IMAGE_TEXT_OFFSET 8u
#define IMAGE_SIZE 16u
#define IMAGE_FLAGS 24u
#define IMAGE_MAGIC 56u
#define IMAGE_MAGIC_VALUE 0x644d5241u	/* "ARM\x64" */
#define IMAGE_FLAG_BE 1u
#define IMAGE_FLAG_ANYWHERE 8u

/* ELF64 (System V ABI). */
#define ELF_HEADER 64u
#define ELF_TYPE 16u
#define ELF_MACHINE 18u
#define ELF_ENTRY 24u
#define ELF_PHOFF 32u
#define ELF_PHENTSIZE 54u
#define ELF_PHNUM 56u
#define ELF_MAGIC_VALUE 0x464c457fu
#define ET_EXEC 2u
#define ET_DYN 3u
#define EM_AARCH64 183u
#define PH_SIZE 56u
#define PH_FLAGS 4u
#define PH_OFFSET 8u
#define PH_PADDR 24u
#define PH_FILESZ 32u
#define PH_MEMSZ 40u
#define PT_LOAD 1u
#define PF_X 1u

#define GZIP_MAGIC 0x8b1fu

static uint64_t get(const void *image, uint64_t at, unsigned bytes)
{
	const uint8_t *p = (const uint8_t *)image + at;
	uint64_t v = 0;

	for (unsigned i = bytes; i-- > 0;) {
		v = v << 8 | p[i];
	}
	return v;
}

/* [base, base + size) lies in [low, low + len). */
static bool inside(uint64_t base, uint64_t size, uint64_t low, uint64_t len)
{
	return base >= low && base - low <= len && size <= len - (base - low);
}

/* The first 2 MiB boundary in the memory; false: there is none. */
static bool first_boundary(uint64_t mem_base, uint64_t mem_size, uint64_t *base)
{
	uint64_t skip = (LOAD_ALIGN - mem_base % LOAD_ALIGN) % LOAD_ALIGN;

	*base = mem_base + skip;
	return skip < mem_size;
}

static int one_segment(struct image_plan *plan, uint64_t gpa, uint64_t file_size,
		       uint64_t mem_size)
{
	plan->count = 1;
	plan->seg[0] = (struct image_segment){gpa, 0, file_size, mem_size};
	plan->entry = gpa;
	plan->low = gpa;
	plan->high = gpa + mem_size;
	return IMAGE_OK;
}

static int plan_image(const void *image, uint64_t size, uint64_t mem_base, uint64_t mem_size,
		      struct image_plan *plan)
{
	uint64_t text_offset = get(image, IMAGE_TEXT_OFFSET, 8);
	uint64_t image_size = get(image, IMAGE_SIZE, 8);
	uint64_t flags = get(image, IMAGE_FLAGS, 8);
	uint64_t base;

	plan->kind = IMAGE_ARM64;
	/* Before Linux 3.17 image_size was 0 and text_offset did not count then: 0x80000. */
	if (image_size == 0) {
		text_offset = 0x80000;
		image_size = size;
		flags |= IMAGE_FLAG_ANYWHERE;
	}
	if ((flags & IMAGE_FLAG_BE) != 0 || text_offset >= LOAD_ALIGN || text_offset % 8 != 0) {
		return IMAGE_EHEADER;
	}
	if (image_size < size) {
		image_size = size;	/* trailing data belongs to it */
	}
	if (!first_boundary(mem_base, mem_size, &base)) {
		return IMAGE_ERANGE;
	}
	/* Without the flag it wants to be near the start of RAM, which is where base is. */
	if (text_offset > mem_size - (base - mem_base) ||
	    !inside(base + text_offset, image_size, mem_base, mem_size)) {
		return IMAGE_ERANGE;
	}
	return one_segment(plan, base + text_offset, size, image_size);
}

struct elf_info {
	uint64_t entry;
	uint64_t phoff;
	uint64_t phnum;
	bool dyn;
};

static int elf_header(const void *image, uint64_t size, struct elf_info *e)
{
	uint64_t type;

	if (size < ELF_HEADER) {
		return IMAGE_ESHORT;
	}
	/* EI_CLASS 64, EI_DATA little-endian, EI_VERSION 1 */
	if (get(image, 4, 1) != 2 || get(image, 5, 1) != 1 || get(image, 6, 1) != 1 ||
	    get(image, ELF_MACHINE, 2) != EM_AARCH64) {
		return IMAGE_ECLASS;
	}
	type = get(image, ELF_TYPE, 2);
	if (type != ET_EXEC && type != ET_DYN) {
		return IMAGE_ETYPE;
	}
	e->dyn = type == ET_DYN;
	e->entry = get(image, ELF_ENTRY, 8);
	e->phoff = get(image, ELF_PHOFF, 8);
	e->phnum = get(image, ELF_PHNUM, 2);
	if (get(image, ELF_PHENTSIZE, 2) != PH_SIZE || e->phnum == 0) {
		return IMAGE_EHEADER;
	}
	/* phnum is 16 bits: the product cannot wrap */
	return inside(e->phoff, e->phnum * PH_SIZE, 0, size) ? IMAGE_OK : IMAGE_EHEADER;
}

static int add_segment(struct image_plan *plan, const struct image_segment *s)
{
	for (uint32_t i = 0; i < plan->count; i++) {
		const struct image_segment *o = &plan->seg[i];

		if (s->gpa < o->gpa + o->mem_size && o->gpa < s->gpa + s->mem_size) {
			return IMAGE_EOVERLAP;
		}
	}
	if (plan->count == IMAGE_SEGMENTS_MAX) {
		return IMAGE_EMANY;
	}
	plan->low = plan->count == 0 || s->gpa < plan->low ? s->gpa : plan->low;
	plan->high = s->gpa + s->mem_size > plan->high ? s->gpa + s->mem_size : plan->high;
	plan->seg[plan->count++] = *s;
	return IMAGE_OK;
}

/* One PT_LOAD into the plan; bias moves a position-independent file. */
static int plan_segment(const void *image, uint64_t size, uint64_t ph, uint64_t bias,
			uint64_t mem_base, uint64_t mem_size, struct image_plan *plan)
{
	struct image_segment s = {
		.gpa = get(image, ph + PH_PADDR, 8),
		.offset = get(image, ph + PH_OFFSET, 8),
		.file_size = get(image, ph + PH_FILESZ, 8),
		.mem_size = get(image, ph + PH_MEMSZ, 8),
	};

	if (s.file_size > s.mem_size || !inside(s.offset, s.file_size, 0, size)) {
		return IMAGE_ESEGMENT;
	}
	if (s.mem_size == 0) {
		return IMAGE_OK;
	}
	if (s.gpa > UINT64_MAX - bias) {
		return IMAGE_ERANGE;
	}
	s.gpa += bias;
	if (!inside(s.gpa, s.mem_size, mem_base, mem_size)) {
		return IMAGE_ERANGE;
	}
	return add_segment(plan, &s);
}

/* The entry must be in the file's bytes of a segment that may be executed. */
static bool entry_ok(const void *image, const struct elf_info *e, uint64_t bias)
{
	for (uint64_t i = 0; i < e->phnum; i++) {
		uint64_t ph = e->phoff + i * PH_SIZE;

		if (get(image, ph, 4) == PT_LOAD && (get(image, ph + PH_FLAGS, 4) & PF_X) != 0 &&
		    inside(e->entry, 4, get(image, ph + PH_PADDR, 8),
			   get(image, ph + PH_FILESZ, 8))) {
			return e->entry % 4 == 0 && e->entry <= UINT64_MAX - bias;
		}
	}
	return false;
}

static int plan_elf(const void *image, uint64_t size, uint64_t mem_base, uint64_t mem_size,
		    struct image_plan *plan)
{
	struct elf_info e;
	uint64_t bias = 0;
	int error = elf_header(image, size, &e);

	plan->kind = IMAGE_ELF64;
	if (error != IMAGE_OK) {
		return error;
	}
	if (e.dyn && !first_boundary(mem_base, mem_size, &bias)) {
		return IMAGE_ERANGE;
	}
	for (uint64_t i = 0; i < e.phnum; i++) {
		uint64_t ph = e.phoff + i * PH_SIZE;

		if (get(image, ph, 4) == PT_LOAD) {
			error = plan_segment(image, size, ph, bias, mem_base, mem_size, plan);
			if (error != IMAGE_OK) {
				return error;
			}
		}
	}
	if (plan->count == 0 || !entry_ok(image, &e, bias)) {
		return plan->count == 0 ? IMAGE_ESEGMENT : IMAGE_EENTRY;
	}
	plan->entry = e.entry + bias;
	return IMAGE_OK;
}

/* Behind the first 2 MiB, which stay free for the device tree that such programs look for there. */
static int plan_raw(uint64_t size, uint64_t mem_base, uint64_t mem_size, struct image_plan *plan)
{
	uint64_t skip = LOAD_ALIGN - mem_base % LOAD_ALIGN;

	if (size == 0) {
		return IMAGE_ESHORT;
	}
	if (skip > mem_size || size > mem_size - skip) {
		skip = 0;
	}
	return size > mem_size ? IMAGE_ERANGE : one_segment(plan, mem_base + skip, size, size);
}

int image_plan(const void *image, uint64_t size, uint64_t mem_base, uint64_t mem_size,
	       uint32_t flags, struct image_plan *plan)
{
	*plan = (struct image_plan){.kind = IMAGE_RAW};
	if (mem_size == 0 || mem_base > UINT64_MAX - mem_size) {
		return IMAGE_ERANGE;
	}
	if (size >= IMAGE_HEADER && get(image, IMAGE_MAGIC, 4) == IMAGE_MAGIC_VALUE) {
		return plan_image(image, size, mem_base, mem_size, plan);
	}
	if (size >= 4 && get(image, 0, 4) == ELF_MAGIC_VALUE) {
		return plan_elf(image, size, mem_base, mem_size, plan);
	}
	if ((flags & IMAGE_ALLOW_RAW) == 0) {
		return size >= 2 && get(image, 0, 2) == GZIP_MAGIC ? IMAGE_EGZIP :
		       size < IMAGE_HEADER ? IMAGE_ESHORT : IMAGE_EMAGIC;
	}
	return plan_raw(size, mem_base, mem_size, plan);
}

const char *image_strerror(int error)
{
	switch (error) {
	case IMAGE_OK:
		return "ok";
	case IMAGE_ESHORT:
		return "the file is too short";
	case IMAGE_EMAGIC:
		return "neither an arm64 Image nor an ELF file";
	case IMAGE_ECLASS:
		return "an ELF file, but not for 64-bit little-endian AArch64";
	case IMAGE_ETYPE:
		return "an ELF file, but no program";
	case IMAGE_EHEADER:
		return "a header field is out of range";
	case IMAGE_ESEGMENT:
		return "a segment lies outside the file";
	case IMAGE_EOVERLAP:
		return "two segments overlap";
	case IMAGE_ERANGE:
		return "does not fit into the memory of the VM";
	case IMAGE_EENTRY:
		return "the entry point is in no executable segment";
	case IMAGE_EMANY:
		return "too many segments";
	case IMAGE_EGZIP:
		return "compressed with gzip; unpack it first";
	default:
		return "unknown error";
	}
}
