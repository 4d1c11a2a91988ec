// SPDX-License-Identifier: Apache-2.0
/*
 * The owner of every physical page. One u16 a page, changed only by compare-and-exchange
 * of whole ranges under LOCK_OWNER: a transition either happens for the whole range or not at all.
 */
#ifndef HYP_OWNER_H
#define HYP_OWNER_H

#include <hyp/types.h>

enum owner_kind {
	OWNER_NONE = 0,		/* not RAM, or firmware's */
	OWNER_HYP,		/* hypervisor image, pool, tables, rings, run pages */
	OWNER_MANAGER,
	OWNER_VM_SHARED,	/* + VM handle; the manager may map it by MAP_GUEST */
	OWNER_VM_PRIVATE,	/* + VM handle */
	OWNER_VM_POOL,		/* + VM handle; page tables, metadata, anonymous pages not in use */
};

struct owner {
	enum owner_kind kind;
	uint16_t vm;
};

static inline struct owner owner_of(enum owner_kind kind, uint16_t vm)
{
	return (struct owner){kind, vm};
}

/* Boot: sets up the table for RAM up to the highest address in boot_info; all RAM OWNER_HYP. */
void owner_init(void);
struct owner owner_get(hpa_t page);
/* All pages of [base, base + pages) are `from` -> become `to`; else -TM_EACCES, nothing changed. */
int must_check owner_change(hpa_t base, uint64_t pages, struct owner from, struct owner to);
bool owner_range_is(hpa_t base, uint64_t pages, struct owner o);

#endif
