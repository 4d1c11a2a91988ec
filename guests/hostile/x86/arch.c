// SPDX-License-Identifier: Apache-2.0
//
// x86: the order of its attacks, what sweeps mean, how it calls, and faults without end.

#include <string.h>
#include <tidemark/call.h>
#include <tidemark/guest.h>
#include <tidemark/irq.h>
#include <tidemark/tap.h>
#include <tidemark/x86.h>
#include "attacks.h"

#define PAGE 4096u
#define VECTOR_NMI 2u
#define MSR_APIC_BASE 0x1bu
#define MSR_EOI 0x80bu
#define MSR_ISR 0x810u
#define APIC_EN 0x800u
#define APIC_X2 0xc00u
#define LAPIC 0xfee00000u
#define IOAPIC 0xfec00000u

uint8_t stub_table[STUBS][STUB] __attribute__((aligned(4096)));
uint64_t scratch[1024] __attribute__((aligned(4096)));
static volatile uint64_t nmis;
static volatile uint64_t low_vectors;

/* Interrupts of our own that the library takes for exceptions. */
static bool on_fault(uint64_t esr, uint64_t far, uint64_t *pc)
{
	(void)far, (void)pc;
	if (esr >> 32 == VECTOR_NMI) {
		nmis++;
		return true;
	}
	if (esr >> 32 >= 16 && esr >> 32 < 32 && esr >> 32 != 17) {
		low_vectors++;
		return true;
	}
	return false;
}

uint64_t nmis_taken(void)
{
	return nmis;
}

void arch_prepare(void)
{
	tm_set_fault_hook(on_fault);
}

static void end_all_in_service(void)
{
	for (unsigned i = 0; i < 300; i++) {
		uint64_t any = 0;

		for (uint32_t r = 0; r < 8; r++) {
			any |= tm_rdmsr(MSR_ISR + r);
		}
		if (any == 0) {
			break;
		}
		tm_wrmsr(MSR_EOI, 0);
	}
}

void settle(void)
{
	uint64_t base;

	(void)tm_irq_save();
	base = tm_rdmsr(MSR_APIC_BASE);
	if ((base & APIC_X2) != APIC_X2 || (base & ~(uint64_t)0xfff) != LAPIC) {
		tm_wrmsr(MSR_APIC_BASE, base & ~(uint64_t)APIC_X2);
		tm_wrmsr(MSR_APIC_BASE, LAPIC | (base & 0x100) | APIC_EN);
	}
	tm_irq_cpu_init();
	tm_out8(0x21, 0xff);
	tm_out8(0xa1, 0xff);
	for (unsigned i = 0; i < 32; i++) {
		end_all_in_service();
		__asm__ volatile("sti\n\tnop\n\tnop\n\tcli" : : : "memory");
	}
	end_all_in_service();
}

/* --- order ---------------------------------------------------------------------------------------- */

static void run_all(struct hostile *h, const char *const *names,
		    void (*const *attacks)(struct hostile *))
{
	for (unsigned i = 0; names[i] != NULL; i++) {
		if (wanted(names[i])) {
			attacks[i](h);
		}
	}
}

void arch_attack_first(struct hostile *h)
{
	static const char *const names[] = {"timer", "control", "descriptors", NULL};
	static void (*const attacks[])(struct hostile *) = {attack_timer, attack_control,
							    attack_descriptors};

	(void)tm_irq_save();
	run_all(h, names, attacks);
}

void arch_attack_middle(struct hostile *h)
{
	static const char *const names[] = {"insns", "ipis", NULL};
	static void (*const attacks[])(struct hostile *) = {attack_instructions, attack_ipis};

	run_all(h, names, attacks);
}

void arch_attack_last(struct hostile *h)
{
	static const char *const names[] = {"msrs", "ports", "apic", "mmio", NULL};
	static void (*const attacks[])(struct hostile *) = {attack_msrs, attack_ports, attack_apic,
							    attack_mmio};

	run_all(h, names, attacks);
}

/* --- memory of nobody reads as ones and takes no writes --------------------------------------------- */

bool arch_is_device(uint64_t gpa)
{
	uint64_t page = gpa & ~(uint64_t)(PAGE - 1);

	return page == LAPIC || page == IOAPIC;
}

uint32_t arch_touch(struct hostile *h, uint64_t gpa)
{
	struct tm_probe w = tm_probe_write(gpa, 8, ~gpa ^ 1);
	struct tm_probe r = tm_probe_read(gpa, 8);

	h->ops += 2;
	(void)w;	/* accepted or, unmapped, a fault */
	return r.kind == TM_PROBE_OK && r.value != ~(uint64_t)0;
}

/* The last GiB of the library's map, elsewhere for a moment. */
uint32_t arch_touch_raw(struct hostile *h, uint64_t gpa)
{
	const uint64_t gib = (uint64_t)1 << 30;
	const uint64_t window = 511 * gib;
	uint64_t *pdpt, *pml4, cr3, old;
	uint32_t got;

	if (gpa >> 52 != 0) {
		return 0;	/* no entry can say that */
	}
	__asm__ volatile("movq %%cr3, %0" : "=r"(cr3));
	pml4 = (uint64_t *)(uintptr_t)(cr3 & ~(uint64_t)0xfff);
	pdpt = (uint64_t *)(uintptr_t)(pml4[0] & 0x000ffffffffff000u);
	old = pdpt[511];
	pdpt[511] = (gpa & ~(gib - 1)) | 0x83;
	__asm__ volatile("movq %0, %%cr3" : : "r"(cr3) : "memory");
	got = arch_touch(h, window + (gpa & (gib - 1)));
	pdpt[511] = old;
	__asm__ volatile("movq %0, %%cr3" : : "r"(cr3) : "memory");
	return got;
}

bool arch_fetch(struct hostile *h, uint64_t gpa)
{
	h->ops++;
	return tm_probe_call((uint64_t (*)(uint64_t))(uintptr_t)gpa, 0).kind == TM_PROBE_OK;
}

uint64_t draw_pointer(struct tm_prng *rng)
{
	switch (tm_prng_below(rng, 8)) {
	case 0: return (uint64_t)1 << (48 + tm_prng_below(rng, 15));	/* not canonical */
	case 1: return ((uint64_t)1 << 40) + tm_prng_below(rng, 1u << 20);	/* unmapped */
	case 2: return 0xd0000000u + tm_prng_below(rng, 1u << 24) * 8;
	case 3: return ((uint64_t)1 << 36) + tm_prng_below(rng, 1u << 20);
	case 4: return TM_GPA(scratch) + PAGE - tm_prng_below(rng, 16);
	default: return TM_GPA(scratch) + tm_prng_below(rng, sizeof(scratch) / 16) * 8;
	}
}

/* --- calls -------------------------------------------------------------------------------------------- */

struct tm_probe run_stub(struct hostile *h, struct run *r, uint32_t stub)
{
	h->ops++;
	r->code = (uint64_t)(uintptr_t)stub_table[stub];
	return tm_probe_call(run_code, (uint64_t)(uintptr_t)r);
}

bool arch_call_number(struct tm_prng *rng, uint32_t fn, uint64_t *reg)
{
	*reg = fn;
	switch (tm_prng_below(rng, 16)) {
	case 0: *reg |= (uint64_t)1 << (32 + tm_prng_below(rng, 32)); return false;
	case 1: *reg |= 0x10000u << tm_prng_below(rng, 16); return false;
	case 2: *reg |= 0xc6000000u; return false;	/* as arm64 has it */
	default: return true;
	}
}

void arch_raw_call(struct tm_prng *rng, uint64_t x[18])
{
	static const uint8_t order[15] = {RAX, RDI, RSI, RDX, R10, R8, R9, RBX, RCX, R11, R12, R13,
					  R14, R15, RBP};
	static const uint8_t vmcall[] = {0x0f, 0x01, 0xc1, INSN_RET};
	static const uint8_t vmmcall[] = {0x0f, 0x01, 0xd9, INSN_RET};
	struct run r = {.code = (uint64_t)(uintptr_t)(tm_call_is_vmmcall() ? vmmcall : vmcall)};

	(void)rng;
	for (unsigned i = 0; i < 15; i++) {
		r.reg[order[i]] = x[i];
	}
	if (tm_probe_call(run_code, (uint64_t)(uintptr_t)&r).kind != TM_PROBE_OK) {
		x[4] = ~x[4];	/* counts as spoiled */
		return;
	}
	for (unsigned i = 0; i < 15; i++) {
		x[i] = run_out[order[i]];
	}
}

bool arch_other_call(struct hostile *h)
{
	(void)h;
	return false;
}

/* --- an end that never comes --------------------------------------------------------------------------- */

/* Every fault's handler reads memory of nobody and goes back to the fault. */
_Noreturn void arch_spin_in_faults(void)
{
	static struct {
		uint16_t low, selector;
		uint8_t ist, type;
		uint16_t mid;
		uint32_t high, rsvd;
	} idt[32] __attribute__((aligned(16)));
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) r = {sizeof(idt) - 1, (uint64_t)(uintptr_t)idt};
	uint64_t handler;

	(void)tm_irq_save();
	__asm__ volatile("leaq 1f(%%rip), %0\n\t"
			 "jmp 2f\n"
			 "1:\tmovabsl 0xd0000000, %%eax\n\t"
			 "iretq\n"
			 "2:" : "=r"(handler) : : "rax");
	for (unsigned i = 0; i < 32; i++) {
		idt[i].low = (uint16_t)handler;
		idt[i].selector = 0x10;
		idt[i].type = 0x8e;
		idt[i].mid = (uint16_t)(handler >> 16);
		idt[i].high = (uint32_t)(handler >> 32);
	}
	__asm__ volatile("lidt %0" : : "m"(r) : "memory");
	for (;;) {
		__asm__ volatile("ud2" : : : "rax", "memory");
	}
}
