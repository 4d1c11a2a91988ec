// SPDX-License-Identifier: Apache-2.0
// ARCH: x86
// LINK: arch/x86/state.c arch/x86/check.c arch/x86/msr.c arch/x86/policy.c arch/x86/control.c
// LINK: arch/x86/mode.c arch/x86/start.c arch/x86/inject.c arch/x86/guest_walk.c
//
// A vCPU's registers without a CPU: what REGS_SET accepts has passed the entry checks and comes back
// from REGS_GET; what it refuses changes nothing. Every MSR number, every CPUID leaf on a machine
// that has everything, control registers, exceptions that meet each other, page tables of all kinds.
#include "check.h"

#include <arch/time.h>
#include <arch/vcpu.h>
#include <asm/board.h>
#include <asm/guest.h>
#include <asm/policy.h>
#include <boot/guest_start.h>
#include <hyp/guest_copy.h>
#include <hyp/log.h>
#include <hyp/vm.h>

#include "../../arch/x86/check.h"

static struct vm vm;
static struct vcpu vcpu;
static struct check_rng rng;
static uint8_t xsave_page[PAGE_SIZE] __attribute__((aligned(64)));

// ---- what the files need of the rest -----------------------------------------------------------

static uint64_t regs[XREG_COUNT];
static unsigned triple_faults, windows;
static int irq = -1;

static uint64_t fake_read(struct vcpu *v, enum x86_reg r)
{
	(void)v;
	CHECK((unsigned)r < XREG_COUNT);
	return regs[r];
}

static void fake_write(struct vcpu *v, enum x86_reg r, uint64_t val)
{
	(void)v;
	CHECK((unsigned)r < XREG_COUNT);
	regs[r] = val;
}

static void fake_window(struct vcpu *v, unsigned what)
{
	(void)v;
	windows = what;
}

struct virt_ops vmx_ops = {.name = "fake", .read = fake_read, .write = fake_write,
			   .window = fake_window, .hw_msrs = ~0u};
struct virt_ops svm_ops;
const struct virt_ops *virt = &vmx_ops;
struct cpu_features cpu_features;

uint64_t vcpu_gpr(struct vcpu *v, unsigned n)
{
	return n == GPR_RSP ? regs[XREG_RSP] : v->arch.gpr[n];
}

void vcpu_set_gpr(struct vcpu *v, unsigned n, uint64_t val)
{
	if (n == GPR_RSP) {
		regs[XREG_RSP] = val;
	} else {
		v->arch.gpr[n] = val;
	}
}

uint64_t smsr_read(struct vcpu *v, enum switched_msr i)
{
	return fake_read(v, XREG_SMSR(i));
}

void smsr_write(struct vcpu *v, enum switched_msr i, uint64_t val)
{
	fake_write(v, XREG_SMSR(i), val);
}

void guest_set_tsc_offset(struct vcpu *v, uint64_t offset)
{
	v->arch.tsc_offset = offset;
}

void debug_update(struct vcpu *v)
{
	v->arch.debug_live = regs[XREG_DR7] & DR7_ENABLED;
}

uint64_t fpu_mask(void)
{
	return 7;
}

uint32_t fpu_mxcsr_mask(void)
{
	return 0xffff;
}

void fpu_reset(struct vcpu *v)
{
	uint32_t mxcsr = 0x1f80;

	memset(v->arch.xsave, 0, PAGE_SIZE);
	memcpy(v->arch.xsave + XSAVE_MXCSR, &mxcsr, sizeof(mxcsr));
	v->arch.xcr0 = 1;
}

void fpu_set_xcr0(struct vcpu *v, uint64_t val)
{
	v->arch.xcr0 = val;
}

uint64_t arch_time_freq(void)
{
	return 5000000000ull;
}

uint64_t lapic_cr8(const struct vcpu *v)
{
	return v->arch.lapic.tpr >> 4;
}

void lapic_set_cr8(struct vcpu *v, uint64_t val)
{
	CHECK(val <= 15);
	v->arch.lapic.tpr = (uint32_t)val << 4;
}

bool lapic_msr(struct vcpu *v, uint32_t msr, bool write, uint64_t *val)
{
	(void)v;
	CHECK(msr == 0x1b || msr == 0x6e0 || (msr >= 0x800 && msr < 0x900));
	*val = write ? *val : 0;
	return true;
}

void lapic_reset(struct vcpu *v, bool init)
{
	(void)v, (void)init;
}

void lapic_tsc_changed(struct vcpu *v)
{
	(void)v;
}

uint64_t lapic_tsc_deadline(struct vcpu *v)
{
	return v->arch.lapic.tsc_deadline;
}

void lapic_tsc_deadline_set(struct vcpu *v, uint64_t val)
{
	v->arch.lapic.tsc_deadline = val;
}

int board_irq_pending(struct vcpu *v)
{
	(void)v;
	return irq;
}

int board_irq_accept(struct vcpu *v)
{
	int vector = irq;

	(void)v;
	irq = -1;
	return vector;
}

void exit_triple_fault(struct vcpu *v)
{
	(void)v;
	triple_faults++;
}

void exit_exception(struct vcpu *v, unsigned vector, bool has_error, uint32_t error)
{
	inject_exception(v, vector, has_error, error);
}

void log_at(enum log_level level, const char *fmt, ...)
{
	(void)level, (void)fmt;
}

bool ratelimit_ok(struct ratelimit *r)
{
	(void)r;
	return false;
}

/* Guest memory: 64 KiB from 0; there is none above. */
#define MEMORY 0x10000u
static uint8_t memory[MEMORY] __attribute__((aligned(4096)));

int guest_read(struct vm *m, gpa_t a, void *buf, uint64_t len)
{
	(void)m;
	if (a.v > MEMORY || len > MEMORY - a.v) {
		return -TM_EFAULT;
	}
	memcpy(buf, memory + a.v, len);
	return 0;
}

// ---- set-up ------------------------------------------------------------------------------------

static void everything(void)
{
	memset(&cpu_features, 0xff, sizeof(cpu_features));
	cpu_features.vendor = CPU_OTHER;
	cpu_features.phys_bits = 40;
	cpu_features.xsave = true;
	policy_init();
}

static void start(uint64_t entry, uint64_t arg)
{
	everything();
	memset(regs, 0, sizeof(regs));
	memset(&vcpu, 0, sizeof(vcpu));
	memset(memory, 0, sizeof(memory));
	vm.vcpus_max = 4;
	vcpu.vm = &vm;
	vcpu.arch.xsave = xsave_page;
	triple_faults = windows = 0;
	irq = -1;
	arch_vcpu_reset(&vcpu, 0, 0);
	arch_vcpu_reset(&vcpu, entry, arg);
}

static const struct {
	uint64_t entry, arg;
} starts[] = {
	{0, 0},
	{0x200000, 0x100000 | GUEST_START_64},
	{0x200000, 0x100000 | GUEST_START_MULTIBOOT},
	{0x9a000, GUEST_START_SIPI},
};

// ---- REGS --------------------------------------------------------------------------------------

TEST(starts_pass_the_checks)
{
	for (unsigned i = 0; i < 4; i++) {
		const char *bad;

		start(starts[i].entry, starts[i].arg);
		bad = guest_state_bad(&vcpu);
		if (bad) {
			fprintf(stderr, "start %u: %s\n", i, bad);
		}
		CHECK(!bad);
	}
	CHECK_EQ(guest_mode(&vcpu), MODE_REAL);
	CHECK_EQ(regs[XREG_SEG(TM_SEG_CS, SEG_BASE)], 0x9a000);
	CHECK_EQ(regs[XREG_SEG(TM_SEG_CS, SEG_SELECTOR)], 0x9a00);
	CHECK_EQ(regs[XREG_RIP], 0);
	start(starts[1].entry, starts[1].arg);
	CHECK_EQ(guest_mode(&vcpu), MODE_64);
	CHECK_EQ(vcpu.arch.gpr[GPR_RSI], 0x100000);
	CHECK_EQ(vcpu.arch.gpr[GPR_RDI], 0x100000 + GUEST_START_FDT);
	start(starts[2].entry, starts[2].arg);
	CHECK_EQ(guest_code_bytes(&vcpu), 4);
	CHECK_EQ(vcpu.arch.gpr[GPR_RAX], 0x2badb002);
	start(0, 0);
	CHECK_EQ(regs[XREG_RIP] + regs[XREG_SEG(TM_SEG_CS, SEG_BASE)], 0xfffffff0);
}

/* What the last life cached under its tag is nobody's. */
TEST(starts_forget_translations)
{
	for (unsigned i = 0; i < 4; i++) {
		start(0, 0);
		vcpu.arch.new_tag = false;
		arch_vcpu_reset(&vcpu, starts[i].entry, starts[i].arg);
		CHECK(vcpu.arch.new_tag);
	}
}

/* 27.3.1.5: hardware refuses to enter with it. */
TEST(no_nmi_while_they_are_blocked)
{
	static struct tm_regs r;

	start(0, 0);
	CHECK_EQ(arch_vcpu_regs_get(&vcpu, &r), 0);
	r.event = 1u << 31 | EVENT_NMI << 8 | VEC_NMI;
	r.rflags |= RFLAGS_IF;
	CHECK_EQ(arch_vcpu_regs_set(&vcpu, &r), 0);
	for (uint32_t b = 1; b < 8; b++) {
		r.blocking = b;
		CHECK_EQ(arch_vcpu_regs_set(&vcpu, &r), -TM_EINVAL);
	}
}

TEST(there_and_back)
{
	struct tm_regs a, b;

	for (unsigned i = 0; i < 4; i++) {
		start(starts[i].entry, starts[i].arg);
		for (unsigned k = 0; k < 16; k++) {
			vcpu.arch.gpr[k] = 0x1111111111111111ull * k;
		}
		regs[XREG_RSP] = 0x8877665544332211ull;
		regs[XREG_LSTAR] = 0xffffffff81000000ull;
		vcpu.arch.mtrr_fixed[10] = 0x0606060606060606ull;
		vcpu.arch.tsc_adjust = 77;
		vcpu.arch.xsave[700] = 0x5a;
		vcpu.arch.event = (struct x86_event){.valid = true, .type = EVENT_NMI, .vector = 2};
		CHECK_EQ(arch_vcpu_regs_get(&vcpu, &a), 0);
		start(0, 0);
		CHECK_EQ(arch_vcpu_regs_set(&vcpu, &a), 0);
		CHECK_EQ(arch_vcpu_regs_get(&vcpu, &b), 0);
		CHECK(memcmp(&a, &b, sizeof(a)) == 0);
	}
}

static uint64_t odd_value(void)
{
	static const uint64_t odd[] = {0, 1, 0x80000011, 0x7fffffffffff, 0x800000000000, ~0ull,
				       0xffff800000000000, 0x100000000, 0x202, 0xd01, 0x6f0, 1ull << 40};
	uint64_t r = check_rand(&rng);

	return r & 1 ? odd[(r >> 1) % 12] : check_rand(&rng) >> (r >> 58);
}

/* One or two words of it become something else. The FPU area and the message rows not too often. */
static void mutate(struct tm_regs *r)
{
	for (unsigned n = 1 + (unsigned)check_below(&rng, 2); n; n--) {
		uint64_t what = check_rand(&rng);
		size_t end = what & 7 ? offsetof(struct tm_regs, msr) : sizeof(*r);
		uint8_t *p = (uint8_t *)r + check_below(&rng, end / 4) * 4;

		if (what & 8) {
			*p ^= (uint8_t)(1u << ((what >> 8) & 7));
		} else {
			uint64_t val = odd_value();

			memcpy(p, &val, (size_t)((uint8_t *)r + sizeof(*r) - p) < 8 ? 4 : 8);
		}
	}
}

static bool canonical(uint64_t a)
{
	return a < 1ull << 47 || a >= ~0ull << 47;
}

/* What must hold whatever the checks say; written without them. */
static void must_hold(void)
{
	bool lma = regs[XREG_EFER] & EFER_LMA;
	bool wide = lma && (regs[XREG_SEG(TM_SEG_CS, SEG_ATTRIBUTES)] & SEG_L);
	uint64_t header[8];

	CHECK(lma == ((regs[XREG_EFER] & EFER_LME) && (regs[XREG_CR0] & CR0_PG)));
	CHECK(!lma || (regs[XREG_CR4] & CR4_PAE));
	CHECK(!(regs[XREG_CR0] & CR0_PG) || (regs[XREG_CR0] & CR0_PE));
	CHECK(!(regs[XREG_CR0] >> 32) && !(regs[XREG_CR4] & (CR4_VMXE | CR4_CET | CR4_LA57 | CR4_PKE)));
	CHECK(!(regs[XREG_EFER] & EFER_SVME) && !(regs[XREG_CR3] >> 40));
	CHECK((regs[XREG_RFLAGS] & 2) && !(regs[XREG_RFLAGS] & ~0x3f7fd7ull));
	CHECK(wide ? canonical(regs[XREG_RIP]) : regs[XREG_RIP] >> 32 == 0);
	CHECK(canonical(regs[XREG_GDTR_BASE]) && canonical(regs[XREG_IDTR_BASE]));
	CHECK(canonical(regs[XREG_LSTAR]) && canonical(regs[XREG_SYSENTER_EIP]) &&
	      canonical(regs[XREG_SYSENTER_ESP]) && canonical(regs[XREG_KERNEL_GS_BASE]));
	CHECK(canonical(regs[XREG_SEG(TM_SEG_FS, SEG_BASE)]) &&
	      canonical(regs[XREG_SEG(TM_SEG_TR, SEG_BASE)]));
	CHECK(!(vcpu.arch.xcr0 & ~7ull) && (vcpu.arch.xcr0 & 1) && (vcpu.arch.xcr0 & 6) != 4);
	memcpy(header, vcpu.arch.xsave + XSAVE_HEADER, sizeof(header));
	CHECK(!(header[0] & ~7ull) && !header[1] && !header[7]);
	CHECK(!(regs[XREG_DR7] >> 32) && !(vcpu.arch.dr6 >> 32));
	CHECK(!vcpu.arch.event.valid || vcpu.arch.event.type == EVENT_EXT_INT ||
	      vcpu.arch.event.vector < 32);
}

TEST(bad_values_change_nothing)
{
	uint64_t accepted = 0, refused = 0;

	rng = check_rng_make(1);
	for (unsigned n = 0; n < 400000; n++) {
		static struct tm_regs in, before, after;
		uint64_t old[XREG_COUNT];
		struct arch_vcpu was;
		int err;

		if (n % 64 == 0) {
			start(starts[(n / 64) % 4].entry, starts[(n / 64) % 4].arg);
			CHECK_EQ(arch_vcpu_regs_get(&vcpu, &before), 0);
		}
		in = before;
		mutate(&in);
		memcpy(old, regs, sizeof(old));
		was = vcpu.arch;
		err = arch_vcpu_regs_set(&vcpu, &in);
		if (err) {
			CHECK_EQ(err, -TM_EINVAL);
			CHECK(memcmp(old, regs, sizeof(old)) == 0);
			was.tsc_offset = vcpu.arch.tsc_offset;
			CHECK(memcmp(&was, &vcpu.arch, sizeof(was)) == 0);
			refused++;
			continue;
		}
		accepted++;
		CHECK(!guest_state_bad(&vcpu));
		must_hold();
		CHECK_EQ(arch_vcpu_regs_get(&vcpu, &after), 0);
		CHECK(memcmp(in.gpr, after.gpr, sizeof(in.gpr)) == 0);
		CHECK(in.rip == after.rip && in.rflags == after.rflags && in.cr3 == after.cr3);
		CHECK_EQ(arch_vcpu_regs_set(&vcpu, &after), 0);
	}
	CHECK(accepted > 10000 && refused > 10000);
}

TEST(not_while_it_runs)
{
	static struct tm_regs r;
	struct tm_timer_state t = {0};

	start(0, 0);
	CHECK_EQ(arch_vcpu_regs_get(&vcpu, &r), 0);
	vcpu.arch.loaded = true;
	CHECK_EQ(arch_vcpu_regs_get(&vcpu, &r), -TM_EBUSY);
	CHECK_EQ(arch_vcpu_regs_set(&vcpu, &r), -TM_EBUSY);
	CHECK_EQ(arch_timer_state_set(&vcpu, &t), -TM_EBUSY);
	vcpu.arch.loaded = false;
	t.rsvd[5] = 1;
	CHECK_EQ(arch_timer_state_set(&vcpu, &t), -TM_EINVAL);
}

/* One offset for all vCPUs that are restored within a second. */
TEST(restored_clocks_agree)
{
	static struct vcpu other;
	struct tm_timer_state t = {.tsc = 1ull << 50};

	start(0, 0);
	memset(&other, 0, sizeof(other));
	other.vm = &vm;
	vm.vcpu[0] = &vcpu;
	vm.vcpu[1] = &other;
	CHECK_EQ(arch_timer_state_set(&vcpu, &t), 0);
	t.tsc += 1000000;
	CHECK_EQ(arch_timer_state_set(&other, &t), 0);
	CHECK(other.arch.tsc_offset == vcpu.arch.tsc_offset);
	t.tsc += 1ull << 40;
	CHECK_EQ(arch_timer_state_set(&other, &t), 0);
	CHECK(other.arch.tsc_offset != vcpu.arch.tsc_offset);
	memset(vm.vcpu, 0, sizeof(vm.vcpu));
}

// ---- MSRs --------------------------------------------------------------------------------------

static bool took_gp(void)
{
	bool gp = vcpu.arch.event.valid;

	CHECK(!gp || vcpu.arch.event.vector == VEC_GP);
	vcpu.arch.event.valid = false;
	return gp;
}

static bool read_msr(uint32_t msr, uint64_t *val)
{
	uint64_t rip = regs[XREG_RIP];
	bool gp;

	vcpu.arch.gpr[GPR_RCX] = msr;
	exit_rdmsr(&vcpu, 2);
	gp = took_gp();
	CHECK_EQ(regs[XREG_RIP], gp ? rip : rip + 2);
	*val = vcpu.arch.gpr[GPR_RDX] << 32 | (uint32_t)vcpu.arch.gpr[GPR_RAX];
	return !gp;
}

static bool write_msr(uint32_t msr, uint64_t val)
{
	vcpu.arch.gpr[GPR_RCX] = msr;
	vcpu.arch.gpr[GPR_RAX] = (uint32_t)val;
	vcpu.arch.gpr[GPR_RDX] = val >> 32;
	exit_wrmsr(&vcpu, 2);
	return !took_gp();
}

TEST(every_msr)
{
	static const struct {
		uint32_t first, last;
	} ranges[] = {{0, 0x1fff}, {0x40000000, 0x400000ff}, {0xc0000000, 0xc0001fff},
		      {0xc0010000, 0xc0011fff}};
	unsigned there = 0;

	rng = check_rng_make(2);
	start(starts[1].entry, starts[1].arg);
	for (unsigned k = 0; k < 4; k++) {
		for (uint32_t msr = ranges[k].first; msr <= ranges[k].last; msr++) {
			uint64_t val = 0, again = 0;
			bool is = read_msr(msr, &val);

			there += is;
			for (unsigned n = 0; n < 8; n++) {
				uint64_t w = odd_value();

				if (write_msr(msr, w)) {
					CHECK(is);
				}
			}
			/* What could be read can be read again, and an unknown one stays unknown. */
			CHECK(read_msr(msr, &again) == is);
			/* The APIC is another test's. */
			if (is && msr != 0x10 && (msr < 0x800 || msr > 0x8ff) && msr != 0xc0000080) {
				(void)write_msr(msr, val);
			}
			must_hold();
		}
	}
	CHECK(there > 256 + 30);
}

TEST(hidden_and_shown)
{
	uint64_t val;

	start(starts[1].entry, starts[1].arg);
	CHECK(!read_msr(0x480, &val) && !read_msr(0x3a, &val) && !read_msr(0xc0010114, &val));
	CHECK(!read_msr(0x48, &val) && !read_msr(0xc1, &val) && !read_msr(0xda0, &val));
	CHECK(!write_msr(MSR_LSTAR, 1ull << 47) && write_msr(MSR_LSTAR, (1ull << 47) - 1));
	CHECK(!write_msr(MSR_PAT, 0x0007040600070402ull) && write_msr(MSR_PAT, 0x0007010600070106ull));
	CHECK(!write_msr(MSR_EFER, EFER_SVME) && !write_msr(MSR_EFER, 0));
	CHECK(write_msr(MSR_EFER, EFER_LME | EFER_SCE) && (regs[XREG_EFER] & EFER_LMA));
	CHECK(policy_msr_passthrough(MSR_STAR, true) && !policy_msr_passthrough(MSR_PAT, true));
	CHECK(!policy_msr_passthrough(MSR_EFER, false) && !policy_msr_passthrough(0x10, false));
	/* Moving the TSC moves TSC_ADJUST by as much, and the other way round. */
	CHECK(write_msr(0x3b, 1000) && vcpu.arch.tsc_offset == 1000);
	CHECK(write_msr(0x3b, 10) && vcpu.arch.tsc_offset == 10);
	/* Without the feature there is no MSR. */
	cpu_features.ext1_edx &= ~(1u << 27);
	policy_init();
	CHECK(!read_msr(MSR_TSC_AUX, &val) && !policy_msr_passthrough(MSR_TSC_AUX, true));
}

// ---- CPUID -------------------------------------------------------------------------------------

TEST(cpuid_hides)
{
	struct cpuid_regs r;

	start(starts[1].entry, starts[1].arg);
	vcpu.id = 3;
	policy_cpuid(&vcpu, 1, 0, &r);
	/* MONITOR, VMX, SMX, PDCM, PCID, RDRAND; x2APIC, deadline, hypervisor; EDX: DS, TM */
	CHECK(!(r.ecx & (1u << 3 | 1u << 5 | 1u << 6 | 1u << 15 | 1u << 17 | 1u << 30)));
	CHECK((r.ecx & (1u << 21 | 1u << 24 | 1u << 31)) == (1u << 21 | 1u << 24 | 1u << 31));
	CHECK(!(r.edx & (1u << 18 | 1u << 21 | 1u << 22 | 1u << 29)));
	CHECK_EQ(r.ebx >> 24, 3);
	CHECK(!(r.ecx & (1u << 27)));
	regs[XREG_CR4] |= CR4_OSXSAVE;
	policy_cpuid(&vcpu, 1, 0, &r);
	CHECK(r.ecx & (1u << 27));
	policy_cpuid(&vcpu, 7, 0, &r);
	/* SGX, HLE, INVPCID, RTM, MPX, AVX-512, RDSEED, PT; PKU, CET, LA57; IBRS */
	CHECK(!(r.ebx & (1u << 2 | 1u << 4 | 1u << 10 | 1u << 11 | 1u << 14 | 1u << 16 | 1u << 18 |
			 1u << 25 | 1u << 31)));
	CHECK(!(r.ecx & (1u << 3 | 1u << 4 | 1u << 7 | 1u << 16)) && !(r.edx & (1u << 26)));
	policy_cpuid(&vcpu, 7, 1, &r);
	CHECK(!(r.eax | r.ebx | r.ecx | r.edx));
	policy_cpuid(&vcpu, 0x80000001, 0, &r);
	CHECK(!(r.ecx & (1u << 2)));
	for (uint32_t leaf = 8; leaf < 0x30; leaf++) {
		if (leaf != 0xb && leaf != 0xd && leaf != 0x15 && leaf != 0x16) {
			policy_cpuid(&vcpu, leaf, 0, &r);
			CHECK(!(r.eax | r.ebx | r.ecx | r.edx));
		}
	}
}

TEST(cpuid_tells)
{
	struct cpuid_regs r;

	start(starts[1].entry, starts[1].arg);
	vcpu.id = 2;
	policy_cpuid(&vcpu, 0xb, 1, &r);
	CHECK(r.edx == 2 && r.eax == 2 && r.ebx == 4 && (r.ecx >> 8) == 2);
	policy_cpuid(&vcpu, 0xd, 0, &r);
	CHECK(r.eax == 7 && r.ebx == 576 && r.ecx == 832);
	vcpu.arch.xcr0 = 7;
	policy_cpuid(&vcpu, 0xd, 0, &r);
	CHECK_EQ(r.ebx, 832);
	policy_cpuid(&vcpu, 0x15, 0, &r);
	CHECK(r.eax && (uint64_t)r.ecx * r.ebx / r.eax == arch_time_freq());
	policy_cpuid(&vcpu, TM_CPUID_BASE, 0, &r);
	CHECK(r.ebx == TM_CPUID_EBX && r.eax == TM_CPUID_TIMING);
	policy_cpuid(&vcpu, TM_CPUID_CALL, 0, &r);
	CHECK(r.ecx == 0 && r.edx == 0);
	vm.is_manager = true;
	policy_cpuid(&vcpu, TM_CPUID_CALL, 0, &r);
	CHECK_EQ(r.edx, TM_CPUID_CALL_MANAGER);
	vm.is_manager = false;
	policy_cpuid(&vcpu, TM_CPUID_TIMING, 0, &r);
	CHECK_EQ(r.eax, 5000000);
}

// ---- control registers -------------------------------------------------------------------------

static bool mov_to_cr(unsigned cr, uint64_t val)
{
	exit_cr_write(&vcpu, cr, val, 3);
	return !took_gp();
}

/* The way of every boot loader, and each wrong turn on it. */
TEST(into_long_mode)
{
	start(0, 0);
	CHECK(mov_to_cr(0, CR0_PE | CR0_ET));
	CHECK(!mov_to_cr(0, CR0_PG) && !mov_to_cr(0, CR0_PE | CR0_NW));
	CHECK(write_msr(MSR_EFER, EFER_LME) && !(regs[XREG_EFER] & EFER_LMA));
	CHECK(!mov_to_cr(0, CR0_PE | CR0_PG));		/* PAE is missing */
	CHECK(mov_to_cr(4, CR4_PAE) && !mov_to_cr(4, CR4_PAE | CR4_VMXE));
	CHECK(!mov_to_cr(4, CR4_PAE | CR4_PCIDE));
	CHECK(mov_to_cr(0, CR0_PE | CR0_PG) && (regs[XREG_EFER] & EFER_LMA));
	CHECK(!mov_to_cr(4, 0) && !write_msr(MSR_EFER, 0));
	CHECK_EQ(guest_mode(&vcpu), MODE_COMPAT);
	regs[XREG_SEG(TM_SEG_CS, SEG_ATTRIBUTES)] = 0x9b | SEG_L;
	CHECK_EQ(guest_mode(&vcpu), MODE_64);
	CHECK(!mov_to_cr(0, CR0_PE) && !mov_to_cr(0, 1ull << 32 | CR0_PE | CR0_PG));
	CHECK(!mov_to_cr(3, 1ull << 40) && mov_to_cr(3, 0x1000));
	CHECK(!mov_to_cr(8, 16) && mov_to_cr(8, 15) && lapic_cr8(&vcpu) == 15);
	regs[XREG_SEG(TM_SEG_CS, SEG_ATTRIBUTES)] = 0x9b;
	CHECK(mov_to_cr(0, CR0_PE) && !(regs[XREG_EFER] & EFER_LMA));
}

TEST(into_pae)
{
	uint64_t pdpte[4] = {0x5001, 0, 0x6000, 0x7001};

	start(0, 0);
	CHECK(mov_to_cr(0, CR0_PE) && mov_to_cr(4, CR4_PAE) && mov_to_cr(3, 0x2020));
	memcpy(memory + 0x2020, pdpte, sizeof(pdpte));
	CHECK(mov_to_cr(0, CR0_PE | CR0_PG));
	CHECK(regs[XREG_PDPTE0] == 0x5001 && regs[XREG_PDPTE3] == 0x7001);
	pdpte[1] = 0x5003;				/* a reserved bit */
	memcpy(memory + 0x2040, pdpte, sizeof(pdpte));
	CHECK(!mov_to_cr(3, 0x2040) && regs[XREG_CR3] == 0x2020);
	CHECK(!mov_to_cr(3, 0x20000));			/* no memory */
}

TEST(random_control_registers)
{
	rng = check_rng_make(3);
	for (unsigned n = 0; n < 200000; n++) {
		if (n % 16 == 0) {
			start(starts[(n / 16) % 4].entry, starts[(n / 16) % 4].arg);
		}
		switch (check_below(&rng, 6)) {
		case 0:
			mov_to_cr(0, odd_value());
			break;
		case 1:
			mov_to_cr(3, odd_value());
			break;
		case 2:
			mov_to_cr(4, odd_value());
			break;
		case 3:
			(void)write_msr(MSR_EFER, odd_value());
			break;
		case 4:
			vcpu.arch.gpr[GPR_RAX] = odd_value();
			vcpu.arch.gpr[GPR_RDX] = 0;
			vcpu.arch.gpr[GPR_RCX] = 0;
			exit_xsetbv(&vcpu, 3);
			vcpu.arch.event.valid = false;
			break;
		default:
			vcpu.arch.gpr[GPR_RBX] = odd_value();
			exit_dr(&vcpu, (unsigned)check_below(&rng, 8), check_rand(&rng) & 1, GPR_RBX, 3);
			vcpu.arch.event.valid = false;
			break;
		}
		CHECK(regs[XREG_CR0] & CR0_ET);
		regs[XREG_RIP] = 0x1000;
		must_hold();
		CHECK(!guest_state_bad(&vcpu));
	}
}

// ---- events ------------------------------------------------------------------------------------

TEST(double_and_triple_faults)
{
	start(starts[1].entry, starts[1].arg);
	inject_gp(&vcpu);
	CHECK(vcpu.arch.event.vector == VEC_GP && vcpu.arch.event.has_error);
	inject_pf(&vcpu, 0x1234, 2);		/* after a #GP: the #PF alone */
	CHECK(vcpu.arch.event.vector == VEC_PF && vcpu.arch.cr2 == 0x1234);
	inject_ud(&vcpu);
	CHECK(vcpu.arch.event.vector == VEC_UD);
	inject_gp(&vcpu);
	CHECK_EQ(vcpu.arch.event.vector, VEC_GP);
	inject_exception(&vcpu, VEC_NP, true, 8);
	CHECK(vcpu.arch.event.vector == VEC_DF && vcpu.arch.event.error == 0);
	CHECK_EQ(triple_faults, 0);
	inject_gp(&vcpu);
	CHECK_EQ(triple_faults, 1);
	vcpu.arch.event.valid = false;
	inject_pf(&vcpu, 1, 0);
	inject_pf(&vcpu, 2, 0);
	CHECK_EQ(vcpu.arch.event.vector, VEC_DF);
}

TEST(an_overtaken_interrupt_comes_later)
{
	start(starts[1].entry, starts[1].arg);
	regs[XREG_RFLAGS] |= RFLAGS_IF;
	vcpu.arch.event = (struct x86_event){.valid = true, .type = EVENT_EXT_INT, .vector = 0x40};
	inject_pf(&vcpu, 1, 0);
	inject_prepare(&vcpu);
	CHECK(vcpu.arch.event.vector == VEC_PF && windows == WINDOW_IRQ);
	/* the fault's gate has cleared IF */
	vcpu.arch.event.valid = false;
	regs[XREG_RFLAGS] &= ~(uint64_t)RFLAGS_IF;
	inject_prepare(&vcpu);
	CHECK(!vcpu.arch.event.valid && windows == WINDOW_IRQ);
	regs[XREG_RFLAGS] |= RFLAGS_IF;
	inject_prepare(&vcpu);
	CHECK(vcpu.arch.event.valid && vcpu.arch.event.vector == 0x40 && windows == 0);
}

TEST(windows_and_blocking)
{
	start(starts[1].entry, starts[1].arg);
	irq = 0x55;
	inject_prepare(&vcpu);
	CHECK(!vcpu.arch.event.valid && windows == WINDOW_IRQ);
	regs[XREG_RFLAGS] |= RFLAGS_IF;
	regs[XREG_BLOCKING] = TM_BLOCK_STI;
	vcpu.arch.nmi_pending = 2;
	inject_prepare(&vcpu);
	CHECK(!vcpu.arch.event.valid && windows == (WINDOW_IRQ | WINDOW_NMI));
	regs[XREG_BLOCKING] = 0;
	inject_prepare(&vcpu);
	CHECK(vcpu.arch.event.type == EVENT_NMI && vcpu.arch.nmi_pending == 1);
	CHECK(windows == (WINDOW_IRQ | WINDOW_NMI));
	vcpu.arch.event.valid = false;
	regs[XREG_BLOCKING] = TM_BLOCK_NMI;
	inject_prepare(&vcpu);
	CHECK(vcpu.arch.event.type == EVENT_EXT_INT && vcpu.arch.event.vector == 0x55);
	CHECK_EQ(windows, WINDOW_NMI);
}

// ---- page tables -------------------------------------------------------------------------------

#define P 1u
#define W 2u
#define U 4u
#define NX (1ull << 63)

static void entry(uint64_t table, unsigned index, uint64_t pte)
{
	memcpy(memory + table + 8 * index, &pte, 8);
}

static bool walk(uint64_t a, unsigned access, uint32_t *error)
{
	struct walk w;
	bool ok = guest_walk(&vcpu, a, access, &w);

	*error = w.error;
	return ok && w.gpa == (0xa000 | (a & 0xfff));
}

/* 0x1000 -> 0x2000 -> 0x3000 -> 0x4000, page 0xa000 at 0x5678. */
static void map_64(uint64_t leaf)
{
	entry(0x1000, 0, 0x2000 | P | W | U);
	entry(0x2000, 0, 0x3000 | P | W | U);
	entry(0x3000, 0, 0x4000 | P | W | U);
	entry(0x4000, 5, leaf);
	regs[XREG_CR3] = 0x1000;
}

TEST(walk_rights)
{
	uint32_t e;

	start(starts[1].entry, starts[1].arg);
	regs[XREG_EFER] |= EFER_NXE;
	for (unsigned bits = 0; bits < 16; bits++) {
		bool p = bits & 1, w = bits & 2, u = bits & 4, x = !(bits & 8);

		map_64((p ? P : 0u) | (w ? W : 0u) | (u ? U : 0u) | (x ? 0 : NX) | 0xa000);
		CHECK(walk(0x5678, 0, &e) == p);
		CHECK(p || e == 0);
		CHECK(walk(0x5678, WALK_USER, &e) == (p && u));
		CHECK(walk(0x5678, WALK_WRITE, &e) == (p && w));	/* CR0.WP */
		CHECK(!p || w || e == (PF_PRESENT | PF_WRITE));
		CHECK(walk(0x5678, WALK_WRITE | WALK_USER, &e) == (p && w && u));
		CHECK(walk(0x5678, WALK_EXEC, &e) == (p && x));
		regs[XREG_CR4] |= CR4_SMEP | CR4_SMAP;
		CHECK(walk(0x5678, WALK_EXEC, &e) == (p && x && !u));
		CHECK(walk(0x5678, 0, &e) == (p && !u));
		regs[XREG_RFLAGS] |= RFLAGS_AC;
		CHECK(walk(0x5678, 0, &e) == p);
		regs[XREG_RFLAGS] &= ~(uint64_t)RFLAGS_AC;
		regs[XREG_CR4] &= ~(uint64_t)(CR4_SMEP | CR4_SMAP);
		regs[XREG_CR0] &= ~(uint64_t)CR0_WP;
		CHECK(walk(0x5678, WALK_WRITE, &e) == p);
		CHECK(walk(0x5678, WALK_WRITE | WALK_USER, &e) == (p && w && u));
		regs[XREG_CR0] |= CR0_WP;
	}
	/* A right is one of the whole way. */
	map_64(0xa000 | P | W | U);
	entry(0x2000, 0, 0x3000 | P | U);
	CHECK(walk(0x5678, 0, &e) && !walk(0x5678, WALK_WRITE, &e));
	entry(0x2000, 0, 0x3000 | P | W);
	CHECK(!walk(0x5678, WALK_USER, &e));
	/* Reserved: address bits of no machine, NX without NXE, a large PML4 entry, no memory. */
	map_64(0xa000 | P | 1ull << 45);
	CHECK(!walk(0x5678, 0, &e) && e == (PF_PRESENT | PF_RSVD));
	map_64(0xa000 | P | NX);
	regs[XREG_EFER] &= ~(uint64_t)EFER_NXE;
	CHECK(!walk(0x5678, 0, &e) && e == (PF_PRESENT | PF_RSVD));
	map_64(0xa000 | P);
	entry(0x1000, 0, 0x2000 | P | 0x80);
	CHECK(!walk(0x5678, 0, &e) && e == (PF_PRESENT | PF_RSVD));
	entry(0x1000, 0, 0x2000000 | P);
	CHECK(!walk(0x5678, 0, &e) && e == (PF_PRESENT | PF_RSVD));
}

TEST(walk_sizes)
{
	uint32_t e, pde = 0x4000 | P, pte = 0xa000 | P, large = 0x00400000 | P | 0x80 | 3u << 13;
	struct walk w;

	start(starts[1].entry, starts[1].arg);
	map_64(0);
	entry(0x3000, 3, 0x40000000 | P | 0x80);
	CHECK(guest_walk(&vcpu, 0x612345, 0, &w) && w.gpa == 0x40012345);
	entry(0x2000, 1, 0x80000000 | P | 0x80);
	CHECK(guest_walk(&vcpu, 0x52345678, 0, &w) && w.gpa == 0x92345678);
	/* PAE */
	start(starts[2].entry, starts[2].arg);
	regs[XREG_CR0] |= CR0_PG;
	regs[XREG_CR4] = CR4_PAE;
	regs[XREG_PDPTE0 + 2] = 0x3000 | P;
	entry(0x3000, 0, 0x4000 | P | W | U);
	entry(0x4000, 5, 0xa000 | P);
	CHECK(walk(0x80005678, 0, &e) && !walk(0x5678, 0, &e));
	/* two levels, then a large page above 4 GiB */
	regs[XREG_CR4] = CR4_PSE;
	regs[XREG_CR3] = 0x3000;
	memset(memory + 0x3000, 0, 0x2000);
	memcpy(memory + 0x3000, &pde, 4);
	memcpy(memory + 0x3004, &large, 4);
	memcpy(memory + 0x4014, &pte, 4);
	CHECK(walk(0x5678, 0, &e));
	CHECK(guest_walk(&vcpu, 0x412345, 0, &w) && w.gpa == 0x300412345ull);
	/* no paging */
	regs[XREG_CR0] &= ~(uint64_t)CR0_PG;
	CHECK(guest_walk(&vcpu, 0x123456, WALK_WRITE, &w) && w.gpa == 0x123456);
}

TEST(fetch)
{
	uint8_t buf[16];

	start(starts[1].entry, starts[1].arg);
	map_64(0xa000 | P);
	entry(0x4000, 6, 0xb000 | P);
	for (unsigned i = 0; i < 0x2000; i++) {
		memory[0xa000 + i] = (uint8_t)(i ^ (i >> 8));
	}
	regs[XREG_RIP] = 0x5ff8;
	CHECK_EQ(guest_fetch(&vcpu, buf), 15);
	CHECK(memcmp(buf, memory + 0xaff8, 15) == 0);
	entry(0x4000, 6, 0);
	CHECK_EQ(guest_fetch(&vcpu, buf), 8);
	entry(0x4000, 5, 0);
	CHECK_EQ(guest_fetch(&vcpu, buf), 0);
	/* real mode: segment and offset */
	start(0x9000, GUEST_START_SIPI);
	memory[0x9004] = 0x77;
	regs[XREG_RIP] = 4;
	CHECK(guest_fetch(&vcpu, buf) == 15 && buf[0] == 0x77);
}

CHECK_MAIN()
