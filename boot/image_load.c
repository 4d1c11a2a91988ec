// SPDX-License-Identifier: Apache-2.0
//
// Plans the load of Image, ELF64 and raw programs; image_x86.c has what only x86 has. Pure: no
// state, no locks, no libc. The image is hostile: fields are read by bytes, and every sum is checked
// for wrap before use.

#include "image_priv.h"

#define LOAD_ALIGN 0x200000u
#define X86_LOW_END 0x100000u		/* below: the start block, the BIOS areas, trampolines */

/* arm64 Image header (Documentation: "Booting AArch64 Linux"). */
#define IMAGE_HEADER 64u
#define IMAGE_TEXT_OFFSET 8u
#define IMAGE_SIZE 16u
#define IMAGE_FLAGS 24u
#define IMAGE_MAGIC 56u
#define IMAGE_MAGIC_ARM64 0x644d5241u	/* "ARM\x64" */
#define IMAGE_MAGIC_X86 0x36384d54u	/* "TM86": the same fields, guests/lib/x86/start.S */
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
#define EM_X86_64 62u
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

/* The first 2 MiB boundary in the memory; false: there is none. */
static bool first_boundary(const struct image_job *j, bool x86, uint64_t *base)
{
	uint64_t low = x86 && j->mem_base < X86_LOW_END ? X86_LOW_END : j->mem_base;

	if (low > UINT64_MAX - LOAD_ALIGN) {
		return false;
	}
	*base = (low + LOAD_ALIGN - 1) & ~(uint64_t)(LOAD_ALIGN - 1);
	return *base - j->mem_base < j->mem_size;
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

static int plan_image(const struct image_job *j, bool x86, struct image_plan *plan)
{
	uint64_t text_offset = image_get(j->image, IMAGE_TEXT_OFFSET, 8);
	uint64_t image_size = image_get(j->image, IMAGE_SIZE, 8);
	uint64_t flags = image_get(j->image, IMAGE_FLAGS, 8);
	uint64_t base;

	plan->kind = x86 ? IMAGE_X86 : IMAGE_ARM64;
	/* Before Linux 3.17 image_size was 0 and text_offset did not count then: 0x80000. */
	if (image_size == 0) {
		text_offset = 0x80000;
		image_size = j->size;
		flags |= IMAGE_FLAG_ANYWHERE;
	}
	if ((flags & IMAGE_FLAG_BE) != 0 || text_offset >= LOAD_ALIGN || text_offset % 8 != 0) {
		return IMAGE_EHEADER;
	}
	if (image_size < j->size) {
		image_size = j->size;	/* trailing data belongs to it */
	}
	if (!first_boundary(j, x86, &base)) {
		return IMAGE_ERANGE;
	}
	/* Without the flag it wants to be near the start of RAM, which is where base is. */
	if (text_offset > j->mem_size - (base - j->mem_base) ||
	    !image_inside(base + text_offset, image_size, j->mem_base, j->mem_size)) {
		return IMAGE_ERANGE;
	}
	return one_segment(plan, base + text_offset, j->size, image_size);
}

struct elf_info {
	uint64_t entry;
	uint64_t phoff;
	uint64_t phnum;
	bool dyn;
};

static int elf_header(const struct image_job *j, bool x86, struct elf_info *e)
{
	const void *image = j->image;
	uint64_t type;

	if (j->size < ELF_HEADER) {
		return IMAGE_ESHORT;
	}
	/* EI_CLASS 64, EI_DATA little-endian, EI_VERSION 1 */
	if (image_get(image, 4, 1) != 2 || image_get(image, 5, 1) != 1 ||
	    image_get(image, 6, 1) != 1 ||
	    image_get(image, ELF_MACHINE, 2) != (x86 ? EM_X86_64 : EM_AARCH64)) {
		return IMAGE_ECLASS;
	}
	type = image_get(image, ELF_TYPE, 2);
	if (type != ET_EXEC && type != ET_DYN) {
		return IMAGE_ETYPE;
	}
	e->dyn = type == ET_DYN;
	e->entry = image_get(image, ELF_ENTRY, 8);
	e->phoff = image_get(image, ELF_PHOFF, 8);
	e->phnum = image_get(image, ELF_PHNUM, 2);
	if (image_get(image, ELF_PHENTSIZE, 2) != PH_SIZE || e->phnum == 0) {
		return IMAGE_EHEADER;
	}
	/* phnum is 16 bits: the product cannot wrap */
	return image_inside(e->phoff, e->phnum * PH_SIZE, 0, j->size) ? IMAGE_OK : IMAGE_EHEADER;
}

int image_add_segment(const struct image_job *j, struct image_plan *plan,
		      const struct image_segment *s)
{
	if (s->file_size > s->mem_size || !image_inside(s->offset, s->file_size, 0, j->size)) {
		return IMAGE_ESEGMENT;
	}
	if (s->mem_size == 0) {
		return IMAGE_OK;
	}
	if (!image_inside(s->gpa, s->mem_size, j->mem_base, j->mem_size)) {
		return IMAGE_ERANGE;
	}
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
static int plan_segment(const struct image_job *j, uint64_t ph, uint64_t bias,
			struct image_plan *plan)
{
	struct image_segment s = {
		.gpa = image_get(j->image, ph + PH_PADDR, 8),
		.offset = image_get(j->image, ph + PH_OFFSET, 8),
		.file_size = image_get(j->image, ph + PH_FILESZ, 8),
		.mem_size = image_get(j->image, ph + PH_MEMSZ, 8),
	};

	if (s.mem_size != 0 && s.gpa > UINT64_MAX - bias) {
		return IMAGE_ERANGE;
	}
	s.gpa += bias;
	return image_add_segment(j, plan, &s);
}

/* The entry must be in the file's bytes of a segment that may be executed. */
static bool entry_ok(const void *image, const struct elf_info *e, uint64_t align, uint64_t bias)
{
	for (uint64_t i = 0; i < e->phnum; i++) {
		uint64_t ph = e->phoff + i * PH_SIZE;

		if (image_get(image, ph, 4) == PT_LOAD &&
		    (image_get(image, ph + PH_FLAGS, 4) & PF_X) != 0 &&
		    image_inside(e->entry, 4, image_get(image, ph + PH_PADDR, 8),
			   image_get(image, ph + PH_FILESZ, 8))) {
			return e->entry % align == 0 && e->entry <= UINT64_MAX - bias;
		}
	}
	return false;
}

static int plan_elf(const struct image_job *j, bool x86, struct image_plan *plan)
{
	struct elf_info e;
	uint64_t bias = 0;
	int error = elf_header(j, x86, &e);

	plan->kind = IMAGE_ELF64;
	if (error != IMAGE_OK) {
		return error;
	}
	if (e.dyn && !first_boundary(j, x86, &bias)) {
		return IMAGE_ERANGE;
	}
	for (uint64_t i = 0; i < e.phnum; i++) {
		uint64_t ph = e.phoff + i * PH_SIZE;

		if (image_get(j->image, ph, 4) == PT_LOAD) {
			error = plan_segment(j, ph, bias, plan);
			if (error != IMAGE_OK) {
				return error;
			}
		}
	}
	if (plan->count == 0 || !entry_ok(j->image, &e, x86 ? 1 : 4, bias)) {
		return plan->count == 0 ? IMAGE_ESEGMENT : IMAGE_EENTRY;
	}
	plan->entry = e.entry + bias;
	return IMAGE_OK;
}

/* Behind the first 2 MiB, which stay free for what such programs look for there. */
static int plan_raw(const struct image_job *j, struct image_plan *plan)
{
	uint64_t skip = LOAD_ALIGN - j->mem_base % LOAD_ALIGN;

	if (j->size == 0) {
		return IMAGE_ESHORT;
	}
	if (skip > j->mem_size || j->size > j->mem_size - skip) {
		skip = 0;
	}
	return j->size > j->mem_size ? IMAGE_ERANGE :
				       one_segment(plan, j->mem_base + skip, j->size, j->size);
}

int image_plan(const void *image, uint64_t size, uint64_t mem_base, uint64_t mem_size,
	       uint32_t flags, struct image_plan *plan)
{
	const struct image_job j = {image, size, mem_base, mem_size};
	bool x86 = (flags & IMAGE_FOR_X86) != 0;
	uint32_t magic = x86 ? IMAGE_MAGIC_X86 : IMAGE_MAGIC_ARM64;
	int error = IMAGE_EMAGIC;

	*plan = (struct image_plan){.kind = IMAGE_RAW};
	if (mem_size == 0 || mem_base > UINT64_MAX - mem_size) {
		return IMAGE_ERANGE;
	}
	if (size >= IMAGE_HEADER && image_get(image, IMAGE_MAGIC, 4) == magic) {
		return plan_image(&j, x86, plan);
	}
	if (x86 && (image_plan_bzimage(&j, plan, &error) ||
		    image_plan_multiboot(&j, plan, &error))) {
		return error;
	}
	if (size >= 4 && image_get(image, 0, 4) == ELF_MAGIC_VALUE) {
		return plan_elf(&j, x86, plan);
	}
	if ((flags & IMAGE_ALLOW_RAW) == 0) {
		return size >= 2 && image_get(image, 0, 2) == GZIP_MAGIC ? IMAGE_EGZIP :
		       size < IMAGE_HEADER ? IMAGE_ESHORT : IMAGE_EMAGIC;
	}
	return plan_raw(&j, plan);
}

const char *image_strerror(int error)
{
	switch (error) {
	case IMAGE_OK:
		return "ok";
	case IMAGE_ESHORT:
		return "the file is too short";
	case IMAGE_EMAGIC:
		return "no kind of program that this machine starts";
	case IMAGE_ECLASS:
		return "an ELF file, but not a 64-bit little-endian one of this machine";
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
	case IMAGE_EPROTOCOL:
		return "asks for a boot protocol or a feature that is not there";
	default:
		return "unknown error";
	}
}
