// SPDX-License-Identifier: Apache-2.0
/*
 * AMD nested page-table entries, 4-level long-mode format (AMD APM volume 2, 5.3 "Long-Mode Page
 * Translation" and 15.25 "Nested Paging"). The nested walk is a user access, so U is set in every
 * entry (15.25.5). Device memory is PWT | PCD, entry 3 of the host's PAT: uncacheable.
 */
#include <arch/format.h>

#define P	  (1ull << 0)
#define RW	  (1ull << 1)
#define US	  (1ull << 2)
#define PWT	  (1ull << 3)
#define PCD	  (1ull << 4)
#define ACCESSED  (1ull << 5)
#define DIRTY	  (1ull << 6)
#define LARGE	  (1ull << 7)	/* PS above the last level; PAT at the last one, not used */
#define SW0	  (1ull << 52)	/* bits 62:52 are available to software */
#define SW1	  (1ull << 53)
#define CLEANABLE (1ull << 54)
#define NX	  (1ull << 63)
#define ADDR_MASK 0x000ffffffffff000ull

static enum pte_kind npt_kind(uint64_t pte, unsigned level)
{
	if (!(pte & P)) {
		return PTE_HOLE;
	}
	return (level == 0 || (pte & LARGE)) ? PTE_LEAF : PTE_TABLE;
}

static uint64_t npt_make_leaf(hpa_t a, unsigned level, unsigned attrs)
{
	uint64_t pte = (a.v & ADDR_MASK) | P | US | ACCESSED;

	pte |= (attrs & PT_DEVICE) ? (PWT | PCD) : 0;
	pte |= (attrs & PT_X) ? 0 : NX;
	if (attrs & PT_W) {
		pte |= RW;
		if (!(attrs & PT_CLEANABLE)) {
			pte |= DIRTY;
		} else {
			pte |= CLEANABLE | ((attrs & PT_DIRTY) ? DIRTY : 0);
		}
	}
	pte |= (attrs & PT_SW0) ? SW0 : 0;
	pte |= (attrs & PT_SW1) ? SW1 : 0;
	return pte | (level == 0 ? 0 : LARGE);
}

static uint64_t npt_make_table(hpa_t a)
{
	return (a.v & ADDR_MASK) | P | RW | US | ACCESSED;
}

static hpa_t npt_addr(uint64_t pte, unsigned level)
{
	(void)level;
	return hpa(pte & ADDR_MASK);
}

static unsigned npt_attrs(uint64_t pte, unsigned level)
{
	unsigned attrs = PT_R;

	(void)level;
	attrs |= (pte & RW) ? PT_W : 0;
	attrs |= (pte & NX) ? 0 : PT_X;
	if (pte & CLEANABLE) {
		attrs |= PT_CLEANABLE | ((pte & DIRTY) ? PT_DIRTY : 0);
	}
	attrs |= (pte & PCD) ? PT_DEVICE : 0;
	attrs |= (pte & SW0) ? PT_SW0 : 0;
	attrs |= (pte & SW1) ? PT_SW1 : 0;
	return attrs;
}

static uint64_t npt_set_attrs(uint64_t pte, unsigned level, unsigned attrs)
{
	return npt_make_leaf(hpa(pte & ADDR_MASK), level, attrs);
}

const struct pgtable_format npt_format = {
	.name = "npt",
	.leaf_levels = 0x7,
	.bbm = false,
	.table_mask = P | LARGE,
	.table_bits = P,
	.table_addr = ADDR_MASK,
	.grant_bits = RW | DIRTY,
	.revoke_bits = RW | DIRTY | CLEANABLE,
	.kind = npt_kind,
	.make_leaf = npt_make_leaf,
	.make_table = npt_make_table,
	.addr = npt_addr,
	.attrs = npt_attrs,
	.set_attrs = npt_set_attrs,
};
