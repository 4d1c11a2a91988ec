// SPDX-License-Identifier: Apache-2.0
/* The area that FS and GS point to, one per CPU; offsets for assembly. Private to guests/lib. */
#ifndef GUESTS_LIB_PERCPU_H
#define GUESTS_LIB_PERCPU_H

#define PERCPU_SELF 0
#define PERCPU_SP 8
#define PERCPU_ARMED 16
#define PERCPU_FLAGS 24
#define PERCPU_VALUE 32
#define PERCPU_GUARD 40		/* at FS:0x28, for libfdt: it comes as a hosted archive */
#define PERCPU_SAVED 48		/* rbx rbp r12 r13 r14 r15 */

#define START_SP 0
#define START_PERCPU 8

#define MSR_FS_BASE 0xc0000100
#define MSR_GS_BASE 0xc0000101
#define SEG_CODE 0x10
#define SEG_DATA 0x18

#define TRAMPOLINE 0x8000	/* a page of guests with RAM at 0 */
#define TRAMP_CR3 8
#define TRAMP_ENTRY 16
#define TRAMP_START 24
#define TRAMP_GDTR 32

#ifndef __ASSEMBLER__
#include <stddef.h>
#include <stdint.h>
#include <abi/assert.h>
#include <tidemark/guest.h>

struct percpu {
	struct percpu *self;
	uint64_t sp;			/* of the probe in progress */
	uint64_t armed;			/* a probe is in progress */
	uint64_t flags;
	uint64_t value;
	uint64_t guard;
	uint64_t saved[6];
	uint64_t esr;			/* what ended the probe: vector << 32 | error code */
	uint64_t far;
	uint64_t vector;
	uint32_t index;
	uint32_t on;			/* started, and not yet back in tm_cpu_off() */
	uint64_t irqs;
	uint32_t apic_on;		/* x2APIC mode, set by tm_irq_cpu_init() */
	uint8_t code[32] __attribute__((aligned(64)));	/* tm_probe_code's */
} __attribute__((aligned(128)));
TM_ASSERT_OFFSET(percpu, armed, PERCPU_ARMED);
TM_ASSERT_OFFSET(percpu, value, PERCPU_VALUE);
TM_ASSERT_OFFSET(percpu, guard, PERCPU_GUARD);
TM_ASSERT_OFFSET(percpu, saved, PERCPU_SAVED);

/* What a vector saved; the handler may change rip and rflags. */
struct frame {
	uint64_t gpr[15];		/* r15 r14 .. r8 rdi rsi rbp rdx rcx rbx rax */
	uint64_t vector;
	uint64_t error;
	uint64_t rip, cs, rflags, rsp, ss;
};

struct cpu_start {
	uint64_t sp;
	struct percpu *percpu;
	void (*fn)(void *arg);
	void *arg;
};

extern struct percpu tm_percpu[TM_GUEST_CPUS];

static inline struct percpu *this_cpu(void)
{
	struct percpu *p;

	__asm__ volatile("movq %%gs:0, %0" : "=r"(p));
	return p;
}

/* In assembly. */
void tm_secondary_entry(void);
uint64_t tm_probe_run(uint64_t (*fn)(uint64_t, uint64_t), const uint64_t args[6]);
extern const char tm_probe_fault_landing[];
extern const char tm_trampoline[], tm_trampoline_end[];
extern const char tm_vectors[];		/* 256 stubs of 16 bytes */
extern const uint64_t tm_map[];

/* Called from assembly. */
_Noreturn void tm_guest_main(const void *dtb);
_Noreturn void tm_secondary_main(struct cpu_start *start);
void tm_exception(struct frame *f);
/* exception.c: once, before anything may fault; then every CPU loads it. */
void tm_idt_init(void);
void tm_idt_load(void);
/* irq.c */
void tm_irq_dispatch(uint32_t vector);
bool tm_apic_on(void);
/* boot.c */
void tm_boot_parse(const void *dtb);
/* uart.c: the UART without the hypervisor's help */
void tm_uart_write(const char *p, size_t len);
size_t tm_uart_read(void *data, size_t len);
/* console.c: decides between hypercall and UART. */
void tm_console_init(void);
/* Output without the lock, for a program that has just crashed. */
void tm_console_unlocked(void);
#endif

#endif
