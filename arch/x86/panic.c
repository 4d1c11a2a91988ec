// SPDX-License-Identifier: Apache-2.0
/*
 * The dump of a panic: registers, then the frame-pointer chain with the names of the functions.
 * Runs on the panicking CPU alone, with the state of the machine in doubt: it reads nothing but
 * its stack and the image, and bounds what it reads.
 */
#include <arch/cpu.h>
#include <asm/cpu.h>
#include <asm/exception.h>
#include <asm/irq.h>
#include <asm/layout.h>
#include <asm/panic.h>
#include <drivers/apic/apic.h>
#include <hyp/boot_info.h>
#include <hyp/panic.h>
#include <hyp/sched.h>
#include <hyp/symtab.h>

#define TRACE_MAX 32

extern char __image_start[], __text_end[];

/* One panic is reported in the whole machine, so one frame is enough. */
static const struct x86_frame *frame;

void panic_set_frame(const struct x86_frame *f)
{
	frame = f;
}

static bool in_text(uint64_t pc)
{
	return pc >= (uint64_t)__image_start && pc < (uint64_t)__text_end;
}

static void print_address(const char *what, uint64_t pc)
{
	uint64_t offset = pc - (uint64_t)__image_start;
	uint64_t start;
	char name[64];

	if (!in_text(pc) || !symtab_lookup(offset, name, sizeof(name), &start)) {
		panic_print("  %s %#lx (not in the image)\n", what, pc);
		return;
	}
	panic_print("  %s %#lx %s+%#lx\n", what, pc, name, offset - start);
}

/* Where a frame record may be: a CPU's stack, or one of its exception stacks. */
static bool in_stack(uint64_t fp)
{
	uint64_t offset = fp - HYP_STACK_BASE;
	uint64_t in = offset % HYP_STACK_STRIDE;

	if ((fp & 7) || offset / HYP_STACK_STRIDE >= BOOT_MAX_CPUS) {
		return false;
	}
	return in >= HYP_STACK_STRIDE - HYP_STACK_SIZE
		       ? in <= HYP_STACK_STRIDE - 16
		       : in < HYP_IST_COUNT * HYP_IST_STRIDE &&
				 in % HYP_IST_STRIDE >= HYP_IST_STRIDE - HYP_IST_SIZE &&
				 in % HYP_IST_STRIDE <= HYP_IST_STRIDE - 16;
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
			/* Inside of the call, which is before its return address. */
			print_address("from", record[1] - 1);
			shown++;
		}
		last = record[1];
	}
}

static void print_registers(const struct x86_frame *f)
{
	panic_print("  rax %016lx  rbx %016lx  rcx %016lx\n", f->rax, f->rbx, f->rcx);
	panic_print("  rdx %016lx  rsi %016lx  rdi %016lx\n", f->rdx, f->rsi, f->rdi);
	panic_print("  r8  %016lx  r9  %016lx  r10 %016lx\n", f->r8, f->r9, f->r10);
	panic_print("  r11 %016lx  r12 %016lx  r13 %016lx\n", f->r11, f->r12, f->r13);
	panic_print("  r14 %016lx  r15 %016lx  rbp %016lx\n", f->r14, f->r15, f->rbp);
	panic_print("  rsp %016lx  rip %016lx  flg %016lx\n", f->rsp, f->rip, f->rflags);
	panic_print("  vec %016lx  err %016lx  cs  %016lx\n", f->vector, f->error, f->cs);
}

static void print_system(void)
{
	panic_print("  cr0 %016lx  cr2 %016lx  cr3 %016lx\n", read_cr(0), read_cr(2), read_cr(3));
	panic_print("  cr4 %016lx\n", read_cr(4));
}

static void halt_others(void)
{
	struct pcpu *me = this_pcpu();

	for (unsigned i = 0; i < pcpu_count; i++) {
		if (&pcpus[i] != me && pcpus[i].online) {
			host_apic_send((uint32_t)pcpus[i].hwid, IRQ_HALT);
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
		print_address("at  ", frame->rip);
		if (!in_text(frame->rip) && in_stack(frame->rsp)) {
			/* A call into nowhere: it has made no frame. */
			print_address("from", *(const uint64_t *)frame->rsp - 1);
		}
		print_trace(frame->rbp);
	} else {
		print_system();
		panic_print("backtrace:\n");
		print_trace((uint64_t)__builtin_frame_address(0));
	}
}
