// SPDX-License-Identifier: Apache-2.0
/*
 * arm64 stage-2 descriptors, 4 KiB granule, VMSAv8-64 without LPA2. Pure bit encoding (Arm ARM DDI
 * 0487, D8.3 "Translation table descriptor formats"). Our level l is the manual's level 3 - l.
 * AF is always set by us: nothing here wants access faults.
 */
#include <arch/format.h>

#define VALID	     (1ull << 0)
#define TABLE	     (1ull << 1)	/* table above the last level, page at the last one */
#define MEMATTR(v)   ((uint64_t)(v) << 2)	/* D8.5.5, without FEAT_S2FWB */
#define MEMATTR_MASK MEMATTR(0xf)
#define MEMATTR_WB   MEMATTR(0xf)	/* Normal, inner and outer write-back */
#define MEMATTR_DEV  MEMATTR(0x1)	/* Device-nGnRE */
#define S2AP_R	     (1ull << 6)	/* D8.4.2 */
#define S2AP_W	     (1ull << 7)
#define SH_INNER     (3ull << 8)
#define AF	     (1ull << 10)
#define DBM	     (1ull << 51)	/* D8.4.6: with S2AP_W clear, writable and clean */
#define XN	     (1ull << 54)	/* XN[1]; XN[0], bit 53, is RES0 without FEAT_XNX */
#define SW0	     (1ull << 55)	/* bits 58:55 are for software */
#define SW1	     (1ull << 56)
#define ADDR_MASK    0x0000fffffffff000ull

static enum pte_kind stage2_kind(uint64_t pte, unsigned level)
{
	if (!(pte & VALID)) {
		return PTE_HOLE;
	}
	if (level == 0) {
		/* 0b01 is reserved at the last level and faults like a hole. */
		return (pte & TABLE) ? PTE_LEAF : PTE_HOLE;
	}
	return (pte & TABLE) ? PTE_TABLE : PTE_LEAF;
}

static uint64_t stage2_attr_bits(unsigned attrs)
{
	uint64_t bits = AF | SH_INNER;

	bits |= (attrs & PT_DEVICE) ? MEMATTR_DEV : MEMATTR_WB;
	if (attrs & PT_R) {
		bits |= S2AP_R;
	}
	if (attrs & PT_W) {
		/* Write without cleanable: no hardware update, so the permission itself is set. */
		if (attrs & PT_CLEANABLE) {
			bits |= DBM | ((attrs & PT_DIRTY) ? S2AP_W : 0);
		} else {
			bits |= S2AP_W;
		}
	}
	if (!(attrs & PT_X)) {
		bits |= XN;
	}
	bits |= (attrs & PT_SW0) ? SW0 : 0;
	bits |= (attrs & PT_SW1) ? SW1 : 0;
	return bits;
}

static uint64_t stage2_make_leaf(hpa_t a, unsigned level, unsigned attrs)
{
	return (a.v & ADDR_MASK) | stage2_attr_bits(attrs) | VALID | (level == 0 ? TABLE : 0);
}

static uint64_t stage2_make_table(hpa_t a)
{
	return (a.v & ADDR_MASK) | VALID | TABLE;
}

static hpa_t stage2_addr(uint64_t pte, unsigned level)
{
	(void)level;
	return hpa(pte & ADDR_MASK);
}

static unsigned stage2_attrs(uint64_t pte, unsigned level)
{
	unsigned attrs = 0;

	(void)level;
	attrs |= (pte & S2AP_R) ? PT_R : 0;
	attrs |= (pte & (S2AP_W | DBM)) ? PT_W : 0;
	if (pte & DBM) {
		attrs |= PT_CLEANABLE | ((pte & S2AP_W) ? PT_DIRTY : 0);
	}
	attrs |= (pte & XN) ? 0 : PT_X;
	attrs |= (pte & MEMATTR_MASK) == MEMATTR_WB ? 0 : PT_DEVICE;
	attrs |= (pte & SW0) ? PT_SW0 : 0;
	attrs |= (pte & SW1) ? PT_SW1 : 0;
	return attrs;
}

static uint64_t stage2_set_attrs(uint64_t pte, unsigned level, unsigned attrs)
{
	return stage2_make_leaf(hpa(pte & ADDR_MASK), level, attrs);
}

const struct pgtable_format arm64_stage2_format = {
	.name = "arm64-stage2",
	.leaf_levels = 0x7,
	.bbm = true,
	.table_mask = VALID | TABLE,
	.table_bits = VALID | TABLE,
	.table_addr = ADDR_MASK,
	.grant_bits = S2AP_W,
	.revoke_bits = S2AP_W | DBM,
	.kind = stage2_kind,
	.make_leaf = stage2_make_leaf,
	.make_table = stage2_make_table,
	.addr = stage2_addr,
	.attrs = stage2_attrs,
	.set_attrs = stage2_set_attrs,
};
