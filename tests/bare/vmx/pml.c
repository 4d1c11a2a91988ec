// SPDX-License-Identifier: Apache-2.0
// Page-modification logging (C-141): every page once, whatever the buffer's state and what was being
// delivered when it was full.

#include "harness.h"

#define STACK_AT (TEST_BASE + 0x1f00000)

static void arm(uint64_t pages)
{
	for (uint64_t i = 0; i < pages; i++) {
		*pte_of(TEST_BASE + i * PAGE_SIZE) &= ~(1ull << 9);
	}
	ept_flush();
	logged_count = drains = 0;
}

/* The first n pages once each; how many others, in *extra. */
static bool exactly(uint64_t n, unsigned *extra)
{
	static uint8_t seen[TEST_PAGES];

	memset(seen, 0, sizeof(seen));
	*extra = 0;
	for (unsigned i = 0; i < logged_count; i++) {
		uint64_t page = (logged[i] - TEST_BASE) / PAGE_SIZE;

		if (page >= n) {
			(*extra)++;
		} else if (seen[page]++) {
			return false;
		}
	}
	for (uint64_t i = 0; i < n; i++) {
		if (!seen[i]) {
			return false;
		}
	}
	return true;
}

static void test_counts(void)
{
	static const uint64_t counts[] = {1, 10, 511, 512, 513, 1024, 1025, 4000};
	unsigned extra;

	for (unsigned k = 0; k < ARRAY_SIZE(counts); k++) {
		write_count = counts[k];
		guest_start(guest_writes);
		arm(write_count);
		point(run_until(CALL, 40) && last.a == MARK_WRITTEN && exactly(write_count, &extra) &&
			      extra == 0 && drains == (write_count + 511) / 512 && logged_in_guest,
		      "%u writes: %u logged in %u drains", (unsigned)write_count, logged_count, drains);
	}
	logged_count = drains = 0;
	guest_start(guest_writes);
	point(run_until(CALL, 5) && logged_count == 0 && drains == 0, "dirty pages are logged no more");
}

static void test_full_in_delivery(void)
{
	const struct x86_event *e = &vcpu.arch.event;
	unsigned ints = traps[0xcc], uds = traps[6], extra;

	guest_stack_at = STACK_AT;
	guest_start(guest_full);
	arm(1024);
	*pte_of(STACK_AT - 8) &= ~(1ull << 9);
	*pte_of(STACK_AT - 8 - PAGE_SIZE) &= ~(1ull << 9);
	ept_flush();
	/* Bochs 2.7 does not say that it was delivering an INT n; it starts that again. */
	point(run_until(CALL, 10) && last.a == MARK_FULL1 && traps[0xcc] == ints + 1 && traps[3] == 0,
	      "full when INT 0xcc pushes its frame: delivered once");
	point(exactly(512, &extra) && extra == 1, "%u logged", logged_count);
	enter_once();
	point(last.kind == NOTHING && e->valid && e->type == EVENT_HW_EXCEPTION && e->vector == 6,
	      "full when #UD pushes its frame");
	point(run_until(CALL, 10) && last.a == MARK_FULL2 && traps[6] == uds + 1, "delivered once");
	point(exactly(1024, &extra) && extra == 2, "%u logged", logged_count);
	guest_stack_at = 0;
}

/* The handler fills the buffer; its IRET loads a code segment whose accessed bit is to be set. */
static void hook_fill(uint64_t *frame)
{
	for (uint64_t i = 0; i < 512; i++) {
		*(volatile uint64_t *)(TEST_BASE + i * PAGE_SIZE) = i;
	}
	frame[1] = 0x30;
}

static void test_full_at_iret(void)
{
	unsigned before = traps[2], full = 0, extra;
	uint64_t blocking = 0;

	nmi_hook = hook_fill;
	guest_start(guest_nmi);
	run_until(CALL, 5);
	arm(512);
	gdt_page_clean();
	event(EVENT_NMI, 2);
	for (enter_once(); last.kind == NOTHING && full < 5; enter_once()) {
		full++;
		blocking = get(XREG_BLOCKING);
	}
	point(full == 1 && blocking == TM_BLOCK_NMI, "full at IRET from an NMI: blocked again");
	point(last.kind == CALL && last.a == MARK_NMI_LOOP && traps[2] == before + 1 &&
		      get(XREG_BLOCKING) == 0, "one NMI, not blocked at its end");
	point(exactly(512, &extra) && extra == 1, "%u logged", logged_count);
	nmi_hook = NULL;
}

void test_pml(void)
{
	test_counts();
	test_full_in_delivery();
	test_full_at_iret();
}
