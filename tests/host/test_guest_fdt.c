// SPDX-License-Identifier: Apache-2.0
//
// boot/guest_fdt.c: the tree is read back with libfdt.
//
// LINK: boot/guest_fdt.c
// LIBS: -lfdt

#include <libfdt.h>
#include "boot/guest_fdt.h"
#include "check.h"

static uint8_t buf[GUEST_FDT_SIZE];

static struct guest_fdt board(void)
{
	struct guest_fdt g = {
		.mem = {{0x40000000, 0x10000000}},
		.mem_count = 1,
		.cpus = 4,
		.gic_version = 3,
		.uart = 1,
		.bootargs = "console=ttyAMA0",
		.initrd = {0x48000000, 0x1234},
	};

	return g;
}

static int node(const char *path)
{
	int n = fdt_path_offset(buf, path);

	CHECK(n >= 0);
	return n;
}

static uint64_t cell(const char *path, const char *name, int index)
{
	int len = 0;
	const fdt32_t *p = fdt_getprop(buf, node(path), name, &len);

	CHECK(p != NULL && len >= (index + 1) * 4);
	return fdt32_to_cpu(p[index]);
}

static uint64_t cell64(const char *path, const char *name, int index)
{
	return cell(path, name, index) << 32 | cell(path, name, index + 1);
}

static const char *text(const char *path, const char *name)
{
	int len = 0;
	const char *p = fdt_getprop(buf, node(path), name, &len);

	CHECK(p != NULL && len > 0 && p[len - 1] == '\0');
	return p;
}

TEST(gicv3_board)
{
	struct guest_fdt g = board();
	int64_t size = guest_fdt_build(buf, sizeof(buf), &g);

	CHECK(size > 0 && (size_t)size <= sizeof(buf));
	CHECK_EQ(fdt_check_full(buf, (size_t)size), 0);
	CHECK_EQ(cell64("/memory@40000000", "reg", 0), 0x40000000);
	CHECK_EQ(cell64("/memory@40000000", "reg", 2), 0x10000000);
	CHECK_EQ(cell64("/intc@8000000", "reg", 0), 0x08000000);
	CHECK_EQ(cell64("/intc@8000000", "reg", 4), 0x080a0000);
	CHECK_EQ(cell64("/intc@8000000", "reg", 6), 4 * 0x20000);
	CHECK(strcmp(text("/intc@8000000", "compatible"), "arm,gic-v3") == 0);
	CHECK_EQ(cell64("/pl011@9000000", "reg", 0), 0x09000000);
	CHECK_EQ(cell("/pl011@9000000", "interrupts", 1), 1);
	CHECK_EQ(cell("/pl011@9000000", "clocks", 0), cell("/apb-pclk", "phandle", 0));
	CHECK_EQ(cell("/", "interrupt-parent", 0), cell("/intc@8000000", "phandle", 0));
	CHECK_EQ(cell("/timer", "interrupts", 7), 11);
	CHECK(strcmp(text("/chosen", "bootargs"), "console=ttyAMA0") == 0);
	CHECK_EQ(fdt_path_offset(buf, text("/chosen", "stdout-path")), node("/pl011@9000000"));
	CHECK_EQ(cell64("/chosen", "linux,initrd-end", 0), 0x48001234);
	CHECK_EQ(cell("/cpus/cpu@3", "reg", 0), 3);
	CHECK(strcmp(text("/psci", "method"), "hvc") == 0);
	CHECK(fdt_path_offset(buf, "/tidemark") < 0);
	CHECK(fdt_path_offset(buf, "/cpus/cpu@4") < 0);
}

TEST(gicv2_board)
{
	struct guest_fdt g = board();

	g.gic_version = 2;
	g.cpus = 8;
	g.uart = 0;
	g.initrd.size = 0;
	CHECK(guest_fdt_build(buf, sizeof(buf), &g) > 0);
	CHECK(strcmp(text("/intc@8000000", "compatible"), "arm,cortex-a15-gic") == 0);
	CHECK_EQ(cell64("/intc@8000000", "reg", 4), 0x08010000);
	CHECK_EQ(cell("/timer", "interrupts", 2), 0xff04);
	CHECK(fdt_path_offset(buf, "/pl011@9000000") < 0);
	CHECK(fdt_getprop(buf, node("/chosen"), "linux,initrd-start", NULL) == NULL);
	g.cpus = 9;
	CHECK_EQ(guest_fdt_build(buf, sizeof(buf), &g), -1);
}

TEST(manager_tree)
{
	static struct guest_fdt_tidemark t = {
		.window = {0x4000000000, 0x1000000000}, .max_vms = 512, .max_vcpus = 64,
		.restart_count = 2, .vm_count = 2, .vm = {{1, "linux"}, {17, "ticker"}},
	};
	struct guest_fdt g = board();

	g.tidemark = &t;
	g.mem_count = 2;
	g.mem[1].base = 0x880000000;
	g.mem[1].size = 0x40000000;
	g.rsvd_count = 1;
	g.rsvd[0].base = 0x40200000;
	g.rsvd[0].size = 0x100000;
	CHECK(guest_fdt_build(buf, sizeof(buf), &g) > 0);
	CHECK_EQ(cell64("/tidemark", "window", 0), 0x4000000000);
	CHECK_EQ(cell64("/tidemark", "window", 2), 0x1000000000);
	CHECK_EQ(cell("/tidemark", "max-vms", 0), 512);
	CHECK_EQ(cell("/tidemark", "restart-count", 0), 2);
	CHECK_EQ(cell("/tidemark/vm@11", "reg", 0), 17);
	CHECK(strcmp(text("/tidemark/vm@11", "vm-name"), "ticker") == 0);
	CHECK_EQ(cell64("/memory@880000000", "reg", 2), 0x40000000);
	CHECK_EQ(cell64("/reserved-memory/reserved@40200000", "reg", 0), 0x40200000);
}

TEST(limits)
{
	struct guest_fdt g = board();

	g.cpus = 64;
	CHECK(guest_fdt_build(buf, sizeof(buf), &g) > 0);
	CHECK_EQ(cell("/cpus/cpu@303", "reg", 0), 0x303);
	CHECK_EQ(guest_fdt_mpidr(3, 17), 0x101);
	CHECK_EQ(guest_fdt_mpidr(2, 7), 7);
	g.cpus = 65;
	CHECK_EQ(guest_fdt_build(buf, sizeof(buf), &g), -1);
	g.cpus = 0;
	CHECK_EQ(guest_fdt_build(buf, sizeof(buf), &g), -1);
	g = board();
	g.mem_count = 0;
	CHECK_EQ(guest_fdt_build(buf, sizeof(buf), &g), -1);
	g = board();
	g.gic_version = 4;
	CHECK_EQ(guest_fdt_build(buf, sizeof(buf), &g), -1);
}

TEST(every_buffer_that_is_too_small)
{
	struct guest_fdt g = board();
	int64_t size = guest_fdt_build(buf, sizeof(buf), &g);

	for (size_t n = 0; n < (size_t)size; n++) {
		void *p = malloc(n != 0 ? n : 1);

		CHECK(p != NULL);
		CHECK_EQ(guest_fdt_build(p, n, &g), -1);
		free(p);
	}
}

CHECK_MAIN()
