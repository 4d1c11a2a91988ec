// SPDX-License-Identifier: Apache-2.0
/*
 * The hypervisor's log: a ring buffer, and the console for what is at or above the console level.
 * Levels say who is at fault: ERR the hypervisor or the machine, WARN a VM or the configuration,
 * INFO a reader's orientation, DBG a developer. printf subset: %d %i %u %x %lx %lu %ld %llx %llu
 * %zu %p %s %c %%, width, 0, '-'. Safe on every CPU; one line a call, no trailing newline.
 */
#ifndef HYP_LOG_H
#define HYP_LOG_H

#include <stdarg.h>
#include <hyp/types.h>

enum log_level { LOG_ERR, LOG_WARN, LOG_INFO, LOG_DBG };

void log_at(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#define log_err(...) log_at(LOG_ERR, __VA_ARGS__)
#define log_warn(...) log_at(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_at(LOG_INFO, __VA_ARGS__)
#define log_dbg(...) log_at(LOG_DBG, __VA_ARGS__)

/* A line of level INFO without the "tidemark: " in front: the banner. */
void log_banner(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* For everything that a guest or the manager can trigger: at most `burst` lines a second a site. */
struct ratelimit {
	uint64_t window_start;
	uint32_t count;
	uint32_t suppressed;
};
bool ratelimit_ok(struct ratelimit *r);
#define log_warn_limited(...)                                                                      \
	do {                                                                                       \
		static struct ratelimit rl_;                                                       \
		if (ratelimit_ok(&rl_)) {                                                          \
			log_warn(__VA_ARGS__);                                                     \
		}                                                                                  \
	} while (0)

void log_set_console_level(enum log_level level);
/* Copies log text from byte position *cursor (monotonic; adjusted when overwritten). */
size_t log_read(uint64_t *cursor, char *buf, size_t len);
uint64_t log_suppressed_total(void);

int hyp_vsnprintf(char *buf, size_t len, const char *fmt, va_list ap);
int hyp_snprintf(char *buf, size_t len, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
