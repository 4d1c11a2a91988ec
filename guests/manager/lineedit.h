// SPDX-License-Identifier: Apache-2.0
//
// A line editor fed one byte at a time: left, right, home, end, delete, backspace, up and down
// through the history, ctrl-a/e/b/f/k/u/w/d/c/l. Output is text, backspaces and spaces only, so it
// works on any terminal and behind a console multiplexer. Pure C; used on the host as well.

#ifndef MANAGER_LINEEDIT_H
#define MANAGER_LINEEDIT_H

#include <stddef.h>

#define LINE_MAX_BYTES 200u
#define LINE_HISTORY 32u

enum line_result {
	LINE_MORE,		// keep feeding
	LINE_DONE,		// text[] is the line; start a new one with lineedit_start
	LINE_CANCEL,		// ctrl-c
};

struct lineedit {
	void (*out)(void *ctx, const char *text, size_t length);
	void *ctx;
	const char *prompt;
	char text[LINE_MAX_BYTES + 1];
	unsigned length;
	unsigned cursor;
	unsigned escape;	// state inside an escape sequence
	unsigned number;	// its parameter
	unsigned last;		// byte before this one: CR LF is one end
	char history[LINE_HISTORY][LINE_MAX_BYTES + 1];
	unsigned entries;	// ever added
	unsigned back;		// how far up we are; 0 = the new line
	char draft[LINE_MAX_BYTES + 1];
};

void lineedit_init(struct lineedit *l, void (*out)(void *, const char *, size_t), void *ctx);
// Prints the prompt and empties the line.
void lineedit_start(struct lineedit *l, const char *prompt);
// Prints prompt and line again, after something else was printed.
void lineedit_redraw(struct lineedit *l);
enum line_result lineedit_feed(struct lineedit *l, unsigned char byte);

#endif
