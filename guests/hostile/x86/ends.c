// SPDX-License-Identifier: Apache-2.0
//
// Ways to end this VM, one for each start (ops=0 end=<name> seed=<n>). Whatever becomes of us, only we
// may. guests/hostilemgr/x86/ends.c has the same names, with what each must come to.
//   triple      IDT of no length, then UD2
//   cr3 cr3dev cr3high   page tables of nobody, in a device, beyond physical memory
//   halt        HLT with interrupts masked
//   s5 s5b      SLP_EN by a word and by a byte
//   rst64 rst92 rstcf9 rstwide   the reset ports
//   gdt idt     a table from memory of nobody
//   init        INIT to ourselves
//   stack       an interrupt on a stack of nobody
//   db          a data breakpoint on the stack that its own handler is called on: goes on for ever
//   real pm16 pm32 big vm86 segs long   random code in that mode; may end or run for ever

#include <string.h>
#include <tidemark/guest.h>
#include <tidemark/irq.h>
#include <tidemark/x86.h>
#include "attacks.h"
#include "ends.h"

#define NOBODY 0xd0000000u
#define DEVICE 0xfec00000u
#define CODE_SIZE 8192u

extern const char ends_code[], ends_code_end[];

struct table {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

static void load_idt(uint64_t base, uint16_t limit)
{
	struct table t = {limit, base};

	__asm__ volatile("lidt %0" : : "m"(t) : "memory");
}

static void load_gdt(uint64_t base, uint16_t limit)
{
	struct table t = {limit, base};

	__asm__ volatile("lgdt %0" : : "m"(t) : "memory");
}

static void load_cr3(uint64_t cr3)
{
	__asm__ volatile("movq %0, %%cr3\n\tnop" : : "r"(cr3) : "memory");
}

/* Random bytes with exits among them, so that each odd state is also entered with. */
static void fill_garbage(struct tm_prng *rng, uint64_t at)
{
	static const uint8_t exits[][3] = {{0x0f, 0xa2, 0x90}, {0xe4, 0x80, 0x90}, {0x0f, 0x01, 0xc1},
					   {0x0f, 0x01, 0xd9}, {0xfb, 0x90, 0x90}, {0x8e, 0xd8, 0x90},
					   {0x0f, 0x22, 0xc0}, {0x0f, 0x30, 0x90}, {0x0f, 0x00, 0xd8}};
	volatile uint8_t *p = (volatile uint8_t *)(uintptr_t)at;

	for (uint32_t i = 0; i < CODE_SIZE; i++) {
		p[i] = (uint8_t)tm_prng_next(rng);
	}
	for (uint32_t i = 0; i < CODE_SIZE / 16; i++) {
		uint64_t where = tm_prng_below(rng, CODE_SIZE - 3);
		uint64_t which = tm_prng_below(rng, sizeof(exits) / sizeof(exits[0]));

		for (uint32_t j = 0; j < 3; j++) {
			p[where + j] = exits[which][j];
		}
	}
}

static void fill_gdt(struct tm_prng *rng)
{
	volatile uint64_t *gdt = (volatile uint64_t *)(uintptr_t)RANDOM_GDT;

	for (uint32_t i = 0; i < 512; i++) {
		uint64_t d = tm_prng_next(rng) | (uint64_t)1 << 47;

		/* Mostly what can be loaded: writable data, DPL 0; the TR gets a TSS now and then. */
		if (tm_prng_below(rng, 4) != 0) {
			d = (d & ~((uint64_t)0x7f << 40)) | (uint64_t)0x12 << 40;
		}
		gdt[i] = d;
	}
	gdt[0] = 0;
	gdt[1] = 0x00cf9b000000ffffu;
	gdt[2] = 0x00cf93000000ffffu;
}

static void go_down(struct hostile *h, uint64_t way)
{
	fill_garbage(&h->rng, GARBAGE);
	fill_gdt(&h->rng);
	memcpy((void *)ENDS_AT, ends_code, (size_t)(ends_code_end - ends_code));
	__asm__ volatile("movq %0, %%rbx\n\tjmpq *%1"
			 : : "r"(way), "r"((uint64_t)ENDS_AT) : "rbx", "memory");
}

/* A PUSH onto a slot that is watched; #DB's gate leads back to it, on the same stack. */
static _Noreturn void storm(void)
{
	static uint64_t gates[64] __attribute__((aligned(16)));
	uint64_t at;

	__asm__ volatile("leaq 1f(%%rip), %0\n\tjmp 2f\n"
			 "1:\tmovq %%rbx, %%rsp\n"
			 "3:\tpushq $0\n\tpopq %%rax\n\tjmp 3b\n"
			 "2:" : "=r"(at) : : "rax");
	for (uint32_t i = 0; i < 32; i++) {
		gates[2 * i] = (at & 0xffff) | 0x10u << 16 | (uint64_t)0x8e00 << 32 |
			       (at >> 16 & 0xffff) << 48;
		gates[2 * i + 1] = at >> 32;
	}
	load_idt((uint64_t)(uintptr_t)gates, sizeof(gates) - 1);
	__asm__ volatile("movq %%rsp, %%rbx\n\t"
			 "leaq -8(%%rsp), %%rax\n\t"
			 "movq %%rax, %%dr0\n\t"
			 "movq %0, %%dr7\n\t"	/* DR0: writes of 8 bytes */
			 "jmpq *%1" : : "r"((uint64_t)0x403 | 0x9 << 16), "r"(at) : "rax", "rbx", "memory");
	__builtin_unreachable();
}

static bool is(const char *how, const char *name)
{
	return strcmp(how, name) == 0;
}

static void by_port(const char *how)
{
	if (is(how, "s5")) {
		tm_out16(0x604, 0x2000);
	} else if (is(how, "s5b")) {
		tm_out8(0x605, 0x20);
	} else if (is(how, "rst64")) {
		tm_out8(0x64, 0xfe);
	} else if (is(how, "rst92")) {
		tm_out8(0x92, 1);
	} else if (is(how, "rstcf9")) {
		tm_out8(0xcf9, 6);
	} else if (is(how, "rstwide")) {
		tm_out32(0xcf8, 0x00000600);
	}
}

static void by_state(const char *how)
{
	if (is(how, "triple")) {
		load_idt(0, 0);
		__asm__ volatile("ud2");
	} else if (is(how, "cr3")) {
		load_cr3(NOBODY);
	} else if (is(how, "cr3dev")) {
		load_cr3(DEVICE);
	} else if (is(how, "cr3high")) {
		load_cr3((uint64_t)1 << 38);
	} else if (is(how, "gdt")) {
		load_gdt(NOBODY, 0xffff);
		__asm__ volatile("movl %0, %%ds\n\tud2" : : "r"(0x18));
	} else if (is(how, "idt")) {
		load_idt(NOBODY, 0xffff);
		__asm__ volatile("ud2");
	} else if (is(how, "init")) {
		tm_wrmsr(0x830, (uint64_t)tm_boot.mpidr[0] << 32 | 0x4500);
		for (;;) {
			tm_cpu_relax();
		}
	} else if (is(how, "stack")) {
		__asm__ volatile("movq %0, %%rsp\n\tud2" : : "r"((uint64_t)NOBODY + 0x800));
	} else if (is(how, "db")) {
		storm();
	} else if (is(how, "halt")) {
		for (;;) {
			__asm__ volatile("cli\n\thlt");
		}
	}
}

void arch_end(struct hostile *h, const char *how)
{
	static const char *const ways[] = {"real", "pm16", "pm32", "big", "vm86", "segs"};

	(void)tm_irq_save();
	by_port(how);
	by_state(how);
	for (uint64_t way = 0; way < sizeof(ways) / sizeof(ways[0]); way++) {
		if (is(how, ways[way])) {
			go_down(h, way);
		}
	}
	if (is(how, "long")) {
		fill_garbage(&h->rng, (uint64_t)(uintptr_t)stub_table);
		((void (*)(void))(uintptr_t)stub_table)();
	}
}
