// SPDX-License-Identifier: Apache-2.0
// Exits by instructions, by EPT and by refused entries; moving a vCPU out of hardware and back.

#include "harness.h"

#define HEX(x) ((unsigned long long)(x))

static void test_instructions(void)
{
	guest_start(guest_calls);
	point(run_until(CALL, 5) && last.a == MARK_CALLS && last.b, "hypercall");
	guest_start(guest_instructions);
	point(run_until(CPUID, 5) && last.a == 5 && last.b == 6 && last.len == 2, "CPUID");
	point(run_until(IO, 5) && last.a == 0x80 && last.b == 1 && last.c == 1, "OUT");
	point(run_until(IO, 5) && last.a == 0xcf8 && last.b == 4 && last.c == 0, "IN");
	point(run_until(HLT, 5), "HLT");
	point(run_until(RDMSR, 5) && last.b == 0x10a, "RDMSR");
	point(run_until(WRMSR, 5) && last.b == 0x123 && last.a == 0x5566, "WRMSR");
	point(run_until(DR, 5) && last.a == 3 && last.b, "MOV to DR3");
	point(run_until(CR_READ, 5) && last.a == 8, "MOV from CR8");
	point(run_until(INVD, 5), "WBINVD");
	enter_once();
	point(last.kind == UNDEFINED, "an instruction of VMX is undefined");
	guest_start(guest_strings);
	point(run_until(IO, 5) && last.io.string && last.io.rep && last.io.write && last.io.size == 2 &&
		      last.io.addr_size == 8 && last.io.segment == TM_SEG_DS, "REP OUTSW");
	point(run_until(IO, 5) && last.io.string && !last.io.rep && !last.io.write &&
		      last.io.size == 1, "INSB");
}

static void test_control(void)
{
	guest_start(guest_control);
	point(run_until(CR_WRITE, 5) && last.a == 4 && (last.b & CR4_PGE), "CR4: SMEP exits, PGE does not");
	point(run_until(CR_WRITE, 5) && last.a == 0 && (last.b & CR0_CD), "CR0.CD exits");
	point(get(XREG_CR0) & CR0_CD, "CR0.CD is shown");
	point(run_until(CR_WRITE, 5), "CR0.CD exits again");
	point(run_until(CALL, 5) && last.a == 0x80010031, "the guest's CR0: 0x%llx", HEX(last.a));
	point(run_until(CALL, 5) && last.a == (0x620 | CR4_PGE | CR4_SMEP), "and CR4: 0x%llx",
	      HEX(last.a));
}

static void test_violations(void)
{
	uint64_t five = *pte_of(TEST_BASE + 0x5000), six = *pte_of(TEST_BASE + 0x6000);

	*pte_of(TEST_BASE + 0x5000) = *pte_of(TEST_BASE + 0x6000) = 0;
	ept_flush();
	guest_start(guest_touch);
	enter_once();
	point(last.kind == NPF && last.a == TEST_BASE + 0x5008 && last.npf.write &&
		      !last.npf.present && !last.npf.ptw, "store to a hole: 0x%llx", HEX(last.a));
	*pte_of(TEST_BASE + 0x5000) = five & ~2ull;
	ept_flush();
	enter_once();
	point(last.kind == NPF && last.npf.write && last.npf.present, "store to a read-only page");
	*pte_of(TEST_BASE + 0x5000) = five;
	ept_flush();
	point(run_until(CALL, 3) && last.a == MARK_TOUCH1, "it goes on");
	enter_once();
	point(last.kind == NPF && last.npf.read && !last.npf.write && last.a == TEST_BASE + 0x6010,
	      "load from a hole");
	*pte_of(TEST_BASE + 0x6000) = six;
	ept_flush();
	point(run_until(CALL, 3) && last.a == MARK_TOUCH2, "it goes on");
	*pte_of(TEST_BASE + 0x5000) = (five & ~7ull) | 2;
	ept_flush();
	guest_start(guest_touch);
	enter_once();
	point(last.kind == KILLED, "an entry that is no entry ends the VM");
	*pte_of(TEST_BASE + 0x5000) = five;
	ept_flush();
}

static void test_refused(void)
{
	guest_start(guest_calls);
	set(XREG_RFLAGS, 0);
	enter_once();
	point(last.kind == INVALID, "RFLAGS 0: %s", last.why);
	guest_start(guest_calls);
	set(XREG_SEG(TM_SEG_CS, SEG_ATTRIBUTES), 0x91);
	enter_once();
	point(last.kind == INVALID, "read-only data as code: %s", last.why);
	guest_start(guest_calls);
	event((enum event_type)1, 3);
	enter_once();
	point(last.kind == INVALID, "an event of no type: %s", last.why);
	guest_start(guest_calls);
	point(run_until(CALL, 5), "it still runs");
	guest_start(guest_triple);
	enter_once();
	point(last.kind == TRIPLE, "triple fault");
}

static void test_moves(void)
{
	uint64_t rip, rsp, base = 0x123456789000ull;

	guest_start(guest_calls);
	run_until(CALL, 3);
	rip = get(XREG_RIP);
	rsp = get(XREG_RSP);
	vmx_ops.put(&vcpu);
	point(get(XREG_RIP) == rip && get(XREG_RSP) == rsp && get(XREG_CR0) == 0x80010031 &&
		      get(XREG_CR4) == 0x620, "read while put away");
	point(!vmx_ops.skip(&vcpu, 3) && get(XREG_RIP) == rip, "not skipped by the short way");
	set(XREG_SEG(TM_SEG_FS, SEG_BASE), base);
	set(XREG_CR0, 0x80010031 | CR0_CD);
	vmx_ops.load(&vcpu);
	point(get(XREG_SEG(TM_SEG_FS, SEG_BASE)) == base && (get(XREG_CR0) & CR0_CD),
	      "written while put away");
	point(run_until(CALL, 3), "it runs on");
}

static void test_modes(void)
{
	bool good;

	guest_start_real();
	good = run_until(CALL, 5);
	point(good && last.a == 1 && !last.b && get(XREG_CR0) == 0x60000010, "real mode");
	vmx_ops.put(&vcpu);
	vmx_ops.load(&vcpu);
	good = run_until(CALL, 5);
	point(good && last.a == 2 && get(XREG_CR0) == 0x60000011, "protected mode");
	point(run_until(WRMSR, 5) && last.b == MSR_EFER, "EFER.LME");
	good = run_until(CALL, 5);
	point(good && last.a == 3 && !last.b && get(XREG_EFER) == (EFER_LME | EFER_LMA) &&
		      get(XREG_CR0) == 0xe0000011 && get(XREG_CR4) == CR4_PAE, "compatibility mode");
	vmx_ops.put(&vcpu);
	vmx_ops.load(&vcpu);
	point(run_until(CALL, 5) && last.a == 4 && last.b, "64-bit mode");
	point(run_until(CALL, 5) && last.a == 0xe0000011, "what it reads of CR0: 0x%llx", HEX(last.a));
}

void test_exits(void)
{
	test_instructions();
	test_control();
	test_violations();
	test_refused();
	test_moves();
	test_modes();
}
