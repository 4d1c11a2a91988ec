// SPDX-License-Identifier: Apache-2.0
//
// What arch/x86/vmx/ is linked with here instead of the hypervisor: pages, the console, the handlers
// of asm/exit.h. One CPU, no locks.

#include <arch/cpu.h>
#include <asm/enter.h>
#include <asm/irq.h>
#include <hyp/boot_info.h>
#include <hyp/dirty_hw.h>
#include <hyp/hypercall.h>
#include <hyp/log.h>
#include <hyp/page_alloc.h>
#include "harness.h"

struct pcpu pcpus[BOOT_MAX_CPUS];
unsigned pcpu_count = 1;
struct boot_info boot_info = {.cpu_count = 1};
struct tlb_cpu tlb_cpus[BOOT_MAX_CPUS];
struct vm vm;
struct vcpu vcpu;
struct record last;
unsigned left_calls;
uint64_t logged[LOGGED_MAX];
unsigned logged_count, drains;
bool logged_in_guest;

static struct cpu_area area;
static uint64_t host_idt[512];
static unsigned points, failures;

/* ---- console --------------------------------------------------------------------------------- */

static void put(const char *s)
{
	for (; *s; s++) {
		while (!(port_in8(0x3fd) & 0x20)) {
		}
		port_out8(0x3f8, (uint8_t)*s);
	}
}

void say(const char *fmt, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, fmt);
	hyp_vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	put(text);
	put("\r\n");
}

void point(bool good, const char *fmt, ...)
{
	char text[160];
	va_list ap;

	va_start(ap, fmt);
	hyp_vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	failures += !good;
	say("%s %u - %s", good ? "ok" : "not ok", ++points, text);
}

void finish(void)
{
	say("1..%u", points);
	while (!(port_in8(0x3fd) & 0x40)) {
	}
	if (failures == 0) {
		port_out8(0x8900, 'D');		/* Bochs ends with status 0 */
	}
	for (const char *s = "Shutdown"; *s; s++) {
		port_out8(0x8900, (uint8_t)*s);
	}
	for (;;) {
		__asm__ volatile("cli; hlt");
	}
}

void panic(const char *fmt, ...)
{
	point(false, "panic: %s", fmt);
	finish();
}

void log_at(enum log_level level, const char *fmt, ...)
{
	(void)level;
	say("# %s", fmt);
}

bool ratelimit_ok(struct ratelimit *r)
{
	(void)r;
	return true;
}

/* ---- the machine ----------------------------------------------------------------------------- */

struct pcpu *this_pcpu(void)
{
	return &pcpus[0];
}

struct cpu_area *cpu_area(unsigned cpu)
{
	(void)cpu;
	return &area;
}

uint64_t cpu_idt_base(void)
{
	return (uint64_t)host_idt;
}

void *phys_to_virt(hpa_t a)
{
	return (void *)a.v;
}

hpa_t virt_to_phys(const void *p)
{
	return hpa((uint64_t)p);
}

hpa_t boot_alloc(uint64_t bytes, uint64_t align)
{
	static uint64_t next = 0x2000000;
	uint64_t at = ALIGN_UP(next, align);

	next = at + bytes;
	return hpa(at);
}

void *page_alloc(void)
{
	void *p = phys_to_virt(boot_alloc(PAGE_SIZE, PAGE_SIZE));

	memset(p, 0, PAGE_SIZE);
	return p;
}

void page_free(void *page)
{
	(void)page;
}

void arch_zero_page(void *page)
{
	memset(page, 0, PAGE_SIZE);
}

bool rdmsr_safe(uint32_t msr, uint64_t *val)
{
	*val = rdmsr(msr);
	return true;
}

bool wrmsr_safe(uint32_t msr, uint64_t val)
{
	wrmsr(msr, val);
	return true;
}

void host_trap(uint64_t vector, uint64_t *frame)
{
	say("# trap %u, rip or error 0x%llx", (unsigned)vector, (unsigned long long)frame[0]);
	panic("an exception of the host");
}

extern char host_stubs[];

static void tables_init(void)
{
	struct x86_table_reg gdtr = {sizeof(area.gdt) - 1, (uint64_t)area.gdt};
	struct x86_table_reg idtr = {sizeof(host_idt) - 1, (uint64_t)host_idt};
	uint64_t tss = (uint64_t)&area.tss;

	area.pcpu = &pcpus[0];
	area.self = &area;
	area.gdt[1] = 0x00af9b000000ffffull;
	area.gdt[2] = 0x00cf93000000ffffull;
	area.gdt[3] = 103 | (tss & 0xffffff) << 16 | 0x89ull << 40 | (tss >> 24 & 0xff) << 56;
	area.gdt[4] = tss >> 32;
	for (unsigned i = 0; i < 256; i++) {
		uint64_t at = (uint64_t)host_stubs + 16 * i;

		host_idt[2 * i] = (at & 0xffff) | 8 << 16 | 0x8eull << 40 | (at >> 16 & 0xffff) << 48;
		host_idt[2 * i + 1] = at >> 32;
	}
	__asm__ volatile("lgdt %0; lidt %1" : : "m"(gdtr), "m"(idtr));
	__asm__ volatile("ltr %w0" : : "r"(SEL_TSS));
	wrmsr(MSR_GS_BASE, (uint64_t)&area);
}

/* ---- policy ---------------------------------------------------------------------------------- */

bool policy_msr_passthrough(uint32_t msr, bool write)
{
	(void)write;
	return msr == MSR_FS_BASE || msr == MSR_GS_BASE;
}

uint64_t policy_cr4_allowed(void)
{
	return ~(uint64_t)CR4_VMXE;
}

void policy_cpuid(struct vcpu *v, uint32_t leaf, uint32_t sub, struct cpuid_regs *out)
{
	struct cpuid_leaf r = cpuid(leaf, sub);

	(void)v;
	*out = (struct cpuid_regs){r.eax, r.ebx, r.ecx, r.edx};
}

const char *guest_state_bad(struct vcpu *v)
{
	(void)v;
	return NULL;
}

void tlb_left(struct vcpu *v)
{
	(void)v;
	left_calls++;
}

/* ---- exits ----------------------------------------------------------------------------------- */

static void record(enum kind k, uint64_t a, uint64_t b, uint64_t c, unsigned len)
{
	last = (struct record){.kind = k, .a = a, .b = b, .c = c, .len = len};
}

static void record_skip(struct vcpu *v, enum kind k, unsigned len)
{
	record(k, v->arch.gpr[GPR_RAX], v->arch.gpr[GPR_RCX], v->arch.gpr[GPR_RDX], len);
	guest_skip(v, len);
}

void guest_skip(struct vcpu *v, unsigned len)
{
	vmx_ops.write(v, XREG_RIP, vmx_ops.read(v, XREG_RIP) + len);
	vmx_ops.write(v, XREG_BLOCKING, vmx_ops.read(v, XREG_BLOCKING) & TM_BLOCK_NMI);
}

int64_t hypercall_dispatch(struct hc_call *c, uint32_t fn)
{
	c->res[0] = c->res[1] = c->res[2] = 0;
	record(CALL, fn, 1, 0, 0);
	return 0;
}

/* Only a VMCALL outside 64-bit mode makes it here. */
void inject_ud(struct vcpu *v)
{
	record(CALL, v->arch.gpr[GPR_RAX], 0, 0, 0);
	guest_skip(v, 3);
}

void exit_cpuid(struct vcpu *v, unsigned len) { record_skip(v, CPUID, len); }
void exit_rdmsr(struct vcpu *v, unsigned len) { record_skip(v, RDMSR, len); }
void exit_hlt(struct vcpu *v, unsigned len) { record_skip(v, HLT, len); }
void exit_pause(struct vcpu *v, unsigned len) { record_skip(v, PAUSE, len); }
void exit_xsetbv(struct vcpu *v, unsigned len) { record_skip(v, XSETBV, len); }
void exit_invd(struct vcpu *v, unsigned len) { record_skip(v, INVD, len); }
void exit_rdtscp(struct vcpu *v, unsigned len) { record_skip(v, UNKNOWN, len); }

void exit_wrmsr(struct vcpu *v, unsigned len)
{
	if (v->arch.gpr[GPR_RCX] == MSR_EFER) {
		vmx_ops.write(v, XREG_EFER, v->arch.gpr[GPR_RAX]);
	}
	record_skip(v, WRMSR, len);
}

void exit_cr_read(struct vcpu *v, unsigned cr, unsigned gpr, unsigned len)
{
	record(CR_READ, cr, gpr, 0, len);
	guest_skip(v, len);
}

void exit_cr_write(struct vcpu *v, unsigned cr, uint64_t val, unsigned len)
{
	record(CR_WRITE, cr, val, 0, len);
	vmx_ops.write(v, cr == 0 ? XREG_CR0 : cr == 4 ? XREG_CR4 : XREG_CR3, val);
	guest_skip(v, len);
}

void exit_dr(struct vcpu *v, unsigned dr, bool write, unsigned gpr, unsigned len)
{
	record(DR, dr, write, gpr, len);
	guest_skip(v, len);
}

void exit_io(struct vcpu *v, const struct exit_io *io, unsigned len)
{
	record(IO, io->port, io->size, io->write, len);
	last.io = *io;
	guest_skip(v, len);
}

void exit_npf(struct vcpu *v, const struct exit_npf *f)
{
	record(NPF, f->gpa, 0, 0, 0);
	last.npf = *f;
	last.event = v->arch.event;
}

void exit_exception(struct vcpu *v, unsigned vector, bool has_error, uint32_t error)
{
	(void)v;
	record(EXCEPTION, vector, has_error, error, 0);
}

void exit_triple_fault(struct vcpu *v) { (void)v; record(TRIPLE, 0, 0, 0, 0); }
void exit_undefined(struct vcpu *v) { (void)v; record(UNDEFINED, 0, 0, 0, 0); }
void inject_gp(struct vcpu *v) { (void)v; record(GP, 0, 0, 0, 0); }
void irq_dispatch(unsigned vector) { record(IRQ, vector, 0, 0, 0); }

void exit_unknown(struct vcpu *v, const char *what, uint64_t reason)
{
	(void)v, (void)what;
	record(UNKNOWN, reason, 0, 0, 0);
}

void exit_invalid_state(struct vcpu *v, const char *why)
{
	(void)v;
	record(INVALID, 0, 0, 0, 0);
	hyp_snprintf(last.why, sizeof(last.why), "%s", why);
}

void vm_kill(struct vm *which, const char *why)
{
	(void)which, (void)why;
	record(KILLED, 0, 0, 0, 0);
}

uint64_t vcpu_gpr(struct vcpu *v, unsigned n)
{
	return n == GPR_RSP ? vmx_ops.read(v, XREG_RSP) : v->arch.gpr[n];
}

void dirty_hw_logged(struct vcpu *v, const uint64_t *gpas, unsigned n)
{
	logged_in_guest = v->in_guest;
	drains++;
	for (unsigned i = 0; i < n && logged_count < LOGGED_MAX; i++) {
		logged[logged_count++] = gpas[i];
	}
}

/* ---- running --------------------------------------------------------------------------------- */

uint64_t get(enum x86_reg r)
{
	return vmx_ops.read(&vcpu, r);
}

void set(enum x86_reg r, uint64_t val)
{
	vmx_ops.write(&vcpu, r, val);
}

void event(enum event_type type, uint8_t vector)
{
	vcpu.arch.event = (struct x86_event){
		.valid = true, .type = (uint8_t)type, .vector = vector,
	};
}

void enter_once(void)
{
	last.kind = NOTHING;
	pcpus[0].resched = 1;		/* one entry, one exit */
	vcpu.in_guest = true;
	vmx_ops.run(&vcpu);
	if (vcpu.in_guest) {
		panic("in_guest after an exit");
	}
}

bool run_until(enum kind k, unsigned entries)
{
	for (unsigned i = 0; i < entries; i++) {
		enter_once();
		if (last.kind == k) {
			return true;
		}
		if (last.kind >= NPF && last.kind != IRQ) {
			say("# stopped by %d 0x%llx %s", (int)last.kind, (unsigned long long)last.a,
			    last.kind == INVALID ? last.why : "");
			return false;
		}
	}
	return false;
}

static void make_vcpu(unsigned backend, uint32_t asid)
{
	vm.dirty.backend = backend;
	vm.s2.hw_dirty = backend != DIRTY_WP;
	vcpu.arch.asid = asid;
	point(vmx_ops.vcpu_init(&vcpu) == 0, "a vCPU with back end %u", backend);
	vmx_ops.load(&vcpu);
}

void test_main(void);

void test_main(void)
{
	const char *why;

	port_out8(0x3f9, 0);
	port_out8(0x3fb, 3);
	port_out8(0x21, 0xff);
	port_out8(0xa1, 0xff);
	say("# arch/x86/vmx on its own");
	tables_init();
	guest_init();
	why = vmx_ops.probe();
	point(!why, "probe: %s", why ? why : "good");
	point(!why && vmx_ops.cpu_init(&pcpus[0]), "VMXON");
	if (why) {
		finish();
	}
	vcpu.vm = &vm;
	make_vcpu(DIRTY_WP, 1);
	test_exits();
	test_events();
	test_interrupts();
	vmx_ops.put(&vcpu);
	vmx_ops.vcpu_free(&vcpu);
	if (vmx_ops.backends & 1u << DIRTY_PML) {
		make_vcpu(DIRTY_PML, 2);
		test_pml();
		test_events();
	}
	finish();
}
