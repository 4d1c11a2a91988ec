// SPDX-License-Identifier: Apache-2.0
/* The area that TPIDR_EL1 points to, one per CPU; offsets for assembly. Private to guests/lib. */
#ifndef GUESTS_LIB_PERCPU_H
#define GUESTS_LIB_PERCPU_H

#define PERCPU_SP 0
#define PERCPU_SAVED 8		/* x19..x30 */
#define PERCPU_ARMED 104
#define PERCPU_DAIF 112
#define PERCPU_VALUE 120

#define START_SP 0
#define START_PERCPU 8

#define FRAME_ELR 248
#define FRAME_SPSR 256
#define FRAME_ESR 264
#define FRAME_FAR 272
#define FRAME_VECTOR 280
#define FRAME_FPSR 288
#define FRAME_V 304
#define FRAME_SIZE (304 + 512)

#ifndef __ASSEMBLER__
#include <stddef.h>
#include <stdint.h>
#include <abi/assert.h>
#include <tidemark/guest.h>

struct percpu {
	uint64_t sp;			/* of the probe in progress */
	uint64_t saved[12];
	uint64_t armed;			/* a probe is in progress */
	uint64_t daif;
	uint64_t value;
	uint64_t esr;			/* of the exception that ended the probe */
	uint64_t far;
	uint64_t vector;
	uint32_t index;
	uint32_t irq_depth;
	uint64_t irqs;
	uint64_t redist;		/* GICv3: this CPU's frame */
	uint32_t sgi_mask;		/* GICv2: this CPU's target bit */
	uint32_t insn[8] __attribute__((aligned(64)));	/* tm_probe_insn's code */
} __attribute__((aligned(128)));
TM_ASSERT_OFFSET(percpu, armed, PERCPU_ARMED);
TM_ASSERT_OFFSET(percpu, daif, PERCPU_DAIF);
TM_ASSERT_OFFSET(percpu, value, PERCPU_VALUE);

/* What a vector saved; the handler may change elr and spsr. */
struct frame {
	uint64_t x[31];
	uint64_t elr;
	uint64_t spsr;
	uint64_t esr;
	uint64_t far;
	uint64_t vector;		/* 0..15 in the table's order */
	uint64_t fpsr;
	uint64_t fpcr;
	uint64_t v[32][2];
};
TM_ASSERT_OFFSET(frame, elr, FRAME_ELR);
TM_ASSERT_OFFSET(frame, vector, FRAME_VECTOR);
TM_ASSERT_OFFSET(frame, v, FRAME_V);
TM_ASSERT_SIZE(frame, FRAME_SIZE);

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

	__asm__ volatile("mrs %0, tpidr_el1" : "=r"(p));
	return p;
}

/* In assembly. */
void tm_secondary_entry(void);
uint64_t tm_probe_run(uint64_t (*fn)(uint64_t, uint64_t), const uint64_t args[6]);
extern const char tm_probe_fault_landing[];

/* Called from assembly. */
_Noreturn void tm_guest_main(const void *dtb);
_Noreturn void tm_secondary_main(struct cpu_start *start);
void tm_exception(struct frame *f);
/* irq.c */
void tm_irq_dispatch(void);
/* boot.c */
void tm_boot_parse(const void *dtb);
/* uart.c: the UART without the hypervisor's help */
void tm_uart_write(const char *p, size_t len);
size_t tm_uart_read(void *data, size_t len);
/* console.c: decides between hypercall and PL011; before this only the PL011 at QEMU's place. */
void tm_console_init(void);
/* Output without the lock, for a program that has just crashed. */
void tm_console_unlocked(void);
#endif

#endif
