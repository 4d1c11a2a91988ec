// SPDX-License-Identifier: Apache-2.0
/*
 * cpio newc: a 110-byte header of hexadecimal ASCII, the name with its NUL padded to 4 bytes, the
 * data padded to 4 bytes; the last entry is named TRAILER!!!. Pure, no state; hostile input.
 */
#include <boot/cpio.h>
#include <string.h>

#define HEADER_BYTES 110u
#define FIELD_MODE 1u
#define FIELD_FILESIZE 6u
#define FIELD_NAMESIZE 11u
#define MODE_TYPE 0170000u
#define MODE_FILE 0100000u
#define NAME_MAX_BYTES 4096u

/* Field n: eight hexadecimal digits behind the 6-byte magic. */
static int hex_field(const uint8_t *header, unsigned n, uint64_t *value)
{
	const uint8_t *p = header + 6 + 8 * n;

	*value = 0;
	for (unsigned i = 0; i < 8; i++) {
		unsigned c = p[i];
		unsigned digit;

		if (c >= '0' && c <= '9') {
			digit = c - '0';
		} else if (c >= 'a' && c <= 'f') {
			digit = c - 'a' + 10;
		} else if (c >= 'A' && c <= 'F') {
			digit = c - 'A' + 10;
		} else {
			return -1;
		}
		*value = *value << 4 | digit;
	}
	return 0;
}

static uint64_t pad4(uint64_t v)
{
	return (v + 3) & ~3ull;
}

enum cpio_result cpio_find(const void *archive, uint64_t size, const char *name, const void **data,
			   uint64_t *bytes, uint64_t *bad_offset)
{
	const uint8_t *base = archive;
	uint64_t want = strlen(name) + 1;
	uint64_t at = 0;

	while (size - at >= HEADER_BYTES) {
		const uint8_t *h = base + at;
		uint64_t mode, file_size, name_size, body;

		*bad_offset = at;
		if (memcmp(h, "07070", 5) != 0 || (h[5] != '1' && h[5] != '2') ||
		    hex_field(h, FIELD_MODE, &mode) || hex_field(h, FIELD_FILESIZE, &file_size) ||
		    hex_field(h, FIELD_NAMESIZE, &name_size)) {
			return CPIO_BAD;
		}
		/* 32-bit fields: no sum wraps. */
		body = pad4(HEADER_BYTES + name_size);
		if (name_size == 0 || name_size > NAME_MAX_BYTES || body > size - at ||
		    file_size > size - at - body || h[HEADER_BYTES + name_size - 1] != '\0') {
			return CPIO_BAD;
		}
		if (name_size == 11 && memcmp(h + HEADER_BYTES, "TRAILER!!!", 11) == 0) {
			return CPIO_ABSENT;
		}
		if ((mode & MODE_TYPE) == MODE_FILE && name_size == want &&
		    memcmp(h + HEADER_BYTES, name, want) == 0) {
			*data = h + body;
			*bytes = file_size;
			return CPIO_FOUND;
		}
		if (pad4(body + file_size) > size - at) {
			break;
		}
		at += pad4(body + file_size);
	}
	*bad_offset = at;
	return CPIO_BAD;	/* no trailer */
}
