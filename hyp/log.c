// SPDX-License-Identifier: Apache-2.0
/*
 * The log: formatted lines into a ring buffer of bytes, under LOCK_LOG, and to the console what is
 * at or above its level. A reader holds a byte position that only grows; text that was
 * overwritten meanwhile is skipped up to the next line.
 */
#include <arch/time.h>
#include <hyp/console.h>
#include <hyp/lock.h>
#include <hyp/log.h>
#include <hyp/string.h>

#define LOG_BYTES (32u * 1024)		/* a power of two */
#define LINE_MAX 256
#define LIMIT_BURST 5u

static char ring[LOG_BYTES];
static uint64_t written;		/* bytes since boot; written under `lock` */
static struct spinlock lock = SPINLOCK_INIT(LOCK_LOG);
static enum log_level console_level = LOG_INFO;
static uint64_t suppressed_total;

void log_set_console_level(enum log_level level)
{
	console_level = level;
}

static void append(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		ring[(written + i) % LOG_BYTES] = s[i];
	}
	written += len;
}

static void record(enum log_level level, const char *text, size_t len)
{
	uint64_t freq = arch_time_freq();
	uint64_t now = arch_time_now();
	char stamp[32];
	int n = hyp_snprintf(stamp, sizeof(stamp), "%lu.%06lu %c ", now / freq,
			     now % freq * 1000000 / freq, "EWID"[level]);

	spin_lock(&lock);
	append(stamp, (size_t)n);
	append(text, len);
	append("\n", 1);
	spin_unlock(&lock);
}

static void line(enum log_level level, const char *prefix, const char *fmt, va_list ap)
{
	char text[LINE_MAX];
	size_t start = strlen(prefix);
	size_t len;
	int n;

	memcpy(text, prefix, start);
	n = hyp_vsnprintf(text + start, sizeof(text) - start - 1, fmt, ap);
	len = start + MIN((size_t)n, sizeof(text) - start - 2);
	record(level, text + start, len - start);
	if (level <= console_level) {
		text[len] = '\n';
		console_hyp_write(text, len + 1);
	}
}

void log_at(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	line(level, "tidemark: ", fmt, ap);
	va_end(ap);
}

void log_banner(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	line(LOG_INFO, "", fmt, ap);
	va_end(ap);
}

bool ratelimit_ok(struct ratelimit *r)
{
	uint64_t now = arch_time_now();
	uint64_t start = __atomic_load_n(&r->window_start, __ATOMIC_RELAXED);
	uint32_t missed;

	/* Two CPUs may both open a window: a few lines more, nothing worse. */
	if (now - start > arch_time_freq() || start == 0) {
		__atomic_store_n(&r->window_start, now | 1, __ATOMIC_RELAXED);
		__atomic_store_n(&r->count, 0u, __ATOMIC_RELAXED);
		missed = __atomic_exchange_n(&r->suppressed, 0u, __ATOMIC_RELAXED);
		if (missed) {
			log_warn("(%u more like the next line were left out)", missed);
		}
	}
	if (__atomic_fetch_add(&r->count, 1u, __ATOMIC_RELAXED) < LIMIT_BURST) {
		return true;
	}
	__atomic_fetch_add(&r->suppressed, 1u, __ATOMIC_RELAXED);
	__atomic_fetch_add(&suppressed_total, 1u, __ATOMIC_RELAXED);
	return false;
}

uint64_t log_suppressed_total(void)
{
	return __atomic_load_n(&suppressed_total, __ATOMIC_RELAXED);
}

size_t log_read(uint64_t *cursor, char *buf, size_t len)
{
	size_t n = 0;

	spin_lock(&lock);
	if (*cursor > written) {
		*cursor = written;
	}
	if (written - *cursor > LOG_BYTES) {
		*cursor = written - LOG_BYTES;
		while (*cursor < written && ring[(*cursor)++ % LOG_BYTES] != '\n') {
		}
	}
	while (n < len && *cursor < written) {
		buf[n++] = ring[(*cursor)++ % LOG_BYTES];
	}
	spin_unlock(&lock);
	return n;
}
