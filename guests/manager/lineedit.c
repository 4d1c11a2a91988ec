// SPDX-License-Identifier: Apache-2.0
//
// The line editor of lineedit.h. State is the caller's struct; one thread.

#include <string.h>

#include "lineedit.h"

enum { CTRL_A = 1, CTRL_B, CTRL_C, CTRL_D, CTRL_E, CTRL_F, CTRL_H = 8, TAB, LF, CTRL_K, CTRL_L, CR,
       CTRL_N, CTRL_P = 16, CTRL_U = 21, CTRL_W = 23, ESC = 27, DEL = 127 };
enum { PLAIN, GOT_ESC, GOT_CSI };

static void put(struct lineedit *l, const char *text, size_t length)
{
	if (length > 0) {
		l->out(l->ctx, text, length);
	}
}

static void repeat(struct lineedit *l, char c, unsigned n)
{
	char run[32];

	memset(run, c, sizeof(run));
	for (; n > 0; n -= n < sizeof(run) ? n : (unsigned)sizeof(run)) {
		put(l, run, n < sizeof(run) ? n : sizeof(run));
	}
}

static void move_to(struct lineedit *l, unsigned at)
{
	if (at < l->cursor) {
		repeat(l, '\b', l->cursor - at);
	} else {
		put(l, l->text + l->cursor, at - l->cursor);
	}
	l->cursor = at;
}

// Replaces [from, to) by text and repaints what lies behind; the cursor ends up behind the text.
static void replace(struct lineedit *l, unsigned from, unsigned to, const char *text,
		    unsigned length)
{
	unsigned old = l->length;
	unsigned rest = l->length - to;
	unsigned blank;

	if (l->length - (to - from) + length > LINE_MAX_BYTES) {
		put(l, "\a", 1);
		return;
	}
	move_to(l, from);
	memmove(l->text + from + length, l->text + to, rest);
	memcpy(l->text + from, text, length);
	l->length = from + length + rest;
	l->text[l->length] = '\0';
	put(l, l->text + from, l->length - from);
	blank = old > l->length ? old - l->length : 0;
	repeat(l, ' ', blank);
	repeat(l, '\b', blank + rest);
	l->cursor = from + length;
}

static const char *history_at(const struct lineedit *l, unsigned back)
{
	return l->history[(l->entries - back) % LINE_HISTORY];
}

static void show_history(struct lineedit *l, unsigned back)
{
	const char *text;

	if (back > l->entries || back > LINE_HISTORY) {
		return;
	}
	if (l->back == 0) {
		memcpy(l->draft, l->text, sizeof(l->draft));
	}
	l->back = back;
	text = back == 0 ? l->draft : history_at(l, back);
	replace(l, 0, l->length, text, (unsigned)strlen(text));
}

static void remember(struct lineedit *l)
{
	if (l->length == 0 || (l->entries > 0 && strcmp(history_at(l, 1), l->text) == 0)) {
		return;
	}
	memcpy(l->history[l->entries % LINE_HISTORY], l->text, sizeof(l->text));
	l->entries++;
}

static unsigned word_start(const struct lineedit *l)
{
	unsigned at = l->cursor;

	while (at > 0 && l->text[at - 1] == ' ') {
		at--;
	}
	while (at > 0 && l->text[at - 1] != ' ') {
		at--;
	}
	return at;
}

void lineedit_init(struct lineedit *l, void (*out)(void *, const char *, size_t), void *ctx)
{
	memset(l, 0, sizeof(*l));
	l->out = out;
	l->ctx = ctx;
	l->prompt = "";
}

void lineedit_start(struct lineedit *l, const char *prompt)
{
	l->prompt = prompt;
	l->length = 0;
	l->cursor = 0;
	l->back = 0;
	l->text[0] = '\0';
	put(l, prompt, strlen(prompt));
}

void lineedit_redraw(struct lineedit *l)
{
	put(l, l->prompt, strlen(l->prompt));
	put(l, l->text, l->length);
	repeat(l, '\b', l->length - l->cursor);
}

static void delete_at(struct lineedit *l)
{
	if (l->cursor < l->length) {
		replace(l, l->cursor, l->cursor + 1, "", 0);
	}
}

// The last byte of ESC [ <number> <byte> or ESC O <byte>.
static void escape_end(struct lineedit *l, unsigned char byte)
{
	switch (byte) {
	case 'A':
		show_history(l, l->back + 1);
		break;
	case 'B':
		if (l->back > 0) {
			show_history(l, l->back - 1);
		}
		break;
	case 'C':
		move_to(l, l->cursor < l->length ? l->cursor + 1 : l->cursor);
		break;
	case 'D':
		move_to(l, l->cursor > 0 ? l->cursor - 1 : 0);
		break;
	case 'H':
		move_to(l, 0);
		break;
	case 'F':
		move_to(l, l->length);
		break;
	case '~':
		if (l->number == 1 || l->number == 7) {
			move_to(l, 0);
		} else if (l->number == 4 || l->number == 8) {
			move_to(l, l->length);
		} else if (l->number == 3) {
			delete_at(l);
		}
		break;
	default:
		break;
	}
}

static void escape(struct lineedit *l, unsigned char byte)
{
	if (l->escape == GOT_ESC) {
		l->escape = byte == '[' || byte == 'O' ? GOT_CSI : PLAIN;
		l->number = 0;
		return;
	}
	if (byte >= '0' && byte <= '9') {
		l->number = (l->number * 10 + (byte - '0')) % 1000;
		return;
	}
	if (byte >= 0x40 && byte <= 0x7e) {
		l->escape = PLAIN;
		escape_end(l, byte);
	}
}

static void control(struct lineedit *l, unsigned char byte)
{
	switch (byte) {
	case CTRL_A:
		move_to(l, 0);
		break;
	case CTRL_E:
		move_to(l, l->length);
		break;
	case CTRL_B:
		escape_end(l, 'D');
		break;
	case CTRL_F:
		escape_end(l, 'C');
		break;
	case CTRL_P:
		escape_end(l, 'A');
		break;
	case CTRL_N:
		escape_end(l, 'B');
		break;
	case CTRL_D:
		delete_at(l);
		break;
	case CTRL_H:
	case DEL:
		if (l->cursor > 0) {
			replace(l, l->cursor - 1, l->cursor, "", 0);
		}
		break;
	case CTRL_K:
		replace(l, l->cursor, l->length, "", 0);
		break;
	case CTRL_U:
		replace(l, 0, l->cursor, "", 0);
		break;
	case CTRL_W:
		replace(l, word_start(l), l->cursor, "", 0);
		break;
	case CTRL_L:
		put(l, "\n", 1);
		lineedit_redraw(l);
		break;
	case ESC:
		l->escape = GOT_ESC;
		break;
	default:
		break;
	}
}

enum line_result lineedit_feed(struct lineedit *l, unsigned char byte)
{
	unsigned last = l->last;

	l->last = byte;
	if (l->escape != PLAIN) {
		escape(l, byte);
		return LINE_MORE;
	}
	if (byte == LF && last == CR) {
		return LINE_MORE;
	}
	if (byte == CR || byte == LF) {
		move_to(l, l->length);
		put(l, "\n", 1);
		remember(l);
		return LINE_DONE;
	}
	if (byte == CTRL_C) {
		put(l, "^C\n", 3);
		return LINE_CANCEL;
	}
	if (byte >= ' ' && byte < DEL) {
		char c = (char)byte;

		replace(l, l->cursor, l->cursor, &c, 1);
		return LINE_MORE;
	}
	control(l, byte);
	return LINE_MORE;
}
