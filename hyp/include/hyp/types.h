// SPDX-License-Identifier: Apache-2.0
/*
 * Boxed addresses and small helpers. A guest-physical address where a host-physical one is wanted
 * must not compile; arithmetic goes through the helpers below. Levels count from 0 = 4 KiB up
 * (the Arm manual counts the other way): 1 = 2 MiB, 2 = 1 GiB, 3 = 512 GiB.
 */
#ifndef HYP_TYPES_H
#define HYP_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_SHIFT 12
#define PAGE_SIZE 4096ul
#define PAGE_MASK (PAGE_SIZE - 1)

typedef struct { uint64_t v; } gpa_t;
typedef struct { uint64_t v; } hpa_t;
typedef struct { uint64_t v; } gfn_t;
typedef struct { uint64_t v; } pfn_t;

static inline gpa_t gpa(uint64_t v) { return (gpa_t){v}; }
static inline hpa_t hpa(uint64_t v) { return (hpa_t){v}; }
static inline gpa_t gpa_add(gpa_t a, uint64_t n) { return (gpa_t){a.v + n}; }
static inline hpa_t hpa_add(hpa_t a, uint64_t n) { return (hpa_t){a.v + n}; }
static inline gfn_t gpa_to_gfn(gpa_t a) { return (gfn_t){a.v >> PAGE_SHIFT}; }
static inline gpa_t gfn_to_gpa(gfn_t a) { return (gpa_t){a.v << PAGE_SHIFT}; }
static inline pfn_t hpa_to_pfn(hpa_t a) { return (pfn_t){a.v >> PAGE_SHIFT}; }
static inline hpa_t pfn_to_hpa(pfn_t a) { return (hpa_t){a.v << PAGE_SHIFT}; }

/* "No page": never a valid address, because it is not page aligned. */
#define HPA_NONE ((hpa_t){~0ull})
static inline bool hpa_is_none(hpa_t a) { return a.v == ~0ull; }

#define LEVEL_SHIFT(level) (PAGE_SHIFT + 9u * (unsigned)(level))
#define LEVEL_SIZE(level) (1ull << LEVEL_SHIFT(level))
#define LEVEL_PAGES(level) (1ull << (9u * (unsigned)(level)))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define ALIGN_UP(x, a) (((x) + ((a) - 1)) & ~((a) - 1))
#define ALIGN_DOWN(x, a) ((x) & ~((a) - 1))
#define IS_ALIGNED(x, a) (((x) & ((a) - 1)) == 0)
#define container_of(p, type, member) ((type *)((char *)(p) - offsetof(type, member)))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define must_check __attribute__((warn_unused_result))
#define noreturn_fn __attribute__((noreturn))

/* One read of a word that others may write (I-4: shared memory is read once). */
#define READ_ONCE(x) (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, val) (*(volatile __typeof__(x) *)&(x) = (val))

/* The index, or 0 when it is out of bounds, without a branch that speculation could pass. */
static inline uint64_t index_nospec(uint64_t index, uint64_t count)
{
	uint64_t mask;

	/* Behind a bound check the compiler knows the mask, and would leave it out. */
	__asm__("" : "+r"(index));
	mask = (uint64_t)((int64_t)((index - count) & ~index) >> 63);
	return index & mask;
}

#endif
