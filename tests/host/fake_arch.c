// SPDX-License-Identifier: Apache-2.0
//
// The fake architecture: RAM, CPUs, time, panic and stubs of the board; see fake.h. What stands
// here is the whole contract of hyp/include/arch but for TLB maintenance (fake_tlb.c). Everything
// is weak, so that a program that links the real thing or its own double gets that one.

#include <abi/arch.h>
#include <abi/hypercall.h>
#include <abi/vm.h>
#include <arch/boot.h>
#include <arch/cpu.h>
#include <arch/format.h>
#include <arch/time.h>
#include <arch/tlb.h>
#include <arch/vcpu.h>
#include <hyp/boot_info.h>
#include <hyp/console.h>
#include <hyp/err.h>
#include <hyp/page_alloc.h>
#include <hyp/sched.h>
#include <hyp/test_hooks.h>
#include <hyp/vm.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "fake.h"

#define FAKE __attribute__((weak))

// ---- panic --------------------------------------------------------------------------------------

_Thread_local jmp_buf fake_panic_jmp;
_Thread_local bool fake_panic_armed;
_Thread_local char fake_panic_text[256];

FAKE void panic(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(fake_panic_text, sizeof(fake_panic_text), fmt, ap);
	va_end(ap);
	arch_halt();
}

FAKE void arch_halt(void)
{
	if (fake_panic_armed) {
		fake_panic_armed = false;
		longjmp(fake_panic_jmp, 1);
	}
	fprintf(stderr, "panic: %s\n", fake_panic_text);
	abort();
}

FAKE void arch_panic_dump(void) {}

// With hyp/panic.c linked the report goes to the console: this UART keeps what was printed last.
static void text_putc(char c)
{
	size_t n = strlen(fake_panic_text);

	if (n < sizeof(fake_panic_text) - 1) {
		fake_panic_text[n] = c;
		fake_panic_text[n + 1] = '\0';
	}
}

static void text_init(uint64_t base)
{
	(void)base;
	fake_panic_text[0] = '\0';
}

static int text_getc(void)
{
	return -1;
}

static void text_irq_enable(void) {}

static const struct uart_ops text_uart = {
	.name = "fake",
	.init = text_init,
	.putc = text_putc,
	.getc = text_getc,
	.irq_enable = text_irq_enable,
};

FAKE void console_register(const struct uart_ops *ops, uint64_t base)
{
	ops->init(base);
}

FAKE void arch_fallback_console(void)
{
	console_register(&text_uart, 0);
}

FAKE void arch_machine_off(void)
{
	fprintf(stderr, "fake: machine off\n");
	abort();
}

FAKE void arch_machine_reset(void)
{
	fprintf(stderr, "fake: machine reset\n");
	abort();
}

// ---- CPUs ---------------------------------------------------------------------------------------

FAKE struct pcpu pcpus[FAKE_CPUS];
FAKE unsigned pcpu_count;
FAKE struct boot_info boot_info;
static _Thread_local unsigned cpu_number;

struct pcpu *this_pcpu(void)
{
	return &pcpus[cpu_number];
}

void fake_set_cpu(unsigned n)
{
	cpu_number = n;
}

FAKE struct vcpu *vcpu_current(void)
{
	return this_pcpu()->current;
}

FAKE void arch_cpu_relax(void)
{
	fake_exit_if_idle();
	sched_yield();
}

FAKE void arch_cpu_wait_event(void)
{
	sched_yield();
}

FAKE void arch_cpu_wake_waiters(void) {}

FAKE void arch_cpu_kick(struct pcpu *c)
{
	__atomic_store_n(&c->resched, 1, __ATOMIC_RELEASE);
}

FAKE void arch_cpu_idle(void)
{
	sched_yield();
}

FAKE void arch_irq_handle(void) {}

FAKE int arch_cpu_on(unsigned i)
{
	return i < FAKE_CPUS ? 0 : -TM_EIO;
}

// ---- RAM ----------------------------------------------------------------------------------------

static char *ram;
static uint64_t ram_next;

static void ram_reset(void)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (ram != NULL ? MAP_FIXED : 0);

	ram = mmap(ram, FAKE_RAM_SIZE, PROT_READ | PROT_WRITE, flags, -1, 0);
	if (ram == MAP_FAILED) {
		perror("fake: RAM");
		abort();
	}
	ram_next = FAKE_RAM_BASE;
}

hpa_t fake_ram_aligned(uint64_t pages, uint64_t align)
{
	uint64_t start = ALIGN_UP(ram_next, align);

	ram_next = start + (pages << PAGE_SHIFT);
	if (ram_next > FAKE_RAM_BASE + FAKE_RAM_SIZE) {
		panic("fake: out of RAM");
	}
	return hpa(start);
}

FAKE void *phys_to_virt(hpa_t a)
{
	if (a.v - FAKE_RAM_BASE >= FAKE_RAM_SIZE) {
		panic("fake: 0x%llx is not RAM", (unsigned long long)a.v);
	}
	return ram + (a.v - FAKE_RAM_BASE);
}

FAKE hpa_t virt_to_phys(const void *p)
{
	uint64_t offset = (uint64_t)((const char *)p - ram);

	if (offset >= FAKE_RAM_SIZE) {
		panic("fake: %p is not in RAM", p);
	}
	return hpa(FAKE_RAM_BASE + offset);
}

FAKE void arch_zero_page(void *page)
{
	memset(page, 0, PAGE_SIZE);
}

FAKE void arch_clean_to_poc(const void *p, uint64_t bytes)
{
	(void)p, (void)bytes;
}

FAKE void arch_sync_icache(const void *p, uint64_t bytes)
{
	(void)p, (void)bytes;
}

// ---- stage-2 geometry ---------------------------------------------------------------------------

static const struct pgtable_format *format = &arm64_stage2_format;
static unsigned format_ia_bits = 40;
static unsigned format_root_level = 2;

void fake_use_format(const struct pgtable_format *fmt, unsigned ia_bits, unsigned root_level)
{
	format = fmt;
	format_ia_bits = ia_bits;
	format_root_level = root_level;
}

FAKE const struct pgtable_format *arch_stage2_format(void)
{
	return format;
}

FAKE unsigned arch_stage2_ia_bits(void)
{
	return format_ia_bits;
}

FAKE unsigned arch_stage2_root_level(void)
{
	return format_root_level;
}

FAKE unsigned arch_stage2_root_pages(void)
{
	unsigned bits = format_ia_bits - LEVEL_SHIFT(format_root_level);

	return bits > 9 ? 1u << (bits - 9) : 1;
}

FAKE uint16_t arch_vmid_count(void)
{
	return 256;
}

unsigned fake_backends = 1u << TM_BACKEND_WP;

FAKE unsigned arch_dirty_backends(void)
{
	return fake_backends;
}

FAKE unsigned arch_stage2_max_leaf(void)
{
	return 2;
}

// ---- time ---------------------------------------------------------------------------------------

static uint64_t ticks;

FAKE uint64_t arch_time_now(void)
{
	return __atomic_add_fetch(&ticks, 1, __ATOMIC_RELAXED);
}

FAKE uint64_t arch_time_freq(void)
{
	return 62500000;
}

FAKE void arch_timer_program(uint64_t deadline)
{
	(void)deadline;
}

// ---- bring-up: nothing to bring up --------------------------------------------------------------

FAKE void arch_boot_memory(void) {}
FAKE void arch_boot_devices(void) {}

FAKE void arch_boot_start(struct pcpu *c)
{
	fake_set_cpu(c->id);
}

FAKE void arch_boot_cpu(struct pcpu *c)
{
	(void)c;
}

FAKE uint64_t arch_stack_top(unsigned cpu)
{
	(void)cpu;
	return 0;
}

FAKE const char *arch_name(void)
{
	return "fake";
}

FAKE const char *arch_irqchip_name(void)
{
	return "none";
}

FAKE int boot_module_find(const char *name, const void **data, uint64_t *size)
{
	(void)name, (void)data, (void)size;
	return -TM_ENOENT;
}

FAKE bool boot_option(const char *key, char *buf, size_t len)
{
	(void)key, (void)buf, (void)len;
	return false;
}

FAKE uint64_t boot_option_u64(const char *key, uint64_t otherwise)
{
	(void)key;
	return otherwise;
}

// ---- board --------------------------------------------------------------------------------------

FAKE int arch_vm_init(struct vm *vm)
{
	vm->arch = (struct arch_vm){.live = true};
	return 0;
}

FAKE void arch_vm_destroy(struct vm *vm)
{
	vm->arch.live = false;
}

FAKE void arch_vm_reset(struct vm *vm)
{
	vm->arch = (struct arch_vm){.live = true};
}

FAKE int arch_vcpu_init(struct vcpu *v)
{
	v->arch = (struct arch_vcpu){.live = true};
	return 0;
}

FAKE void arch_vcpu_destroy(struct vcpu *v)
{
	v->arch.live = false;
}

FAKE void arch_vcpu_reset(struct vcpu *v, uint64_t entry, uint64_t arg)
{
	v->arch = (struct arch_vcpu){.live = true, .loaded = v->arch.loaded, .pc = entry, .x0 = arg};
}

FAKE void arch_vcpu_load(struct vcpu *v)
{
	v->arch.loaded = true;
}

FAKE void arch_vcpu_put(struct vcpu *v)
{
	v->arch.loaded = false;
}

FAKE void arch_enter_guest(struct vcpu *v)
{
	fprintf(stderr, "fake: vCPU %u entered\n", v->id);
	abort();
}

FAKE bool arch_vcpu_irq_pending(struct vcpu *v)
{
	return v->arch.irq_pending;
}

FAKE void arch_vcpu_irq_sync(struct vcpu *v)
{
	(void)v;
}

FAKE void arch_vcpu_complete_mmio(struct vcpu *v, uint64_t data)
{
	v->arch.mmio_data = data;
	v->arch.mmio_completed++;
	v->arch.pc += 4;
}

FAKE void arch_vcpu_inject_abort(struct vcpu *v, bool is_write, bool is_exec, uint64_t gva)
{
	(void)is_write, (void)is_exec;
	v->arch.aborts++;
	v->arch.abort_gva = gva;
}

FAKE size_t arch_regs_size(void)
{
	return sizeof(struct tm_regs);
}

FAKE int arch_vcpu_regs_get(struct vcpu *v, struct tm_regs *out)
{
	memset(out, 0, sizeof(*out));
	out->pc = v->arch.pc;
	out->x[0] = v->arch.x0;
	return 0;
}

FAKE int arch_vcpu_regs_set(struct vcpu *v, const struct tm_regs *in)
{
	v->arch.pc = in->pc;
	v->arch.x0 = in->x[0];
	return 0;
}

FAKE int arch_irq_line(struct vm *vm, uint64_t line, bool level)
{
	if (line >= 64) {
		return -TM_EINVAL;
	}
	vm->arch.line_level = (vm->arch.line_level & ~(1ull << line)) | ((uint64_t)level << line);
	return 0;
}

FAKE int arch_doorbell_check(struct vm *vm, uint64_t vcpu, uint64_t vector)
{
	(void)vm, (void)vcpu;
	return vector ? -TM_EINVAL : 0;
}

FAKE uint64_t arch_doorbell_bind(struct vm *vm, uint64_t vcpu, uint64_t vector)
{
	(void)vm, (void)vcpu, (void)vector;
	return 33;
}

FAKE void arch_doorbell_ring(struct vm *vm)
{
	__atomic_fetch_add(&vm->arch.pulses, 1, __ATOMIC_RELAXED);
}

FAKE int arch_irqchip_state_get(struct vm *vm, void *buf, uint64_t len, uint64_t *used)
{
	(void)vm, (void)buf, (void)len;
	*used = 0;
	return 0;
}

FAKE int arch_irqchip_state_set(struct vm *vm, const void *buf, uint64_t len)
{
	(void)vm, (void)buf;
	return len == 0 ? 0 : -TM_EINVAL;
}

FAKE int arch_vcpu_irqchip_state_get(struct vcpu *v, void *buf, uint64_t len, uint64_t *used)
{
	(void)v, (void)buf, (void)len;
	*used = 0;
	return -TM_EOPNOTSUPP;
}

FAKE int arch_vcpu_irqchip_state_set(struct vcpu *v, const void *buf, uint64_t len)
{
	(void)v, (void)buf, (void)len;
	return -TM_EOPNOTSUPP;
}

FAKE int arch_timer_state_get(struct vcpu *v, struct tm_timer_state *s)
{
	(void)v, (void)s;
	return -TM_EOPNOTSUPP;
}

FAKE int arch_timer_state_set(struct vcpu *v, const struct tm_timer_state *s)
{
	(void)v, (void)s;
	return -TM_EOPNOTSUPP;
}

FAKE int arch_uart_state_get(struct vm *vm, struct tm_uart_state *s)
{
	(void)vm, (void)s;
	return -TM_EOPNOTSUPP;
}

FAKE int arch_uart_state_set(struct vm *vm, const struct tm_uart_state *s)
{
	(void)vm, (void)s;
	return -TM_EOPNOTSUPP;
}

FAKE void arch_console_input(struct vm *vm)
{
	vm->arch.console_inputs++;
}

FAKE uint64_t arch_cap_gic_version(void)
{
	return 0;
}

// ---- test hooks ---------------------------------------------------------------------------------

FAKE enum mutant mutant_active;
static uint64_t inject_at[8];

FAKE bool inject_failure(uint32_t site)
{
	return site < ARRAY_SIZE(inject_at) && inject_at[site] != 0 && --inject_at[site] == 0;
}

FAKE int inject_configure(uint32_t site, uint64_t nth)
{
	if (site >= ARRAY_SIZE(inject_at)) {
		return -TM_EINVAL;
	}
	inject_at[site] = nth;
	return 0;
}

void fake_inject(uint32_t site, uint64_t nth)
{
	if (inject_configure(site, nth) != 0) {
		panic("fake: no injection site %u", site);
	}
}

FAKE void test_yield(void)
{
	sched_yield();
}

// Only where hyp/page_alloc.c is linked.
FAKE void page_alloc_reset(void) {}

void fake_reset(uint64_t seed)
{
	ram_reset();
	page_alloc_reset();
	fake_tlb_reset(seed);
	fake_set_cpu(0);
	fake_use_format(&arm64_stage2_format, 40, 2);
	pcpu_count = FAKE_CPUS;
	for (unsigned i = 0; i < FAKE_CPUS; i++) {
		pcpus[i] = (struct pcpu){.id = i, .hwid = i, .online = true};
	}
	for (uint32_t i = 1; i <= INJECT_TABLE; i++) {
		fake_inject(i, 0);
	}
	mutant_active = MUTANT_NONE;
}
