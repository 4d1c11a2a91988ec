// SPDX-License-Identifier: Apache-2.0
/*
 * Who owns each page of RAM, under LOCK_OWNER. Per RAM range there is a word a 2 MiB chunk;
 * a chunk whose pages do not agree says MIXED and has a word a page. Donations are large, so most
 * chunks agree: changing 1 GiB writes 512 words, and the page words of a chunk are first written
 * when it becomes mixed - setting the table up costs next to nothing.
 * What lies outside the RAM ranges has no owner.
 */
#include <arch/cpu.h>
#include <hyp/boot_info.h>
#include <hyp/err.h>
#include <hyp/lock.h>
#include <hyp/owner.h>
#include <hyp/page_alloc.h>
#include <hyp/string.h>

#define CHUNK_PAGES LEVEL_PAGES(1)
#define KIND_SHIFT  12u
/* Encoding of one owner; the hypervisor is 0, so that a zeroed table is right. */
#define WORD_HYP    ((uint16_t)0)
#define WORD_NONE   ((uint16_t)(14u << KIND_SHIFT))
#define WORD_MIXED  ((uint16_t)(15u << KIND_SHIFT))

struct owner_range {
	uint64_t first, end;	/* page numbers of RAM */
	uint64_t origin;	/* page number of chunk 0, chunk-aligned, <= first */
	uint16_t *chunk;
	uint16_t *page;		/* valid where the chunk is MIXED */
};

static struct spinlock owner_lock = SPINLOCK_INIT(LOCK_OWNER);
static struct owner_range ranges[BOOT_MAX_RANGES];
static unsigned range_count;

static uint16_t to_word(struct owner o)
{
	switch (o.kind) {
	case OWNER_NONE:
		return WORD_NONE;
	case OWNER_HYP:
		return WORD_HYP;
	case OWNER_MANAGER:
		return (uint16_t)((unsigned)o.kind << KIND_SHIFT);
	default:
		return (uint16_t)(((unsigned)o.kind << KIND_SHIFT) | (o.vm & 0xfffu));
	}
}

static struct owner from_word(uint16_t w)
{
	if (w == WORD_NONE) {
		return owner_of(OWNER_NONE, 0);
	}
	if (w == WORD_HYP) {
		return owner_of(OWNER_HYP, 0);
	}
	return owner_of((enum owner_kind)(w >> KIND_SHIFT), w & 0xfffu);
}

static struct owner_range *range_at(uint64_t pfn)
{
	for (unsigned i = 0; i < range_count; i++) {
		if (pfn >= ranges[i].first && pfn < ranges[i].end) {
			return &ranges[i];
		}
	}
	return NULL;
}

/* End of the piece of [pfn, end) that lies in one range and one chunk. */
static uint64_t piece_end(const struct owner_range *r, uint64_t pfn, uint64_t end)
{
	uint64_t chunk_end = ALIGN_DOWN(pfn, CHUNK_PAGES) + CHUNK_PAGES;

	return MIN(MIN(chunk_end, r->end), end);
}

static uint16_t *chunk_word(const struct owner_range *r, uint64_t pfn)
{
	return &r->chunk[(pfn - r->origin) / CHUNK_PAGES];
}

static bool piece_is(const struct owner_range *r, uint64_t pfn, uint64_t end, uint16_t word)
{
	uint16_t chunk = *chunk_word(r, pfn);

	if (chunk != WORD_MIXED) {
		return chunk == word;
	}
	for (; pfn < end; pfn++) {
		if (r->page[pfn - r->origin] != word) {
			return false;
		}
	}
	return true;
}

static void piece_set(const struct owner_range *r, uint64_t pfn, uint64_t end, uint16_t word)
{
	uint64_t start = ALIGN_DOWN(pfn, CHUNK_PAGES);
	uint16_t *chunk = chunk_word(r, pfn);

	/* The whole chunk, or all of it that is RAM. */
	if (pfn == MAX(start, r->first) && end == MIN(start + CHUNK_PAGES, r->end)) {
		*chunk = word;
		return;
	}
	if (*chunk == word) {
		return;
	}
	if (*chunk != WORD_MIXED) {
		for (uint64_t i = start; i < start + CHUNK_PAGES; i++) {
			r->page[i - r->origin] = *chunk;
		}
		*chunk = WORD_MIXED;
	}
	for (; pfn < end; pfn++) {
		r->page[pfn - r->origin] = word;
	}
}

static bool all_are(uint64_t pfn, uint64_t end, uint16_t word)
{
	while (pfn < end) {
		const struct owner_range *r = range_at(pfn);
		uint64_t next;

		if (r == NULL) {
			return false;
		}
		next = piece_end(r, pfn, end);
		if (!piece_is(r, pfn, next, word)) {
			return false;
		}
		pfn = next;
	}
	return true;
}

static void set_all(uint64_t pfn, uint64_t end, uint16_t word)
{
	while (pfn < end) {
		const struct owner_range *r = range_at(pfn);
		uint64_t next = r == NULL ? pfn + 1 : piece_end(r, pfn, end);

		if (r != NULL) {
			piece_set(r, pfn, next, word);
		}
		pfn = next;
	}
}

/* False for a range that wraps or is not made of whole pages. */
static bool page_span(hpa_t base, uint64_t pages, uint64_t *first, uint64_t *end)
{
	*first = base.v >> PAGE_SHIFT;
	*end = *first + pages;
	return IS_ALIGNED(base.v, PAGE_SIZE) && *end >= *first &&
	       *end <= (~0ull >> PAGE_SHIFT) + 1;
}

static void range_init(struct owner_range *r, const struct mem_range *ram)
{
	uint64_t chunks;

	r->first = ALIGN_UP(ram->base.v, PAGE_SIZE) >> PAGE_SHIFT;
	r->end = (ram->base.v + ram->size) >> PAGE_SHIFT;
	r->origin = ALIGN_DOWN(r->first, CHUNK_PAGES);
	chunks = (ALIGN_UP(r->end, CHUNK_PAGES) - r->origin) / CHUNK_PAGES;
	r->chunk = phys_to_virt(boot_alloc(chunks * sizeof(uint16_t), PAGE_SIZE));
	memset(r->chunk, 0, chunks * sizeof(uint16_t));
	r->page = phys_to_virt(boot_alloc(chunks * CHUNK_PAGES * sizeof(uint16_t), PAGE_SIZE));
}

void owner_init(void)
{
	range_count = 0;
	for (unsigned i = 0; i < boot_info.ram_count; i++) {
		if (boot_info.ram[i].size >= 2 * PAGE_SIZE) {
			range_init(&ranges[range_count++], &boot_info.ram[i]);
		}
	}
	for (unsigned i = 0; i < boot_info.reserved_count; i++) {
		const struct mem_range *m = &boot_info.reserved[i];

		for (unsigned j = 0; j < range_count; j++) {
			uint64_t first = MAX(m->base.v >> PAGE_SHIFT, ranges[j].first);
			uint64_t end = ALIGN_UP(m->base.v + m->size, PAGE_SIZE) >> PAGE_SHIFT;

			set_all(first, MIN(end, ranges[j].end), WORD_NONE);
		}
	}
}

struct owner owner_get(hpa_t page)
{
	uint64_t pfn = page.v >> PAGE_SHIFT;
	const struct owner_range *r = range_at(pfn);
	uint16_t word;

	if (r == NULL) {
		return owner_of(OWNER_NONE, 0);
	}
	spin_lock(&owner_lock);
	word = *chunk_word(r, pfn);
	if (word == WORD_MIXED) {
		word = r->page[pfn - r->origin];
	}
	spin_unlock(&owner_lock);
	return from_word(word);
}

int owner_change(hpa_t base, uint64_t pages, struct owner from, struct owner to)
{
	uint64_t first, end;
	int err = -TM_EACCES;

	if (!page_span(base, pages, &first, &end)) {
		return -TM_EACCES;
	}
	spin_lock(&owner_lock);
	if (all_are(first, end, to_word(from))) {
		set_all(first, end, to_word(to));
		err = 0;
	}
	spin_unlock(&owner_lock);
	return err;
}

bool owner_range_is(hpa_t base, uint64_t pages, struct owner o)
{
	uint64_t first, end;
	bool is;

	if (!page_span(base, pages, &first, &end)) {
		return false;
	}
	spin_lock(&owner_lock);
	is = all_are(first, end, to_word(o));
	spin_unlock(&owner_lock);
	return is;
}
