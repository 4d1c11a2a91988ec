// SPDX-License-Identifier: Apache-2.0
/*
 * ACPI tables, three of them: MADT, FADT, and of the DSDT only the package \_S5_. Firmware is not
 * hostile, but it is often wrong: every length is checked against what can be read, every checksum
 * is verified, every loop is bounded by a constant or by a table that was read as a whole. Offsets
 * are those of the ACPI Specification 6.4, chapter 5. No state; runs on the boot CPU only.
 */
#include <boot/x86/acpi.h>
#include <abi/errno.h>
#include <string.h>

/* The largest table believed, and the most tables looked at. */
#define TABLE_MAX_BYTES (4u << 20)
#define TABLES_MAX 256u
#define HEADER_BYTES 36u

#define EBDA_POINTER 0x40eu
#define BIOS_AREA 0xe0000u
#define BIOS_AREA_BYTES 0x20000u
#define LOW_MEMORY_END 0xa0000u
#define RSDP_V1_BYTES 20u
#define RSDP_V2_BYTES 36u

/* Tables are not aligned in memory. */
static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) | (uint32_t)get16(p + 2) << 16;
}

static uint64_t get64(const uint8_t *p)
{
	return (uint64_t)get32(p) | (uint64_t)get32(p + 4) << 32;
}

static const uint8_t *map(const struct acpi_memory *m, uint64_t pa, uint64_t len)
{
	return pa != 0 && pa + len >= pa ? m->map(m->ctx, pa, len) : NULL;
}

/* All bytes of a table add up to 0. */
static bool sum_is_zero(const uint8_t *p, uint64_t len)
{
	uint8_t sum = 0;

	for (uint64_t i = 0; i < len; i++) {
		sum = (uint8_t)(sum + p[i]);
	}
	return sum == 0;
}

/* The table at pa when it has this signature and is whole, else NULL. */
static const uint8_t *table_at(const struct acpi_memory *m, uint64_t pa, const char *signature,
			       uint32_t *len)
{
	const uint8_t *t = map(m, pa, HEADER_BYTES);

	if (t == NULL || memcmp(t, signature, 4) != 0) {
		return NULL;
	}
	*len = get32(t + 4);
	if (*len < HEADER_BYTES || *len > TABLE_MAX_BYTES) {
		return NULL;
	}
	t = map(m, pa, *len);
	return t != NULL && sum_is_zero(t, *len) ? t : NULL;
}

/* --- RSDP, RSDT, XSDT ------------------------------------------------------------------------- */
struct root {
	const uint8_t *entries;
	unsigned count;
	unsigned entry_bytes;
};

static bool is_rsdp(const uint8_t *p)
{
	return memcmp(p, "RSD PTR ", 8) == 0 && sum_is_zero(p, RSDP_V1_BYTES);
}

/* 5.2.5.1: on a 16-byte boundary. 0 when there is none. */
static uint64_t rsdp_scan(const struct acpi_memory *m, uint64_t pa, uint64_t len)
{
	const uint8_t *p = map(m, pa, len);

	for (uint64_t at = 0; p != NULL && at + RSDP_V1_BYTES <= len; at += 16) {
		if (is_rsdp(p + at)) {
			return pa + at;
		}
	}
	return 0;
}

/* The first KiB of the EBDA, then the BIOS area. */
static uint64_t rsdp_find(const struct acpi_memory *m)
{
	const uint8_t *word = map(m, EBDA_POINTER, 2);
	uint64_t ebda = word != NULL ? (uint64_t)get16(word) << 4 : 0;
	uint64_t found = 0;

	if (ebda >= 0x400 && ebda < LOW_MEMORY_END) {
		found = rsdp_scan(m, ebda, MIN(1024u, LOW_MEMORY_END - ebda));
	}
	return found != 0 ? found : rsdp_scan(m, BIOS_AREA, BIOS_AREA_BYTES);
}

static bool root_read(const struct acpi_memory *m, uint64_t pa, const char *signature,
		      unsigned entry_bytes, struct root *r)
{
	uint32_t len;
	const uint8_t *t = table_at(m, pa, signature, &len);

	if (t == NULL) {
		return false;
	}
	r->entries = t + HEADER_BYTES;
	r->entry_bytes = entry_bytes;
	r->count = MIN((len - HEADER_BYTES) / entry_bytes, TABLES_MAX);
	return true;
}

/* The XSDT where there is a good one, else the RSDT. */
static bool root_find(const struct acpi_memory *m, uint64_t rsdp, struct root *r)
{
	const uint8_t *p = map(m, rsdp, RSDP_V1_BYTES);
	uint32_t rsdt;

	if (p == NULL || !is_rsdp(p)) {
		return false;
	}
	rsdt = get32(p + 16);
	if (p[15] >= 2) {
		p = map(m, rsdp, RSDP_V2_BYTES);
		if (p != NULL && get32(p + 20) >= RSDP_V2_BYTES && get32(p + 20) <= PAGE_SIZE) {
			uint32_t len = get32(p + 20);

			p = map(m, rsdp, len);
			if (p != NULL && sum_is_zero(p, len) &&
			    root_read(m, get64(p + 24), "XSDT", 8, r)) {
				return true;
			}
		}
	}
	return root_read(m, rsdt, "RSDT", 4, r);
}

static const uint8_t *table_find(const struct acpi_memory *m, const struct root *r,
				 const char *signature, uint32_t *len)
{
	for (unsigned i = 0; i < r->count; i++) {
		const uint8_t *e = r->entries + i * r->entry_bytes;
		const uint8_t *t = table_at(m, r->entry_bytes == 8 ? get64(e) : get32(e), signature,
					    len);

		if (t != NULL) {
			return t;
		}
	}
	return NULL;
}

/* --- MADT (5.2.12) ---------------------------------------------------------------------------- */
#define MADT_BYTES 44u
#define MADT_PCAT_COMPAT 1u
#define CPU_ENABLED 1u
/* Broadcast addresses are no CPUs. */
#define XAPIC_BROADCAST 0xffu
#define X2APIC_BROADCAST 0xffffffffu

enum madt_entry {
	MADT_LAPIC = 0,
	MADT_IOAPIC = 1,
	MADT_OVERRIDE = 2,
	MADT_LAPIC_ADDRESS = 5,
	MADT_X2APIC = 9,
};

/* MPS INTI flags: polarity in bits 0-1, trigger in bits 2-3; 3 = active low, level. */
#define INTI_POLARITY(flags) ((flags) & 3u)
#define INTI_TRIGGER(flags) ((flags) >> 2 & 3u)

/* Firmware may describe one CPU as LAPIC and as x2APIC. */
static void add_cpu(struct acpi_info *info, uint32_t id, uint32_t flags)
{
	if ((flags & CPU_ENABLED) == 0) {
		return;
	}
	for (unsigned i = 0; i < info->cpu_count; i++) {
		if (info->apic_id[i] == id) {
			return;
		}
	}
	if (info->cpu_count == BOOT_MAX_CPUS) {
		info->cpus_left_out++;
		return;
	}
	info->apic_id[info->cpu_count++] = id;
}

static void add_ioapic(struct acpi_info *info, const uint8_t *e)
{
	struct acpi_ioapic *io = &info->ioapic[info->ioapic_count];

	if (info->ioapic_count < ACPI_MAX_IOAPICS && get32(e + 4) != 0) {
		io->id = e[2];
		io->address = get32(e + 4);
		io->gsi_base = get32(e + 8);
		info->ioapic_count++;
	}
}

static void add_override(struct acpi_info *info, const uint8_t *e)
{
	uint16_t flags = get16(e + 8);

	if (e[2] == 0 && e[3] < ACPI_ISA_IRQS) {
		struct acpi_isa_irq *irq = &info->isa[e[3]];

		irq->gsi = get32(e + 4);
		irq->is_active_low = INTI_POLARITY(flags) == 3;
		irq->is_level = INTI_TRIGGER(flags) == 3;
	}
}

/* One entry of len bytes. Shorter than its kind asks for: left out. */
static void madt_entry(struct acpi_info *info, const uint8_t *e, unsigned len)
{
	switch (e[0]) {
	case MADT_LAPIC:
		if (len >= 8 && e[3] != XAPIC_BROADCAST) {
			add_cpu(info, e[3], get32(e + 4));
		}
		break;
	case MADT_IOAPIC:
		if (len >= 12) {
			add_ioapic(info, e);
		}
		break;
	case MADT_OVERRIDE:
		if (len >= 10) {
			add_override(info, e);
		}
		break;
	case MADT_LAPIC_ADDRESS:
		if (len >= 12 && get64(e + 4) != 0) {
			info->lapic_base = get64(e + 4);
		}
		break;
	case MADT_X2APIC:
		if (len >= 16 && get32(e + 4) != X2APIC_BROADCAST) {
			add_cpu(info, get32(e + 4), get32(e + 8));
		}
		break;
	default:
		break;
	}
}

static int madt_parse(struct acpi_info *info, const uint8_t *t, uint32_t len)
{
	uint32_t at = MADT_BYTES;

	if (t == NULL || len < MADT_BYTES) {
		info->why = "ACPI: no usable MADT";
		return -TM_EINVAL;
	}
	info->lapic_base = get32(t + 36);
	info->has_pic = (get32(t + 40) & MADT_PCAT_COMPAT) != 0;
	while (len - at >= 2 && t[at + 1] >= 2 && t[at + 1] <= len - at) {
		madt_entry(info, t + at, t[at + 1]);
		at += t[at + 1];
	}
	if (info->lapic_base == 0 || !IS_ALIGNED(info->lapic_base, PAGE_SIZE)) {
		info->why = "ACPI: no local APIC in the MADT";
		return -TM_EINVAL;
	}
	if (info->cpu_count == 0) {
		info->why = "ACPI: no CPU in the MADT";
		return -TM_EINVAL;
	}
	return 0;
}

/* --- FADT (5.2.9) ----------------------------------------------------------------------------- */
#define FADT_V1_BYTES 116u
#define FADT_RESET_END 129u
#define FADT_X_DSDT_END 148u
#define FADT_X_PM_TMR_END 220u
#define FADT_TMR_VAL_EXT (1u << 8)
#define FADT_RESET_REG_SUP (1u << 10)

/* A block is named by a 32-bit port, and in newer tables by a generic address too. */
static uint16_t fadt_port(const uint8_t *t, uint32_t len, unsigned old, unsigned extended)
{
	uint64_t port = get32(t + old);

	if (port == 0 && extended + 12u <= len && t[extended] == ACPI_SPACE_IO) {
		port = get64(t + extended + 4);
	}
	return port <= UINT16_MAX ? (uint16_t)port : 0;
}

static void fadt_reset(struct acpi_info *info, const uint8_t *t)
{
	const uint8_t *reg = t + 116;

	if ((get32(t + 112) & FADT_RESET_REG_SUP) == 0 || get64(reg + 4) == 0 ||
	    reg[0] > ACPI_SPACE_PCI ||
	    (reg[0] == ACPI_SPACE_IO && get64(reg + 4) > UINT16_MAX)) {
		return;
	}
	info->reset.space = reg[0];
	info->reset.width = 8;	/* 4.8.3.6: always a byte */
	info->reset.address = get64(reg + 4);
	info->reset_value = t[128];
}

static uint64_t fadt_parse(struct acpi_info *info, const uint8_t *t, uint32_t len)
{
	uint64_t dsdt = 0;

	if (t == NULL || len < FADT_V1_BYTES) {
		return 0;
	}
	info->has_fadt = true;
	info->pm_timer_port = fadt_port(t, len, 76, 208);
	info->pm_timer_is_32bit = (get32(t + 112) & FADT_TMR_VAL_EXT) != 0;
	info->pm1a_cnt = fadt_port(t, len, 64, 172);
	info->pm1b_cnt = fadt_port(t, len, 68, 184);
	info->smi_cmd = get32(t + 48) <= UINT16_MAX ? (uint16_t)get32(t + 48) : 0;
	info->acpi_enable = t[52];
	if (len >= FADT_RESET_END) {
		fadt_reset(info, t);
	}
	if (len >= FADT_X_DSDT_END) {
		dsdt = get64(t + 140);
	}
	return dsdt != 0 ? dsdt : get32(t + 40);
}

/* --- \_S5_ in the DSDT ------------------------------------------------------------------------ */
/* AML (chapter 20): NameOp "_S5_" PackageOp PkgLength NumElements, then integers. */
#define AML_ZERO 0x00u
#define AML_ONE 0x01u
#define AML_NAME 0x08u
#define AML_BYTE 0x0au
#define AML_PACKAGE 0x12u
#define AML_ROOT 0x5cu
#define SLP_TYP_MAX 7u

/* One small integer at *p; steps over it. False for any other thing. */
static bool aml_small(const uint8_t **p, const uint8_t *end, uint8_t *value)
{
	const uint8_t *at = *p;

	if (at < end && (*at == AML_ZERO || *at == AML_ONE)) {
		*value = *at;
		*p = at + 1;
	} else if (end - at >= 2 && *at == AML_BYTE) {
		*value = at[1];
		*p = at + 2;
	} else {
		return false;
	}
	return *value <= SLP_TYP_MAX;
}

/* What follows the name is the package, with at least the two integers that we want. */
static bool aml_s5(struct acpi_info *info, const uint8_t *p, const uint8_t *end)
{
	unsigned more, length;
	const uint8_t *package;

	if (end - p < 4 || *p++ != AML_PACKAGE) {
		return false;
	}
	/* PkgLength counts itself: bits 7-6 of the first byte say how many more bytes it has. */
	package = p;
	more = *p >> 6;
	length = more == 0 ? *p & 0x3fu : (*p & 0xfu) | (unsigned)p[1] << 4;
	p += 1 + more;
	if (more > 1 || length > (uint64_t)(end - package) || length < 1 + more + 3) {
		return false;
	}
	end = package + length;
	return *p++ >= 2 && aml_small(&p, end, &info->s5_type_a) &&
	       aml_small(&p, end, &info->s5_type_b);
}

static void dsdt_parse(struct acpi_info *info, const uint8_t *t, uint32_t len)
{
	if (t == NULL) {
		return;
	}
	for (uint32_t at = HEADER_BYTES + 1; !info->has_s5 && at + 4 < len; at++) {
		const uint8_t *name = t + at;

		if (memcmp(name, "_S5_", 4) == 0 &&
		    (name[-1] == AML_NAME || (name[-1] == AML_ROOT && name[-2] == AML_NAME))) {
			info->has_s5 = aml_s5(info, name + 4, t + len);
		}
	}
}

int acpi_parse(const struct acpi_memory *m, uint64_t rsdp, struct acpi_info *info)
{
	struct root r;
	const uint8_t *t;
	uint64_t dsdt;
	uint32_t len = 0;

	memset(info, 0, sizeof(*info));
	for (unsigned i = 0; i < ACPI_ISA_IRQS; i++) {
		info->isa[i].gsi = i;
	}
	info->why = "ACPI tables read";
	rsdp = rsdp != 0 ? rsdp : rsdp_find(m);
	if (rsdp == 0 || !root_find(m, rsdp, &r)) {
		info->why = rsdp == 0 ? "no ACPI tables (no RSDP)" : "ACPI: bad RSDP or RSDT";
		return -TM_ENOENT;
	}
	t = table_find(m, &r, "FACP", &len);
	dsdt = fadt_parse(info, t, len);
	if (info->pm1a_cnt != 0) {
		t = table_at(m, dsdt, "DSDT", &len);
		dsdt_parse(info, t, len);
	}
	t = table_find(m, &r, "APIC", &len);
	return madt_parse(info, t, len);
}
