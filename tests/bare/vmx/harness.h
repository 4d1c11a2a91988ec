// SPDX-License-Identifier: Apache-2.0
/*
 * arch/x86/vmx/ alone on a machine: one vCPU, whose code is functions of this program in 64-bit mode
 * under an EPT that maps memory where it is. The handlers of asm/exit.h record what they were told;
 * run_until() enters until one of a kind has come. TAP on COM1.
 */
#ifndef TESTS_BARE_VMX_HARNESS_H
#define TESTS_BARE_VMX_HARNESS_H

#include <asm/cpu.h>
#include <asm/exit.h>
#include <asm/io.h>
#include <asm/msr.h>
#include <hyp/sched.h>
#include <hyp/string.h>
#include <hyp/vm.h>

/* stubs.c */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void point(bool good, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void finish(void) __attribute__((noreturn));
void host_trap(uint64_t vector, uint64_t *frame);

enum kind {
	NOTHING, CALL, CPUID, RDMSR, WRMSR, HLT, PAUSE, XSETBV, INVD, CR_READ, CR_WRITE, DR, IO, NPF,
	EXCEPTION, TRIPLE, UNDEFINED, UNKNOWN, INVALID, GP, IRQ, KILLED
};
struct record {
	enum kind kind;
	uint64_t a, b, c;
	unsigned len;
	struct exit_io io;
	struct exit_npf npf;
	struct x86_event event;		/* v->arch.event when an NPF came */
	char why[64];
};
extern struct record last;
extern unsigned left_calls;
extern struct vm vm;
extern struct vcpu vcpu;
/* What dirty_hw_logged() got. */
#define LOGGED_MAX 16384u
extern uint64_t logged[LOGGED_MAX];
extern unsigned logged_count, drains;
extern bool logged_in_guest;

void enter_once(void);
/* Until an exit of that kind, at most so many entries; false when something else that ends it came. */
bool run_until(enum kind k, unsigned entries);
uint64_t get(enum x86_reg r);
void set(enum x86_reg r, uint64_t val);
void event(enum event_type type, uint8_t vector);

/* guest.c */
#define TEST_BASE 0x8000000ull		/* 32 MiB of 4 KiB leaves */
#define TEST_PAGES 8192u
extern volatile unsigned traps[256];	/* taken by the guest, by vector */
extern void (*volatile nmi_hook)(uint64_t *frame);
extern uint64_t guest_gdt[512], guest_stack_at;
extern volatile uint64_t write_count;
extern volatile bool released;

void guest_init(void);
/* Power-on for a function; the vCPU is loaded. */
void guest_start(void (*fn)(void));
void guest_start_real(void);
uint64_t *pte_of(uint64_t a);
void ept_flush(void);
void gdt_page_clean(void);

void guest_calls(void);
void guest_instructions(void);
void guest_strings(void);
void guest_control(void);
void guest_touch(void);
void guest_triple(void);
void guest_waits(void);
void guest_masked(void);
void guest_forever(void);
void guest_nmi(void);
void guest_steps(void);
void guest_int1(void);
void guest_writes(void);
void guest_full(void);
void guest_trap(uint64_t vector, uint64_t *frame);

enum { MARK_CALLS = 7, MARK_INSNS, MARK_CONTROL, MARK_TOUCH1, MARK_TOUCH2, MARK_WAITED, MARK_MASKED,
	MARK_OPEN, MARK_NMI_FIRST, MARK_NMI_LOOP, MARK_HOOK, MARK_WRITTEN, MARK_FULL1, MARK_FULL2,
	MARK_STEPS, MARK_STEPPED, MARK_INT1 };
static inline uint64_t guest_call(uint64_t mark)
{
	__asm__ volatile("vmcall" : "+a"(mark) : : "memory");
	return mark;
}

/* exits.c, events.c, pml.c */
void test_exits(void);
void test_events(void);
void test_interrupts(void);
void test_pml(void);

#endif
