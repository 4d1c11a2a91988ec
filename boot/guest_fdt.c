// SPDX-License-Identifier: Apache-2.0
//
// Builds the device tree of a VM with libfdt's sequential writer. Pure: no state, no locks. After
// the first error every further step is skipped, so the code reads as the tree does.

#include <libfdt.h>
#include "guest_fdt.h"

#define PHANDLE_GIC 1u
#define PHANDLE_CLOCK 2u
#define IRQ_SPI 0u
#define IRQ_PPI 1u
#define IRQ_LEVEL_HIGH 4u
#define CELLS_MAX 64

struct tree {
	void *fdt;
	int error;
};

static void begin(struct tree *t, const char *name)
{
	if (t->error == 0) {
		t->error = fdt_begin_node(t->fdt, name);
	}
}

static void end(struct tree *t)
{
	if (t->error == 0) {
		t->error = fdt_end_node(t->fdt);
	}
}

static void text(struct tree *t, const char *name, const char *value)
{
	if (t->error == 0) {
		t->error = fdt_property_string(t->fdt, name, value);
	}
}

static void bytes(struct tree *t, const char *name, const void *data, int len)
{
	if (t->error == 0) {
		t->error = fdt_property(t->fdt, name, data, len);
	}
}

static void cell(struct tree *t, const char *name, uint32_t value)
{
	if (t->error == 0) {
		t->error = fdt_property_u32(t->fdt, name, value);
	}
}

static void cell64(struct tree *t, const char *name, uint64_t value)
{
	if (t->error == 0) {
		t->error = fdt_property_u64(t->fdt, name, value);
	}
}

static void empty(struct tree *t, const char *name)
{
	bytes(t, name, "", 0);
}

/* A list of cells; values fit 32 bits. */
static void cells(struct tree *t, const char *name, const uint32_t *v, uint32_t n)
{
	fdt32_t out[CELLS_MAX];

	if (n > CELLS_MAX) {
		t->error = -FDT_ERR_NOSPACE;
		return;
	}
	for (uint32_t i = 0; i < n; i++) {
		out[i] = cpu_to_fdt32(v[i]);
	}
	bytes(t, name, out, (int)(n * sizeof(out[0])));
}

/* <address size> pairs with two cells each. */
static void ranges(struct tree *t, const char *name, const struct guest_fdt_range *r, uint32_t n)
{
	uint32_t v[CELLS_MAX];

	if (n > CELLS_MAX / 4) {
		t->error = -FDT_ERR_NOSPACE;
		return;
	}
	for (uint32_t i = 0; i < n; i++) {
		v[i * 4] = (uint32_t)(r[i].base >> 32);
		v[i * 4 + 1] = (uint32_t)r[i].base;
		v[i * 4 + 2] = (uint32_t)(r[i].size >> 32);
		v[i * 4 + 3] = (uint32_t)r[i].size;
	}
	cells(t, name, v, n * 4);
}

/* "name@hex" into out, which holds name, 16 digits and the two separators. */
static const char *unit(char *out, const char *name, uint64_t address)
{
	char *p = out;
	int shift = 60;

	while (*name != '\0') {
		*p++ = *name++;
	}
	*p++ = '@';
	while (shift > 0 && (address >> shift) == 0) {
		shift -= 4;
	}
	for (; shift >= 0; shift -= 4) {
		*p++ = "0123456789abcdef"[address >> shift & 15];
	}
	*p = '\0';
	return out;
}

uint64_t guest_fdt_mpidr(uint32_t gic_version, uint32_t id)
{
	uint32_t cluster = gic_version == 2 ? 8 : 16;

	return (uint64_t)(id / cluster) << 8 | id % cluster;
}

static void add_chosen(struct tree *t, const struct guest_fdt *g)
{
	begin(t, "chosen");
	if (g->bootargs != NULL) {
		text(t, "bootargs", g->bootargs);
	}
	if (g->uart != 0 && g->machine == GUEST_ARM64) {
		text(t, "stdout-path", "/pl011@9000000");
	}
	if (g->initrd.size != 0) {
		cell64(t, "linux,initrd-start", g->initrd.base);
		cell64(t, "linux,initrd-end", g->initrd.base + g->initrd.size);
	}
	end(t);
}

static void add_memory(struct tree *t, const struct guest_fdt *g)
{
	char name[40];

	for (uint32_t i = 0; i < g->mem_count; i++) {
		begin(t, unit(name, "memory", g->mem[i].base));
		text(t, "device_type", "memory");
		ranges(t, "reg", &g->mem[i], 1);
		end(t);
	}
	if (g->rsvd_count == 0) {
		return;
	}
	begin(t, "reserved-memory");
	cell(t, "#address-cells", 2);
	cell(t, "#size-cells", 2);
	empty(t, "ranges");
	for (uint32_t i = 0; i < g->rsvd_count; i++) {
		begin(t, unit(name, "reserved", g->rsvd[i].base));
		ranges(t, "reg", &g->rsvd[i], 1);
		end(t);
	}
	end(t);
}

/* `reg` is the local APIC's id, which is the vCPU's number. */
static void add_cpus_x86(struct tree *t, const struct guest_fdt *g)
{
	char name[40];

	begin(t, "cpus");
	cell(t, "#address-cells", 1);
	cell(t, "#size-cells", 0);
	for (uint32_t i = 0; i < g->cpus; i++) {
		begin(t, unit(name, "cpu", i));
		text(t, "device_type", "cpu");
		cell(t, "reg", i);
		end(t);
	}
	end(t);
}

static void add_cpus(struct tree *t, const struct guest_fdt *g)
{
	char name[40];

	begin(t, "cpus");
	cell(t, "#address-cells", 1);
	cell(t, "#size-cells", 0);
	for (uint32_t i = 0; i < g->cpus; i++) {
		uint64_t mpidr = guest_fdt_mpidr(g->gic_version, i);

		begin(t, unit(name, "cpu", mpidr));
		text(t, "device_type", "cpu");
		text(t, "compatible", g->cpu_compatible != NULL ? g->cpu_compatible : "arm,armv8");
		text(t, "enable-method", "psci");
		cell(t, "reg", (uint32_t)mpidr);
		end(t);
	}
	end(t);
	begin(t, "psci");
	bytes(t, "compatible", "arm,psci-1.0\0arm,psci-0.2", sizeof("arm,psci-1.0\0arm,psci-0.2"));
	text(t, "method", "hvc");
	end(t);
}

static void add_timer(struct tree *t, const struct guest_fdt *g)
{
	/* GICv2 wants the CPUs that see a PPI in the flags' second byte. */
	uint32_t mask = g->gic_version == 2 ? ((1u << g->cpus) - 1) << 8 : 0;
	uint32_t flags = mask | IRQ_LEVEL_HIGH;
	/* secure, non-secure physical, virtual, hypervisor */
	const uint32_t irqs[] = {IRQ_PPI, 13, flags, IRQ_PPI, 14, flags,
				 IRQ_PPI, 11, flags, IRQ_PPI, 10, flags};

	begin(t, "timer");
	text(t, "compatible", "arm,armv8-timer");
	cells(t, "interrupts", irqs, 12);
	empty(t, "always-on");
	end(t);
}

static void add_gic(struct tree *t, const struct guest_fdt *g)
{
	const struct guest_fdt_range v2[] = {{GUEST_GICD_BASE, GUEST_GICD_SIZE},
					     {GUEST_GICC_BASE, GUEST_GICC_SIZE}};
	const struct guest_fdt_range v3[] = {{GUEST_GICD_BASE, GUEST_GICD_SIZE},
					     {GUEST_GICR_BASE,
					      (uint64_t)GUEST_GICR_STRIDE * g->cpus}};

	begin(t, "intc@8000000");
	text(t, "compatible", g->gic_version == 2 ? "arm,cortex-a15-gic" : "arm,gic-v3");
	cell(t, "#interrupt-cells", 3);
	cell(t, "#address-cells", 2);
	cell(t, "#size-cells", 2);
	empty(t, "interrupt-controller");
	empty(t, "ranges");
	ranges(t, "reg", g->gic_version == 2 ? v2 : v3, 2);
	cell(t, "phandle", PHANDLE_GIC);
	end(t);
}

static void add_uart(struct tree *t, const struct guest_fdt *g)
{
	const struct guest_fdt_range reg = {GUEST_UART_BASE, GUEST_UART_SIZE};
	const uint32_t irq[] = {IRQ_SPI, GUEST_UART_SPI, IRQ_LEVEL_HIGH};
	const uint32_t clocks[] = {PHANDLE_CLOCK, PHANDLE_CLOCK};

	if (g->uart == 0) {
		return;
	}
	begin(t, "apb-pclk");
	text(t, "compatible", "fixed-clock");
	cell(t, "#clock-cells", 0);
	cell(t, "clock-frequency", GUEST_UART_HZ);
	text(t, "clock-output-names", "clk24mhz");
	cell(t, "phandle", PHANDLE_CLOCK);
	end(t);
	begin(t, "pl011@9000000");
	bytes(t, "compatible", "arm,pl011\0arm,primecell", sizeof("arm,pl011\0arm,primecell"));
	ranges(t, "reg", &reg, 1);
	cells(t, "interrupts", irq, 3);
	cells(t, "clocks", clocks, 2);
	bytes(t, "clock-names", "uartclk\0apb_pclk", sizeof("uartclk\0apb_pclk"));
	end(t);
}

static void add_tidemark(struct tree *t, const struct guest_fdt_tidemark *m)
{
	char name[40];

	if (m == NULL) {
		return;
	}
	begin(t, "tidemark");
	text(t, "compatible", "tidemark,manager");
	cell(t, "#address-cells", 1);
	cell(t, "#size-cells", 0);
	ranges(t, "window", &m->window, 1);
	cell(t, "max-vms", m->max_vms);
	cell(t, "max-vcpus", m->max_vcpus);
	cell(t, "restart-count", m->restart_count);
	for (uint32_t i = 0; i < m->vm_count && i < GUEST_FDT_VM_MAX; i++) {
		begin(t, unit(name, "vm", m->vm[i].handle));
		cell(t, "reg", m->vm[i].handle);
		text(t, "vm-name", m->vm[i].name != NULL ? m->vm[i].name : "");
		end(t);
	}
	end(t);
}

static int valid(const struct guest_fdt *g)
{
	return (g->machine == GUEST_X86 || g->gic_version == 2 || g->gic_version == 3) &&
	       g->cpus >= 1 && g->cpus <= (g->gic_version == 2 ? 8u : GUEST_FDT_CPU_MAX) &&
	       g->mem_count >= 1 &&
	       g->mem_count <= GUEST_FDT_MEM_MAX && g->rsvd_count <= GUEST_FDT_RSVD_MAX &&
	       (g->tidemark == NULL || g->tidemark->vm_count <= GUEST_FDT_VM_MAX);
}

static int64_t copy(char *buf, size_t size, const struct guest_fdt *g)
{
	if (g->blob_size > size) {
		return -1;
	}
	for (uint64_t i = 0; i < g->blob_size; i++) {
		buf[i] = ((const char *)g->blob)[i];
	}
	return (int64_t)g->blob_size;
}

int64_t guest_fdt_build(void *buf, size_t size, const struct guest_fdt *g)
{
	struct tree t = {buf, 0};

	if (g->blob != NULL) {
		return copy(buf, size, g);
	}
	if (!valid(g) || size > 0x7fffffff) {
		return -1;
	}
	t.error = fdt_create(buf, (int)size);
	if (t.error == 0) {
		t.error = fdt_finish_reservemap(buf);
	}
	begin(&t, "");
	cell(&t, "#address-cells", 2);
	cell(&t, "#size-cells", 2);
	if (g->machine == GUEST_ARM64) {
		cell(&t, "interrupt-parent", PHANDLE_GIC);
	}
	text(&t, "compatible", "tidemark,board");
	text(&t, "model", "Tidemark virtual machine");
	add_chosen(&t, g);
	add_memory(&t, g);
	if (g->machine == GUEST_ARM64) {
		add_cpus(&t, g);
		add_timer(&t, g);
		add_gic(&t, g);
		add_uart(&t, g);
	} else {
		add_cpus_x86(&t, g);
	}
	add_tidemark(&t, g->tidemark);
	end(&t);
	if (t.error == 0) {
		t.error = fdt_finish(buf);
	}
	return t.error == 0 ? (int64_t)fdt_totalsize(buf) : -1;
}
