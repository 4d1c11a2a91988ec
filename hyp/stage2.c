// SPDX-License-Identifier: Apache-2.0
/*
 * One VM's stage-2: joins walker, lock, table pages and flush. The only file that decides to flush
 * (arch/<a>/tlb.c has the instructions). Guarded by s2->lock throughout.
 * Invariant: what was taken away is invalidated on all CPUs before the lock is dropped.
 */
#include <arch/cpu.h>
#include <arch/tlb.h>
#include <hyp/dirty_hw.h>
#include <hyp/stage2.h>
#include <hyp/test_hooks.h>

/* Above this many pages one flush of the VMID is cheaper than one by one. */
#define FLUSH_RANGE_PAGES 64u

/* ---- what the walker needs -------------------------------------------------------------------- */

uint64_t *pgtable_ptr(hpa_t table)
{
	return phys_to_virt(table);
}

static hpa_t stage2_table_alloc(struct pgtable *pt)
{
	struct stage2 *s2 = pt->owner;

	if (inject_failure(INJECT_TABLE)) {
		return HPA_NONE;
	}
	return pool_alloc(s2->pool, true);
}

static void stage2_table_free(struct pgtable *pt, hpa_t page)
{
	struct stage2 *s2 = pt->owner;

	tlbcheck_idle(&s2->check, "table page freed");
	pool_free(s2->pool, page, true);
}

static void stage2_dirty_gone(struct pgtable *pt, uint64_t addr)
{
	dirty_hw_leaf_gone(pt->owner, gpa(addr));
}

#if DEBUG
static void stage2_observe(struct pgtable *pt, uint64_t addr, unsigned level, uint64_t old,
			   uint64_t new_pte)
{
	struct stage2 *s2 = pt->owner;

	spin_assert_held(&s2->lock);
	tlbcheck_store(&s2->check, pt->fmt, addr, level, old, new_pte);
}
#endif

static const struct pgtable_mm stage2_mm = {
	.alloc = stage2_table_alloc,
	.free = stage2_table_free,
	.dirty_gone = stage2_dirty_gone,
#if DEBUG
	.observe = stage2_observe,
#endif
};

static void hardware_flush(struct stage2 *s2, uint64_t start, uint64_t end, bool all)
{
	uint64_t pages = (end - start) >> PAGE_SHIFT;

	if (all || pages > FLUSH_RANGE_PAGES) {
		arch_tlb_flush_all(s2);
	} else {
		arch_tlb_flush_range(s2, gpa(start), pages);
	}
}

void pgtable_break_flush(struct pgtable *pt, uint64_t addr, uint64_t bytes)
{
	struct stage2 *s2 = pt->owner;

	if (pt->mm != &stage2_mm) {
		panic("pgtable: live change of the hypervisor's own map at 0x%llx",
		      (unsigned long long)addr);
	}
	hardware_flush(s2, addr, addr + bytes, false);
	tlbcheck_flushed(&s2->check, addr, addr + bytes, false);
}

/* ---- lifetime --------------------------------------------------------------------------------- */

int stage2_init(struct stage2 *s2, struct mem_pool *pool, uint16_t vmid, enum lock_rank rank)
{
	void *root = page_alloc_contig(arch_stage2_root_pages());

	if (root == NULL) {
		return -TM_ENOMEM;
	}
	*s2 = (struct stage2){.pool = pool, .vmid = vmid};
	spin_init(&s2->lock, rank);
	s2->pt = (struct pgtable){
		.fmt = arch_stage2_format(),
		.mm = &stage2_mm,
		.root = virt_to_phys(root),
		.root_level = (uint8_t)arch_stage2_root_level(),
		.ia_bits = (uint8_t)arch_stage2_ia_bits(),
		.root_ptr = root,
		.leaves = s2->leaves,
		.owner = s2,
	};
	return 0;
}

void stage2_destroy(struct stage2 *s2)
{
	if (s2->pt.root_ptr == NULL) {
		return;
	}
	stage2_lock(s2);
	/* Nothing of this VMID may outlive its tables, in any CPU; flushed while they still stand. */
	arch_tlb_flush_all(s2);
	tlbcheck_flushed(&s2->check, 0, 0, true);
	pgtable_destroy(&s2->pt);
	stage2_unlock(s2);
	page_free_contig(s2->pt.root_ptr, arch_stage2_root_pages());
	s2->pt.root_ptr = NULL;
}

void stage2_lock(struct stage2 *s2)
{
	spin_lock(&s2->lock);
}

void stage2_unlock(struct stage2 *s2)
{
	tlbcheck_idle(&s2->check, "stage-2 lock dropped");
	spin_unlock(&s2->lock);
}

/* ---- operations, lock held -------------------------------------------------------------------- */

struct pt_leaf stage2_lookup(struct stage2 *s2, gpa_t a)
{
	spin_assert_held(&s2->lock);
	return pgtable_lookup(&s2->pt, a.v);
}

int stage2_map(struct stage2 *s2, gpa_t a, hpa_t h, unsigned level, unsigned attrs,
	       struct tlb_batch *b)
{
	spin_assert_held(&s2->lock);
	return pgtable_map(&s2->pt, a.v, h, level, attrs, b);
}

int stage2_unmap(struct stage2 *s2, gpa_t a, uint64_t pages, struct tlb_batch *b)
{
	spin_assert_held(&s2->lock);
	return pgtable_unmap(&s2->pt, a.v, pages << PAGE_SHIFT, b);
}

int stage2_split(struct stage2 *s2, gpa_t a, struct tlb_batch *b)
{
	spin_assert_held(&s2->lock);
	return pgtable_split(&s2->pt, a.v, 0, b);
}

static uint64_t change(struct stage2 *s2, gpa_t a, uint64_t pages, bool arm, struct tlb_batch *b)
{
	uint64_t bytes = pages << PAGE_SHIFT;

	return arm && s2->hw_dirty ? pgtable_arm(&s2->pt, a.v, bytes, b) :
				     pgtable_protect(&s2->pt, a.v, bytes, PT_W, 0, b);
}

static uint64_t change_range(struct stage2 *s2, gpa_t a, uint64_t pages, bool arm,
			     struct tlb_batch *b)
{
	struct tlb_batch lost = TLB_BATCH_INIT;
	uint64_t changed;

	spin_assert_held(&s2->lock);
	if (!mutant(MUTANT_NO_TLB_FLUSH)) {
		return change(s2, a, pages, arm, b);
	}
	/* Arming alone goes without: the checker is told that it was done, because the memory oracle
	 * is what must catch this one. */
	changed = change(s2, a, pages, arm, &lost);
	if (lost.needed) {
		tlbcheck_flushed(&s2->check, lost.start, lost.end, lost.all);
	}
	pgtable_batch_free(&s2->pt, &lost);
	return changed;
}

static uint64_t change_mask(struct stage2 *s2, gpa_t a, uint64_t mask, bool arm,
			    struct tlb_batch *b)
{
	uint64_t changed = 0;

	while (mask != 0) {
		unsigned first = (unsigned)__builtin_ctzll(mask);
		uint64_t rest = ~(mask >> first);
		unsigned run = rest == 0 ? 64u : (unsigned)__builtin_ctzll(rest);

		changed += change_range(s2, gpa_add(a, (uint64_t)first << PAGE_SHIFT), run, arm, b);
		mask &= run == 64u ? 0 : ~(((1ull << run) - 1) << first);
	}
	return changed;
}

uint64_t stage2_wrprotect(struct stage2 *s2, gpa_t a, uint64_t pages, struct tlb_batch *b)
{
	return change_range(s2, a, pages, false, b);
}

uint64_t stage2_wrprotect_mask(struct stage2 *s2, gpa_t a, uint64_t mask, struct tlb_batch *b)
{
	return change_mask(s2, a, mask, false, b);
}

uint64_t stage2_arm(struct stage2 *s2, gpa_t a, uint64_t pages, struct tlb_batch *b)
{
	return change_range(s2, a, pages, true, b);
}

uint64_t stage2_arm_mask(struct stage2 *s2, gpa_t a, uint64_t mask, struct tlb_batch *b)
{
	return change_mask(s2, a, mask, true, b);
}

struct dirtied {
	void (*fn)(void *ctx, gpa_t a);
	void *ctx;
};

static int tell_dirtied(void *ctx, const struct pt_leaf *leaf)
{
	const unsigned written = PT_W | (unsigned)PT_CLEANABLE | (unsigned)PT_DIRTY;
	const struct dirtied *d = ctx;

	if (leaf->level == 0 && (leaf->attrs & written) == written) {
		d->fn(d->ctx, gpa(leaf->start));
	}
	return 0;
}

void stage2_dirtied(struct stage2 *s2, gpa_t a, uint64_t pages, void (*fn)(void *ctx, gpa_t a),
		    void *ctx)
{
	struct dirtied d = {fn, ctx};

	spin_assert_held(&s2->lock);
	(void)pgtable_for_each(&s2->pt, a.v, pages << PAGE_SHIFT, tell_dirtied, &d);
}

void stage2_make_writable(struct stage2 *s2, gpa_t a)
{
	spin_assert_held(&s2->lock);
	/* Dirty at once: the fault that brought us here has been logged (amendment R-102). */
	if (pgtable_grant(&s2->pt, a.v)) {
		arch_tlb_flush_local(s2, a);
	}
}

void stage2_zap(struct stage2 *s2, gpa_t a, uint64_t pages, struct tlb_batch *b)
{
	uint64_t start = a.v;
	uint64_t end = a.v + (pages << PAGE_SHIFT);
	struct pt_leaf leaf;

	spin_assert_held(&s2->lock);
	if (pages == 0) {
		return;
	}
	/* Grow to the leaves that overlap, so that nothing needs a split and nothing can fail. */
	leaf = pgtable_lookup(&s2->pt, start);
	if (leaf.kind == PTE_LEAF) {
		start = leaf.start;
	}
	leaf = pgtable_lookup(&s2->pt, end - PAGE_SIZE);
	if (leaf.kind == PTE_LEAF) {
		end = leaf.start + LEVEL_SIZE(leaf.level);
	}
	if (pgtable_unmap(&s2->pt, start, end - start, b) != 0) {
		panic("stage2: a zap at 0x%llx needed memory", (unsigned long long)a.v);
	}
}

void stage2_flush(struct stage2 *s2, struct tlb_batch *b)
{
	spin_assert_held(&s2->lock);
	if (b->needed) {
		hardware_flush(s2, b->start, b->end, b->all);
		tlbcheck_flushed(&s2->check, b->start, b->end, b->all);
		b->needed = false;
	}
	pgtable_batch_free(&s2->pt, b);
	*b = (struct tlb_batch)TLB_BATCH_INIT;
}

uint64_t stage2_tables_needed(gpa_t a, uint64_t pages)
{
	uint64_t last = a.v + (pages << PAGE_SHIFT) - 1;
	uint64_t tables = 0;

	if (pages == 0) {
		return 0;
	}
	for (unsigned level = 1; level <= arch_stage2_root_level(); level++) {
		tables += (last >> LEVEL_SHIFT(level)) - (a.v >> LEVEL_SHIFT(level)) + 1;
	}
	return tables;
}
