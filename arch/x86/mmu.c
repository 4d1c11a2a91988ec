// SPDX-License-Identifier: Apache-2.0
/*
 * The hypervisor's own map: owns the one table that all CPUs run on. Boot CPU only, so no lock.
 *
 * It starts at the physical address (mmu_early_tables), where no linked address is right: the file
 * is compiled position-independent, without library calls and stack protector, and until
 * `image_delta` is set it may not use pointers stored in memory. That is why the few bits of an entry are
 * written out here instead of going through the format table of s1_format.c.
 *
 * Invariant: no page of the image is writable through a second address, and nothing that is
 * writable is executable.
 */
#include <arch/cpu.h>
#include <asm/cpu.h>
#include <asm/layout.h>
#include <asm/mmu.h>
#include <hyp/boot_info.h>
#include <hyp/err.h>
#include <hyp/page_alloc.h>
#include <hyp/string.h>

/* SDM volume 3, table 4-15 and following: 4-level paging. */
#define PTE_P (1ull << 0)
#define PTE_W (1ull << 1)
#define PTE_PWT (1ull << 3)
#define PTE_PCD (1ull << 4)
#define PTE_A (1ull << 5)
#define PTE_D (1ull << 6)
#define PTE_LARGE (1ull << 7)
#define PTE_XD (1ull << 63)
#define PTE_ADDR 0x000ffffffffff000ull
#define PTE_TABLE (PTE_P | PTE_W | PTE_A)

#define MAP_RX (PTE_P | PTE_A)
#define MAP_RO (PTE_P | PTE_A | PTE_XD)
#define MAP_RW (PTE_P | PTE_A | PTE_W | PTE_D | PTE_XD)
#define MAP_DEVICE (MAP_RW | PTE_PWT | PTE_PCD)

#define ROOT_LEVEL 3u
#define ROOT_INDEX(va) ((unsigned)((va) >> LEVEL_SHIFT(ROOT_LEVEL)) & 511u)

#define NOINIT __attribute__((section(".noinit")))
#define EXTERN extern __attribute__((visibility("hidden")))

/* Enough for the image, stacks, devices, what is read at boot and the pages of `spare`. */
#define STATIC_TABLES 32u

static uint64_t static_table[STATIC_TABLES][512] NOINIT __attribute__((aligned(4096)));
static unsigned static_used NOINIT;
static uint64_t spare_next NOINIT, spare_end NOINIT;	/* table pages taken from RAM, mapped */
static uint64_t image_pa NOINIT;
static uint64_t image_bytes NOINIT;
static uint64_t image_delta NOINIT;	/* linked address - physical address; 0 before the switch */
static unsigned max_leaf NOINIT;	/* 2 where the CPU has 1 GiB pages */
uint64_t mmu_root NOINIT;

EXTERN char __image_start[], __image_end[], __text_end[], __rodata_end[], boot_stack[], boot_ist[];

void *phys_to_virt(hpa_t a)
{
	return (void *)(a.v - image_pa < image_bytes ? a.v + image_delta : a.v + HYP_DIRECT_BASE);
}

/* The entry that maps va, or NULL. */
static uint64_t *leaf_of(uint64_t va, unsigned *level)
{
	uint64_t *t = phys_to_virt(hpa(mmu_root));

	for (*level = ROOT_LEVEL;; (*level)--) {
		uint64_t *e = &t[(va >> LEVEL_SHIFT(*level)) & 511];

		if (!(*e & PTE_P)) {
			return NULL;
		}
		if (*level == 0 || (*e & PTE_LARGE)) {
			return e;
		}
		t = phys_to_virt(hpa(*e & PTE_ADDR));
	}
}

hpa_t virt_to_phys(const void *p)
{
	uint64_t v = (uint64_t)p;
	unsigned level;
	const uint64_t *e;

	if (v - HYP_VA_BASE < image_bytes) {
		return hpa(v - image_delta);
	}
	if (v - HYP_DIRECT_BASE < 1ull << HYP_DIRECT_BITS) {
		return hpa(v - HYP_DIRECT_BASE);
	}
	e = leaf_of(v, &level);
	return e ? hpa((*e & PTE_ADDR & ~(LEVEL_SIZE(level) - 1)) + (v & (LEVEL_SIZE(level) - 1)))
		 : HPA_NONE;
}

uint64_t mmu_image_base(void)
{
	return image_pa;
}

uint64_t mmu_image_size(void)
{
	return image_bytes;
}

/* A zeroed table page, or 0. */
static uint64_t table_alloc(void)
{
	uint64_t pa;
	uint64_t *t;

	if (spare_next < spare_end) {
		pa = spare_next;
		spare_next += PAGE_SIZE;
	} else if (static_used < STATIC_TABLES) {
		pa = (uint64_t)static_table[static_used++] - image_delta;
	} else {
		return 0;
	}
	t = phys_to_virt(hpa(pa));
	for (unsigned i = 0; i < 512; i++) {
		t[i] = 0;
	}
	return pa;
}

static bool fits(uint64_t entry, unsigned level, uint64_t at, uint64_t bytes)
{
	return !(entry & PTE_P) && level <= max_leaf && IS_ALIGNED(at, LEVEL_SIZE(level)) &&
	       bytes >= LEVEL_SIZE(level);
}

/*
 * Maps [va, va + bytes) with the largest leaves that fit. What is mapped already has to be mapped
 * in the same way; if it is not, or when table pages run out, the call fails.
 */
static bool map(uint64_t va, uint64_t pa, uint64_t bytes, uint64_t bits)
{
	while (bytes) {
		uint64_t *t = phys_to_virt(hpa(mmu_root));
		unsigned level = ROOT_LEVEL;
		uint64_t *e, step;

		for (;; level--) {
			e = &t[(va >> LEVEL_SHIFT(level)) & 511];
			if (fits(*e, level, va | pa, bytes)) {
				*e = pa | bits | (level ? PTE_LARGE : 0);
				break;
			}
			if ((*e & PTE_P) && (level == 0 || (*e & PTE_LARGE))) {
				break;
			}
			if (!(*e & PTE_P)) {
				uint64_t page = table_alloc();

				if (!page) {
					return false;
				}
				*e = page | PTE_TABLE;
			}
			t = phys_to_virt(hpa(*e & PTE_ADDR));
		}
		step = LEVEL_SIZE(level) - (va & (LEVEL_SIZE(level) - 1));
		if ((*e & PTE_ADDR & ~(LEVEL_SIZE(level) - 1)) != pa - (va & (LEVEL_SIZE(level) - 1)) ||
		    (*e & ~PTE_ADDR & ~PTE_LARGE) != bits) {
			return false;
		}
		step = MIN(step, bytes);
		va += step;
		pa += step;
		bytes -= step;
	}
	return true;
}

/* The three exception stacks of a CPU, side by side in memory. */
static bool map_ist(uint64_t stride, uint64_t pa)
{
	for (unsigned i = 0; i < HYP_IST_COUNT; i++) {
		if (!map(stride + (i + 1) * HYP_IST_STRIDE - HYP_IST_SIZE, pa + i * HYP_IST_SIZE,
			 HYP_IST_SIZE, MAP_RW)) {
			return false;
		}
	}
	return true;
}

const char *mmu_early_tables(uint64_t image)
{
	uint64_t text = (uint64_t)(__text_end - __image_start);
	uint64_t rodata = (uint64_t)(__rodata_end - __image_start);

	if (!IS_ALIGNED(image, PAGE_SIZE) || image >> HYP_DIRECT_BITS) {
		return "the image is not at a page boundary below 64 TiB";
	}
	image_pa = image;
	image_bytes = (uint64_t)(__image_end - __image_start);
	image_delta = 0;
	static_used = 0;
	spare_next = spare_end = 0;
	max_leaf = cpuid(0x80000001, 0).edx & 1u << 26 ? 2 : 1;
	mmu_root = table_alloc();

	if (!map(HYP_VA_BASE, image, text, MAP_RX) ||
	    !map(HYP_VA_BASE + text, image + text, rodata - text, MAP_RO) ||
	    !map(HYP_VA_BASE + rodata, image + rodata, image_bytes - rodata, MAP_RW) ||
	    !map(image, image, PAGE_SIZE, MAP_RX) ||
	    !map(HYP_STACK_BASE + HYP_STACK_STRIDE - HYP_STACK_SIZE, (uint64_t)boot_stack,
		 HYP_STACK_SIZE, MAP_RW) ||
	    !map_ist(HYP_STACK_BASE, (uint64_t)boot_ist)) {
		return "too few pages for the first tables";
	}
	image_delta = HYP_VA_BASE - image;
	return NULL;
}

static void flush(void)
{
	write_cr(3, mmu_root);
}

const void *mmu_window(uint64_t pa, uint64_t bytes)
{
	uint64_t start = ALIGN_DOWN(pa, LEVEL_SIZE(1));

	if (bytes == 0 || bytes > 1ull << HYP_DIRECT_BITS || pa >= 1ull << HYP_DIRECT_BITS ||
	    pa + bytes > 1ull << HYP_DIRECT_BITS ||
	    !map(HYP_WINDOW_BASE + start, start, ALIGN_UP(pa + bytes, LEVEL_SIZE(1)) - start,
		 MAP_RO)) {
		return NULL;
	}
	return (const void *)(HYP_WINDOW_BASE + pa);
}

static void map_or_refuse(uint64_t va, uint64_t pa, uint64_t bytes, uint64_t bits, const char *what)
{
	if (bytes && !map(va, pa, bytes, bits)) {
		cannot_start("cannot map %s at %#lx (%lu KiB): overlaps, or too many pieces", what,
			     pa, bytes / 1024);
	}
}

static void map_ram(uint64_t start, uint64_t end)
{
	uint64_t image_end = image_pa + image_bytes;

	if (start < image_pa && image_pa < end) {
		map_or_refuse(HYP_DIRECT_BASE + start, start, image_pa - start, MAP_RW, "RAM");
		start = image_pa;
	}
	if (start < image_end && start >= image_pa) {
		start = MIN(image_end, end);
	}
	map_or_refuse(HYP_DIRECT_BASE + start, start, end - start, MAP_RW, "RAM");
}

/*
 * Pages for the tables that the direct map may need: per range two levels at each of its ends, and
 * one for each GiB that cannot be a leaf. They have to be mapped themselves before they are used.
 */
static void take_spare_tables(void)
{
	uint64_t pages = 16;
	hpa_t at;

	for (unsigned i = 0; i < boot_info.ram_count; i++) {
		pages += 5 + (max_leaf == 2 ? 0 : boot_info.ram[i].size / LEVEL_SIZE(2));
	}
	at = boot_alloc(pages * PAGE_SIZE, PAGE_SIZE);
	map_or_refuse(HYP_DIRECT_BASE + at.v, at.v, pages * PAGE_SIZE, MAP_RW, "table pages");
	spare_next = at.v;
	spare_end = at.v + pages * PAGE_SIZE;
}

static void map_stack(unsigned cpu)
{
	uint64_t stride = HYP_STACK_BASE + (uint64_t)cpu * HYP_STACK_STRIDE;
	hpa_t at = boot_alloc(HYP_STACK_SIZE + HYP_IST_COUNT * HYP_IST_SIZE, PAGE_SIZE);

	map_or_refuse(stride + HYP_STACK_STRIDE - HYP_STACK_SIZE, at.v, HYP_STACK_SIZE, MAP_RW,
		      "a stack");
	if (!map_ist(stride, at.v + HYP_STACK_SIZE)) {
		cannot_start("cannot map the exception stacks of CPU %u", cpu);
	}
}

void mmu_init(void)
{
	uint64_t *root = phys_to_virt(hpa(mmu_root));

	root[ROOT_INDEX(image_pa)] = 0;
	for (unsigned i = ROOT_INDEX(HYP_WINDOW_BASE); i < ROOT_INDEX(HYP_STACK_BASE); i++) {
		root[i] = 0;
	}
	flush();
	take_spare_tables();
	for (unsigned i = 0; i < boot_info.ram_count; i++) {
		map_ram(boot_info.ram[i].base.v, boot_info.ram[i].base.v + boot_info.ram[i].size);
	}
	/* The boot CPU has its stack. */
	for (unsigned i = 1; i < boot_info.cpu_count; i++) {
		map_stack(i);
	}
}

uint64_t mmu_map_device(uint64_t pa, uint64_t bytes)
{
	uint64_t start = ALIGN_DOWN(pa, PAGE_SIZE);

	if (pa >= 1ull << HYP_DIRECT_BITS ||
	    !map(HYP_DIRECT_BASE + start, start, ALIGN_UP(pa + bytes, PAGE_SIZE) - start,
		 MAP_DEVICE)) {
		return 0;
	}
	return HYP_DIRECT_BASE + pa;
}
