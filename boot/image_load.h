// SPDX-License-Identifier: Apache-2.0
/*
 * What has to go where for a guest program: arm64 Image, Linux bzImage, ELF64, Multiboot, our own
 * flat x86 image, or raw binary. Pure arithmetic on a hostile image: nothing is read outside it, no
 * sum wraps, every result lies inside the memory that was offered. Used by the hypervisor for static
 * VMs, by the manager, and by host tests; which machine the guest has is a flag.
 */
#ifndef TIDEMARK_BOOT_IMAGE_LOAD_H
#define TIDEMARK_BOOT_IMAGE_LOAD_H

#include <stdint.h>

#define IMAGE_SEGMENTS_MAX 16

enum image_kind {
	IMAGE_ARM64 = 1,
	IMAGE_ELF64 = 2,
	IMAGE_RAW = 3,
	IMAGE_X86 = 4,		/* our own: arm64's header with another magic */
	IMAGE_BZIMAGE = 5,	/* Linux, 64-bit boot protocol */
	IMAGE_MULTIBOOT = 6,	/* Multiboot 1: entered in 32-bit mode without paging */
};

/* Why not; text by image_strerror(). */
enum image_error {
	IMAGE_OK = 0,
	IMAGE_ESHORT = -1,	/* smaller than its header says */
	IMAGE_EMAGIC = -2,	/* none of the kinds above (only when raw is not allowed) */
	IMAGE_ECLASS = -3,	/* ELF, but not 64-bit little-endian of this machine */
	IMAGE_ETYPE = -4,	/* ELF, but neither EXEC nor DYN */
	IMAGE_EHEADER = -5,	/* header fields out of range */
	IMAGE_ESEGMENT = -6,	/* segment outside the file, or sizes that make no sense */
	IMAGE_EOVERLAP = -7,	/* two segments claim the same byte */
	IMAGE_ERANGE = -8,	/* does not fit into the memory offered */
	IMAGE_EENTRY = -9,	/* entry point in no loaded executable segment */
	IMAGE_EMANY = -10,	/* more segments than we take */
	IMAGE_EGZIP = -11,	/* compressed: unpack it first */
	IMAGE_EPROTOCOL = -12,	/* bzImage without 64-bit entry, Multiboot that asks too much */
};

/* Copy file_size bytes from image + offset to gpa, then zero up to mem_size. */
struct image_segment {
	uint64_t gpa;
	uint64_t offset;
	uint64_t file_size;
	uint64_t mem_size;
};

struct image_plan {
	enum image_kind kind;
	uint32_t count;
	struct image_segment seg[IMAGE_SEGMENTS_MAX];
	uint64_t entry;		/* guest-physical */
	uint64_t low;		/* what the program occupies: [low, high) */
	uint64_t high;
};

enum image_flags {
	IMAGE_ALLOW_RAW = 1,
	IMAGE_FOR_X86 = 2,	/* else arm64; struct guest_board has it */
};

/*
 * Plans the load into guest memory [mem_base, mem_base + mem_size). Position-independent images
 * (Image with a free base, ELF ET_DYN) go to the first 2 MiB boundary in it plus their own
 * text_offset; raw ones to the second (U-Boot looks for its device tree at the start of RAM), or to
 * mem_base when they fit nowhere else. On x86 nothing of these goes below 1 MiB; a bzImage goes
 * where it prefers to be or, relocatable, to its first boundary behind that place. IMAGE_OK or an
 * image_error; *plan is valid only on IMAGE_OK.
 */
int image_plan(const void *image, uint64_t size, uint64_t mem_base, uint64_t mem_size,
	       uint32_t flags, struct image_plan *plan);
const char *image_strerror(int error);

#endif
