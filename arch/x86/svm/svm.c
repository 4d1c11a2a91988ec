// SPDX-License-Identifier: Apache-2.0
/*
 * SVM as a row of asm/virt.h: what a CPU needs to run guests, a vCPU's VMCB, and the guest state in
 * it. All of that state is in memory after every exit, FS to TR and the system-call MSRs too, so
 * load and put have next to nothing to move and read/write work anywhere. A VMCB belongs to whoever
 * owns its vCPU; the two permission maps are constant after probe(). No locks.
 */
#include <abi/x86.h>
#include <arch/cpu.h>
#include <arch/format.h>
#include <asm/cpu.h>
#include <asm/exit.h>
#include <asm/msr.h>
#include <hyp/boot_info.h>
#include <hyp/page_alloc.h>
#include <hyp/sched.h>
#include <hyp/string.h>
#include <hyp/vm.h>

#include "svm.h"

#define MSR_VM_CR 0xc0010114
#define VM_CR_SVMDIS (1u << 4)
#define MSR_VM_HSAVE_PA 0xc0010117
#define EXT1_SVM (1u << 2)		/* CPUID 8000_0001 ECX */
#define SVM_NP (1u << 0)		/* CPUID 8000_000A EDX */
#define SVM_NRIPS (1u << 3)
#define SVM_FLUSH_BY_ASID (1u << 6)
#define SVM_DECODE_ASSISTS (1u << 7)
#define SVM_PAUSE_FILTER (1u << 10)
#define SVM_PAUSE_THRESHOLD (1u << 12)

/* A PAUSE loop of so many turns, no two of them further apart than so many cycles, gives way. */
#define PAUSE_COUNT 3000u
#define PAUSE_CYCLES 128u

#define IOPM_BYTES (3 * PAGE_SIZE)	/* APM 15.10.1 */
#define MSRPM_BYTES (2 * PAGE_SIZE)	/* APM 15.11 */
#define MSRPM_RANGE 0x2000u		/* MSRs in a range, 0x800 bytes of the map */
#define DR6_RESET 0xffff0ff0u

struct svm_features svm_features;

static hpa_t iopm, msrpm;		/* the same for all guests */
static hpa_t cpu_pages;			/* two a CPU: host save area, host VMCB */

static uint64_t host_vmcb(const struct pcpu *c)
{
	return cpu_pages.v + (c->id * 2ull + 1) * PAGE_SIZE;
}

/* ---- the machine ----------------------------------------------------------------------------- */

/* Two bits an MSR, read and write; 1 exits. What is in no range exits always. */
static void msrpm_fill(uint8_t *map)
{
	static const uint32_t first[] = {0, 0xc0000000, 0xc0010000};

	memset(map, 0xff, MSRPM_BYTES);
	for (uint32_t i = 0; i < ARRAY_SIZE(first) * MSRPM_RANGE; i++) {
		uint32_t msr = first[i / MSRPM_RANGE] + i % MSRPM_RANGE;
		unsigned shift = i % 4 * 2, clear = 0;

		if (msr == MSR_EFER) {
			continue;	/* SVME is to be hidden */
		}
		clear |= policy_msr_passthrough(msr, false) ? 1u : 0;
		clear |= policy_msr_passthrough(msr, true) ? 2u : 0;
		map[i / 4] &= (uint8_t)~(clear << shift);
	}
}

static bool disabled_by_firmware(void)
{
	uint64_t vm_cr;

	return rdmsr_safe(MSR_VM_CR, &vm_cr) && (vm_cr & VM_CR_SVMDIS);
}

static const char *svm_probe(void)
{
	struct cpuid_leaf f;

	if (!(cpu_features.ext1_ecx & EXT1_SVM) || cpu_features.max_ext < 0x8000000a) {
		return "the CPU has no SVM";
	}
	if (disabled_by_firmware()) {
		return "SVM is disabled by the firmware (VM_CR.SVMDIS)";
	}
	f = cpuid(0x8000000a, 0);
	if (!(f.edx & SVM_NP)) {
		return "SVM without nested paging";
	}
	if (f.ebx < 2) {
		return "SVM without address space identifiers";
	}
	svm_features.nrips = f.edx & SVM_NRIPS;
	svm_features.flush_by_asid = f.edx & SVM_FLUSH_BY_ASID;
	svm_features.decode_assists = f.edx & SVM_DECODE_ASSISTS;
	svm_features.pause_filter = (f.edx & SVM_PAUSE_FILTER) && (f.edx & SVM_PAUSE_THRESHOLD);
	svm_ops.asids = f.ebx;
	svm_ops.backends = 1u << DIRTY_WP | 1u << DIRTY_DBM;
	svm_ops.max_leaf = cpu_features.gib_pages ? 2 : 1;

	iopm = boot_alloc(IOPM_BYTES, PAGE_SIZE);
	msrpm = boot_alloc(MSRPM_BYTES, PAGE_SIZE);
	cpu_pages = boot_alloc(boot_info.cpu_count * 2ull * PAGE_SIZE, PAGE_SIZE);
	memset(phys_to_virt(iopm), 0xff, IOPM_BYTES);
	memset(phys_to_virt(msrpm), 0xff, MSRPM_BYTES);
	memset(phys_to_virt(cpu_pages), 0, boot_info.cpu_count * 2ull * PAGE_SIZE);
	return NULL;
}

static bool svm_cpu_init(struct pcpu *c)
{
	/* The policy is there after all probes, so its map is made by the first CPU of all. */
	if (c->id == 0) {
		msrpm_fill(phys_to_virt(msrpm));
	}
	if (!(cpuid(0x80000001, 0).ecx & EXT1_SVM) || disabled_by_firmware()) {
		return false;
	}
	/* Nested tables are walked with the host's NXE (15.25.3), which cpu_control_init() set. */
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
	wrmsr(MSR_VM_HSAVE_PA, cpu_pages.v + c->id * 2ull * PAGE_SIZE);
	return true;
}

/* ---- a vCPU ---------------------------------------------------------------------------------- */

static void set_intercepts(struct vmcb *b)
{
	/* CR0, CR3: the guest's own, with nested paging. CR2, DR0 to DR3 are not in the way either,
	 * but debug registers are switched lazily, so all their accesses are seen. */
	b->intercept_cr = CR_WRITE(4) | CR_READ(8) | CR_WRITE(8);
	b->intercept_dr = ~0u;
	b->intercept_exc = SVM_EXCEPTIONS;
	b->intercept_1 = I1_INTR | I1_NMI | I1_SMI | I1_INIT | I1_RDPMC | I1_CPUID | I1_RSM |
			 I1_INVD | I1_HLT | I1_INVLPGA | I1_IOIO | I1_MSR | I1_SHUTDOWN;
	b->intercept_2 = I2_VMRUN | I2_VMMCALL | I2_VMLOAD | I2_VMSAVE | I2_STGI | I2_CLGI |
			 I2_SKINIT | I2_WBINVD | I2_MONITOR | I2_MWAIT | I2_MWAIT_ARMED |
			 I2_XSETBV | I2_RDPRU;
	b->intercept_3 = I3_INVLPGB | I3_INVLPGB_ILLEGAL | I3_MCOMMIT | I3_TLBSYNC;
	if (svm_features.pause_filter) {
		b->intercept_1 |= I1_PAUSE;
		b->pause_count = PAUSE_COUNT;
		b->pause_threshold = PAUSE_CYCLES;
	}
}

static int svm_vcpu_init(struct vcpu *v)
{
	struct svm_vcpu *s = &v->arch.svm;
	struct vmcb *b = page_alloc();

	if (!b) {
		return -TM_ENOMEM;
	}
	*s = (struct svm_vcpu){.vmcb = b, .vmcb_pa = virt_to_phys(b).v};
	set_intercepts(b);
	b->iopm = iopm.v;
	b->msrpm = msrpm.v;
	b->int_ctl = V_INTR_MASKING;
	b->np_enable = NP_ENABLE;
	b->asid = 1;
	b->efer = EFER_SVME;
	b->dr6 = DR6_RESET;
	b->g_pat = PAT_RESET;
	return 0;
}

static void svm_vcpu_free(struct vcpu *v)
{
	page_free(v->arch.svm.vmcb);
	v->arch.svm.vmcb = NULL;
}

static void svm_load(struct vcpu *v)
{
	struct svm_vcpu *s = &v->arch.svm;

	s->host_pa = host_vmcb(this_pcpu());
	__asm__ volatile("vmsave %0" : : "a"(s->host_pa) : "memory");
	s->vmcb->ncr3 = v->vm->s2.pt.root.v;
	/* It may have run on another CPU, and other VMCBs on this one. */
	svm_changed(v, CLEAN_ALL);
	memset(s->len, 0, sizeof(s->len));
}

static void svm_put(struct vcpu *v)
{
	(void)v;
}

static void svm_flush(struct vcpu *v)
{
	vmcb_of(v)->tlb_control = svm_features.flush_by_asid ? TLB_FLUSH_ASID : TLB_FLUSH_ALL;
	v->arch.svm.after |= AFTER_FLUSH;
}

/* ---- guest state ----------------------------------------------------------------------------- */

/* Where the plain 64-bit ones are, and which clean bit stands for them. */
static uint64_t *plain(struct vmcb *b, enum x86_reg r, uint32_t *clean)
{
	static const struct {
		uint16_t offset;
		uint16_t clean;
	} at[] = {
#define AT(reg, field, bit) [reg] = {offsetof(struct vmcb, field), bit}
		AT(XREG_RSP, rsp, 0),
		AT(XREG_RIP, rip, 0),
		AT(XREG_RFLAGS, rflags, 0),
		AT(XREG_CR0, cr0, CLEAN_CR),
		AT(XREG_CR3, cr3, CLEAN_CR),
		AT(XREG_CR4, cr4, CLEAN_CR),
		AT(XREG_DR7, dr7, CLEAN_DR),
		AT(XREG_GDTR_BASE, gdtr.base, CLEAN_DT),
		AT(XREG_IDTR_BASE, idtr.base, CLEAN_DT),
		AT(XREG_TSC_OFFSET, tsc_offset, CLEAN_INTERCEPTS),
		AT(XREG_STAR, star, 0),
		AT(XREG_LSTAR, lstar, 0),
		AT(XREG_CSTAR, cstar, 0),
		AT(XREG_SFMASK, sfmask, 0),
		AT(XREG_KERNEL_GS_BASE, kernel_gs_base, 0),
		AT(XREG_SYSENTER_CS, sysenter_cs, 0),
		AT(XREG_SYSENTER_ESP, sysenter_esp, 0),
		AT(XREG_SYSENTER_EIP, sysenter_eip, 0),
		AT(XREG_PAT, g_pat, CLEAN_NP),
	};

	if (r >= ARRAY_SIZE(at) || at[r].offset == 0) {
		return NULL;
	}
	*clean = at[r].clean;
	return (uint64_t *)((uint8_t *)b + at[r].offset);
}

static struct vmcb_seg *seg_of(struct vmcb *b, unsigned index)
{
	struct vmcb_seg *const at[] = {&b->es, &b->cs, &b->ss, &b->ds, &b->fs, &b->gs, &b->ldtr,
				       &b->tr};

	return at[index & 7];
}

#define ATTR_P (1u << 7)
#define ATTR_DPL_SHIFT 5
#define ATTR_UNUSABLE (1u << 16)
#define ATTR_G (1u << 15)
#define ATTR_BUSY 2u
#define TYPE(attr) ((attr) & 0x0fu)

/* A VMCB has the attributes packed, and a few of them not quite as the other vendor: a segment that
 * cannot be used is one that is not present; granularity is only kept as far as the limit shows it;
 * the CPL is in its own field; the task register's busy bit need not be set. */
static uint32_t attr_read(const struct vmcb *b, unsigned index, const struct vmcb_seg *s)
{
	uint32_t attr = (s->attrib & 0xffu) | (s->attrib & 0xf00u) << 4;

	attr = s->limit > 0xfffff ? attr | ATTR_G : attr & ~ATTR_G;
	if (index == TM_SEG_SS) {
		attr = (attr & ~(3u << ATTR_DPL_SHIFT)) | (b->cpl & 3u) << ATTR_DPL_SHIFT;
	}
	if (index == TM_SEG_TR) {
		attr |= ATTR_BUSY;
	} else if (!(attr & ATTR_P)) {
		attr |= ATTR_UNUSABLE;
	}
	return attr;
}

static void attr_write(struct vmcb *b, unsigned index, struct vmcb_seg *s, uint32_t attr)
{
	s->attrib = (uint16_t)((attr & 0xffu) | (attr >> 4 & 0xf00u));
	if (attr & ATTR_UNUSABLE) {
		s->attrib &= (uint16_t)~ATTR_P;
	}
	if (index == TM_SEG_SS) {
		b->cpl = attr >> ATTR_DPL_SHIFT & 3u;
	}
}

static uint64_t seg_read(struct vmcb *b, unsigned n)
{
	const struct vmcb_seg *s = seg_of(b, n / 4);

	switch ((enum seg_part)(n % 4)) {
	case SEG_SELECTOR:
		return s->selector;
	case SEG_ATTRIBUTES:
		return attr_read(b, n / 4, s);
	case SEG_LIMIT:
		return s->limit;
	default:
		return s->base;
	}
}

static void seg_write(struct vcpu *v, unsigned n, uint64_t val)
{
	struct vmcb *b = vmcb_of(v);
	struct vmcb_seg *s = seg_of(b, n / 4);

	svm_changed(v, CLEAN_SEG);
	switch ((enum seg_part)(n % 4)) {
	case SEG_SELECTOR:
		s->selector = (uint16_t)val;
		break;
	case SEG_ATTRIBUTES:
		attr_write(b, n / 4, s, (uint32_t)val);
		break;
	case SEG_LIMIT:
		s->limit = (uint32_t)val;
		break;
	default:
		s->base = val;
		break;
	}
}

static uint64_t svm_read(struct vcpu *v, enum x86_reg r)
{
	struct vmcb *b = vmcb_of(v);
	uint32_t clean;
	uint64_t *p = plain(b, r, &clean);

	if (p) {
		return *p;
	}
	if (r >= XREG_SEG_FIRST) {
		return seg_read(b, (unsigned)r - XREG_SEG_FIRST);
	}
	switch (r) {
	case XREG_EFER:
		return b->efer & ~(uint64_t)EFER_SVME;
	case XREG_GDTR_LIMIT:
		return b->gdtr.limit & 0xffffu;
	case XREG_IDTR_LIMIT:
		return b->idtr.limit & 0xffffu;
	case XREG_BLOCKING:
		return svm_blocking(v);
	default:
		return 0;
	}
}

static void svm_write(struct vcpu *v, enum x86_reg r, uint64_t val)
{
	struct vmcb *b = vmcb_of(v);
	uint32_t clean;
	uint64_t *p = plain(b, r, &clean);

	if (p) {
		*p = val;
		if (clean) {
			svm_changed(v, clean);
		}
		return;
	}
	if (r >= XREG_SEG_FIRST) {
		seg_write(v, (unsigned)r - XREG_SEG_FIRST, val);
		return;
	}
	switch (r) {
	case XREG_EFER:
		b->efer = val | EFER_SVME;
		svm_changed(v, CLEAN_CR);
		break;
	case XREG_GDTR_LIMIT:
		b->gdtr.limit = (uint32_t)val;
		svm_changed(v, CLEAN_DT);
		break;
	case XREG_IDTR_LIMIT:
		b->idtr.limit = (uint32_t)val;
		svm_changed(v, CLEAN_DT);
		break;
	case XREG_BLOCKING:
		svm_set_blocking(v, (unsigned)val);
		break;
	default:
		break;		/* hardware reads PDPTEs itself; TSC_AUX is not ours */
	}
}

struct virt_ops svm_ops = {
	.name = "SVM",
	.probe = svm_probe,
	.cpu_init = svm_cpu_init,
	.vcpu_init = svm_vcpu_init,
	.vcpu_free = svm_vcpu_free,
	.load = svm_load,
	.put = svm_put,
	.run = svm_run,
	.skip = svm_skip,
	.read = svm_read,
	.write = svm_write,
	.window = svm_window,
	.flush = svm_flush,
	.hw_msrs = 1u << SMSR_STAR | 1u << SMSR_LSTAR | 1u << SMSR_CSTAR | 1u << SMSR_SFMASK |
		   1u << SMSR_KERNEL_GS_BASE | 1u << SMSR_SYSENTER_CS | 1u << SMSR_SYSENTER_ESP |
		   1u << SMSR_SYSENTER_EIP | 1u << SMSR_PAT,
	.format = &npt_format,
};
