// SPDX-License-Identifier: Apache-2.0
/*
 * Port accesses: register forms at once, string forms up to a bounded number of elements an exit,
 * through the guest's page tables. RIP moves on when the count is used up, so a long one comes back
 * here. Runs on the vCPU's CPU, no lock held.
 */
#include <asm/board.h>
#include <asm/guest.h>
#include <hyp/guest_copy.h>
#include <hyp/string.h>
#include <hyp/vm.h>

#define ELEMENTS_MAX 64u

static uint64_t low(uint64_t val, unsigned bytes)
{
	return bytes == 8 ? val : val & ((1ull << (8 * bytes)) - 1);
}

/* A register of which `bytes` are written: 4 clear the upper half, fewer leave the rest. */
static void put_low(struct vcpu *v, unsigned gpr, uint64_t val, unsigned bytes)
{
	uint64_t old = vcpu_gpr(v, gpr);

	if (bytes < 4) {
		val = low(val, bytes) | (old & ~low(~0ull, bytes));
	}
	vcpu_set_gpr(v, gpr, bytes == 4 ? (uint32_t)val : val);
}

bool guest_linear(struct vcpu *v, unsigned seg, uint64_t offset, unsigned bytes, bool write,
		  uint64_t *linear)
{
	uint32_t attr = (uint32_t)virt->read(v, XREG_SEG(seg, SEG_ATTRIBUTES));
	uint64_t limit = virt->read(v, XREG_SEG(seg, SEG_LIMIT)), first = 0, last = limit;
	enum guest_mode mode = guest_mode(v);
	unsigned fault = seg == TM_SEG_SS ? VEC_SS : VEC_GP;

	*linear = offset;
	if (mode == MODE_64) {
		if (seg == TM_SEG_FS || seg == TM_SEG_GS) {
			*linear += virt->read(v, XREG_SEG(seg, SEG_BASE));
		}
		if (is_canonical(*linear) && is_canonical(*linear + bytes - 1)) {
			return true;
		}
		inject_exception(v, fault, true, 0);
		return false;
	}
	/* Expand-down data: what is above the limit. */
	if ((attr & 0xcu) == 4) {
		first = limit + 1;
		last = attr & SEG_DB ? ~0u : 0xffff;
	}
	if ((attr & SEG_UNUSABLE) || offset < first || offset > last || bytes - 1 > last - offset ||
	    (mode >= MODE_PROTECTED && (attr & 8 ? write || !(attr & 2) : write && !(attr & 2)))) {
		inject_exception(v, fault, true, 0);
		return false;
	}
	*linear = (uint32_t)(offset + virt->read(v, XREG_SEG(seg, SEG_BASE)));
	return true;
}

/* Both ends of an operand that may cross a page. False: #PF injected. */
static bool translate(struct vcpu *v, uint64_t linear, unsigned bytes, bool write, struct walk w[2])
{
	unsigned access = (write ? WALK_WRITE : 0u) | (guest_cpl(v) == 3 ? WALK_USER : 0u);
	uint64_t last = linear + bytes - 1;

	for (unsigned i = 0; i < 2; i++) {
		uint64_t at = i == 0 ? linear : last;

		if (!guest_walk(v, at, access, &w[i])) {
			inject_pf(v, i == 0 ? at : ALIGN_DOWN(at, PAGE_SIZE), w[i].error);
			return false;
		}
	}
	return true;
}

static unsigned in_first_page(uint64_t linear, unsigned bytes)
{
	return MIN(bytes, (unsigned)(PAGE_SIZE - (linear & PAGE_MASK)));
}

enum copied guest_read_linear(struct vcpu *v, uint64_t linear, void *buf, unsigned bytes)
{
	unsigned n = in_first_page(linear, bytes);
	struct walk w[2];

	memset(buf, 0xff, bytes);	/* what is in no memory */
	if (!translate(v, linear, bytes, false, w)) {
		return COPY_FAULTED;
	}
	if (guest_read(v->vm, gpa(w[0].gpa), buf, n) ||
	    (n < bytes && guest_read(v->vm, gpa(ALIGN_DOWN(w[1].gpa, PAGE_SIZE)), (uint8_t *)buf + n,
				     bytes - n))) {
		return COPY_NO_MEMORY;
	}
	return COPY_DONE;
}

enum copied guest_write_linear(struct vcpu *v, uint64_t linear, const void *buf, unsigned bytes)
{
	unsigned n = in_first_page(linear, bytes);
	struct walk w[2];
	int err;

	if (!translate(v, linear, bytes, true, w)) {
		return COPY_FAULTED;
	}
	err = guest_write(v->vm, v, gpa(w[0].gpa), buf, n, NULL);
	if (!err && n < bytes) {
		err = guest_write(v->vm, v, gpa(ALIGN_DOWN(w[1].gpa, PAGE_SIZE)),
				  (const uint8_t *)buf + n, bytes - n, NULL);
	}
	return err == -TM_EBUSY ? COPY_BUSY : err ? COPY_NO_MEMORY : COPY_DONE;
}

/* One element. False: a fault has been injected, or it is to be tried again. */
static bool element(struct vcpu *v, const struct exit_io *io, uint64_t offset)
{
	unsigned seg = io->write ? io->segment : TM_SEG_ES;
	enum copied done;
	uint64_t linear;
	uint32_t val = 0;

	if (!guest_linear(v, seg, offset, io->size, !io->write, &linear)) {
		return false;
	}
	if (io->write) {
		done = guest_read_linear(v, linear, &val, io->size);
		if (done == COPY_DONE || done == COPY_NO_MEMORY) {
			board_port(v, io->port, io->size, true, &val);
		}
	} else {
		struct walk w[2];

		/* The port is read once, so the way must be free first. */
		if (!translate(v, linear, io->size, true, w)) {
			return false;
		}
		board_port(v, io->port, io->size, false, &val);
		done = guest_write_linear(v, linear, &val, io->size);
	}
	return done == COPY_DONE || done == COPY_NO_MEMORY;
}

static void string_io(struct vcpu *v, const struct exit_io *io, unsigned len)
{
	unsigned index = io->write ? GPR_RSI : GPR_RDI, size = io->addr_size, i = 0;
	uint64_t count = io->rep ? low(v->arch.gpr[GPR_RCX], size) : 1;
	uint64_t n = MIN(count, (uint64_t)ELEMENTS_MAX), at = low(v->arch.gpr[index], size);
	uint64_t step = virt->read(v, XREG_RFLAGS) & RFLAGS_DF ? 0 - (uint64_t)io->size : io->size;

	for (; i < n && element(v, io, at); i++) {
		at = low(at + step, size);
	}
	put_low(v, index, at, size);
	if (io->rep) {
		put_low(v, GPR_RCX, count - i, size);
	}
	if (i == count) {
		guest_skip(v, len);
	}
}

void exit_io(struct vcpu *v, const struct exit_io *io, unsigned len)
{
	uint32_t val;

	if (io->string) {
		string_io(v, io, len);
		return;
	}
	val = (uint32_t)low(v->arch.gpr[GPR_RAX], io->size);
	board_port(v, io->port, io->size, io->write, &val);
	if (!io->write) {
		put_low(v, GPR_RAX, val, io->size);
	}
	guest_skip(v, len);
}
