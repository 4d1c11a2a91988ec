// SPDX-License-Identifier: Apache-2.0
/* Memory slots, dirty rings and bitmaps: the shapes that manager and hypervisor share. */
#ifndef TM_ABI_MEMORY_H
#define TM_ABI_MEMORY_H

#include <stdint.h>
#include <abi/assert.h>

#define TM_PAGE_SHIFT 12
#define TM_PAGE_SIZE 4096u

/* A slot number is address space << 16 | id. */
#define TM_SLOT_ID(slot) ((uint32_t)(slot) & 0xffffu)
#define TM_SLOT_AS(slot) ((uint32_t)(slot) >> 16)

enum tm_slot_flags {
	TM_SLOT_LOG_DIRTY = 1,
	TM_SLOT_READONLY = 2,
	TM_SLOT_PRIVATE = 4,
	TM_SLOT_EXIT_ON_MISSING = 8,
	TM_SLOT_PCI_HOLE = 16,
};

/*
 * SLOT_SET. size 0 on an existing id deletes, a changed gpa moves, changed flags toggle.
 * backing is a manager gpa (= hpa) of size contiguous manager-owned bytes, donated by the call;
 * 0 asks for anonymous memory out of the VM's pool. Reserved fields are zero.
 */
struct tm_slot_desc {
	uint32_t slot;
	uint32_t flags;
	uint64_t gpa;
	uint64_t size;
	uint64_t backing;
	uint64_t priv_off;
	uint32_t priv_id;
	uint32_t rsvd;
	uint64_t rsvd2[2];
};
TM_ASSERT_SIZE(tm_slot_desc, 64);
TM_ASSERT_OFFSET(tm_slot_desc, gpa, 8);
TM_ASSERT_OFFSET(tm_slot_desc, size, 16);
TM_ASSERT_OFFSET(tm_slot_desc, backing, 24);
TM_ASSERT_OFFSET(tm_slot_desc, priv_off, 32);
TM_ASSERT_OFFSET(tm_slot_desc, priv_id, 40);
TM_ASSERT_OFFSET(tm_slot_desc, rsvd, 44);
TM_ASSERT_OFFSET(tm_slot_desc, rsvd2, 48);

/* SLOT_QUERY's answer. slot ~0 in the call's argument asks for the first; next is ~0 at the end. */
struct tm_slot_info {
	struct tm_slot_desc desc;	/* backing is 0 for anonymous memory */
	uint32_t next;			/* the next slot number in use */
	uint32_t generation;
	uint64_t leaves_4k;
	uint64_t leaves_2m;
	uint64_t leaves_1g;
	uint64_t writable_leaves;	/* of any size */
	uint64_t rsvd[3];
};
TM_ASSERT_SIZE(tm_slot_info, 128);
TM_ASSERT_OFFSET(tm_slot_info, next, 64);
TM_ASSERT_OFFSET(tm_slot_info, leaves_4k, 72);
TM_ASSERT_OFFSET(tm_slot_info, writable_leaves, 96);

/* DIRTY_CONFIG */
enum tm_dirty_flags {
	TM_DIRTY_RING = 1,
	TM_DIRTY_BITMAP = 2,
	TM_DIRTY_MANUAL = 4,
	TM_DIRTY_INITIALLY_SET = 8,
	TM_DIRTY_SPILL = 16,
	TM_DIRTY_RING_GEN = 32,
	TM_DIRTY_EAGER_SPLIT = 64,
};

#define TM_RING_MAX_ENTRIES 65536u

/* Entry states in flags[1:0]: 00 free, 01 dirty (hypervisor), 1x harvested (manager). */
enum tm_ring_flags { TM_RING_DIRTY = 1, TM_RING_RESET = 2 };

struct tm_ring_entry {
	uint32_t flags;			/* with TM_DIRTY_RING_GEN: slot generation in [31:16] */
	uint32_t slot;
	uint64_t offset;		/* in pages from the slot's start */
};
TM_ASSERT_SIZE(tm_ring_entry, 16);
TM_ASSERT_OFFSET(tm_ring_entry, slot, 4);
TM_ASSERT_OFFSET(tm_ring_entry, offset, 8);

struct tm_clear_desc {
	uint32_t slot;
	uint32_t rsvd;
	uint64_t first;			/* page index, multiple of 64 */
	uint64_t npages;		/* multiple of 64, or up to the slot's end */
	uint64_t bitmap_gpa;		/* bit 0 describes page `first` */
	uint64_t bitmap_len;		/* bytes, >= npages rounded up to 64 bits */
	uint64_t rsvd2;
};
TM_ASSERT_SIZE(tm_clear_desc, 48);
TM_ASSERT_OFFSET(tm_clear_desc, first, 8);
TM_ASSERT_OFFSET(tm_clear_desc, npages, 16);
TM_ASSERT_OFFSET(tm_clear_desc, bitmap_gpa, 24);
TM_ASSERT_OFFSET(tm_clear_desc, bitmap_len, 32);
TM_ASSERT_OFFSET(tm_clear_desc, rsvd2, 40);

/* BITMAP_GET_SPARSE fills an array of these: word w describes pages 64 w .. 64 w + 63. */
struct tm_sparse_pair {
	uint64_t word;
	uint64_t bits;
};
TM_ASSERT_SIZE(tm_sparse_pair, 16);
TM_ASSERT_OFFSET(tm_sparse_pair, bits, 8);

/* DIRTY_RATE */
struct tm_dirty_rate {
	uint64_t time;			/* counter ticks since boot, at the reading */
	uint64_t freq;			/* ticks a second */
	uint64_t pages_ring;		/* log events since VM creation, into rings */
	uint64_t pages_bitmap;		/* into the bitmap (0 -> 1 transitions) */
	uint64_t spills;		/* of those, for want of ring space */
	uint64_t chunk_fallbacks;	/* 2 MiB or leaf-wide marks after an allocation failure */
	uint64_t bad_reset_entries;	/* entries dropped by RING_RESET's checks */
	uint64_t per_vcpu[64];		/* log events by the writing vCPU */
	uint64_t rsvd[9];
};
TM_ASSERT_SIZE(tm_dirty_rate, 640);
TM_ASSERT_OFFSET(tm_dirty_rate, pages_ring, 16);
TM_ASSERT_OFFSET(tm_dirty_rate, per_vcpu, 56);
TM_ASSERT_OFFSET(tm_dirty_rate, rsvd, 568);

#endif
