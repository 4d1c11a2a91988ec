// SPDX-License-Identifier: Apache-2.0
/*
 * The device tree that a VM is given: on arm64 a small board with QEMU virt's addresses; on x86,
 * where the board is found by ACPI, memory, CPUs, /chosen and /tidemark. Used by the hypervisor for
 * static VMs and for the manager's own tree, by the manager for the VMs it makes, and by host tests.
 * Pure: numbers in, a flattened tree out; needs libfdt.
 */
#ifndef TIDEMARK_BOOT_GUEST_FDT_H
#define TIDEMARK_BOOT_GUEST_FDT_H

#include <stddef.h>
#include <stdint.h>

#define GUEST_RAM_BASE 0x40000000u
#define GUEST_GICD_BASE 0x08000000u
#define GUEST_GICD_SIZE 0x00010000u
#define GUEST_GICC_BASE 0x08010000u
#define GUEST_GICC_SIZE 0x00010000u
#define GUEST_GICR_BASE 0x080a0000u
#define GUEST_GICR_STRIDE 0x00020000u
#define GUEST_UART_BASE 0x09000000u
#define GUEST_UART_SIZE 0x00001000u
#define GUEST_UART_SPI 1u		/* INTID 33 */
#define GUEST_UART_HZ 24000000u

#define GUEST_FDT_MEM_MAX 8
#define GUEST_FDT_RSVD_MAX 8
#define GUEST_FDT_CPU_MAX 64
#define GUEST_FDT_VM_MAX 64
#define GUEST_FDT_SIZE 65536u		/* enough for the largest of these trees */

struct guest_fdt_range {
	uint64_t base;
	uint64_t size;
};

enum guest_machine { GUEST_ARM64 = 0, GUEST_X86 = 1 };

#define GUEST_BOARD_DEVICES 4

/* What differs between the machines that guests see; guest_board.c has one for each. */
struct guest_board {
	enum guest_machine machine;
	uint32_t image_flags;		/* enum image_flags: the machine's */
	uint64_t ram_base;		/* default, and the lowest that there is */
	struct guest_fdt_range hole;	/* no RAM here; size 0: none */
	uint64_t initrd_end;		/* ramdisks end below */
	struct guest_fdt_range device[GUEST_BOARD_DEVICES]; /* emulated by the hypervisor */
	uint32_t device_count;
};
extern const struct guest_board guest_board_arm64, guest_board_x86;

struct guest_fdt_vm {
	uint32_t handle;
	const char *name;
};

/* The manager's /tidemark node. */
struct guest_fdt_tidemark {
	struct guest_fdt_range window;
	uint32_t max_vms;
	uint32_t max_vcpus;
	uint32_t restart_count;		/* managers that died before this one */
	uint32_t vm_count;
	struct guest_fdt_vm vm[GUEST_FDT_VM_MAX];
};

struct guest_fdt {
	enum guest_machine machine;
	const void *blob;		/* a tree made by somebody else, taken as it is; else NULL */
	uint64_t blob_size;
	struct guest_fdt_range mem[GUEST_FDT_MEM_MAX];
	uint32_t mem_count;
	struct guest_fdt_range rsvd[GUEST_FDT_RSVD_MAX];	/* /reserved-memory */
	uint32_t rsvd_count;
	uint32_t cpus;			/* 1..64, at most 8 with GICv2 */
	const char *cpu_compatible;	/* NULL: "arm,armv8" */
	uint32_t gic_version;		/* arm64: 2 or 3 */
	uint8_t uart;			/* arm64, nonzero: the PL011 is there */
	const char *bootargs;		/* NULL: none */
	struct guest_fdt_range initrd;	/* size 0: none */
	const struct guest_fdt_tidemark *tidemark; /* NULL: an ordinary guest */
};

/* MPIDR_EL1 affinity fields of vCPU `id`: 16 CPUs a cluster with GICv3, 8 with GICv2. */
uint64_t guest_fdt_mpidr(uint32_t gic_version, uint32_t id);

/* Bytes of the tree in buf, or -1: a field out of range, or buf too small. */
int64_t guest_fdt_build(void *buf, size_t size, const struct guest_fdt *g);

#endif
