// SPDX-License-Identifier: Apache-2.0
/*
 * Reads the symbol table that the build links into .rodata (tests/tools/symtab.py has its layout).
 * Called in a panic: no lock, no state but the caller's buffer, nothing outside the table, and a
 * bounded depth and time even for a table gone bad.
 */
#include <hyp/symtab.h>

#define TOKEN_FIRST 0x80u
/* Pending halves of pairs; the build keeps every token shallower than this. */
#define DEPTH_MAX 16u

extern const uint32_t hyp_symtab_count;
extern const uint16_t hyp_symtab_deltas[];
extern const uint8_t hyp_symtab_pairs[][2];
extern const uint8_t hyp_symtab_names[];

static void expand(const uint8_t *coded, char *buf, size_t len)
{
	uint8_t pending[DEPTH_MAX];
	unsigned depth = 0;
	size_t used = 0;
	size_t steps = 4 * len;

	for (; *coded && used + 1 < len; coded++) {
		pending[depth++] = *coded;
		while (depth && used + 1 < len && steps) {
			uint8_t c = pending[--depth];

			steps--;
			if (c < TOKEN_FIRST) {
				buf[used++] = (char)c;
			} else if (depth + 2 <= DEPTH_MAX) {
				pending[depth++] = hyp_symtab_pairs[c - TOKEN_FIRST][1];
				pending[depth++] = hyp_symtab_pairs[c - TOKEN_FIRST][0];
			}
		}
		depth = 0;
	}
	buf[used] = '\0';
}

bool symtab_lookup(uint64_t offset, char *buf, size_t len, uint64_t *start)
{
	const uint8_t *name = hyp_symtab_names;
	uint64_t at;

	if (hyp_symtab_count == 0 || len == 0) {
		return false;
	}
	at = (uint64_t)hyp_symtab_deltas[0] * 4;
	if (offset < at) {
		return false;
	}
	for (uint32_t i = 1; i < hyp_symtab_count; i++) {
		uint64_t next = at + (uint64_t)hyp_symtab_deltas[i] * 4;

		if (next > offset) {
			break;
		}
		at = next;
		while (*name++) {
		}
	}
	expand(name, buf, len);
	*start = at;
	return true;
}
