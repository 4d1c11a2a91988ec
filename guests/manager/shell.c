// SPDX-License-Identifier: Apache-2.0
//
// Command line parsing and look-up of shell.h. No state, no lock.

#include <stdio.h>
#include <string.h>

#include <abi/errno.h>

#include "shell.h"

int shell_split(char *line, char *words[SHELL_WORDS])
{
	char *to = line;
	int n = 0;

	for (;;) {
		bool quoted = false;

		while (*line == ' ' || *line == '\t') {
			line++;
		}
		if (*line == '\0' || *line == '#') {
			return n;
		}
		if (n == SHELL_WORDS) {
			return -TM_E2BIG;
		}
		words[n++] = to;
		for (; *line != '\0' && (quoted || (*line != ' ' && *line != '\t')); line++) {
			if (*line == '"') {
				quoted = !quoted;
			} else {
				*to++ = *line;
			}
		}
		if (quoted) {
			return -TM_EINVAL;
		}
		// The separator is read before its place is overwritten.
		if (*line != '\0') {
			line++;
		}
		*to++ = '\0';
	}
}

// Words of the line that name this command: 0, 1 or 2.
static int match(const struct command *c, int argc, char **argv)
{
	const char *blank = strchr(c->name, ' ');
	size_t first = blank != NULL ? (size_t)(blank - c->name) : strlen(c->name);

	if (strlen(argv[0]) != first || strncmp(argv[0], c->name, first) != 0) {
		return 0;
	}
	if (blank == NULL) {
		return 1;
	}
	return argc > 1 && strcmp(argv[1], blank + 1) == 0 ? 2 : 0;
}

static const struct command *find(const struct command_table *t, int argc, char **argv, int *used)
{
	for (; t->rows != NULL; t++) {
		for (size_t i = 0; i < *t->count; i++) {
			*used = match(&t->rows[i], argc, argv);
			if (*used != 0) {
				return &t->rows[i];
			}
		}
	}
	return NULL;
}

static bool is_first_word(const struct command *c, const char *word)
{
	size_t n = strlen(word);

	return strncmp(c->name, word, n) == 0 && (c->name[n] == ' ' || c->name[n] == '\0');
}

// "vm: unknown command: one of list create ...": what follows this first word.
static void suggest(const struct command_table *t, const char *word, char *message, size_t size)
{
	size_t at = 0;

	for (; t->rows != NULL; t++) {
		for (size_t i = 0; i < *t->count; i++) {
			const struct command *c = &t->rows[i];

			if (!is_first_word(c, word) || at >= size) {
				continue;
			}
			if (at == 0) {
				at = (size_t)snprintf(message, size, "usage: %s", word);
			}
			at += (size_t)snprintf(message + at, size - at, "%s%s",
					       at == strlen(word) + 7 ? " " : "|",
					       c->name + strlen(word) + 1);
		}
	}
	if (at == 0) {
		snprintf(message, size, "%s: command: there is no such command (-EINVAL): see `help`",
			 word);
	}
}

int shell_execute(const struct command_table *tables, char *line, char *message, size_t size)
{
	char *words[SHELL_WORDS];
	const struct command *c;
	struct fail f;
	int used;
	int n = shell_split(line, words);
	int err;

	message[0] = '\0';
	if (n <= 0) {
		if (n < 0) {
			snprintf(message, size, "shell: line: %s (%s): see `help`",
				 n == -TM_E2BIG ? "too many words" : "a quote is not closed",
				 fail_name(n));
		}
		return n;
	}
	c = find(tables, n, words, &used);
	if (c == NULL) {
		suggest(tables, words[0], message, size);
		return -TM_EINVAL;
	}
	if (n - used < c->min_args || n - used > c->max_args) {
		snprintf(message, size, "usage: %s%s%s", c->name, c->usage[0] != '\0' ? " " : "",
			 c->usage);
		return -TM_EINVAL;
	}
	memset(&f, 0, sizeof(f));
	err = c->run(n - used, words + used, &f);
	if (err != 0) {
		if (f.err == 0) {
			fail_call(&f, err, "call");
		}
		fail_format(&f, c->name, message, size);
	}
	return err;
}

void shell_help(const struct command_table *tables, const char *topic)
{
	unsigned shown = 0;

	for (const struct command_table *t = tables; t->rows != NULL; t++) {
		for (size_t i = 0; i < *t->count; i++) {
			const struct command *c = &t->rows[i];
			char head[200];

			if (topic != NULL && !is_first_word(c, topic)) {
				continue;
			}
			snprintf(head, sizeof(head), "%s %s", c->name, c->usage);
			if (strlen(head) > 36) {
				printf("  %s\n  %-36s %s\n", head, "", c->help);
			} else {
				printf("  %-36s %s\n", head, c->help);
			}
			shown++;
		}
	}
	if (shown == 0) {
		printf("  no command begins with %s\n", topic);
	}
}

const char *shell_option(int argc, char **argv, const char *key)
{
	size_t n = strlen(key);

	for (int i = 0; i < argc; i++) {
		if (strncmp(argv[i], key, n) == 0 && argv[i][n] == '=') {
			return argv[i] + n + 1;
		}
	}
	return NULL;
}

static unsigned shift_of(char suffix)
{
	switch (suffix) {
	case 'K':
		return 10;
	case 'M':
		return 20;
	case 'G':
		return 30;
	default:
		return 0;
	}
}

static int digit(char c, unsigned base)
{
	int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;

	return d < (int)base ? d : -1;
}

bool shell_number(const char *text, uint64_t *value)
{
	unsigned base = 10;
	uint64_t v = 0;
	unsigned shift;

	if (text[0] == '0' && text[1] == 'x') {
		base = 16;
		text += 2;
	}
	if (digit(*text, base) < 0) {
		return false;
	}
	for (; digit(*text, base) >= 0; text++) {
		uint64_t d = (uint64_t)digit(*text, base);

		if (v > (UINT64_MAX - d) / base) {
			return false;
		}
		v = v * base + d;
	}
	shift = shift_of(*text);
	if ((shift != 0 && v >> (64 - shift) != 0) || text[shift != 0 ? 1 : 0] != '\0') {
		return false;
	}
	*value = v << shift;
	return true;
}

int shell_option_u64(int argc, char **argv, const char *key, uint64_t *value, struct fail *f)
{
	const char *text = shell_option(argc, argv, key);

	if (text != NULL && !shell_number(text, value)) {
		return fail_set(f, -TM_EINVAL, key, "give a number such as 64, 0x40 or 16M",
				"\"%.40s\" is no number", text);
	}
	return 0;
}

int shell_check_options(int argc, char **argv, const char *allowed, struct fail *f)
{
	for (int i = 0; i < argc; i++) {
		const char *equal = strchr(argv[i], '=');
		size_t n = equal != NULL ? (size_t)(equal - argv[i]) : 0;
		const char *at = allowed;

		while (equal != NULL && *at != '\0') {
			size_t k = strcspn(at, " ");

			if (k == n && strncmp(at, argv[i], n) == 0) {
				break;
			}
			at += k;
			at += *at == ' ' ? 1 : 0;
		}
		if (equal != NULL && *at == '\0') {
			return fail_set(f, -TM_EINVAL, "option", NULL, "%.40s is none of: %s",
					argv[i], allowed);
		}
	}
	return 0;
}
