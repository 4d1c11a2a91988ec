// SPDX-License-Identifier: Apache-2.0
/*
 * Between memslot.c, memslot_steps.c and memslot_anon.c only. slots_lock is held in all of these;
 * the stage-2 lock as said.
 */
#ifndef HYP_MEMSLOT_PRIV_H
#define HYP_MEMSLOT_PRIV_H

#include <hyp/memslot.h>

/* memslot.c; both locks held. */
void memslot_order_insert(struct memslots *s, const struct memslot *m);
void memslot_order_remove(struct memslots *s, const struct memslot *m);
int must_check memslot_log_init(struct vm *vm, struct memslot *m);
bool memslot_starts_set(const struct vm *vm);

/* memslot_steps.c; each _step is bounded: TM_CONTINUE, 0, or an error that it can go on from. */
void memslot_log_on_begin(struct vm *vm, struct memslot *m);
void memslot_log_off_begin(struct vm *vm, struct memslot *m);
int must_check memslot_log_step(struct vm *vm, struct memslot *m);
void memslot_move_begin(struct vm *vm, struct memslot *m, gpa_t to, uint64_t tables);
int must_check memslot_move_step(struct vm *vm, struct memslot *m);
/* Drops an unfinished move; the slot stays where it is. */
void memslot_cancel(struct vm *vm, struct memslot *m);
int must_check memslot_delete_step(struct vm *vm, struct memslot *m, memslot_take_fn take,
				   void *ctx);

/* memslot_anon.c; stage-2 lock held. */
hpa_t memslot_anon_page(const struct memslot *m, uint64_t offset);
hpa_t memslot_anon_page_alloc(struct vm *vm, struct memslot *m, uint64_t offset);

#endif
