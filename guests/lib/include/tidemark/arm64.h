// SPDX-License-Identifier: Apache-2.0
/* arm64 access for guests at EL1: system registers, barriers, cache maintenance, PSCI. */
#ifndef TIDEMARK_ARM64_H
#define TIDEMARK_ARM64_H

#include <stddef.h>
#include <stdint.h>
#include <abi/tidemark.h>

#define tm_sysreg_read(name)                                                                       \
	({                                                                                         \
		uint64_t tm_v_;                                                                    \
		__asm__ volatile("mrs %0, " #name : "=r"(tm_v_)::"memory");                        \
		tm_v_;                                                                             \
	})
#define tm_sysreg_write(name, value)                                                               \
	__asm__ volatile("msr " #name ", %0" : : "r"((uint64_t)(value)) : "memory")

#define tm_isb() __asm__ volatile("isb" : : : "memory")
#define tm_dsb() __asm__ volatile("dsb sy" : : : "memory")
#define tm_dmb() __asm__ volatile("dmb ish" : : : "memory")
#define tm_wfi() __asm__ volatile("dsb sy\n\twfi" : : : "memory")
#define tm_wfe() __asm__ volatile("wfe" : : : "memory")
#define tm_sev() __asm__ volatile("dsb ish\n\tsev" : : : "memory")
#define tm_cpu_relax() __asm__ volatile("yield" : : : "memory")

/* What tm_boot.mpidr holds for this CPU: MPIDR_EL1's affinity fields. */
static inline uint64_t tm_cpu_id(void)
{
	return tm_sysreg_read(mpidr_el1) & 0xff00ffffffu;
}

static inline uint64_t *tm_regs_pc(struct tm_regs *regs)
{
	return &regs->pc;
}

/* Interrupts of this CPU. tm_irq_save masks and returns what tm_irq_restore puts back. */
static inline void tm_irq_unmask(void)
{
	__asm__ volatile("msr daifclr, #2" : : : "memory");
}

static inline void tm_irq_mask(void)
{
	__asm__ volatile("msr daifset, #2" : : : "memory");
}

static inline uint64_t tm_irq_save(void)
{
	uint64_t daif = tm_sysreg_read(daif);

	tm_irq_mask();
	return daif;
}

static inline void tm_irq_restore(uint64_t daif)
{
	tm_sysreg_write(daif, daif);
}

/* Cleans (and for _inval invalidates) data to the point of coherency. */
void tm_cache_clean(const void *p, size_t size);
void tm_cache_clean_inval(const void *p, size_t size);
/* Makes instructions written at p visible to this CPU's and its neighbours' fetches. */
void tm_cache_sync_code(const void *p, size_t size);

/* PSCI by HVC (Arm DEN 0022): returns x0. */
int64_t tm_psci(uint32_t fn, uint64_t a1, uint64_t a2, uint64_t a3);
#define TM_PSCI_VERSION 0x84000000u
#define TM_PSCI_CPU_OFF 0x84000002u
#define TM_PSCI_CPU_ON 0xc4000003u
#define TM_PSCI_AFFINITY_INFO 0xc4000004u
#define TM_PSCI_SYSTEM_OFF 0x84000008u
#define TM_PSCI_SYSTEM_RESET 0x84000009u

#endif
