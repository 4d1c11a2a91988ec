// SPDX-License-Identifier: Apache-2.0
/*
 * Exceptions from EL2 itself: always the end. Turns the syndrome into one line that a reader
 * understands without the manual, UBSan's traps included, and hands the frame to the dump.
 */
#include <asm/exception.h>
#include <asm/panic.h>
#include <asm/sysreg.h>
#include <hyp/log.h>
#include <hyp/panic.h>

#define BRK_UBSAN 0x5500u	/* brk #0x5500 + check, from -fsanitize-trap */

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

/* DDI 0487, ESR_ELx.EC. */
static const char *class_name(unsigned ec)
{
	switch (ec) {
	case 0x00: return "undefined instruction";
	case 0x07: return "FP or SIMD instruction, trapped";
	case 0x0e: return "illegal execution state";
	case 0x16: return "HVC";
	case 0x17: return "SMC";
	case 0x18: return "system register, trapped";
	case 0x21: return "instruction abort";
	case 0x22: return "misaligned PC";
	case 0x25: return "data abort";
	case 0x26: return "misaligned SP";
	case 0x2f: return "SError";
	case 0x31: return "breakpoint";
	case 0x33: return "software step";
	case 0x35: return "watchpoint";
	case EC_BRK: return "BRK instruction";
	default: return "unknown class";
	}
}

/* ISS.DFSC / IFSC of aborts. */
static const char *fault_name(unsigned fsc)
{
	switch (fsc & 0x3c) {
	case 0x00: return "address size fault";
	case 0x04: return "translation fault";
	case 0x08: return "access flag fault";
	case 0x0c: return "permission fault";
	case 0x10: return "external abort";
	case 0x14: return "external abort on a table walk";
	case 0x20: return "alignment fault";
	default: return "other fault";
	}
}

static void describe_sync(const struct el2_frame *f, char *text, size_t len)
{
	unsigned ec = (unsigned)(f->esr >> ESR_EC_SHIFT) & 0x3f;
	unsigned iss = (unsigned)f->esr & ESR_ISS_MASK;
	unsigned check = (iss & 0xffff) - BRK_UBSAN;

	if (f->overflow) {
		hyp_snprintf(text, len, "stack overflow: sp %#lx, %s at %#lx", f->sp, class_name(ec),
			     f->far);
	} else if (ec == EC_BRK && check < ARRAY_SIZE(ubsan_check)) {
		hyp_snprintf(text, len, "undefined behaviour: %s", ubsan_check[check]);
	} else if (ec == EC_BRK) {
		hyp_snprintf(text, len, "BRK instruction #%#x", iss & 0xffff);
	} else if (ec == 0x21 || ec == 0x25) {
		hyp_snprintf(text, len, "%s: %s, %s at %#lx", class_name(ec), fault_name(iss),
			     ec == 0x21 ? "fetch" : (iss & 0x40) ? "write" : "read", f->far);
	} else {
		hyp_snprintf(text, len, "%s, ISS %#x", class_name(ec), iss);
	}
}

void el2_exception(struct el2_frame *f, uint64_t kind)
{
	static const char *const kind_name[] = {"exception", "IRQ", "FIQ", "SError"};
	char text[160];

	panic_begin();
	panic_set_frame(f);
	if (kind == EL2_FAULT_SYNC) {
		describe_sync(f, text, sizeof(text));
	} else {
		hyp_snprintf(text, sizeof(text), "%s taken inside the hypervisor", kind_name[kind & 3]);
	}
	panic_report(text);
}
