// SPDX-License-Identifier: Apache-2.0
//
// The shell's command table and parser. A command is one row: its words, its arguments, its help.
// Parsing and look-up are pure C, used on the host as well; shell_loop is the interactive part.

#ifndef MANAGER_SHELL_H
#define MANAGER_SHELL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fail.h"

#define SHELL_WORDS 16

struct command {
	const char *name;		// "vm list" or "mem"
	const char *usage;		// arguments: "<vm> [stop]"
	const char *help;
	uint8_t min_args;
	uint8_t max_args;
	// argv[0] is the first argument. Returns 0 or what it put into f.
	int (*run)(int argc, char **argv, struct fail *f);
};

struct command_table {
	const struct command *rows;
	const size_t *count;
};

// Splits in place: words at blanks, "quoted words" kept together, # starts a comment. Returns the
// count, or -TM_E2BIG (too many words), -TM_EINVAL (a quote is not closed).
int shell_split(char *line, char *words[SHELL_WORDS]);
// Runs one line. message: empty, or one line about what went wrong. Returns the command's result,
// 0 for an empty line.
int shell_execute(const struct command_table *tables, char *line, char *message, size_t size);
// Prints the table, or the rows whose first word is `topic` (may be null).
void shell_help(const struct command_table *tables, const char *topic);

// "key=value" among the arguments: the value, or null.
const char *shell_option(int argc, char **argv, const char *key);
// The same as a number with an optional K, M or G; -TM_EINVAL and f when it is none.
int shell_option_u64(int argc, char **argv, const char *key, uint64_t *value, struct fail *f);
bool shell_number(const char *text, uint64_t *value);
// Refuses any "key=" that is not in the list "a b c", so that typing errors are found.
int shell_check_options(int argc, char **argv, const char *allowed, struct fail *f);

#endif
