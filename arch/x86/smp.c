// SPDX-License-Identifier: Apache-2.0
/*
 * Secondary CPUs, by INIT and start-up messages. The boot CPU starts them one after the other and
 * waits for each, so nothing here runs twice at a time; `online` is the only word that two CPUs
 * share. One that stays away is put back into its wait before the next uses the same page.
 */
#include <arch/boot.h>
#include <arch/cpu.h>
#include <arch/time.h>
#include <asm/cpu.h>
#include <asm/layout.h>
#include <asm/machine.h>
#include <asm/mmu.h>
#include <asm/time.h>
#include <drivers/apic/apic.h>
#include <hyp/boot_info.h>
#include <hyp/err.h>
#include <hyp/log.h>
#include <hyp/sched.h>
#include <hyp/string.h>

/* SDM volume 3, 8.4.4.1. */
#define AFTER_INIT_US 10000u
#define AFTER_STARTUP_US 200u
/* Microseconds that a CPU may take to its first word. */
#define ONLINE_US 2000000u

#define PTE_TABLE 0x23ull		/* present, writable, accessed */
#define PTE_PAGE 0x21ull		/* present, read-only, executable */

/* trampoline_data in trampoline.S. */
struct trampoline {
	uint16_t gdt_limit;
	uint32_t gdt_base;
	uint16_t pad0;
	uint32_t far_offset;
	uint16_t far_selector;
	uint16_t pad1;
	uint64_t low_cr3;
	uint64_t root;
	uint64_t stack;
	uint64_t cpu;
} __attribute__((packed));

extern const char trampoline_start[], trampoline_data[], trampoline_end[];
void x86_secondary(uint64_t cpu) noreturn_fn;

/* First C of a secondary, on its own stack and the hypervisor's table. */
__attribute__((no_stack_protector)) void x86_secondary(uint64_t cpu)
{
	struct pcpu *c = &pcpus[cpu];

	cpu_tables_init((unsigned)cpu);
	cpu_control_init();
	arch_boot_start(c);
	arch_boot_cpu(c);
	cpu_secondary_main(c);
	arch_halt();
}

/* Below 4 GiB, because a 32-bit register holds its address: the page 1:1, and our upper half. */
static void low_tables(uint64_t page)
{
	uint64_t *root = phys_to_virt(hpa(page + PAGE_SIZE));
	uint64_t *third = phys_to_virt(hpa(page + 2 * PAGE_SIZE));
	uint64_t *second = phys_to_virt(hpa(page + 3 * PAGE_SIZE));

	memset(root, 0, 3 * PAGE_SIZE);
	memcpy(&root[256], (uint64_t *)phys_to_virt(hpa(mmu_root)) + 256, 256 * sizeof(*root));
	root[0] = (page + 2 * PAGE_SIZE) | PTE_TABLE;
	third[0] = (page + 3 * PAGE_SIZE) | PTE_TABLE;
	second[0] = PTE_PAGE | 1u << 7;		/* the first 2 MiB */
}

static void prepare(unsigned i)
{
	char *code = phys_to_virt(hpa(machine.trampoline));
	struct trampoline *t = (struct trampoline *)(code + (trampoline_data - trampoline_start));

	memcpy(code, trampoline_start, (size_t)(trampoline_end - trampoline_start));
	low_tables(machine.trampoline);
	t->gdt_base += (uint32_t)machine.trampoline;
	t->far_offset += (uint32_t)machine.trampoline;
	t->low_cr3 = machine.trampoline + PAGE_SIZE;
	t->root = mmu_root;
	t->stack = arch_stack_top(i);
	t->cpu = i;
}

static bool comes_up(const struct pcpu *c, uint64_t us)
{
	uint64_t deadline = arch_time_now() + us * (arch_time_freq() / 1000) / 1000;

	while (!__atomic_load_n(&c->online, __ATOMIC_ACQUIRE)) {
		if (arch_time_now() > deadline) {
			return false;
		}
		arch_cpu_relax();
	}
	return true;
}

int arch_cpu_on(unsigned i)
{
	struct pcpu *c = &pcpus[i];
	uint32_t id = (uint32_t)c->hwid;
	unsigned page = (unsigned)(machine.trampoline / PAGE_SIZE);

	if (!machine.trampoline) {
		log_err("CPU %u (APIC id %u): no free memory below 1 MiB to start it in", i, id);
		return -TM_EIO;
	}
	prepare(i);
	host_apic_send_init(id);
	time_delay_us(AFTER_INIT_US);
	host_apic_send_startup(id, page);
	time_delay_us(AFTER_STARTUP_US);
	/* A CPU that runs ignores the second one. */
	host_apic_send_startup(id, page);
	if (comes_up(c, ONLINE_US)) {
		return 0;
	}
	host_apic_send_init(id);
	log_err("CPU %u (APIC id %u): started, but does not come up", i, id);
	return -TM_EIO;
}
