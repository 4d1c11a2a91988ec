// SPDX-License-Identifier: Apache-2.0
/*
 * The dump of a panic: registers, then the frame-pointer chain with the names of the functions.
 * Runs on the panicking CPU alone, with the state of the machine in doubt: it reads nothing but
 * its stack and the image, and bounds what it reads.
 */
#include <arch/cpu.h>
#include <asm/exception.h>
#include <asm/irq.h>
#include <asm/layout.h>
#include <asm/panic.h>
#include <asm/sysreg.h>
#include <hyp/panic.h>
#include <hyp/sched.h>
#include <hyp/symtab.h>

#include <drivers/gic/gic.h>

#define TRACE_MAX 32

extern char __image_start[], __text_end[];

/* One panic is reported in the whole machine, so one frame is enough. */
static const struct el2_frame *frame;

void panic_set_frame(const struct el2_frame *f)
{
	frame = f;
}

static void print_address(const char *what, uint64_t pc)
{
	uint64_t offset = pc - (uint64_t)__image_start;
	uint64_t start;
	char name[64];

	if (pc < (uint64_t)__image_start || pc >= (uint64_t)__text_end ||
	    !symtab_lookup(offset, name, sizeof(name), &start)) {
		panic_print("  %s %#lx (not in the image)\n", what, pc);
		return;
	}
	panic_print("  %s %#lx %s+%#lx\n", what, pc, name, offset - start);
}

/* Where a frame record may be: in a stack's upper half. */
static bool in_stack(uint64_t fp)
{
	uint64_t offset = fp - HYP_STACK_BASE;

	return (fp & 7) == 0 && offset / HYP_STACK_STRIDE <= HYP_STACK_EMERGENCY &&
	       offset % HYP_STACK_STRIDE >= HYP_STACK_SIZE;
}

static void print_trace(uint64_t fp)
{
	uint64_t last = 0;
	unsigned repeated = 0;

	/* Frames go up the stack, so this ends; recursion is folded into one line. */
	for (unsigned shown = 0; shown < TRACE_MAX && in_stack(fp);) {
		const uint64_t *record = (const uint64_t *)fp;

		if (!record[1] || record[0] <= fp) {
			fp = 0;
		} else {
			fp = record[0];
		}
		if (record[1] == last && fp) {
			repeated++;
			continue;
		}
		if (repeated) {
			panic_print("       ... and %u times more\n", repeated);
			repeated = 0;
		}
		if (record[1]) {
			/* The call is one instruction before its return address. */
			print_address("from", record[1] - 4);
			shown++;
		}
		last = record[1];
	}
}

static void print_registers(const struct el2_frame *f)
{
	for (unsigned i = 0; i < 30; i += 3) {
		panic_print("  x%-2u %016lx  x%-2u %016lx  x%-2u %016lx\n", i, f->x[i], i + 1,
			    f->x[i + 1], i + 2, f->x[i + 2]);
	}
	panic_print("  x30 %016lx  sp  %016lx  pc  %016lx\n", f->x[30], f->sp, f->elr);
	panic_print("  esr %016lx  far %016lx  psr %016lx\n", f->esr, f->far, f->spsr);
}

static void print_system(void)
{
	panic_print("  hcr %016lx  vtt %016lx  tpi %016lx\n", read_sysreg(hcr_el2),
		    read_sysreg(vttbr_el2), read_sysreg(tpidr_el2));
}

static void halt_others(void)
{
	struct pcpu *me = this_pcpu();

	for (unsigned i = 0; i < pcpu_count; i++) {
		if (&pcpus[i] != me && pcpus[i].online) {
			gic_send_sgi(i, IRQ_SGI_HALT);
		}
	}
}

/* Its own frame has to be there while its chain is followed: no tail call. */
__attribute__((disable_tail_calls)) void arch_panic_dump(void)
{
	halt_others();
	if (frame) {
		print_registers(frame);
		print_system();
		panic_print("backtrace:\n");
		print_address("at  ", frame->elr);
		if (frame->x[30]) {
			print_address("lr  ", frame->x[30] - 4);
		}
		print_trace(frame->x[29]);
	} else {
		print_system();
		panic_print("backtrace:\n");
		print_trace((uint64_t)__builtin_frame_address(0));
	}
}
