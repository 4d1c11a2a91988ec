// SPDX-License-Identifier: Apache-2.0
/*
 * What guests/dirty and the program that drives it agree on. The guest has, besides its own RAM:
 *  - a control slot of one page, never logged: struct dirty_control;
 *  - a ledger slot, never logged: for vCPU v a struct dirty_ledger at v * ledger_stride;
 *  - up to 8 target slots, which it writes. Pages of them are touched by nothing else.
 * The control page's address is in the bootargs: control=<gpa>. All fields that the driver sets
 * are read by the guest once a round, after it saw the new round number (acquire).
 *
 * Driver: fill in the fields, then `go_round` = previous + 1 with release. Each vCPU of vcpu_mask
 * does its writes and then stores done_round[v] = go_round with release. Between rounds vCPUs wait
 * as wait_mode says. To stop a round early: stop_round = go_round. `quit` ends the guest.
 *
 * Every write changes the content of each page that it is counted for: values are unique.
 */
#ifndef TIDEMARK_DIRTY_PROTOCOL_H
#define TIDEMARK_DIRTY_PROTOCOL_H

#include <stdint.h>
#include <abi/assert.h>

#define DIRTY_MAGIC 0x59545244u		/* "DRTY" */
#define DIRTY_VERSION 1u
#define DIRTY_SLOTS 8
#define DIRTY_VCPUS 8

enum dirty_kind {
	DIRTY_STORE = 0,	/* 8-byte store */
	DIRTY_RMW = 1,		/* load, add, store */
	DIRTY_CROSS = 2,	/* 8-byte store that ends in the next page: two pages, two rows */
	DIRTY_ZVA = 3,		/* DC ZVA (x86: REP STOS) over a block that was not zero */
	DIRTY_STP = 4,		/* store pair (MOVUPS) */
	DIRTY_ATOMIC = 5,	/* exclusive load, add, store (LOCK CMPXCHG) to a shared word */
	DIRTY_BYTE = 6,		/* one byte */
	DIRTY_LSE = 7,		/* LDADD (LOCK XADD) where the CPU has LSE, else as ATOMIC */
	DIRTY_KINDS = 8,
};

enum dirty_wait {
	DIRTY_WAIT_WFI = 0,	/* WFI with a timer of 200 us */
	DIRTY_WAIT_SPIN = 1,	/* load and YIELD instruction */
	DIRTY_WAIT_YIELD = 2,	/* the YIELD hypercall */
};

struct dirty_slot {
	uint64_t gpa;
	uint64_t pages;
};
TM_ASSERT_SIZE(dirty_slot, 16);

struct dirty_control {
	/* set by the driver before the guest starts */
	uint32_t magic;
	uint32_t version;
	uint64_t ledger_gpa;
	uint64_t ledger_stride;		/* bytes a vCPU */
	/* set by the driver for each round */
	uint64_t seed;			/* with the vCPU's number it decides every write */
	uint64_t n_writes;		/* a vCPU; ~0: until stop_round */
	uint32_t n_slots;
	uint32_t kind_mask;		/* of 1 << DIRTY_*; 0: all */
	struct dirty_slot slots[DIRTY_SLOTS];
	uint32_t vcpu_mask;		/* who writes in this round; bit 0 is the boot CPU */
	uint32_t wait_mode;		/* DIRTY_WAIT_* */
	uint32_t pace;			/* loop turns between two writes */
	uint32_t locality;		/* 0: pages at random; n: runs of n writes to one page */
	uint64_t go_round;
	uint64_t stop_round;
	uint32_t quit;
	/* set by the guest */
	uint32_t state;			/* DIRTY_STATE_* */
	uint32_t vcpus;			/* that are up */
	uint32_t error;			/* nonzero: a bad field; the round was not done */
	uint64_t done_round[DIRTY_VCPUS];
	uint64_t count[DIRTY_VCPUS][DIRTY_KINDS]; /* writes since start */
	uint64_t pages_written[DIRTY_VCPUS];	/* rows put into the ledger since start */
};
TM_ASSERT_OFFSET(dirty_control, seed, 24);
TM_ASSERT_OFFSET(dirty_control, slots, 48);
TM_ASSERT_OFFSET(dirty_control, vcpu_mask, 176);
TM_ASSERT_OFFSET(dirty_control, go_round, 192);
TM_ASSERT_OFFSET(dirty_control, state, 212);
TM_ASSERT_OFFSET(dirty_control, done_round, 224);
TM_ASSERT_OFFSET(dirty_control, count, 288);
TM_ASSERT_SIZE(dirty_control, 864);

enum dirty_state { DIRTY_STATE_NONE = 0, DIRTY_STATE_READY = 1, DIRTY_STATE_ENDED = 2 };

/* One row a page and write, in the order of this vCPU's writes, put there before the store. */
struct dirty_row {
	uint64_t gpa;			/* of the first byte written in this page */
	uint64_t value;			/* stored there (after the operation, except for atomics) */
	uint64_t seq;			/* of this vCPU, from 1; both rows of a CROSS share it */
	uint32_t round;
	uint16_t kind;			/* DIRTY_* */
	uint16_t slot;			/* index in slots[] */
};
TM_ASSERT_SIZE(dirty_row, 32);

/* Row n lies at rows[n % capacity]; head counts rows whose store is done (release). */
struct dirty_ledger {
	uint64_t head;
	uint64_t capacity;		/* set by the guest from ledger_stride */
	uint64_t rsvd[2];
	struct dirty_row rows[];
};
TM_ASSERT_SIZE(dirty_ledger, 32);

/* Values: vCPU in the top byte, so that no two vCPUs ever store the same. */
#define DIRTY_VALUE(vcpu, seq)                                                                     \
	((uint64_t)((vcpu) + 1) << 56 | ((uint64_t)(seq) & 0xffffffffffffffu))

#endif
