// SPDX-License-Identifier: Apache-2.0
//
// The fake architecture of the host tests: it implements the contract of hyp/include/arch with
// plain memory, and a TLB that is as bad as hardware is allowed to be. All functions of the
// contract are weak: a test or a linked file may define its own.
//
//   fake_reset(seed);                      RAM zeroed (lazily), TLBs empty, CPU 0, no locks held
//   fake_use_format(&ept_format, 48, 3);   before stage2_init(); default: arm64 stage-2, 40 bits
//   page_alloc_add(fake_ram(n), n);        pages of fake RAM for the hypervisor's pool
//   fake_access(vm, vcpu, gpa, write)      one guest access as hardware would do it: TLB, walk of
//                                          the real table, fault_handle() and again
//   CHECK(FAKE_PANICS(stmt, "tlbcheck"));  the statement panics with this text in its message
//
// A program that is linked with "LINK: core" adds arch/arm64/stage2_format.c and what else it needs.
//
// The TLB, one per CPU: whole leaves of any size and pointers to last-level tables ("walk cache");
// it keeps an entry whatever happens to the table until a flush names it, loses entries at random,
// answers from any entry that matches, and faults on a stale read-only one. On return from a flush
// no CPU is in the middle of an access that used what was flushed.

#ifndef TESTS_HOST_FAKE_H
#define TESTS_HOST_FAKE_H

#include <hyp/fault.h>
#include <hyp/pgtable.h>
#include <hyp/types.h>
#include <setjmp.h>
#include <stdbool.h>
#include <string.h>

#define FAKE_CPUS     8u
#define FAKE_RAM_BASE 0x40000000ull
#define FAKE_RAM_SIZE (4ull << 30)	/* address space only: pages exist once touched */

struct vm;
struct stage2;

void fake_reset(uint64_t seed);
void fake_use_format(const struct pgtable_format *fmt, unsigned ia_bits, unsigned root_level);
// This thread is CPU n from now on.
void fake_set_cpu(unsigned n);
// The next n pages of fake RAM, never given out before (since the last reset); aligned to `align`.
hpa_t fake_ram_aligned(uint64_t pages, uint64_t align);
static inline hpa_t fake_ram(uint64_t pages) { return fake_ram_aligned(pages, PAGE_SIZE); }

// ---- TLB ----
struct fake_tlb_stats {
	uint64_t hits, fills, large_fills, cached_walks, dropped;
	uint64_t flush_range, flush_all, flush_local, removed;
	uint64_t dirtied;	// dirty bits that hardware has set
};
extern struct fake_tlb_stats fake_tlb;
// Loses entries at one in this many accesses, 0: never; fake_reset() makes it 97.
extern unsigned fake_tlb_drop_one_in;
extern bool fake_tlb_walk_cache;
void fake_tlb_reset(uint64_t seed);

enum fake_hit { FAKE_HIT, FAKE_HOLE, FAKE_FORBIDDEN, FAKE_LOG_FULL };
// What CPU `cpu` gets for one access, TLB first, no fault handling. FAKE_HIT: *out is the byte's
// address and `then`, when given, has run on it before any flush could return.
enum fake_hit fake_translate(struct stage2 *s2, unsigned cpu, gpa_t a, unsigned access, hpa_t *out,
			     void (*then)(void *ctx, hpa_t at), void *ctx);

// ---- guest accesses ----
#define FAKE_DONE   100	// the access was done
#define FAKE_STUCK  101	// faulted again and again although each fault said RETRY

struct fake_result {
	int action;	// FAKE_DONE, FAKE_STUCK or the enum fault_action that is not FAULT_RETRY
	hpa_t hpa;	// of the byte, when done
	unsigned faults;
};
struct fake_result fake_access(struct vm *vm, unsigned vcpu_no, gpa_t a, bool write);
// Same, and the data moves while the translation is held: a store after a flush would be seen.
struct fake_result fake_store64(struct vm *vm, unsigned vcpu_no, gpa_t a, uint64_t value);
struct fake_result fake_load64(struct vm *vm, unsigned vcpu_no, gpa_t a, uint64_t *value);
// Hardware's dirty logging (pml): a vCPU stays in guest mode after an access, its log in a buffer, until
// something makes it exit. All of them exit now; before a vCPU is destroyed or looked at.
void fake_exit_guests(void);
// From arch_cpu_relax(): a kicked vCPU exits, if this thread may take locks.
void fake_exit_if_idle(void);
// What arch_dirty_backends() says: 1 << TM_BACKEND_*; write-protect alone at the start.
extern unsigned fake_backends;
// vCPU n of any VM runs on CPU n % FAKE_CPUS unless the test says otherwise.
extern unsigned (*fake_cpu_of)(unsigned vcpu_no);

// ---- injection (linked unless hyp/test_hooks.c is) ----
// The nth allocation at this site from now fails (1 = the next), then all go well again; 0: off.
void fake_inject(uint32_t site, uint64_t nth);

// ---- panic ----
extern _Thread_local jmp_buf fake_panic_jmp;
extern _Thread_local bool fake_panic_armed;
extern _Thread_local char fake_panic_text[256];
#define FAKE_PANICS(stmt, text)                                                                    \
	__extension__({                                                                            \
		volatile bool fake_hit_ = false;                                                   \
		fake_panic_text[0] = '\0';                                                         \
		fake_panic_armed = true;                                                           \
		if (setjmp(fake_panic_jmp) == 0) {                                                 \
			stmt;                                                                      \
		} else {                                                                           \
			fake_hit_ = strstr(fake_panic_text, (text)) != NULL;                       \
		}                                                                                  \
		fake_panic_armed = false;                                                          \
		fake_hit_;                                                                         \
	})

#endif
