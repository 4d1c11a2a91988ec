// SPDX-License-Identifier: Apache-2.0
/*
 * arm64 stage-1 descriptors of the hypervisor's own map: EL2 with one privilege level (E2H = 0),
 * 4 KiB granule (Arm ARM DDI 0487, D8.3). W^X lives here: a leaf that may be written, and any
 * device leaf, is never executable, whatever was asked. MAIR_EL2: index 0 is normal write-back
 * memory, index 1 is Device-nGnRE.
 */
#include <arch/format.h>

#define VALID	    (1ull << 0)
#define TABLE	    (1ull << 1)
#define ATTRINDX(i) ((uint64_t)(i) << 2)
#define ATTR_MASK   ATTRINDX(7)
#define ATTR_NORMAL ATTRINDX(0)
#define ATTR_DEVICE ATTRINDX(1)
#define AP1	    (1ull << 6)	/* D8.4.1: RES1 where there is one privilege level */
#define AP_RO	    (1ull << 7)	/* AP[2] */
#define SH_INNER    (3ull << 8)
#define AF	    (1ull << 10)
#define XN	    (1ull << 54)
#define SW0	    (1ull << 55)
#define SW1	    (1ull << 56)
#define ADDR_MASK   0x0000fffffffff000ull

static enum pte_kind s1_kind(uint64_t pte, unsigned level)
{
	if (!(pte & VALID)) {
		return PTE_HOLE;
	}
	if (level == 0) {
		return (pte & TABLE) ? PTE_LEAF : PTE_HOLE;
	}
	return (pte & TABLE) ? PTE_TABLE : PTE_LEAF;
}

static uint64_t s1_make_leaf(hpa_t a, unsigned level, unsigned attrs)
{
	uint64_t pte = (a.v & ADDR_MASK) | VALID | AF | AP1 | SH_INNER;

	pte |= (attrs & PT_DEVICE) ? ATTR_DEVICE : ATTR_NORMAL;
	pte |= (attrs & PT_W) ? 0 : AP_RO;
	if (!(attrs & PT_X) || (attrs & (PT_W | PT_DEVICE))) {
		pte |= XN;
	}
	pte |= (attrs & PT_SW0) ? SW0 : 0;
	pte |= (attrs & PT_SW1) ? SW1 : 0;
	return pte | (level == 0 ? TABLE : 0);
}

static uint64_t s1_make_table(hpa_t a)
{
	return (a.v & ADDR_MASK) | VALID | TABLE;
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
	attrs |= (pte & AP_RO) ? 0 : PT_W;
	attrs |= (pte & XN) ? 0 : PT_X;
	attrs |= (pte & ATTR_MASK) == ATTR_NORMAL ? 0 : PT_DEVICE;
	attrs |= (pte & SW0) ? PT_SW0 : 0;
	attrs |= (pte & SW1) ? PT_SW1 : 0;
	return attrs;
}

static uint64_t s1_set_attrs(uint64_t pte, unsigned level, unsigned attrs)
{
	return s1_make_leaf(hpa(pte & ADDR_MASK), level, attrs);
}

const struct pgtable_format arm64_s1_format = {
	.name = "arm64-s1",
	.leaf_levels = 0x7,
	.bbm = true,
	.w_xor_x = true,
	.table_mask = VALID | TABLE,
	.table_bits = VALID | TABLE,
	.table_addr = ADDR_MASK,
	.kind = s1_kind,
	.make_leaf = s1_make_leaf,
	.make_table = s1_make_table,
	.addr = s1_addr,
	.attrs = s1_attrs,
	.set_attrs = s1_set_attrs,
};
