// SPDX-License-Identifier: Apache-2.0
/*
 * Physical pages. Two things live here:
 *  - the hypervisor's own pool (vCPU structures, rings, run pages, the manager's tables), and
 *  - struct mem_pool: a VM's donated pool, with reservations so that a guest fault never lacks a
 *    table page (abi.md, "Memory"). Free pages are linked through their first 8 bytes.
 */
#ifndef HYP_PAGE_ALLOC_H
#define HYP_PAGE_ALLOC_H

#include <hyp/lock.h>
#include <hyp/types.h>

/* Boot only: physically contiguous, page aligned memory from free RAM; panics when there is none. */
hpa_t boot_alloc(uint64_t bytes, uint64_t align);
/* What boot_alloc can still give in one piece / in all; for the configuration checker. */
uint64_t boot_alloc_largest(void);
uint64_t boot_alloc_total(void);
/* After setup: turn a range into the hypervisor's pool. */
void page_alloc_add(hpa_t base, uint64_t pages);
/* One zeroed page, or NULL. */
void *page_alloc(void);
void page_free(void *page);
uint64_t page_alloc_free_count(void);
/* Physically contiguous zeroed pages (rings); best effort. NULL when there are none. */
void *page_alloc_contig(uint64_t pages);
void page_free_contig(void *p, uint64_t pages);
#if TM_TEST_BUILD
/* Host tests: forgets the boot ranges and the hypervisor's pool. */
void page_alloc_reset(void);
#endif

struct mem_pool {
	struct spinlock lock;
	hpa_t base;		/* donated range */
	uint64_t pages;
	uint64_t free;		/* pages on the list or never used yet */
	uint64_t reserved;	/* of those, spoken for by pool_reserve */
	uint64_t list;		/* hpa of the first free page, ~0 = none */
	uint64_t unused;	/* pages from here to the end have never been handed out */
	bool hyp;		/* no range of its own: draws from page_alloc (the manager) */
};

void pool_init(struct mem_pool *p, hpa_t base, uint64_t pages);
void pool_init_hyp(struct mem_pool *p);
/* Sets n pages aside; -TM_ENOMEM and nothing changed when they are not there. */
int must_check pool_reserve(struct mem_pool *p, uint64_t n);
void pool_unreserve(struct mem_pool *p, uint64_t n);
/* One zeroed page. `from_reserve` takes it out of the reservation, else only unreserved pages. */
hpa_t pool_alloc(struct mem_pool *p, bool from_reserve);
void pool_free(struct mem_pool *p, hpa_t page, bool to_reserve);

#endif
