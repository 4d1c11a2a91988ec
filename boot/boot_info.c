// SPDX-License-Identifier: Apache-2.0
/*
 * The facts of the boot in one shape, and questions about them: command line options, modules.
 * Filled by the boot CPU (fdt.c), read-only afterwards.
 */
#include <arch/boot.h>
#include <arch/cpu.h>
#include <boot/cpio.h>
#include <hyp/boot_info.h>
#include <hyp/console.h>
#include <hyp/err.h>
#include <hyp/log.h>
#include <hyp/string.h>

struct boot_info boot_info;

void cannot_start(const char *fmt, ...)
{
	char text[256];
	va_list ap;

	arch_fallback_console();
	va_start(ap, fmt);
	hyp_vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	console_emergency("tidemark: cannot start: ", 24);
	console_emergency(text, strlen(text));
	console_emergency("\n", 1);
	arch_halt();
}

int boot_module_find(const char *name, const void **data, uint64_t *size)
{
	uint64_t bad;

	if (boot_info.modules.size == 0) {
		return -TM_ENOENT;
	}
	switch (cpio_find(phys_to_virt(boot_info.modules.base), boot_info.modules.size, name, data,
			  size, &bad)) {
	case CPIO_FOUND:
		return 0;
	case CPIO_BAD:
		log_warn("modules archive: damaged at byte %lu, looking for %s", bad, name);
		return -TM_ENOENT;
	default:
		return -TM_ENOENT;
	}
}

/* Options are separated by spaces: key=value, or a bare key whose value is "". */
bool boot_option(const char *key, char *buf, size_t len)
{
	const char *p = boot_info.cmdline;
	size_t key_len = strlen(key);

	while (*p) {
		size_t n = 0;
		const char *value;

		while (*p == ' ') {
			p++;
		}
		while (p[n] && p[n] != ' ') {
			n++;
		}
		if (n >= key_len && strncmp(p, key, key_len) == 0 &&
		    (n == key_len || p[key_len] == '=')) {
			value = n == key_len ? p + n : p + key_len + 1;
			n = MIN((size_t)(p + n - value), len - 1);
			memcpy(buf, value, n);
			buf[n] = '\0';
			return true;
		}
		p += n;
	}
	return false;
}

uint64_t boot_option_u64(const char *key, uint64_t otherwise)
{
	char text[24];
	uint64_t value = 0;
	unsigned base = 10;
	const char *p = text;

	if (!boot_option(key, text, sizeof(text)) || !*p) {
		return otherwise;
	}
	if (p[0] == '0' && p[1] == 'x') {
		base = 16;
		p += 2;
	}
	for (; *p; p++) {
		unsigned digit = *p >= 'a' ? (unsigned)(*p - 'a') + 10u : (unsigned)(*p - '0');

		if (digit >= base || value > (~0ull - digit) / base) {
			log_warn("option %s=%s is not a number", key, text);
			return otherwise;
		}
		value = value * base + digit;
	}
	return value;
}
