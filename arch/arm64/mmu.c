// SPDX-License-Identifier: Apache-2.0
/*
 * Stage 1 of EL2: owns the one table that all CPUs run on. Boot CPU only, so no lock.
 *
 * It starts with the MMU off (mmu_early_tables), where no linked address is right: until
 * `image_delta` is set, this file may use neither pointers stored in memory nor the stack
 * protector. That is why the few bits of an entry are written out here instead of going through
 * the format table of s1_format.c.
 *
 * Invariant: no page of the image is writable through a second address, and nothing that is
 * writable is executable (SCTLR_EL2.WXN holds it as well).
 */
#include <arch/cpu.h>
#include <asm/barrier.h>
#include <asm/cpu.h>
#include <asm/layout.h>
#include <asm/mmu.h>
#include <asm/sysreg.h>
#include <asm/tlb.h>
#include <hyp/boot_info.h>
#include <hyp/page_alloc.h>
#include <hyp/string.h>

/* Descriptor bits (DDI 0487, D8.3, EL2 with E2H = 0: AP[1] is RES1). */
#define PTE_VALID 1ull
#define PTE_TABLE_OR_PAGE 2ull
#define PTE_ADDR 0x0000fffffffff000ull
#define PTE_BASE (PTE_VALID | 1ull << 6 | 3ull << 8 | 1ull << 10)
#define PTE_RO (1ull << 7)
#define PTE_XN (1ull << 54)
#define PTE_DEVICE_INDEX ((uint64_t)MAIR_DEVICE << 2)

#define MAP_RX (PTE_BASE | PTE_RO)
#define MAP_RO (PTE_BASE | PTE_RO | PTE_XN)
#define MAP_RW (PTE_BASE | PTE_XN)
#define MAP_DEVICE (PTE_BASE | PTE_XN | PTE_DEVICE_INDEX)

#define ROOT_LEVEL 3u
#define MAX_LEAF_LEVEL 2u

#define NOINIT __attribute__((section(".noinit")))

/* Enough for the image, the first GiBs of RAM in two pieces, devices and stacks. */
#define STATIC_TABLES 24u

static uint64_t static_table[STATIC_TABLES][512] NOINIT __attribute__((aligned(4096)));
static unsigned static_used NOINIT;
static uint64_t image_pa NOINIT;
static uint64_t image_bytes NOINIT;
static uint64_t image_delta NOINIT;	/* linked address - physical address; 0 while the MMU is off */
static uint64_t fdt_start NOINIT, fdt_end NOINIT;	/* mapped read-only for a while */
static bool ram_mapped NOINIT;
/* head.S loads these: TTBR0_EL2, TCR_EL2. */
uint64_t mmu_regs[2] NOINIT;

extern char __image_start[], __image_end[], __text_end[], __rodata_end[], __noinit_start[],
	__noinit_end[], boot_stack[], emergency_stack[];

#define FDT_MAX_BYTES LEVEL_SIZE(1)	/* the boot protocol's limit */

void *phys_to_virt(hpa_t a)
{
	return (void *)(a.v - image_pa < image_bytes ? a.v + image_delta : a.v);
}

hpa_t virt_to_phys(const void *p)
{
	uint64_t v = (uint64_t)p;

	if (v - HYP_VA_BASE < image_bytes) {
		return hpa(v - image_delta);
	}
	if (v >= HYP_STACK_BASE) {
		/* A stack's page: ask the hardware's walker. */
		__asm__ volatile("at s1e2r, %0" : : "r"(v));
		isb();
		return hpa((read_sysreg(par_el1) & 0xfffffffff000ull) | (v & PAGE_MASK));
	}
	return hpa(v);
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
	uint64_t *t;

	if (static_used < STATIC_TABLES) {
		t = static_table[static_used++];
		for (unsigned i = 0; i < 512; i++) {
			t[i] = 0;
		}
		return image_delta ? (uint64_t)t - image_delta : (uint64_t)t;
	}
	if (!ram_mapped) {
		return 0;
	}
	hpa_t page = boot_alloc(PAGE_SIZE, PAGE_SIZE);

	memset(phys_to_virt(page), 0, PAGE_SIZE);
	return page.v;
}

static bool fits(uint64_t entry, unsigned level, uint64_t at, uint64_t bytes)
{
	return !(entry & PTE_VALID) && IS_ALIGNED(at, LEVEL_SIZE(level)) &&
	       bytes >= LEVEL_SIZE(level);
}

/*
 * Maps [va, va + bytes) with the largest leaves that fit. Only holes are filled: what is mapped
 * already stays as it is and makes the call fail, as does the lack of a table page.
 */
static bool map(uint64_t va, uint64_t pa, uint64_t bytes, uint64_t bits)
{
	while (bytes) {
		uint64_t *t = phys_to_virt(hpa(mmu_regs[0]));
		unsigned level = ROOT_LEVEL;
		unsigned i;

		for (;; level--) {
			i = (unsigned)(va >> LEVEL_SHIFT(level)) & 511;
			if (level <= MAX_LEAF_LEVEL && fits(t[i], level, va | pa, bytes)) {
				break;
			}
			if (level == 0 || (t[i] & 3) == PTE_VALID) {
				return false;
			}
			if (!(t[i] & PTE_VALID)) {
				uint64_t page = table_alloc();

				if (!page) {
					return false;
				}
				t[i] = page | PTE_VALID | PTE_TABLE_OR_PAGE;
			}
			t = phys_to_virt(hpa(t[i] & PTE_ADDR));
		}
		do {
			t[i++] = pa | bits | (level == 0 ? PTE_TABLE_OR_PAGE : 0);
			va += LEVEL_SIZE(level);
			pa += LEVEL_SIZE(level);
			bytes -= LEVEL_SIZE(level);
		} while (i < 512 && fits(t[i], level, va | pa, bytes));
	}
	return true;
}

static uint64_t pa_bits_field(void)
{
	/* ID_AA64MMFR0_EL1.PARange; 52 bits need a format that we do not use. */
	return MIN(id_field(read_sysreg(id_aa64mmfr0_el1), 0), 5u);
}

/* With the MMU off an access has to be aligned, whatever the tree is. */
static uint64_t be32_at(uint64_t a)
{
	const volatile uint8_t *p = (const uint8_t *)a;

	return (uint64_t)p[0] << 24 | (uint64_t)p[1] << 16 | (uint64_t)p[2] << 8 | p[3];
}

/* What was stored went around the cache: whatever it holds of these lines is older. */
static void forget_stale_lines(uint64_t start, uint64_t end)
{
	uint64_t line = 4ull << ((read_sysreg(ctr_el0) >> 16) & 0xf);

	for (uint64_t a = ALIGN_DOWN(start, line); a < end; a += line) {
		__asm__ volatile("dc ivac, %0" : : "r"(a) : "memory");
	}
	dsb(sy);
}

const char *mmu_early_tables(uint64_t image, uint64_t fdt)
{
	uint64_t mmfr0 = read_sysreg(id_aa64mmfr0_el1);
	uint64_t text = (uint64_t)(__text_end - __image_start);
	uint64_t rodata = (uint64_t)(__rodata_end - __image_start);

	if (id_field(mmfr0, 0) > 7) {
		return "unsupported physical address size (ID_AA64MMFR0_EL1.PARange)";
	}
	if (id_field(mmfr0, 28) == 0xf) {
		return "this CPU has no 4 KiB translation granule";
	}
	if (!fdt || !IS_ALIGNED(fdt, 8)) {
		return "no device tree (x0 is not an 8-byte aligned address)";
	}
	if (be32_at(fdt) != 0xd00dfeed) {
		return "bad device tree (no magic number where x0 points)";
	}
	if (be32_at(fdt + 4) > FDT_MAX_BYTES) {
		return "bad device tree (larger than 2 MiB)";
	}
	image_pa = image;
	image_bytes = (uint64_t)(__image_end - __image_start);
	image_delta = 0;
	static_used = 0;
	ram_mapped = false;
	fdt_start = ALIGN_DOWN(fdt, PAGE_SIZE);
	fdt_end = ALIGN_UP(fdt + be32_at(fdt + 4), PAGE_SIZE);
	mmu_regs[1] = TCR_EL2_BASE | pa_bits_field() << TCR_PS_SHIFT;
	mmu_regs[0] = table_alloc();

	if (!map(HYP_VA_BASE, image, text, MAP_RX) ||
	    !map(HYP_VA_BASE + text, image + text, rodata - text, MAP_RO) ||
	    !map(HYP_VA_BASE + rodata, image + rodata, image_bytes - rodata, MAP_RW) ||
	    !map(image, image, PAGE_SIZE, MAP_RX) ||
	    !map(HYP_STACK_BASE + HYP_STACK_SIZE, (uint64_t)boot_stack, HYP_STACK_SIZE, MAP_RW) ||
	    !map(HYP_STACK_BASE + HYP_STACK_EMERGENCY * HYP_STACK_STRIDE + HYP_STACK_SIZE,
		 (uint64_t)emergency_stack, HYP_STACK_SIZE, MAP_RW) ||
	    (fdt_start < image + image_bytes && image < fdt_end) ||
	    !map(fdt_start, fdt_start, fdt_end - fdt_start, MAP_RO)) {
		return "the device tree overlaps the image";
	}
	image_delta = HYP_VA_BASE - image;
	forget_stale_lines((uint64_t)__noinit_start, (uint64_t)__noinit_end);
	return NULL;
}

void mmu_drop_fdt(void)
{
	for (uint64_t va = fdt_start; va < fdt_end;) {
		uint64_t *t = phys_to_virt(hpa(mmu_regs[0]));
		unsigned level = ROOT_LEVEL;
		uint64_t *entry;

		for (;; level--) {
			entry = &t[(va >> LEVEL_SHIFT(level)) & 511];
			if (level == 0 || (*entry & 3) == PTE_VALID) {
				break;
			}
			t = phys_to_virt(hpa(*entry & PTE_ADDR));
		}
		*entry = 0;
		va += LEVEL_SIZE(level);
	}
	tlb_flush_hyp();
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
		map_or_refuse(start, start, image_pa - start, MAP_RW, "RAM");
		start = image_pa;
	}
	if (start < image_end && start >= image_pa) {
		start = MIN(image_end, end);
	}
	map_or_refuse(start, start, end - start, MAP_RW, "RAM");
}

void mmu_init(void)
{
	for (unsigned i = 0; i < boot_info.ram_count; i++) {
		map_ram(boot_info.ram[i].base.v, boot_info.ram[i].base.v + boot_info.ram[i].size);
	}
	dsb(ishst);
	isb();
	ram_mapped = true;
	/* The boot CPU has its stack. */
	for (unsigned i = 1; i < boot_info.cpu_count; i++) {
		map_or_refuse(HYP_STACK_BASE + i * HYP_STACK_STRIDE + HYP_STACK_SIZE,
			      boot_alloc(HYP_STACK_SIZE, PAGE_SIZE).v, HYP_STACK_SIZE, MAP_RW,
			      "a stack");
	}
	dsb(ishst);
	isb();
	/* Secondaries read it with their MMU off. */
	arch_clean_to_poc(mmu_regs, sizeof(mmu_regs));
}

bool mmu_map_device(uint64_t base, uint64_t bytes)
{
	uint64_t start = ALIGN_DOWN(base, PAGE_SIZE);
	bool done = map(start, start, ALIGN_UP(base + bytes, PAGE_SIZE) - start, MAP_DEVICE);

	dsb(ishst);
	isb();
	return done;
}
