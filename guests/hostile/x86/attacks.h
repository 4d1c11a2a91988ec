// SPDX-License-Identifier: Apache-2.0
/*
 * x86's own kinds of attack. All run on the boot CPU with interrupts masked but where they say
 * otherwise; NMIs and vectors 16 to 31 that they send to themselves are counted and dropped.
 */
#ifndef HOSTILE_ATTACKS_H
#define HOSTILE_ATTACKS_H

#include <tidemark/probe.h>
#include "../hostile.h"

/* Order of the instruction encoding. */
enum gpr { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };

/* run.S: jumps to `code` with these registers (but RSP). Whatever it returns to by RET comes back;
 * run_out holds what it left. For tm_probe_call(), one CPU only. */
struct run {
	uint64_t reg[16];
	uint64_t code;
};
uint64_t run_code(uint64_t run);
extern uint64_t run_out[16];
extern const char run_landing[];
/* R13 and R12 of an access that the manager may be asked about: "go on there" (hostilemgr). */
#define RUN_SKIP_MAGIC 0x70696b7365736163ull

/* arch.c. The table's entries are STUB bytes; each ends in a RET, and nothing behind it matters. */
#define STUB 32u
#define STUBS 16384u
#define INSN_RET 0xc3u
extern uint8_t stub_table[STUBS][STUB];
extern uint64_t scratch[1024];
struct tm_probe run_stub(struct hostile *h, struct run *r, uint32_t stub);
/* An address that operands may be at: scratch, unmapped, non-canonical, of nobody. */
uint64_t draw_pointer(struct tm_prng *rng);
/* Takes what is pending, ends what is in service, and puts the local APIC back to where it was. */
void settle(void);
uint64_t nmis_taken(void);

/* msrs.c */
void attack_msrs(struct hostile *h);
/* ports.c: every port, in every size and direction; string instructions. */
void attack_ports(struct hostile *h);
/* control.c: control and debug registers, XCR0, segments and descriptors. */
void attack_control(struct hostile *h);
void attack_descriptors(struct hostile *h);
/* insns.c: undefined and privileged instructions. */
void attack_instructions(struct hostile *h);
/* apic.c: IPIs, NMIs, the timer; registers at all offsets and widths. */
void attack_ipis(struct hostile *h);
void attack_timer(struct hostile *h);
void attack_apic(struct hostile *h);
/* mmio.c: instructions that no driver would use on a device. */
void attack_mmio(struct hostile *h);

#endif
