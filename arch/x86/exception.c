// SPDX-License-Identifier: Apache-2.0
/*
 * Exceptions of the hypervisor itself: always the end, but for an MSR that is not there. Turns the
 * vector into one line that a reader understands without the manual, UBSan's traps included, and
 * hands the frame to the dump.
 */
#include <asm/cpu.h>
#include <asm/exception.h>
#include <asm/layout.h>
#include <asm/panic.h>
#include <hyp/log.h>
#include <hyp/panic.h>

/* Page-fault error code (SDM volume 3, 4.7). */
#define PF_PRESENT (1u << 0)
#define PF_WRITE (1u << 1)
#define PF_RESERVED (1u << 3)
#define PF_FETCH (1u << 4)

extern char rdmsr_safe_insn[], wrmsr_safe_insn[], msr_safe_failed[];

/* By number, the same on all architectures. */
static const char *const ubsan_check[] = {
	"addition overflow", "unreachable code reached", "CFI check", "division overflow",
	"dynamic type", "float cast overflow", "function type mismatch", "implicit conversion",
	"invalid builtin argument", "Objective-C cast", "load of an invalid value",
	"missing return", "multiplication overflow", "negation overflow",
	"nullability of an argument", "nullability of a return value", "null argument",
	"null return value", "index out of bounds", "pointer overflow", "shift out of bounds",
	"subtraction overflow", "type mismatch, null or misaligned pointer",
	"alignment assumption", "variable length array bound",
};

static const char *const vector_name[] = {
	"division error", "debug exception", "NMI", "breakpoint", "overflow", "BOUND",
	"undefined instruction", "FPU not available", "double fault", "FPU segment overrun",
	"invalid TSS", "segment not present", "stack segment fault", "general protection fault",
	"page fault", "exception 15", "FPU error", "misaligned access", "machine check",
	"SIMD error", "virtualization exception", "control protection fault",
};

/* `ud1l check(%eax), %eax` is what -fsanitize-trap makes: 67 0f b9 40 check, or 67 0f b9 00. */
static bool is_ubsan(const struct x86_frame *f, unsigned *check)
{
	const uint8_t *p = (const uint8_t *)f->rip;

	if (f->vector != VECTOR_UD || f->rip < HYP_VA_BASE || p[0] != 0x67 || p[1] != 0x0f ||
	    p[2] != 0xb9 || (p[3] & ~0x40u)) {
		return false;
	}
	*check = p[3] ? p[4] : 0;
	return *check < ARRAY_SIZE(ubsan_check);
}

/* The hole below this CPU's stack was hit. */
static bool is_overflow(const struct x86_frame *f, uint64_t at)
{
	uint64_t offset = at - HYP_STACK_BASE;

	if (f->vector != VECTOR_PF && f->vector != VECTOR_DF) {
		return false;
	}
	return at >= HYP_STACK_BASE && at < HYP_VA_BASE &&
	       offset % HYP_STACK_STRIDE < HYP_STACK_STRIDE - HYP_STACK_SIZE &&
	       f->rsp - (at - at % HYP_STACK_STRIDE) <= HYP_STACK_STRIDE;
}

static void describe(const struct x86_frame *f, char *text, size_t len)
{
	uint64_t at = read_cr(2);
	unsigned check;

	if (is_overflow(f, at)) {
		hyp_snprintf(text, len, "stack overflow: rsp %#lx, page fault at %#lx", f->rsp, at);
	} else if (is_ubsan(f, &check)) {
		hyp_snprintf(text, len, "undefined behaviour: %s", ubsan_check[check]);
	} else if (f->vector == VECTOR_PF) {
		hyp_snprintf(text, len, "page fault: %s, %s at %#lx",
			     !(f->error & PF_PRESENT)  ? "not mapped"
			     : f->error & PF_RESERVED  ? "reserved bit"
						       : "forbidden",
			     f->error & PF_FETCH   ? "fetch"
			     : f->error & PF_WRITE ? "write"
						   : "read",
			     at);
	} else {
		hyp_snprintf(text, len, "%s, error code %#lx",
			     f->vector < ARRAY_SIZE(vector_name) ? vector_name[f->vector]
								 : "unknown exception",
			     f->error);
	}
}

static bool fixed_up(struct x86_frame *f)
{
	if (f->vector == VECTOR_GP && (f->rip == (uint64_t)rdmsr_safe_insn ||
				       f->rip == (uint64_t)wrmsr_safe_insn)) {
		f->rip = (uint64_t)msr_safe_failed;
		return true;
	}
	return false;
}

void x86_exception(struct x86_frame *f)
{
	char text[160];

	if (fixed_up(f)) {
		return;
	}
	panic_begin();
	panic_set_frame(f);
	describe(f, text, sizeof(text));
	panic_report(text);
}
