// SPDX-License-Identifier: Apache-2.0
//
// The snapshot image format, version 1.0. Everything is little-endian; every length is a multiple
// of 8; every reserved field is zero.
//
//   image   = header record* END
//   header  = struct snap_header (256 bytes). Its crc covers it with crc = 0.
//   record  = struct snap_record (32 bytes), then `length` bytes of payload. Records are numbered
//             from 0 in `seq`; crc covers the record's head with crc = 0 and its payload. A reader
//             skips a type that it does not know, unless SNAP_MANDATORY is set: then it refuses.
//
//   type      payload
//   SHAPE     struct snap_shape: what is needed to create the VM again
//   SLOTS     u32 count, u32 0, count x struct snap_slot, by rising slot number
//   PAGES     struct snap_pages {slot, count, data_count}, data_count x 4096 bytes of content, then
//             count x u64 page list entries: page index in the slot, bit 63 (SNAP_ZERO) for a page
//             of zeros that has no content in the record. The others take the contents in order.
//   VCPU      struct snap_dev {id, size}, then `size` bytes: struct tm_regs, one per vCPU
//   TIMER     the same with struct tm_timer_state, one per vCPU
//   IRQCHIP   the same with struct tm_gic_state and its rows, id 0 (x86: struct tm_board_state, then
//             struct tm_apic_state of each vCPU)
//   UART      the same with struct tm_uart_state, id 0
//   END       struct snap_end. Nothing may follow it.
//
// SHAPE and SLOTS come first, in this order; PAGES and device records follow in any order; END is
// the last. A page that is listed twice has the later content. A page that no record lists is a
// page of zeros in a full image (no parent) and the parent's page in an incremental one.
//
// The end hash is the 128-bit hash of <hash.h>, seed SNAP_END_SEED, over every byte before the END
// record's head. The memory hash (hash A, seed SNAP_MEM_SEED) was taken over the paused VM's own
// RAM, not over the image: per slot by rising number a block of 32 bytes {u64 slot, gpa, size, 0},
// then the slot's content.
//
// A reader accepts its own major number with any minor one.

#ifndef MANAGER_SNAPFMT_H
#define MANAGER_SNAPFMT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <abi/hypercall.h>
#include <abi/memory.h>
#include <abi/vm.h>

#include "fail.h"
#include "hash.h"

#define SNAP_MAGIC UINT64_C(0x0a50414e534d5489)	/* 0x89 "TMSNAP" LF */
#define SNAP_MAJOR 1u
#define SNAP_MINOR 0u
#define SNAP_NAME_LEN 32
#define SNAP_MAX_SLOTS 64u
#define SNAP_FEATURES 8
#define SNAP_END_SEED UINT64_C(0x656e64)
#define SNAP_MEM_SEED UINT64_C(0x6d656d)

enum snap_arch { SNAP_ARCH_ARM64 = 1, SNAP_ARCH_X86 = 2 };

struct snap_uuid {
	uint8_t b[16];
};

// cpu_feature on arm64: ID_AA64PFR0, PFR1, ISAR0, ISAR1, MMFR0, MMFR1, MMFR2, 0. On x86, of CPUID:
// 0 EBX:EDX, 1 ECX:EDX, 7 ECX:EBX, 0xd.0 EAX, 0xd.1 EAX, 0x80000001 ECX:EDX, 0x80000008 EAX, 0.
struct snap_header {
	uint64_t magic;
	uint16_t major;
	uint16_t minor;
	uint32_t header_len;		// 256
	uint32_t arch;			// SNAP_ARCH_*
	uint32_t abi_version;		// of the hypervisor: major << 16 | minor
	uint64_t time;			// counter ticks at the pause
	uint64_t freq;			// ticks a second
	struct snap_uuid uuid;		// of this snapshot
	struct snap_uuid parent;	// snapshot that it needs; all zero: full image
	struct snap_uuid vm;
	char name[SNAP_NAME_LEN];	// of the snapshot
	uint64_t cpu_feature[SNAP_FEATURES];
	uint8_t rsvd[64];
	uint32_t rsvd2;
	uint32_t crc;
};
TM_ASSERT_SIZE(snap_header, 256);
TM_ASSERT_OFFSET(snap_header, time, 24);
TM_ASSERT_OFFSET(snap_header, uuid, 40);
TM_ASSERT_OFFSET(snap_header, name, 88);
TM_ASSERT_OFFSET(snap_header, cpu_feature, 120);
TM_ASSERT_OFFSET(snap_header, crc, 252);

enum snap_type {
	SNAP_SHAPE = 1,
	SNAP_SLOTS = 2,
	SNAP_PAGES = 3,
	SNAP_VCPU = 4,
	SNAP_IRQCHIP = 5,
	SNAP_TIMER = 6,
	SNAP_UART = 7,
	SNAP_END = 8,
};

enum snap_record_flags { SNAP_MANDATORY = 1 };

struct snap_record {
	uint32_t type;
	uint32_t flags;
	uint64_t length;
	uint32_t seq;
	uint32_t crc;
	uint64_t rsvd;
};
TM_ASSERT_SIZE(snap_record, 32);

struct snap_shape {
	uint32_t vm_flags;		// TM_VM_*
	uint32_t vcpus;
	uint32_t dirty_flags;		// TM_DIRTY_*
	uint32_t ring_entries;
	uint64_t pool_pages;
	uint32_t mmio_count;
	uint32_t rsvd;
	struct tm_range mmio[TM_VM_MMIO_WINDOWS];
	char name[TM_VM_NAME_LEN];
};
TM_ASSERT_SIZE(snap_shape, 192);

struct snap_slot {
	uint32_t slot;
	uint32_t flags;			// TM_SLOT_*, without LOG_DIRTY
	uint64_t gpa;
	uint64_t size;
};
TM_ASSERT_SIZE(snap_slot, 24);

struct snap_pages {
	uint32_t slot;
	uint32_t count;
	uint32_t data_count;
	uint32_t rsvd;
};
TM_ASSERT_SIZE(snap_pages, 16);

#define SNAP_ZERO (UINT64_C(1) << 63)

struct snap_dev {
	uint32_t id;
	uint32_t size;			// without the padding up to a multiple of 8
};

struct snap_end {
	struct hash_value end_hash;
	struct hash_value mem_hash;
	uint64_t image_len;		// whole image, END included
	uint64_t pages;			// RAM of the VM
	uint64_t pages_stored;		// contents in the image
	uint64_t pages_copied;		// read during the snapshot, repeats included
	uint64_t pages_dirtied;		// collected while it ran
	uint64_t downtime;		// ticks
	uint32_t rounds;
	uint32_t records;		// END included
	uint64_t rsvd;
};
TM_ASSERT_SIZE(snap_end, 96);

// ---- writing ---------------------------------------------------------------------------------

// Where an image grows: contiguous memory that does not move. grow returns 0 and the place of
// `length` new bytes at the end, or -TM_ENOSPC.
struct snap_sink {
	int (*grow)(void *ctx, size_t length, void **at);
	void *ctx;
};

#define SNAP_RUN_MAX 512u

// One image being written. Records stay unsealed (crc 0) until snap_write_end, so that the
// content of a page that is dirtied again is replaced in place.
struct snap_writer {
	struct snap_sink sink;
	uint8_t *image;
	size_t length;
	uint32_t records;
	struct snap_record *run;	// open PAGES record, or null
	struct snap_pages *run_head;
	uint64_t list[SNAP_RUN_MAX];
};

int snap_write_begin(struct snap_writer *w, struct snap_sink sink, const struct snap_header *h);
// A record of its own with a copy of payload; length is padded with zeros to a multiple of 8.
int snap_write_record(struct snap_writer *w, uint32_t type, uint32_t flags, const void *payload,
		      size_t length);
int snap_write_slots(struct snap_writer *w, const struct snap_slot *slots, uint32_t count);
int snap_write_dev(struct snap_writer *w, uint32_t type, uint32_t id, const void *state,
		   size_t size);
// Appends a page: content null means zeros. *at (may be null) is where its content lies.
int snap_write_page(struct snap_writer *w, uint32_t slot, uint64_t index, const void *content,
		    void **at);
// Closes the open page record; then the image has only whole records.
int snap_write_flush(struct snap_writer *w);
// Writes END, computes every crc and the end hash. end: all but end_hash, image_len and records.
int snap_write_end(struct snap_writer *w, const struct snap_end *end);

// ---- reading ---------------------------------------------------------------------------------

// An image in memory, 8-byte aligned. All is checked by snap_open before any use of it.
struct snap_image {
	const uint8_t *data;
	size_t length;
	const struct snap_header *header;
	const struct snap_shape *shape;
	const struct snap_slot *slots;
	uint32_t slot_count;
	const struct snap_end *end;
};

// Where the walk stands; start with all zero.
struct snap_cursor {
	size_t at;
	uint32_t seq;
	const struct snap_record *record;
	const void *payload;
};

// Checks every byte: lengths, CRCs, order, page lists, end hash. On failure why names the record
// ("record 3 (PAGES): ..."), err is -TM_EINVAL, or -TM_EOPNOTSUPP for a newer format.
int snap_open(struct snap_image *img, const void *data, size_t length, struct fail *why);
// Next record of an image that snap_open accepted; false at END (which is not returned).
bool snap_next(const struct snap_image *img, struct snap_cursor *c);
const char *snap_type_name(uint32_t type);
bool snap_uuid_equal(const struct snap_uuid *a, const struct snap_uuid *b);
bool snap_uuid_is_zero(const struct snap_uuid *a);
// 32 hexadecimal digits and a NUL.
void snap_hash_text(struct hash_value h, char out[33]);

#endif
