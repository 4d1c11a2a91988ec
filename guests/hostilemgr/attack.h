// SPDX-License-Identifier: Apache-2.0
/*
 * Scene "attack": episodes. Each makes a VM, aims some thousand random calls at it and destroys it.
 * A call's arguments start out good; some are then replaced by edge values. Pointers and backing
 * stay away from this program's own image: a manager that gives itself away ends itself, and
 * that is another test.
 */
#ifndef ATTACK_H
#define ATTACK_H

#include <stdbool.h>
#include <stdint.h>
#include <tidemark/call.h>
#include <tidemark/prng.h>
#include "hostilemgr.h"

#define VICTIM_SLOTS 4
#define VICTIM_VCPUS 3
#define SCRATCH_SIZE (128u << 10)
#define WINDOW_SIZE (16u << 20)
#define STATUSES 20

struct victim {
	uint64_t vm;			/* ~0: none */
	bool slot[VICTIM_SLOTS];	/* as far as we know */
	uint32_t vcpus;			/* mask */
	uint32_t pauses;
	uint32_t ring_entries;
	uint64_t ring_gpa;		/* 0: not mapped */
};

struct attack {
	struct tm_prng rng;
	struct victim v;
	uint64_t canary;		/* handles that are not ours to touch */
	uint64_t counter;
	uint8_t *scratch;		/* descriptors and buffers */
	uint8_t *backing;		/* of slots, and as much behind them */
	uint64_t backing_size;
	uint8_t *pool;
	uint64_t pool_size;
	uint64_t window;		/* gpa of WINDOW_SIZE */
	bool edge;			/* this call gets an edge value */
};

struct call_row {
	const char *name;
	uint32_t fn;
	uint8_t args;
	uint8_t cursor;			/* argument that CONTINUE's cursor goes into */
	uint8_t gpas;			/* mask of arguments that are pointers of ours */
	bool has_vm;			/* argument 0 is a handle */
	bool may_fail, may_do;
	uint8_t weight;
	void (*good)(struct attack *a, uint64_t x[6]);
	void (*after)(struct attack *a, const uint64_t x[6], int64_t status);
};

struct call_count {
	uint64_t calls, done, failed;
	uint64_t by_errno[STATUSES];
};

extern const struct call_row call_rows[];
extern const uint32_t call_row_count;

/* gen.c */
uint64_t edge_value(struct tm_prng *rng);
uint64_t edge_pointer(struct attack *a);
/* A random 8-byte word of a descriptor becomes an edge value. */
void edge_word(struct attack *a, void *p, uint64_t size);
const struct vmm_slot_spec *victim_slot(uint32_t i);
void victim_backing(struct attack *a, uint32_t i, struct tm_slot_desc *d);
/* [base, base + size) has nothing of this program. */
bool harmless_range(const struct attack *a, uint64_t base, uint64_t size);

/* <arch>/arch.c */
struct tm_regs;
struct tm_timer_state;
void arch_edge_regs(struct attack *a, struct tm_regs *r);
void arch_edge_timer(struct attack *a, struct tm_timer_state *s);

/* <arch>/payload.S: what the victim's vCPUs run, position independent. */
extern const uint8_t payload_start[], payload_end[];

#endif
