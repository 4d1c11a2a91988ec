// SPDX-License-Identifier: Apache-2.0
//
// "newc" cpio archives in memory. Pure; every length is checked against what is left before use.
// The format: a 110-byte header of 8-digit hex fields, the name, padding to 4, data, padding.

#include <string.h>
#include <abi/errno.h>
#include <tidemark/cpio.h>

#define HEADER 110u
#define FIELD_MODE 1u
#define FIELD_FILESIZE 6u
#define FIELD_NAMESIZE 11u

/* Field n after the magic; ~0 when a digit is not hex. */
static uint64_t field(const char *header, unsigned n)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < 8; i++) {
		char c = header[6 + n * 8 + i];

		v <<= 4;
		if (c >= '0' && c <= '9') {
			v |= (uint64_t)(c - '0');
		} else if (c >= 'a' && c <= 'f') {
			v |= (uint64_t)(c - 'a' + 10);
		} else if (c >= 'A' && c <= 'F') {
			v |= (uint64_t)(c - 'A' + 10);
		} else {
			return ~(uint64_t)0;
		}
	}
	return v;
}

int tm_cpio_next(const void *archive, uint64_t size, uint64_t *pos, struct tm_cpio_file *file)
{
	const char *base = archive;
	const char *h;
	uint64_t at = *pos;
	uint64_t file_size;
	uint64_t name_size;
	uint64_t mode;
	uint64_t data;

	if (at > size || size - at < HEADER) {
		return at == size ? 0 : -TM_EINVAL;
	}
	h = base + at;
	if (memcmp(h, "070701", 6) != 0 && memcmp(h, "070702", 6) != 0) {
		return -TM_EINVAL;
	}
	/* Fields are below 2^32, so no sum below can wrap. */
	file_size = field(h, FIELD_FILESIZE);
	name_size = field(h, FIELD_NAMESIZE);
	mode = field(h, FIELD_MODE);
	if (file_size > 0xffffffffu || mode > 0xffffffffu || name_size == 0 ||
	    name_size > size - at - HEADER || h[HEADER + name_size - 1] != '\0') {
		return -TM_EINVAL;
	}
	data = (at + HEADER + name_size + 3) & ~(uint64_t)3;
	if (strcmp(h + HEADER, "TRAILER!!!") == 0) {
		*pos = size;
		return 0;
	}
	if (data > size || file_size > size - data) {
		return -TM_EINVAL;
	}
	file->name = h + HEADER;
	file->data = base + data;
	file->size = file_size;
	file->mode = (uint32_t)mode;
	data = (data + file_size + 3) & ~(uint64_t)3;
	*pos = data < size ? data : size;
	return 1;
}

static const char *bare(const char *name)
{
	if (name[0] == '.' && name[1] == '/') {
		name += 2;
	}
	while (name[0] == '/') {
		name++;
	}
	return name;
}

int tm_cpio_find(const void *archive, uint64_t size, const char *name, struct tm_cpio_file *file)
{
	uint64_t pos = 0;
	int status;

	while ((status = tm_cpio_next(archive, size, &pos, file)) == 1) {
		if (strcmp(bare(file->name), bare(name)) == 0) {
			return 0;
		}
	}
	return status == 0 ? -TM_ENOENT : status;
}
