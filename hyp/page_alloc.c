// SPDX-License-Identifier: Apache-2.0
/*
 * Physical pages, in three lives:
 *  - boot_alloc: pieces of RAM that firmware, image, modules and device tree leave free; one CPU, no
 *    lock, no way back;
 *  - page_alloc: the hypervisor's pool, a bitmap per added range, under LOCK_PAGE_ALLOC;
 *  - struct mem_pool: a VM's donated range, under its own lock. Pages never used yet are a bump
 *    pointer, returned ones a list through their first word, so that a pool costs nothing to set up.
 * Whatever is handed out is zero. Free counts are exact: the leak tests compare them.
 */
#include <arch/cpu.h>
#include <hyp/boot_info.h>
#include <hyp/err.h>
#include <hyp/page_alloc.h>
#include <hyp/string.h>
#include <hyp/test_hooks.h>

/* ---- boot ------------------------------------------------------------------------------------- */

#define FREE_RANGES (BOOT_MAX_RANGES * 3)

static struct mem_range free_range[FREE_RANGES];
static unsigned free_count;
static bool boot_ready;

/* A range that does not fit in the table is lost, never handed out twice. */
static void boot_range_add(uint64_t start, uint64_t end)
{
	if (start < end && free_count < FREE_RANGES) {
		free_range[free_count++] = (struct mem_range){.base = hpa(start), .size = end - start};
	}
}

static void boot_range_remove(uint64_t start, uint64_t size)
{
	uint64_t end = ALIGN_UP(start + size, PAGE_SIZE);

	start = ALIGN_DOWN(start, PAGE_SIZE);
	if (size == 0) {
		return;
	}
	for (unsigned i = 0; i < free_count;) {
		uint64_t base = free_range[i].base.v;
		uint64_t top = base + free_range[i].size;

		if (base >= end || start >= top) {
			i++;
			continue;
		}
		free_range[i] = free_range[--free_count];
		/* What is left of it lies outside [start, end): looking at it again is harmless. */
		boot_range_add(base, start);
		boot_range_add(end, top);
		i = 0;
	}
}

static void boot_alloc_init(void)
{
	if (boot_ready) {
		return;
	}
	boot_ready = true;
	for (unsigned i = 0; i < boot_info.ram_count; i++) {
		uint64_t base = boot_info.ram[i].base.v;

		boot_range_add(ALIGN_UP(base, PAGE_SIZE),
			       ALIGN_DOWN(base + boot_info.ram[i].size, PAGE_SIZE));
	}
	for (unsigned i = 0; i < boot_info.reserved_count; i++) {
		boot_range_remove(boot_info.reserved[i].base.v, boot_info.reserved[i].size);
	}
	boot_range_remove(boot_info.image.base.v, boot_info.image.size);
	boot_range_remove(boot_info.modules.base.v, boot_info.modules.size);
	if (!hpa_is_none(boot_info.fdt)) {
		boot_range_remove(boot_info.fdt.v, boot_info.fdt_size);
	}
	/* Address 0 stays unused: a null pointer in a list or an entry is then never a page. */
	boot_range_remove(0, PAGE_SIZE);
}

/* Smallest range that fits: small pieces fill small gaps and leave the large ones whole. */
hpa_t boot_alloc(uint64_t bytes, uint64_t align)
{
	uint64_t best = ~0ull;
	unsigned pick = FREE_RANGES;
	uint64_t start, top;

	boot_alloc_init();
	bytes = ALIGN_UP(bytes, PAGE_SIZE);
	align = MAX(align, PAGE_SIZE);
	for (unsigned i = 0; i < free_count; i++) {
		uint64_t gap = ALIGN_UP(free_range[i].base.v, align) - free_range[i].base.v;

		if (gap < free_range[i].size && free_range[i].size - gap >= bytes &&
		    free_range[i].size < best) {
			best = free_range[i].size;
			pick = i;
		}
	}
	if (pick == FREE_RANGES) {
		panic("no free memory for 0x%llx bytes, aligned to 0x%llx: the largest free piece is "
		      "0x%llx bytes",
		      (unsigned long long)bytes, (unsigned long long)align,
		      (unsigned long long)boot_alloc_largest());
	}
	start = ALIGN_UP(free_range[pick].base.v, align);
	top = free_range[pick].base.v + free_range[pick].size;
	boot_range_add(start + bytes, top);
	free_range[pick].size = start - free_range[pick].base.v;
	if (free_range[pick].size == 0) {
		free_range[pick] = free_range[--free_count];
	}
	return hpa(start);
}

uint64_t boot_alloc_largest(void)
{
	uint64_t largest = 0;

	boot_alloc_init();
	for (unsigned i = 0; i < free_count; i++) {
		largest = MAX(largest, free_range[i].size);
	}
	return largest;
}

uint64_t boot_alloc_total(void)
{
	uint64_t total = 0;

	boot_alloc_init();
	for (unsigned i = 0; i < free_count; i++) {
		total += free_range[i].size;
	}
	return total;
}

/* ---- the hypervisor's pool -------------------------------------------------------------------- */

#define HYP_RANGES 8u

struct hyp_range {
	hpa_t base;
	uint64_t pages;
	uint64_t free;
	uint64_t hint;		/* no word below this one has a free page */
	uint64_t *used;		/* bit set: in use; its own pages come first and are */
};

static struct {
	struct spinlock lock;
	struct hyp_range range[HYP_RANGES];
	unsigned count;
} hyp_pool = {.lock = SPINLOCK_INIT(LOCK_PAGE_ALLOC)};

static bool bit_test(const uint64_t *map, uint64_t i)
{
	return (map[i / 64] >> (i % 64)) & 1;
}

static void bits_write(uint64_t *map, uint64_t first, uint64_t n, bool value)
{
	for (uint64_t i = first; i < first + n; i++) {
		if (value) {
			map[i / 64] |= 1ull << (i % 64);
		} else {
			map[i / 64] &= ~(1ull << (i % 64));
		}
	}
}

void page_alloc_add(hpa_t base, uint64_t pages)
{
	uint64_t map_pages = ((pages + 7) / 8 + PAGE_SIZE - 1) / PAGE_SIZE;
	struct hyp_range *r;

	if (hyp_pool.count == HYP_RANGES || pages <= map_pages) {
		return;
	}
	spin_lock(&hyp_pool.lock);
	r = &hyp_pool.range[hyp_pool.count++];
	*r = (struct hyp_range){.base = base, .pages = pages, .used = phys_to_virt(base)};
	for (uint64_t i = 0; i < map_pages; i++) {
		arch_zero_page((char *)r->used + i * PAGE_SIZE);
	}
	bits_write(r->used, 0, map_pages, true);
	if (pages % 64 != 0) {
		r->used[pages / 64] |= ~0ull << (pages % 64);
	}
	r->free = pages - map_pages;
	spin_unlock(&hyp_pool.lock);
}

static struct hyp_range *range_of(hpa_t page)
{
	for (unsigned i = 0; i < hyp_pool.count; i++) {
		struct hyp_range *r = &hyp_pool.range[i];

		if (page.v - r->base.v < r->pages << PAGE_SHIFT) {
			return r;
		}
	}
	panic("page_alloc: 0x%llx is not the hypervisor's", (unsigned long long)page.v);
}

static void *take_pages(struct hyp_range *r, uint64_t first, uint64_t n)
{
	bits_write(r->used, first, n, true);
	r->free -= n;
	return phys_to_virt(hpa_add(r->base, first << PAGE_SHIFT));
}

static void *take_one(struct hyp_range *r)
{
	while (~r->used[r->hint] == 0) {
		r->hint++;
	}
	return take_pages(r, r->hint * 64 + (uint64_t)__builtin_ctzll(~r->used[r->hint]), 1);
}

void *page_alloc(void)
{
	void *page = NULL;

	if (inject_failure(INJECT_PAGE)) {
		return NULL;
	}
	spin_lock(&hyp_pool.lock);
	for (unsigned i = 0; i < hyp_pool.count && page == NULL; i++) {
		if (hyp_pool.range[i].free != 0) {
			page = take_one(&hyp_pool.range[i]);
		}
	}
	spin_unlock(&hyp_pool.lock);
	if (page != NULL) {
		arch_zero_page(page);
	}
	return page;
}

void page_free(void *page)
{
	page_free_contig(page, 1);
}

uint64_t page_alloc_free_count(void)
{
	uint64_t n = 0;

	spin_lock(&hyp_pool.lock);
	for (unsigned i = 0; i < hyp_pool.count; i++) {
		n += hyp_pool.range[i].free;
	}
	spin_unlock(&hyp_pool.lock);
	return n;
}

/* First fit, at a physical address aligned to the next power of two (translation table roots). */
static void *take_contig(struct hyp_range *r, uint64_t pages, uint64_t align)
{
	uint64_t first = (ALIGN_UP(r->base.v, align << PAGE_SHIFT) - r->base.v) >> PAGE_SHIFT;

	for (; first + pages <= r->pages; first += align) {
		uint64_t n = 0;

		while (n < pages && !bit_test(r->used, first + n)) {
			n++;
		}
		if (n == pages) {
			return take_pages(r, first, pages);
		}
	}
	return NULL;
}

void *page_alloc_contig(uint64_t pages)
{
	uint64_t align = 1;
	void *p = NULL;

	if (pages == 0 || inject_failure(INJECT_PAGE)) {
		return NULL;
	}
	while (align < pages) {
		align <<= 1;
	}
	spin_lock(&hyp_pool.lock);
	for (unsigned i = 0; i < hyp_pool.count && p == NULL; i++) {
		if (hyp_pool.range[i].free >= pages) {
			p = take_contig(&hyp_pool.range[i], pages, align);
		}
	}
	spin_unlock(&hyp_pool.lock);
	for (uint64_t i = 0; p != NULL && i < pages; i++) {
		arch_zero_page((char *)p + i * PAGE_SIZE);
	}
	return p;
}

void page_free_contig(void *p, uint64_t pages)
{
	hpa_t h = virt_to_phys(p);
	struct hyp_range *r;
	uint64_t first;

	spin_lock(&hyp_pool.lock);
	r = range_of(h);
	first = (h.v - r->base.v) >> PAGE_SHIFT;
	for (uint64_t i = first; i < first + pages; i++) {
		if (i >= r->pages || !bit_test(r->used, i)) {
			panic("page_alloc: 0x%llx freed twice", (unsigned long long)h.v);
		}
	}
	bits_write(r->used, first, pages, false);
	r->free += pages;
	r->hint = MIN(r->hint, first / 64);
	spin_unlock(&hyp_pool.lock);
}

#if TM_TEST_BUILD
void page_alloc_reset(void)
{
	hyp_pool.count = 0;
	spin_init(&hyp_pool.lock, LOCK_PAGE_ALLOC);
	free_count = 0;
	boot_ready = false;
}
#endif

/* ---- a VM's pool ------------------------------------------------------------------------------ */

#define LIST_END (~0ull)

void pool_init(struct mem_pool *p, hpa_t base, uint64_t pages)
{
	*p = (struct mem_pool){
		.base = base,
		.pages = pages,
		.free = pages,
		.list = LIST_END,
		.unused = base.v,
	};
	spin_init(&p->lock, LOCK_POOL);
}

void pool_init_hyp(struct mem_pool *p)
{
	*p = (struct mem_pool){.list = LIST_END, .hyp = true};
	spin_init(&p->lock, LOCK_POOL);
}

int pool_reserve(struct mem_pool *p, uint64_t n)
{
	uint64_t there;
	int err = 0;

	if (n == 0) {
		return 0;
	}
	if (inject_failure(INJECT_POOL)) {
		return -TM_ENOMEM;
	}
	/* The hypervisor's pool is shared: a reservation is a check
	 * that it could be met now; pages are neither taken out of it nor given back to it. */
	there = p->hyp ? page_alloc_free_count() : 0;
	spin_lock(&p->lock);
	if (!p->hyp) {
		there = p->free;
	}
	if (there < p->reserved || there - p->reserved < n) {
		err = -TM_ENOMEM;
	} else {
		p->reserved += n;
	}
	spin_unlock(&p->lock);
	return err;
}

void pool_unreserve(struct mem_pool *p, uint64_t n)
{
	spin_lock(&p->lock);
	ASSERT(p->hyp || p->reserved >= n);
	p->reserved -= MIN(n, p->reserved);
	spin_unlock(&p->lock);
}

/* Lock held, p->free not 0. */
static hpa_t pool_take(struct mem_pool *p)
{
	uint64_t page = p->list;

	if (page != LIST_END) {
		p->list = *(uint64_t *)phys_to_virt(hpa(page));
	} else {
		page = p->unused;
		p->unused += PAGE_SIZE;
	}
	p->free--;
	return hpa(page);
}

hpa_t pool_alloc(struct mem_pool *p, bool from_reserve)
{
	hpa_t page = HPA_NONE;

	if (p->hyp) {
		void *any = page_alloc();

		return any == NULL ? HPA_NONE : virt_to_phys(any);
	}
	/* What is reserved does not fail, not even on request: INJECT_TABLE covers that. */
	if (!from_reserve && inject_failure(INJECT_POOL)) {
		return HPA_NONE;
	}
	spin_lock(&p->lock);
	if (from_reserve ? p->reserved != 0 : p->free > p->reserved) {
		page = pool_take(p);
		p->reserved -= from_reserve ? 1 : 0;
	}
	spin_unlock(&p->lock);
	if (!hpa_is_none(page)) {
		arch_zero_page(phys_to_virt(page));
	}
	return page;
}

void pool_free(struct mem_pool *p, hpa_t page, bool to_reserve)
{
	if (p->hyp) {
		page_free(phys_to_virt(page));
		return;
	}
	ASSERT(IS_ALIGNED(page.v, PAGE_SIZE) && page.v - p->base.v < p->pages << PAGE_SHIFT);
	spin_lock(&p->lock);
	*(uint64_t *)phys_to_virt(page) = p->list;
	p->list = page.v;
	p->free++;
	p->reserved += to_reserve ? 1 : 0;
	spin_unlock(&p->lock);
}
