// SPDX-License-Identifier: Apache-2.0
//
// The vCPU's programs and its tables. They run in 64-bit mode on the harness's own page tables, with
// an EPT that maps everything where it is: 2 MiB leaves, but 4 KiB ones in TEST_BASE and, for one
// test, around the guest's descriptor table.

#include "harness.h"

#define EPT_TABLE 7u
#define EPT_LEAF 0x377u			/* D A, ignores PAT, write-back, R W X */
#define EPT_LARGE 0x80u
#define TEST_TABLES (TEST_PAGES / 512)

volatile unsigned traps[256];
void (*volatile nmi_hook)(uint64_t *frame);
uint64_t guest_gdt[512] __attribute__((aligned(4096)));
uint64_t guest_stack_at;
volatile uint64_t write_count;
volatile bool released;

static uint64_t ept4[512] __attribute__((aligned(4096)));
static uint64_t ept3[512] __attribute__((aligned(4096)));
static uint64_t ept2[512] __attribute__((aligned(4096)));
static uint64_t ept1[TEST_TABLES][512] __attribute__((aligned(4096)));
static uint64_t ept1_gdt[512] __attribute__((aligned(4096)));
static uint64_t guest_idt[512];
static uint8_t stack[65536] __attribute__((aligned(4096)));
extern char guest_stubs[], real_mode[], real_mode_end[];

/* ---- tables ---------------------------------------------------------------------------------- */

static void fill(uint64_t *table, uint64_t first)
{
	for (uint64_t i = 0; i < 512; i++) {
		table[i] = (first + i * PAGE_SIZE) | EPT_LEAF;
	}
}

void guest_init(void)
{
	struct cpu_area *a = cpu_area(0);

	ept4[0] = (uint64_t)ept3 | EPT_TABLE;
	ept3[0] = (uint64_t)ept2 | EPT_TABLE;
	for (uint64_t i = 0; i < 512; i++) {
		ept2[i] = i << 21 | EPT_LEAF | EPT_LARGE;
	}
	for (unsigned t = 0; t < TEST_TABLES; t++) {
		fill(ept1[t], TEST_BASE + ((uint64_t)t << 21));
		ept2[(TEST_BASE >> 21) + t] = (uint64_t)ept1[t] | EPT_TABLE;
	}
	fill(ept1_gdt, ALIGN_DOWN((uint64_t)guest_gdt, 1ull << 21));
	ept2[(uint64_t)guest_gdt >> 21] = (uint64_t)ept1_gdt | EPT_TABLE;
	vm.s2.pt.root = hpa((uint64_t)ept4);

	memcpy(guest_gdt, a->gdt, sizeof(a->gdt));
	guest_gdt[6] = 0x00cf9b000000ffffull;	/* 32-bit code and data */
	guest_gdt[7] = 0x00cf93000000ffffull;
	for (unsigned i = 0; i < 256; i++) {
		uint64_t at = (uint64_t)guest_stubs + 16 * i;

		guest_idt[2 * i] = (at & 0xffff) | 8 << 16 | 0x8eull << 40 |
				   (at >> 16 & 0xffff) << 48;
		guest_idt[2 * i + 1] = at >> 32;
	}
}

uint64_t *pte_of(uint64_t a)
{
	return &ept1[(a - TEST_BASE) >> 21][a >> 12 & 511];
}

void ept_flush(void)
{
	vmx_ops.flush(&vcpu);
}

/* Its descriptors are not accessed and its page is armed: loading one writes and is logged. */
void gdt_page_clean(void)
{
	guest_gdt[6] = guest_gdt[1] & ~(1ull << 40);
	ept1_gdt[(uint64_t)guest_gdt >> 12 & 511] &= ~(1ull << 9);
	ept_flush();
}

static void segment(unsigned i, uint64_t selector, uint64_t attributes, uint64_t limit, uint64_t base)
{
	set(XREG_SEG(i, SEG_SELECTOR), selector);
	set(XREG_SEG(i, SEG_ATTRIBUTES), attributes);
	set(XREG_SEG(i, SEG_LIMIT), limit);
	set(XREG_SEG(i, SEG_BASE), base);
}

static void common_state(uint64_t rip, uint64_t rsp)
{
	set(XREG_DR7, 0x400);
	set(XREG_PAT, PAT_RESET);
	set(XREG_GDTR_BASE, (uint64_t)guest_gdt);
	set(XREG_GDTR_LIMIT, sizeof(guest_gdt) - 1);
	set(XREG_IDTR_BASE, (uint64_t)guest_idt);
	set(XREG_IDTR_LIMIT, sizeof(guest_idt) - 1);
	set(XREG_RFLAGS, 2);
	set(XREG_RIP, rip);
	set(XREG_RSP, rsp);
	set(XREG_BLOCKING, 0);
	vcpu.arch.event.valid = false;
}

void guest_start(void (*fn)(void))
{
	for (unsigned i = TM_SEG_ES; i <= TM_SEG_GS; i++) {
		segment(i, i == TM_SEG_CS ? 8 : 0x10, i == TM_SEG_CS ? 0xa09b : 0xc093, ~0u, 0);
	}
	segment(TM_SEG_LDTR, 0, 0x10000, 0, 0);
	segment(TM_SEG_TR, SEL_TSS, 0x8b, 103, (uint64_t)&cpu_area(0)->tss);
	set(XREG_EFER, 0xd01);
	set(XREG_CR0, 0x80010031);
	set(XREG_CR3, read_cr(3));
	set(XREG_CR4, 0x620);
	common_state((uint64_t)fn, guest_stack_at ? guest_stack_at : (uint64_t)(stack + sizeof(stack)) - 8);
}

void guest_start_real(void)
{
	memcpy((void *)0x8000, real_mode, (size_t)(real_mode_end - real_mode));
	for (unsigned i = TM_SEG_ES; i <= TM_SEG_GS; i++) {
		segment(i, 0, i == TM_SEG_CS ? 0x9b : 0x93, 0xffff, 0);
	}
	segment(TM_SEG_LDTR, 0, 0x82, 0xffff, 0);
	segment(TM_SEG_TR, 0, 0x8b, 0xffff, 0);
	set(XREG_EFER, 0);
	set(XREG_CR0, 0x60000010);
	set(XREG_CR3, 0);
	set(XREG_CR4, 0);
	common_state(0x8000, 0x7000);
}

/* ---- programs -------------------------------------------------------------------------------- */

void guest_trap(uint64_t vector, uint64_t *frame)
{
	traps[vector & 255]++;
	if (vector == 6) {
		frame[0] += 2;		/* past the UD2 */
	}
	if (vector == 2 && nmi_hook) {
		nmi_hook(frame);
	}
}

void guest_calls(void)
{
	for (;;) {
		guest_call(MARK_CALLS);
	}
}

void guest_instructions(void)
{
	uint64_t val;

	(void)cpuid(5, 6);
	port_out8(0x80, 1);
	(void)port_in32(0xcf8);
	__asm__ volatile("hlt");
	(void)rdmsr(0x10a);
	wrmsr(0x123, 0x5566);
	__asm__ volatile("mov %0, %%dr3" : : "r"(1ul));
	__asm__ volatile("mov %%cr8, %0" : "=r"(val));
	__asm__ volatile("wbinvd");
	__asm__ volatile("vmxoff");
	guest_call(MARK_INSNS);
}

void guest_strings(void)
{
	static uint8_t buf[64];
	void *from = buf, *to = buf;
	uint64_t n = 3;

	__asm__ volatile("rep outsw" : "+S"(from), "+c"(n) : "d"(0x1f0) : "memory");
	__asm__ volatile("insb" : "+D"(to) : "d"(0x60) : "memory");
	guest_forever();
}

void guest_control(void)
{
	uint64_t cr0 = read_cr(0), cr4 = read_cr(4) | CR4_PGE;

	write_cr(4, cr4);
	write_cr(4, cr4 | CR4_SMEP);
	write_cr(0, cr0 | CR0_CD);
	write_cr(0, cr0);
	guest_call(read_cr(0));
	guest_call(read_cr(4));
}

void guest_touch(void)
{
	*(volatile uint64_t *)(TEST_BASE + 0x5008) = 1;
	guest_call(MARK_TOUCH1);
	(void)*(volatile uint64_t *)(TEST_BASE + 0x6010);
	guest_call(MARK_TOUCH2);
}

void guest_triple(void)
{
	struct x86_table_reg none = {0, 0};

	__asm__ volatile("lidt %0; ud2" : : "m"(none));
}

void guest_waits(void)
{
	__asm__ volatile("sti");
	while (!released) {
	}
	guest_call(MARK_WAITED);
}

void guest_masked(void)
{
	for (volatile unsigned i = 0; i < 1000; i++) {
	}
	guest_call(MARK_MASKED);
	__asm__ volatile("sti; nop; nop");
	guest_call(MARK_OPEN);
}

void guest_forever(void)
{
	for (;;) {
	}
}

void guest_nmi(void)
{
	guest_call(MARK_NMI_FIRST);
	for (;;) {
		guest_call(MARK_NMI_LOOP);
	}
}

/* The first instruction with TF set is STI. */
void guest_steps(void)
{
	guest_call(MARK_STEPS);
	__asm__ volatile("pushq $0x102; popfq; sti; nop; pushq $2; popfq" : : : "memory", "cc");
	guest_call(MARK_STEPPED);
}

void guest_int1(void)
{
	__asm__ volatile(".byte 0xf1" : : : "memory");
	guest_call(MARK_INT1);
}

static void write_pages(uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++) {
		*(volatile uint64_t *)(TEST_BASE + i * PAGE_SIZE) = i;
	}
}

void guest_writes(void)
{
	write_pages(0, write_count);
	guest_call(MARK_WRITTEN);
}

/* 512 pages fill the buffer; the 513th is the stack that an event's frame goes to. */
void guest_full(void)
{
	write_pages(0, 512);
	/* Its second byte is an INT3: who returns there counted the length wrong. */
	__asm__ volatile("int $0xcc" : : : "memory", "cc");
	guest_call(MARK_FULL1);
	write_pages(512, 1024);
	/* Another page of the stack. */
	__asm__ volatile("subq $4096, %%rsp; ud2; addq $4096, %%rsp" : : : "memory", "cc");
	guest_call(MARK_FULL2);
}
