// SPDX-License-Identifier: Apache-2.0
// Events into the guest, windows, deliveries that an exit interrupts, NMI blocking; host interrupts.

#include "harness.h"

#define STACK_AT (TEST_BASE + 0x10000)

static void test_injection(void)
{
	unsigned before = traps[0x50];

	released = true;
	guest_start(guest_waits);
	set(XREG_RFLAGS, 0x202);
	event(EVENT_EXT_INT, 0x50);
	point(run_until(CALL, 10) && traps[0x50] == before + 1 && !vcpu.arch.event.valid,
	      "an interrupt is delivered");
	guest_start(guest_masked);
	vmx_ops.window(&vcpu, WINDOW_IRQ);
	point(run_until(CALL, 100) && last.a == MARK_MASKED, "IF = 0: no window");
	enter_once();
	point(last.kind == NOTHING && (get(XREG_RFLAGS) & 0x200) && get(XREG_BLOCKING) == 0,
	      "the window opens after STI and its shadow");
	before = traps[0x51];
	event(EVENT_EXT_INT, 0x51);
	point(run_until(CALL, 10) && last.a == MARK_OPEN && traps[0x51] == before + 1,
	      "delivered in the window");
}

/* The stack of the delivery is not there. */
static void test_interrupted_irq(void)
{
	uint64_t *pte = pte_of(STACK_AT - 8), old = *pte;
	unsigned before = traps[0x52];

	guest_stack_at = STACK_AT;
	guest_start(guest_waits);
	set(XREG_RFLAGS, 0x202);
	*pte = 0;
	ept_flush();
	event(EVENT_EXT_INT, 0x52);
	enter_once();
	point(last.kind == NPF && last.event.valid && last.event.vector == 0x52 &&
		      last.event.type == EVENT_EXT_INT && vcpu.arch.event.valid,
	      "an EPT violation in a delivery keeps the event");
	*pte = old;
	ept_flush();
	point(run_until(CALL, 10) && traps[0x52] == before + 1, "delivered once");
	guest_stack_at = 0;
}

static void hook_call(uint64_t *frame)
{
	(void)frame;
	guest_call(MARK_HOOK);
}

static void test_interrupted_nmi(void)
{
	uint64_t *pte = pte_of(STACK_AT - 8), old = *pte;
	unsigned before = traps[2];

	nmi_hook = hook_call;
	guest_stack_at = STACK_AT;
	guest_start(guest_nmi);
	run_until(CALL, 5);
	*pte = 0;
	ept_flush();
	event(EVENT_NMI, 2);
	enter_once();
	point(last.kind == NPF && vcpu.arch.event.valid && vcpu.arch.event.type == EVENT_NMI &&
		      get(XREG_BLOCKING) == 0, "an NMI whose delivery was interrupted blocks none yet");
	*pte = old;
	ept_flush();
	point(run_until(CALL, 10) && last.a == MARK_HOOK && get(XREG_BLOCKING) == TM_BLOCK_NMI,
	      "its handler is blocked");
	vmx_ops.window(&vcpu, WINDOW_NMI);
	enter_once();
	point(last.kind == NOTHING && get(XREG_BLOCKING) == 0, "IRET opens the window");
	point(run_until(CALL, 10) && last.a == MARK_NMI_LOOP && traps[2] == before + 1, "one NMI");
	guest_stack_at = 0;
	nmi_hook = NULL;
}

/* 28.2.3: IRET itself meets an EPT violation, after it has ended the blocking. */
static void test_iret(void)
{
	uint64_t *pte = pte_of(STACK_AT), old = *pte;
	unsigned before = traps[2];

	nmi_hook = hook_call;
	guest_stack_at = STACK_AT + 48;	/* the frame in one page, what the handler pushes below it */
	guest_start(guest_nmi);
	run_until(CALL, 5);
	set(XREG_RSP, guest_stack_at);
	event(EVENT_NMI, 2);
	point(run_until(CALL, 5) && last.a == MARK_HOOK, "in the NMI handler");
	*pte = 0;
	ept_flush();
	enter_once();
	point(last.kind == NPF && last.npf.nmi_unblocked && get(XREG_BLOCKING) == TM_BLOCK_NMI,
	      "an EPT violation by IRET: blocked again");
	*pte = old;
	ept_flush();
	point(run_until(CALL, 10) && last.a == MARK_NMI_LOOP && get(XREG_BLOCKING) == 0 &&
		      traps[2] == before + 1, "after IRET: one NMI, not blocked");
	guest_stack_at = 0;
	nmi_hook = NULL;
}

/* A processor may open the window for NMIs in the shadow of STI, and need not take one there. */
static void test_nmi_in_shadow(void)
{
	uint64_t rip;

	guest_start(guest_forever);
	set(XREG_RFLAGS, 0x202);
	set(XREG_BLOCKING, TM_BLOCK_STI);
	rip = get(XREG_RIP);
	vmx_ops.window(&vcpu, WINDOW_NMI);
	enter_once();
	point(last.kind == NOTHING && get(XREG_BLOCKING) == 0, "a window for NMIs behind STI's shadow");
	vmx_ops.window(&vcpu, WINDOW_NMI);
	enter_once();
	point(last.kind == NOTHING && get(XREG_RIP) - rip < 32, "and at once without a shadow");
	vmx_ops.window(&vcpu, WINDOW_NONE);
}

/* 27.3.1.5: in a shadow with TF set a trap must be pending, and an exit by #DB saves none. */
static void test_step_in_shadow(void)
{
	unsigned before = traps[1];

	guest_start(guest_steps);
	point(run_until(CALL, 5) && last.a == MARK_STEPS, "a guest that steps itself over STI");
	enter_once();
	point(last.kind == EXCEPTION && last.a == 1 && (get(XREG_RFLAGS) & 0x300) == 0x300, "the trap");
	set(XREG_BLOCKING, TM_BLOCK_STI);	/* a processor saves the shadow, Bochs 2.7 does not */
	event(EVENT_HW_EXCEPTION, 1);
	enter_once();
	point(last.kind == EXCEPTION && last.a == 1 && traps[1] == before + 1,
	      "delivered, and the next one comes");
	event(EVENT_HW_EXCEPTION, 1);
	while (last.kind == EXCEPTION && traps[1] < before + 9) {
		enter_once();
		if (last.kind == EXCEPTION) {
			event(EVENT_HW_EXCEPTION, 1);
		}
	}
	point(last.kind == CALL && last.a == MARK_STEPPED, "until it has had enough");
	/* The same from outside. */
	guest_start(guest_forever);
	vmx_ops.put(&vcpu);
	set(XREG_RFLAGS, 0x302);
	set(XREG_BLOCKING, TM_BLOCK_STI);
	vmx_ops.load(&vcpu);
	enter_once();
	point(last.kind == EXCEPTION && last.a == 1, "TF and a shadow, restored: the trap is pending");
	vmx_ops.put(&vcpu);
	set(XREG_RFLAGS, 0x202);
	set(XREG_BLOCKING, TM_BLOCK_STI);
	vmx_ops.load(&vcpu);
	vmx_ops.window(&vcpu, WINDOW_IRQ);
	enter_once();
	point(last.kind == NOTHING && get(XREG_BLOCKING) == 0, "a shadow without TF: none is");
	vmx_ops.window(&vcpu, WINDOW_NONE);
}

/* 28.2.2: the exit by INT1 comes before it, but it is a trap. */
static void test_int1(void)
{
	unsigned before = traps[1];

	guest_start(guest_int1);
	enter_once();
	point(last.kind == EXCEPTION && last.a == 1, "INT1");
	event(EVENT_HW_EXCEPTION, 1);
	point(run_until(CALL, 1) && last.a == MARK_INT1 && traps[1] == before + 1, "once, and on behind it");
}

void test_events(void)
{
	test_nmi_in_shadow();
	test_step_in_shadow();
	test_int1();

	test_injection();
	test_interrupted_irq();
	test_interrupted_nmi();
	test_iret();
}

/* ---- the host's own interrupts --------------------------------------------------------------- */

#define LAPIC 0xfee00000ull
#define VECTOR 0x90u

static void timer(uint32_t ticks)
{
	io_write32(LAPIC + 0xf0, 0x1ff);
	io_write32(LAPIC + 0x3e0, 0xb);		/* not divided */
	io_write32(LAPIC + 0x320, VECTOR);
	io_write32(LAPIC + 0x380, ticks);
}

void test_interrupts(void)
{
	unsigned exits = 0;

	guest_start(guest_forever);
	set(XREG_RFLAGS, 0x202);
	timer(20000);
	point(run_until(IRQ, 100) && last.a == VECTOR, "a host interrupt exits, acknowledged");
	io_write32(LAPIC + 0xb0, 0);
	/* Bochs 2.7 keeps it from a guest with IF = 0: something else must bring us out. */
	guest_start(guest_forever);
	timer(20000);
	do {
		enter_once();
	} while (last.kind == NOTHING && ++exits < 3);
	point(exits == 3 || last.kind == IRQ, "IF = 0: an exit all the same");
	io_write32(LAPIC + 0x380, 0);
	vcpu.arch.event.valid = false;
	set(XREG_RFLAGS, 0x202);
	if (last.kind != IRQ) {
		point(run_until(IRQ, 3), "IF = 1 again: it comes");
	}
	io_write32(LAPIC + 0xb0, 0);
}
