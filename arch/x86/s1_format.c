// SPDX-License-Identifier: Apache-2.0
/*
 * x86-64 entries of the hypervisor's own map (Intel SDM volume 3, 4.5 "4-Level Paging"). W^X lives
 * here: a leaf that may be written, and any device leaf, is never executable. Device memory is
 * PWT | PCD, entry 3 of the PAT: uncacheable.
 */
#include <arch/format.h>

#define P	  (1ull << 0)
#define RW	  (1ull << 1)
#define US	  (1ull << 2)
#define PWT	  (1ull << 3)
#define PCD	  (1ull << 4)
#define ACCESSED  (1ull << 5)
#define DIRTY	  (1ull << 6)
#define LARGE	  (1ull << 7)
#define SW0	  (1ull << 52)
#define SW1	  (1ull << 53)
#define XD	  (1ull << 63)
#define ADDR_MASK 0x000ffffffffff000ull

static enum pte_kind s1_kind(uint64_t pte, unsigned level)
{
	if (!(pte & P)) {
		return PTE_HOLE;
	}
	return (level == 0 || (pte & LARGE)) ? PTE_LEAF : PTE_TABLE;
}

static uint64_t s1_make_leaf(hpa_t a, unsigned level, unsigned attrs)
{
	uint64_t pte = (a.v & ADDR_MASK) | P | ACCESSED;

	pte |= (attrs & PT_DEVICE) ? (PWT | PCD) : 0;
	pte |= (attrs & PT_W) ? (RW | DIRTY) : 0;
	pte |= (attrs & PT_USER) ? US : 0;
	if (!(attrs & PT_X) || (attrs & (PT_W | PT_DEVICE))) {
		pte |= XD;
	}
	pte |= (attrs & PT_SW0) ? SW0 : 0;
	pte |= (attrs & PT_SW1) ? SW1 : 0;
	return pte | (level == 0 ? 0 : LARGE);
}

static uint64_t s1_make_table(hpa_t a)
{
	return (a.v & ADDR_MASK) | P | RW | US | ACCESSED;
}

static hpa_t s1_addr(uint64_t pte, unsigned level)
{
	(void)level;
	return hpa(pte & ADDR_MASK);
}

static unsigned s1_attrs(uint64_t pte, unsigned level)
{
	unsigned attrs = PT_R;

	(void)level;
	attrs |= (pte & RW) ? PT_W : 0;
	attrs |= (pte & US) ? PT_USER : 0;
	attrs |= (pte & XD) ? 0 : PT_X;
	attrs |= (pte & PCD) ? PT_DEVICE : 0;
	attrs |= (pte & SW0) ? PT_SW0 : 0;
	attrs |= (pte & SW1) ? PT_SW1 : 0;
	return attrs;
}

static uint64_t s1_set_attrs(uint64_t pte, unsigned level, unsigned attrs)
{
	return s1_make_leaf(hpa(pte & ADDR_MASK), level, attrs);
}

const struct pgtable_format x86_s1_format = {
	.name = "x86-s1",
	.leaf_levels = 0x7,
	.bbm = false,
	.w_xor_x = true,
	.table_mask = P | LARGE,
	.table_bits = P,
	.table_addr = ADDR_MASK,
	.kind = s1_kind,
	.make_leaf = s1_make_leaf,
	.make_table = s1_make_table,
	.addr = s1_addr,
	.attrs = s1_attrs,
	.set_attrs = s1_set_attrs,
};
