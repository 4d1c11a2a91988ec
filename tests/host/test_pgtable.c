// SPDX-License-Identifier: Apache-2.0
//
// The walker against a flat array of pages, for all five formats: random map, unmap, split,
// protect, grant and replace at all levels, from an empty table again every 20 steps (without
// that, large leaves are soon split for good and go untested). A failed allocation changes
// nothing. Whatever lost a right is in the batch or was flushed between break and make.
//
// LINK: hyp/pgtable.c arch/arm64/stage2_format.c arch/arm64/s1_format.c arch/x86/s1_format.c
// LINK: arch/x86/vmx/ept_format.c arch/x86/svm/npt_format.c

#include <arch/format.h>
#include <stdarg.h>

#include "check.h"

static const struct {
	const struct pgtable_format *fmt;
	unsigned ia_bits, root_level;
} machines[] = {
	{&arm64_stage2_format, 40, 2},	// two root pages in a row
	{&arm64_stage2_format, 39, 2},
	{&arm64_s1_format, 48, 3},
	{&ept_format, 48, 3},
	{&npt_format, 48, 3},
	{&x86_s1_format, 48, 3},
};

#define BASE	    (7 * LEVEL_SIZE(2))
#define MODEL_PAGES (2 * LEVEL_PAGES(2))
#define ARENA_PAGES 4096u
#define ARENA_BASE  0x10000000ull
#define STEPS	    20u

struct page {
	uint64_t hpa;	// 0: hole
	uint32_t attrs;
	uint32_t level;	// of the leaf
};

static struct page model[MODEL_PAGES];
static struct page seen[MODEL_PAGES];
static uint64_t arena[ARENA_PAGES][512] __attribute__((aligned(4096)));
static bool arena_used[ARENA_PAGES];
static unsigned arena_count, arena_next;
static int fail_after;		// allocations that still succeed; -1: all
static uint64_t root[2 * 512] __attribute__((aligned(8192)));
static uint64_t leaf_count[4];
static struct pgtable pt;
static struct tlb_batch batch;
static struct {
	uint64_t start, end;
} broken[64];
static unsigned broken_count;
static struct slot_seen {
	bool valid;
	uint64_t start, end;
} last_break;

void panic(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	abort();
}

// ---- environment of the walker ----

static hpa_t page_take(struct pgtable *p)
{
	(void)p;
	if (fail_after == 0) {
		return HPA_NONE;
	}
	fail_after -= fail_after > 0 ? 1 : 0;
	for (unsigned i = 0; i < ARENA_PAGES; i++) {
		unsigned n = (arena_next + i) % ARENA_PAGES;

		if (!arena_used[n]) {
			arena_used[n] = true;
			arena_next = n + 1;
			arena_count++;
			memset(arena[n], 0, sizeof(arena[n]));
			return hpa(ARENA_BASE + n * PAGE_SIZE);
		}
	}
	return HPA_NONE;
}

static void page_give(struct pgtable *p, hpa_t page)
{
	uint64_t n = (page.v - ARENA_BASE) >> PAGE_SHIFT;

	(void)p;
	CHECK(n < ARENA_PAGES && arena_used[n]);
	// Nothing is freed while a flush is owed.
	CHECK(!batch.needed);
	arena_used[n] = false;
	arena_count--;
	memset(arena[n], 0xee, sizeof(arena[n]));
}

uint64_t *pgtable_ptr(hpa_t table)
{
	uint64_t n = (table.v - ARENA_BASE) >> PAGE_SHIFT;

	CHECK(n < ARENA_PAGES && arena_used[n]);
	return arena[n];
}

static void watch(struct pgtable *p, uint64_t addr, unsigned level, uint64_t old, uint64_t new_pte)
{
	enum pte_kind was = p->fmt->kind(old, level);
	enum pte_kind is = p->fmt->kind(new_pte, level);

	CHECK(IS_ALIGNED(addr, LEVEL_SIZE(level)));
	if (p->fmt->bbm && was != PTE_HOLE && is != PTE_HOLE) {
		CHECK_EQ(was, is);
		CHECK_EQ(p->fmt->addr(old, level).v, p->fmt->addr(new_pte, level).v);
	}
	last_break = (struct slot_seen){is == PTE_HOLE, addr, addr + LEVEL_SIZE(level)};
	// A table that is linked is complete: no link of a half-built one.
	if (is == PTE_TABLE) {
		uint64_t *child = pgtable_ptr(p->fmt->addr(new_pte, level));
		unsigned used = 0;

		for (unsigned i = 0; i < 512; i++) {
			used += p->fmt->kind(child[i], level - 1) != PTE_HOLE;
			CHECK(child[i] == 0 || p->fmt->kind(child[i], level - 1) != PTE_HOLE);
		}
		CHECK(was == PTE_LEAF ? used == 512 : used >= 1);
	}
}

void pgtable_break_flush(struct pgtable *p, uint64_t addr, uint64_t bytes)
{
	// Right after the store that broke exactly this entry.
	CHECK(p->fmt->bbm && last_break.valid);
	CHECK(last_break.start == addr && last_break.end == addr + bytes);
	CHECK(broken_count < ARRAY_SIZE(broken));
	broken[broken_count].start = addr;
	broken[broken_count++].end = addr + bytes;
}

static const struct pgtable_mm mm = {.alloc = page_take, .free = page_give, .observe = watch};

static void start(unsigned m)
{
	memset(root, 0, sizeof(root));
	memset(model, 0, sizeof(model));
	memset(arena_used, 0, sizeof(arena_used));
	memset(leaf_count, 0, sizeof(leaf_count));
	arena_count = 0;
	fail_after = -1;
	batch = (struct tlb_batch)TLB_BATCH_INIT;
	pt = (struct pgtable){
		.fmt = machines[m].fmt,
		.mm = &mm,
		.root_level = (uint8_t)machines[m].root_level,
		.ia_bits = (uint8_t)machines[m].ia_bits,
		.root_ptr = root,
		.leaves = leaf_count,
	};
}

static void flush(void)
{
	// Until now hardware may have walked what is to be freed: no link may look like an entry.
	for (uint64_t page = batch.free_list; page != ~0ull && page != 0;
	     page = *pgtable_ptr(hpa(page))) {
		for (unsigned level = 0; level < 3; level++) {
			CHECK_EQ(pt.fmt->kind(*pgtable_ptr(hpa(page)), level), PTE_HOLE);
		}
	}
	batch.needed = false;
	pgtable_batch_free(&pt, &batch);
	batch = (struct tlb_batch)TLB_BATCH_INIT;
	broken_count = 0;
}

static unsigned canon(unsigned attrs)
{
	return pt.fmt->attrs(pt.fmt->make_leaf(hpa(0), 0, attrs), 0);
}

// ---- comparing ----

static struct {
	uint64_t leaves[3];
	uint64_t next;
} scan;

static int scan_leaf(void *ctx, const struct pt_leaf *leaf)
{
	(void)ctx;
	CHECK(leaf->start >= scan.next && leaf->level <= 2);
	CHECK(IS_ALIGNED(leaf->start | leaf->hpa.v, LEVEL_SIZE(leaf->level)));
	scan.next = leaf->start + LEVEL_SIZE(leaf->level);
	scan.leaves[leaf->level]++;
	for (uint64_t i = 0; i < LEVEL_PAGES(leaf->level); i++) {
		seen[((leaf->start - BASE) >> PAGE_SHIFT) + i] =
			(struct page){leaf->hpa.v + i * PAGE_SIZE, leaf->attrs, leaf->level};
	}
	return 0;
}

// Returns the number of table pages below; none is empty.
static unsigned count_tables(const uint64_t *table, unsigned entries, unsigned level)
{
	unsigned tables = 0;
	unsigned used = 0;

	for (unsigned i = 0; i < entries; i++) {
		enum pte_kind kind = pt.fmt->kind(table[i], level);

		used += kind != PTE_HOLE;
		if (kind == PTE_TABLE) {
			tables += 1 + count_tables(pgtable_ptr(pt.fmt->addr(table[i], level)), 512,
						   level - 1);
		}
	}
	CHECK(used > 0 || level == pt.root_level);
	return tables;
}

static void compare_all(void)
{
	unsigned entries = 1u << (pt.ia_bits - LEVEL_SHIFT(pt.root_level));

	memset(seen, 0, sizeof(seen));
	memset(&scan, 0, sizeof(scan));
	CHECK_EQ(pgtable_for_each(&pt, 0, ~0ull, scan_leaf, NULL), 0);
	for (uint64_t i = 0; i < MODEL_PAGES; i++) {
		if (seen[i].hpa != model[i].hpa || seen[i].attrs != model[i].attrs) {
			fprintf(stderr, "%s: page %#" PRIx64 "\n", pt.fmt->name, i);
			CHECK_EQ(seen[i].hpa, model[i].hpa);
			CHECK_EQ(seen[i].attrs, model[i].attrs);
		}
	}
	for (unsigned l = 0; l < 3; l++) {
		CHECK_EQ(leaf_count[l], scan.leaves[l]);
	}
	CHECK_EQ(count_tables(root, entries, pt.root_level), arena_count);
	CHECK_EQ(pt.table_pages, arena_count);
}

static void compare_some(struct check_rng *rng)
{
	for (unsigned i = 0; i < 64; i++) {
		uint64_t n = check_below(rng, MODEL_PAGES);
		struct pt_leaf leaf = pgtable_lookup(&pt, BASE + n * PAGE_SIZE + 123);

		if (model[n].hpa == 0) {
			CHECK_EQ(leaf.kind, PTE_HOLE);
			continue;
		}
		CHECK_EQ(leaf.kind, PTE_LEAF);
		CHECK_EQ(leaf.hpa.v + (BASE + n * PAGE_SIZE - leaf.start), model[n].hpa);
		CHECK_EQ(leaf.attrs, model[n].attrs);
		CHECK_EQ(leaf.start, ALIGN_DOWN(BASE + n * PAGE_SIZE, LEVEL_SIZE(leaf.level)));
	}
}

static bool flushed(uint64_t addr)
{
	if (batch.needed && (batch.all || (addr >= batch.start && addr < batch.end))) {
		return true;
	}
	for (unsigned i = 0; i < broken_count; i++) {
		if (addr >= broken[i].start && addr < broken[i].end) {
			return true;
		}
	}
	return false;
}

// A page's new state; whatever it lost must be flushed.
static void model_set(uint64_t n, uint64_t h, unsigned attrs)
{
	struct page *p = &model[n];

	if (p->hpa != 0 && (p->hpa != h || (p->attrs & ~attrs & (PT_R | PT_W | PT_X)))) {
		CHECK(flushed(BASE + n * PAGE_SIZE));
	}
	*p = (struct page){h, attrs, 0};
}

// ---- random steps ----

static const unsigned attr_choice[] = {
	PT_R, PT_R | PT_W, PT_R | PT_X, PT_R | PT_W | PT_X, PT_R | PT_W | PT_SW0,
	PT_R | PT_W | PT_CLEANABLE | PT_X, PT_R | PT_W | PT_CLEANABLE | PT_DIRTY, PT_R | PT_SW1,
};
static uint64_t did[8], failed[8];

struct before {
	unsigned arena_count;
	uint64_t table_pages, leaves[4];
};

static struct before remember(struct check_rng *rng)
{
	struct before b = {.arena_count = arena_count, .table_pages = pt.table_pages};

	memcpy(b.leaves, leaf_count, sizeof(leaf_count));
	fail_after = check_below(rng, 3) == 0 ? (int)check_below(rng, 3) : -1;
	return b;
}

// True: the step failed for want of memory, and the table is as before.
static bool gave_up(unsigned op, int err, const struct before *b)
{
	fail_after = -1;
	did[op]++;
	if (err == 0) {
		return false;
	}
	CHECK_EQ(err, -TM_ENOMEM);
	failed[op]++;
	CHECK(!batch.needed && broken_count == 0);
	flush();
	CHECK_EQ(arena_count, b->arena_count);
	CHECK_EQ(pt.table_pages, b->table_pages);
	CHECK(memcmp(b->leaves, leaf_count, sizeof(leaf_count)) == 0);
	return true;
}

static uint64_t random_page(struct check_rng *rng, unsigned level)
{
	return check_below(rng, MODEL_PAGES) & ~(LEVEL_PAGES(level) - 1);
}

static uint64_t random_count(struct check_rng *rng, uint64_t first)
{
	uint64_t n = 1ull << check_below(rng, 20);

	n = check_below(rng, 2) ? n : 1 + check_below(rng, n);
	return MIN(n, MODEL_PAGES - first);
}

static void step_map(struct check_rng *rng)
{
	unsigned level = (unsigned)check_below(rng, 8) % 3;
	uint64_t n = random_page(rng, level);
	uint64_t h = (1 + check_below(rng, 8)) * LEVEL_SIZE(2);
	unsigned attrs = attr_choice[check_below(rng, ARRAY_SIZE(attr_choice))];
	struct before b = remember(rng);

	// Often what is there already, so that pieces and wholes of it meet; else something else.
	if (model[n].hpa != 0 && check_below(rng, 2) && IS_ALIGNED(model[n].hpa, LEVEL_SIZE(level))) {
		h = model[n].hpa;
	} else if (level < 2) {
		h += check_below(rng, 512) * LEVEL_SIZE(level);
	}
	if (gave_up(0, pgtable_map(&pt, BASE + n * PAGE_SIZE, hpa(h), level, attrs, &batch), &b)) {
		return;
	}
	for (uint64_t i = 0; i < LEVEL_PAGES(level); i++) {
		model_set(n + i, h + i * PAGE_SIZE, canon(attrs));
	}
	flush();
}

static void step_unmap(struct check_rng *rng)
{
	uint64_t n = random_page(rng, (unsigned)check_below(rng, 3));
	uint64_t count = random_count(rng, n);
	struct before b = remember(rng);

	if (gave_up(1, pgtable_unmap(&pt, BASE + n * PAGE_SIZE, count * PAGE_SIZE, &batch), &b)) {
		return;
	}
	for (uint64_t i = n; i < n + count; i++) {
		model_set(i, 0, 0);
	}
	flush();
}

static void step_split(struct check_rng *rng)
{
	uint64_t a = BASE + random_page(rng, 0) * PAGE_SIZE;
	unsigned level = (unsigned)check_below(rng, 2);
	struct before b;
	struct pt_leaf leaf;

	for (unsigned i = 0; i < 50 && pgtable_lookup(&pt, a).level <= level; i++) {
		a = BASE + random_page(rng, 0) * PAGE_SIZE;
	}
	b = remember(rng);
	if (gave_up(2, pgtable_split(&pt, a, level, &batch), &b)) {
		return;
	}
	leaf = pgtable_lookup(&pt, a);
	CHECK(leaf.kind == PTE_HOLE || leaf.level <= level);
	flush();
}

static void step_protect(struct check_rng *rng)
{
	static const struct {
		unsigned clear, set;
	} choice[] = {{PT_W, 0}, {PT_W, 0}, {PT_X, 0}, {0, PT_W}, {PT_W, PT_X}, {0, PT_SW0},
		      {PT_DIRTY, 0}, {0, PT_DIRTY}};
	uint64_t n = random_page(rng, (unsigned)check_below(rng, 2));
	uint64_t count = random_count(rng, n);
	unsigned c = (unsigned)check_below(rng, ARRAY_SIZE(choice));
	uint64_t first = n, last = n + count - 1;
	struct pt_leaf edge[2];
	uint64_t changed, leaves = 0;

	edge[0] = pgtable_lookup(&pt, BASE + first * PAGE_SIZE);
	edge[1] = pgtable_lookup(&pt, BASE + last * PAGE_SIZE);
	for (unsigned i = 0; i < 2; i++) {
		uint64_t from = (edge[i].start - BASE) >> PAGE_SHIFT;
		uint64_t to = from + LEVEL_PAGES(edge[i].level) - 1;

		// A leaf that only overlaps: whole if something is taken, left alone if given.
		if (edge[i].kind != PTE_LEAF || (from >= n && to <= n + count - 1)) {
			continue;
		}
		if (choice[c].set == 0) {
			first = MIN(first, from);
			last = MAX(last, to);
		} else {
			first = from <= first ? MAX(first, to + 1) : first;
			last = to >= last && last != ~0ull ? MIN(last, from - 1) : last;
		}
	}
	changed = pgtable_protect(&pt, BASE + n * PAGE_SIZE, count * PAGE_SIZE, choice[c].clear,
				  choice[c].set, &batch);
	for (uint64_t i = first; i <= last && last < MODEL_PAGES; i++) {
		unsigned attrs = canon((model[i].attrs & ~choice[c].clear) | choice[c].set);
		struct pt_leaf leaf;

		if (model[i].hpa != 0 && attrs != model[i].attrs) {
			leaf = pgtable_lookup(&pt, BASE + i * PAGE_SIZE);
			leaves += leaf.start == BASE + i * PAGE_SIZE;
			model_set(i, model[i].hpa, attrs);
		}
	}
	CHECK_EQ(changed, leaves);
	did[3]++;
	flush();
}

static void step_grant(struct check_rng *rng)
{
	uint64_t n = random_page(rng, 0);
	uint64_t a = BASE + n * PAGE_SIZE;
	struct pt_leaf leaf = pgtable_lookup(&pt, a);
	bool small;

	// Small leaves are a small part of the range.
	for (unsigned i = 0; i < 2000 && !(leaf.kind == PTE_LEAF && leaf.level == 0); i++) {
		n = random_page(rng, 0);
		a = BASE + n * PAGE_SIZE;
		leaf = pgtable_lookup(&pt, a);
	}
	small = leaf.kind == PTE_LEAF && leaf.level == 0;
	if (pt.fmt->grant_bits == 0) {
		return;
	}
	CHECK_EQ(pgtable_grant(&pt, a + 8), small);
	if (small) {
		did[4]++;
		model_set(n, model[n].hpa, canon(model[n].attrs | PT_W | PT_DIRTY));
	}
	CHECK(!batch.needed && broken_count == 0);
}

// Maps a whole table of small pages, and the large leaf over it.
static void step_fill(struct check_rng *rng)
{
	uint64_t n = random_page(rng, 1);
	uint64_t h = (16 + check_below(rng, 8)) * LEVEL_SIZE(2);
	unsigned attrs = attr_choice[check_below(rng, ARRAY_SIZE(attr_choice))];

	for (uint64_t i = n; i < n + 512; i++) {
		if (pgtable_map(&pt, BASE + i * PAGE_SIZE, hpa(h + (i - n) * PAGE_SIZE), 0, attrs,
				&batch) != 0) {
			flush();
			return;
		}
		model_set(i, h + (i - n) * PAGE_SIZE, canon(attrs));
		flush();
	}
	did[5]++;
}

TEST(random_against_flat_model)
{
	uint64_t large[3] = {0};

	for (unsigned m = 0; m < ARRAY_SIZE(machines); m++) {
		struct check_rng rng = check_rng_make(m);
		uint64_t before[3];

		memcpy(before, large, sizeof(large));
		for (unsigned restart = 0; restart < 14; restart++) {
			start(m);
			for (unsigned s = 0; s < STEPS; s++) {
				switch (check_below(&rng, 16)) {
				case 0 ... 6: step_map(&rng); break;
				case 7 ... 8: step_unmap(&rng); break;
				case 9 ... 10: step_split(&rng); break;
				case 11 ... 12: step_protect(&rng); break;
				case 13 ... 14: step_grant(&rng); break;
				default: step_fill(&rng); break;
				}
				compare_some(&rng);
				if (s % 4 == 3) {
					compare_all();
					large[1] += scan.leaves[1];
					large[2] += scan.leaves[2];
				}
			}
			pgtable_destroy(&pt);
			CHECK_EQ(arena_count, 0);
			CHECK_EQ(leaf_count[0] + leaf_count[1] + leaf_count[2], 0);
		}
		// Large leaves really occurred, in each format.
		CHECK(large[1] - before[1] > 500);
		CHECK(large[2] - before[2] > 10);
	}
	for (unsigned op = 0; op < 6; op++) {
		CHECK(did[op] > 30);
	}
	for (unsigned op = 0; op < 3; op++) {
		CHECK(failed[op] > 1);
	}
}

// ---- by hand ----

TEST(bad_arguments_change_nothing)
{
	for (unsigned m = 0; m < ARRAY_SIZE(machines); m++) {
		uint64_t top = 1ull << machines[m].ia_bits;

		start(m);
		CHECK_EQ(pgtable_map(&pt, top, hpa(0), 0, PT_R, &batch), -TM_EINVAL);
		CHECK_EQ(pgtable_map(&pt, ~0xfffull, hpa(0), 0, PT_R, &batch), -TM_EINVAL);
		CHECK_EQ(pgtable_map(&pt, 0x1001, hpa(0), 0, PT_R, &batch), -TM_EINVAL);
		CHECK_EQ(pgtable_map(&pt, 0x1000, hpa(8), 0, PT_R, &batch), -TM_EINVAL);
		CHECK_EQ(pgtable_map(&pt, 0x1000, hpa(0), 1, PT_R, &batch), -TM_EINVAL);
		CHECK_EQ(pgtable_map(&pt, 0, hpa(0x1000), 2, PT_R, &batch), -TM_EINVAL);
		CHECK_EQ(pgtable_map(&pt, 0, hpa(0), 3, PT_R, &batch), -TM_EINVAL);
		CHECK_EQ(pgtable_unmap(&pt, 1, 0x1000, &batch), -TM_EINVAL);
		CHECK_EQ(pgtable_unmap(&pt, 0, ~0xfffull, &batch), 0);
		CHECK_EQ(pgtable_unmap(&pt, top, 0x1000, &batch), 0);
		CHECK_EQ(pgtable_split(&pt, top, 0, &batch), -TM_EINVAL);
		CHECK(!pgtable_grant(&pt, top));
		CHECK_EQ(pgtable_lookup(&pt, top).kind, PTE_HOLE);
		CHECK_EQ(pgtable_lookup(&pt, ~0ull).kind, PTE_HOLE);
		CHECK_EQ(pgtable_protect(&pt, top - PAGE_SIZE, ~0ull, PT_W, 0, &batch), 0);
		CHECK_EQ(arena_count, 0);
		CHECK(!batch.needed);
	}
}

TEST(first_and_last_page_of_the_input_range)
{
	for (unsigned m = 0; m < ARRAY_SIZE(machines); m++) {
		uint64_t last = (1ull << machines[m].ia_bits) - PAGE_SIZE;

		start(m);
		CHECK_EQ(pgtable_map(&pt, 0, hpa(0x5000), 0, PT_R, NULL), 0);
		CHECK_EQ(pgtable_map(&pt, last, hpa(0x6000), 0, PT_R, NULL), 0);
		CHECK_EQ(pgtable_lookup(&pt, 0).hpa.v, 0x5000);
		CHECK_EQ(pgtable_lookup(&pt, last + 9).hpa.v, 0x6000);
		CHECK_EQ(pgtable_lookup(&pt, last - 1).kind, PTE_HOLE);
		CHECK_EQ(pgtable_unmap(&pt, last, 2 * PAGE_SIZE, &batch), 0);
		CHECK_EQ(pgtable_unmap(&pt, 0, PAGE_SIZE, &batch), 0);
		flush();
		CHECK_EQ(arena_count, 0);
	}
}

TEST(mapping_a_piece_of_a_large_leaf_keeps_the_rest)
{
	for (unsigned m = 0; m < ARRAY_SIZE(machines); m++) {
		unsigned rw = PT_R | PT_W;

		start(m);
		CHECK_EQ(pgtable_map(&pt, BASE, hpa(LEVEL_SIZE(2)), 2, PT_R, &batch), 0);
		flush();
		CHECK_EQ(pgtable_map(&pt, BASE + 0x203000, hpa(LEVEL_SIZE(2) + 0x203000), 0, rw,
				     &batch), 0);
		CHECK(pt.fmt->bbm ? broken_count == 1 && !batch.needed : batch.needed);
		flush();
		CHECK_EQ(arena_count, pt.root_level == 3 ? 3 : 2);
		CHECK_EQ(pgtable_lookup(&pt, BASE + 0x203000).attrs, canon(rw));
		CHECK_EQ(pgtable_lookup(&pt, BASE + 0x202000).attrs, canon(PT_R));
		CHECK_EQ(pgtable_lookup(&pt, BASE + 0x202000).hpa.v, LEVEL_SIZE(2) + 0x202000);
		CHECK_EQ(pgtable_lookup(&pt, BASE + 0x400000).level, 1);
		CHECK_EQ(leaf_count[1], 511);
		CHECK_EQ(leaf_count[0], 512);
		pgtable_destroy(&pt);
		CHECK_EQ(arena_count, 0);
	}
}

TEST(same_leaf_again_stores_nothing)
{
	start(0);
	CHECK_EQ(pgtable_map(&pt, BASE, hpa(0x1000), 0, PT_R | PT_W, NULL), 0);
	last_break.valid = true;
	CHECK_EQ(pgtable_map(&pt, BASE, hpa(0x1000), 0, PT_R | PT_W, NULL), 0);
	CHECK(last_break.valid);
	// More rights need no flush, fewer do.
	CHECK_EQ(pgtable_map(&pt, BASE, hpa(0x1000), 0, PT_R | PT_W | PT_X, &batch), 0);
	CHECK(!batch.needed && broken_count == 0);
	CHECK_EQ(pgtable_map(&pt, BASE, hpa(0x1000), 0, PT_R, &batch), 0);
	CHECK(batch.needed && batch.start == BASE && batch.end == BASE + PAGE_SIZE && !batch.all);
	flush();
	// Normal to device is a change of type: break-before-make.
	CHECK_EQ(pgtable_map(&pt, BASE, hpa(0x1000), 0, PT_R | PT_DEVICE, &batch), 0);
	CHECK_EQ(broken_count, 1);
	flush();
	pgtable_destroy(&pt);
}

TEST(table_by_large_leaf_needs_a_batch)
{
	start(3);
	CHECK_EQ(pgtable_map(&pt, BASE, hpa(0x1000), 0, PT_R, NULL), 0);
	CHECK_EQ(pgtable_map(&pt, BASE, hpa(0), 1, PT_R, NULL), -TM_EINVAL);
	CHECK_EQ(pgtable_map(&pt, BASE, hpa(0), 1, PT_R, &batch), 0);
	CHECK(batch.needed && batch.all && batch.free_list != ~0ull);
	CHECK_EQ(arena_count, 3);
	flush();
	CHECK_EQ(arena_count, 2);
	pgtable_destroy(&pt);
}

static int stop_at_third(void *ctx, const struct pt_leaf *leaf)
{
	unsigned *n = ctx;

	CHECK_EQ(leaf->start, BASE + *n * 2 * PAGE_SIZE);
	return ++*n == 3 ? 77 : 0;
}

TEST(for_each_stops_where_it_is_told)
{
	unsigned n = 0;

	start(0);
	for (unsigned i = 0; i < 6; i++) {
		CHECK_EQ(pgtable_map(&pt, BASE + i * 2 * PAGE_SIZE, hpa(0x1000), 0, PT_R, NULL), 0);
	}
	CHECK_EQ(pgtable_for_each(&pt, 0, ~0ull, stop_at_third, &n), 77);
	CHECK_EQ(n, 3);
	pgtable_destroy(&pt);
}

TEST(hardware_dirties_between_read_and_store)
{
	// Writable-clean leaf, write-protected while hardware sets S2AP[1]: the exchange sees it.
	uint64_t *entry;

	start(0);
	CHECK_EQ(pgtable_map(&pt, BASE, hpa(0x1000), 0, PT_R | PT_W | PT_CLEANABLE, NULL), 0);
	entry = pgtable_ptr(pt.fmt->addr(root[BASE >> LEVEL_SHIFT(2)], 2));
	entry = pgtable_ptr(pt.fmt->addr(entry[0], 1));
	CHECK_EQ(pt.fmt->kind(*entry, 0), PTE_LEAF);
	*entry |= 1ull << 7;
	CHECK_EQ(pgtable_lookup(&pt, BASE).attrs, PT_R | PT_W | PT_CLEANABLE | PT_DIRTY);
	// Cleaning a dirty leaf takes silent writes away: a flush is owed.
	CHECK_EQ(pgtable_protect(&pt, BASE, PAGE_SIZE, PT_DIRTY, 0, &batch), 1);
	CHECK(batch.needed);
	flush();
	// Protecting a clean one takes the right itself.
	CHECK_EQ(pgtable_protect(&pt, BASE, PAGE_SIZE, PT_W, 0, &batch), 1);
	CHECK(batch.needed);
	flush();
	CHECK_EQ(pgtable_lookup(&pt, BASE).attrs, PT_R);
	pgtable_destroy(&pt);
}

CHECK_MAIN()
