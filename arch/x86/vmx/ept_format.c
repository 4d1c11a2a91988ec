// SPDX-License-Identifier: Apache-2.0
/*
 * Intel EPT entries, 4-level walk (Intel SDM volume 3, 29.3.2 "EPT Translation Mechanism", tables
 * "Format of an EPT ..."). Pure bit encoding. An entry is present when any of its read, write and
 * execute bits is set; write without read is a misconfiguration, so PT_W implies read here.
 */
#include <arch/format.h>

#define R	  (1ull << 0)
#define W	  (1ull << 1)
#define X	  (1ull << 2)
#define RWX	  (R | W | X)
#define MT_WB	  (6ull << 3)	/* memory type, leaves only; 0 is uncacheable */
#define MT_MASK	  (7ull << 3)
#define IPAT	  (1ull << 6)	/* the guest's PAT does not weaken the type of RAM */
#define LARGE	  (1ull << 7)
#define ACCESSED  (1ull << 8)
#define DIRTY	  (1ull << 9)
#define SW0	  (1ull << 52)	/* bits 56:52 are ignored by hardware */
#define SW1	  (1ull << 53)
#define CLEANABLE (1ull << 54)
#define ADDR_MASK 0x000ffffffffff000ull

static enum pte_kind ept_kind(uint64_t pte, unsigned level)
{
	if (!(pte & RWX)) {
		return PTE_HOLE;
	}
	return (level == 0 || (pte & LARGE)) ? PTE_LEAF : PTE_TABLE;
}

static uint64_t ept_make_leaf(hpa_t a, unsigned level, unsigned attrs)
{
	uint64_t pte = (a.v & ADDR_MASK) | ACCESSED;

	pte |= (attrs & PT_DEVICE) ? 0 : (MT_WB | IPAT);
	pte |= (attrs & PT_R) ? R : 0;
	pte |= (attrs & PT_X) ? X : 0;
	if (attrs & PT_W) {
		/* What is not to be logged is dirty from the start: no D update, no PML entry. */
		pte |= R | W;
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

static uint64_t ept_make_table(hpa_t a)
{
	/* Permissions of the leaves decide alone. */
	return (a.v & ADDR_MASK) | RWX;
}

static hpa_t ept_addr(uint64_t pte, unsigned level)
{
	(void)level;
	return hpa(pte & ADDR_MASK);
}

static unsigned ept_attrs(uint64_t pte, unsigned level)
{
	unsigned attrs = 0;

	(void)level;
	attrs |= (pte & R) ? PT_R : 0;
	attrs |= (pte & W) ? PT_W : 0;
	attrs |= (pte & X) ? PT_X : 0;
	if (pte & CLEANABLE) {
		attrs |= PT_CLEANABLE | ((pte & DIRTY) ? PT_DIRTY : 0);
	}
	attrs |= (pte & MT_MASK) == MT_WB ? 0 : PT_DEVICE;
	attrs |= (pte & SW0) ? PT_SW0 : 0;
	attrs |= (pte & SW1) ? PT_SW1 : 0;
	return attrs;
}

static uint64_t ept_set_attrs(uint64_t pte, unsigned level, unsigned attrs)
{
	return ept_make_leaf(hpa(pte & ADDR_MASK), level, attrs);
}

const struct pgtable_format ept_format = {
	.name = "ept",
	.leaf_levels = 0x7,
	.bbm = false,
	.table_mask = RWX | LARGE,
	.table_bits = RWX,
	.table_addr = ADDR_MASK,
	.grant_bits = R | W | DIRTY,
	.revoke_bits = W | DIRTY | CLEANABLE,
	.kind = ept_kind,
	.make_leaf = ept_make_leaf,
	.make_table = ept_make_table,
	.addr = ept_addr,
	.attrs = ept_attrs,
	.set_attrs = ept_set_attrs,
};
