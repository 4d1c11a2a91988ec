// SPDX-License-Identifier: Apache-2.0
// LINK: guests/manager/lineedit.c guests/manager/shell.c guests/manager/fail.c
//
// The manager's line editor, against a model terminal that knows only text, backspace and newline,
// and the command parser.

#include <abi/errno.h>

#include "check.h"
#include "guests/manager/lineedit.h"
#include "guests/manager/shell.h"

// ---- terminal

static char screen[512];
static unsigned column;

static void terminal(void *ctx, const char *text, size_t length)
{
	(void)ctx;
	for (size_t i = 0; i < length; i++) {
		if (text[i] == '\b') {
			CHECK(column > 0);
			column--;
		} else if (text[i] == '\n') {
			memset(screen, 0, sizeof(screen));
			column = 0;
		} else if (text[i] != '\a') {
			CHECK(column < sizeof(screen) - 1);
			screen[column++] = text[i];
		}
	}
}

static struct lineedit line;

static void begin(void)
{
	memset(screen, 0, sizeof(screen));
	column = 0;
	lineedit_init(&line, terminal, NULL);
	lineedit_start(&line, "> ");
}

// The screen must show prompt and text, the cursor in its place.
static void expect_screen(void)
{
	char want[512];
	char got[512];
	size_t n;

	snprintf(want, sizeof(want), "> %s", line.text);
	snprintf(got, sizeof(got), "%s", screen);
	for (n = strlen(got); n > strlen(want) && got[n - 1] == ' '; n--) {
		got[n - 1] = '\0';
	}
	if (strcmp(want, got) != 0 || column != 2 + line.cursor) {
		fprintf(stderr, "want \"%s\" at %u, got \"%s\" at %u\n", want, 2 + line.cursor, got,
			column);
		CHECK(strcmp(want, got) == 0 && column == 2 + line.cursor);
	}
}

static enum line_result type(const char *keys)
{
	enum line_result r = LINE_MORE;

	for (; *keys != '\0'; keys++) {
		r = lineedit_feed(&line, (unsigned char)*keys);
		if (r == LINE_MORE && line.escape == 0) {
			expect_screen();
		}
	}
	return r;
}

#define UP "\033[A"
#define DOWN "\033[B"
#define RIGHT "\033[C"
#define LEFT "\033[D"

TEST(editing_keys)
{
	static const struct {
		const char *keys;
		const char *text;
	} rows[] = {
		{"vm list\r", "vm list"},
		{"vm lisx\177t\r", "vm list"},
		{"vm lisx\bt\r", "vm list"},
		{"m list" "\001v\r", "vm list"},
		{"m list" "\033[Hv\r", "vm list"},
		{"m list" "\033[1~v\r", "vm list"},
		{"m list" "\033OHv\r", "vm list"},
		{"vm ist" LEFT LEFT LEFT "l\r", "vm list"},
		{"vm it" LEFT LEFT LEFT "x\177" RIGHT RIGHT "\002s\r", "vm sit"},
		{"ab" LEFT LEFT LEFT LEFT RIGHT "X" RIGHT RIGHT RIGHT "Y\r", "aXbY"},
		{"vm list\001\005!\r", "vm list!"},
		{"vm list\001\033[F!\r", "vm list!"},
		{"vm list\001\033[4~!\r", "vm list!"},
		{"vm list and more" LEFT LEFT LEFT LEFT "\013\r", "vm list and "},
		{"old text\025new\r", "new"},
		{"vm create linux\027\027destroy\r", "vm destroy"},
		{"vm create  \027list\r", "vm list"},
		{"xvm\001\033[3~\r", "vm"},
		{"xvm\001\004\r", "vm"},
		{"a\033[99Zb\033[5~c\tde\033xf\r", "abcdef"},
		{"\177\177\013\027\025\004ok\n", "ok"},
	};

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin();
		CHECK_EQ(type(rows[i].keys), LINE_DONE);
		if (strcmp(line.text, rows[i].text) != 0) {
			fprintf(stderr, "row %u: \"%s\"\n", i, line.text);
		}
		EXPECT(strcmp(line.text, rows[i].text) == 0);
	}
}

static void enter(const char *text)
{
	CHECK_EQ(type(text), LINE_MORE);
	CHECK_EQ(type("\r"), LINE_DONE);
	lineedit_start(&line, "> ");
}

TEST(history)
{
	char text[16];

	begin();
	enter("one");
	enter("two");
	enter("two");
	enter("");
	enter("three");
	type("dra" UP);
	CHECK(strcmp(line.text, "three") == 0);
	type(UP);
	CHECK(strcmp(line.text, "two") == 0);
	type(UP);
	CHECK(strcmp(line.text, "one") == 0);
	type(UP UP);
	CHECK(strcmp(line.text, "one") == 0);
	type(DOWN DOWN DOWN);
	CHECK(strcmp(line.text, "dra") == 0);
	type(DOWN "ft");
	CHECK(strcmp(line.text, "draft") == 0);
	CHECK_EQ(type("\003"), LINE_CANCEL);
	lineedit_start(&line, "> ");
	for (unsigned i = 0; i < 100; i++) {
		snprintf(text, sizeof(text), "line %u", i);
		enter(text);
	}
	for (unsigned i = 0; i < 100; i++) {
		type(UP);
	}
	CHECK(strcmp(line.text, "line 68") == 0);
}

TEST(crlf_is_one_end)
{
	begin();
	CHECK_EQ(type("a\r"), LINE_DONE);
	lineedit_start(&line, "> ");
	CHECK_EQ(type("\n"), LINE_MORE);
	CHECK_EQ(line.length, 0);
	CHECK_EQ(type("\n"), LINE_DONE);
}

TEST(full_line)
{
	begin();
	for (unsigned i = 0; i < LINE_MAX_BYTES + 20; i++) {
		type("x");
	}
	CHECK_EQ(line.length, LINE_MAX_BYTES);
	type("\001y\177\005");
	CHECK_EQ(line.length, LINE_MAX_BYTES);
}

TEST(random_bytes)
{
	struct check_rng rng = check_rng_make(3);

	begin();
	for (unsigned i = 0; i < 200000; i++) {
		static const char keys[] = "\001\002\004\005\006\010\013\020\016\025\027\033[ABCDHF13~O ;ab";
		unsigned char c = check_below(&rng, 4) == 0 ?
					  (unsigned char)check_rand(&rng) :
					  (unsigned char)keys[check_below(&rng, sizeof(keys) - 1)];

		if (c == 12) {
			continue; // ctrl-l draws on a fresh line
		}
		if (lineedit_feed(&line, c) != LINE_MORE) {
			lineedit_start(&line, "> ");
		}
		CHECK(line.cursor <= line.length && line.length <= LINE_MAX_BYTES);
		if (line.escape == 0) {
			expect_screen();
		}
	}
}

// ---- parser

static char seen[256];

static int record(int argc, char **argv, struct fail *f)
{
	(void)f;
	seen[0] = '\0';
	for (int i = 0; i < argc; i++) {
		strcat(seen, "[");
		strcat(seen, argv[i]);
		strcat(seen, "]");
	}
	return 0;
}

static int full(int argc, char **argv, struct fail *f)
{
	(void)argc;
	(void)argv;
	return fail_set(f, -TM_ENOSPC, "store", NULL, "it is full");
}

static int plain(int argc, char **argv, struct fail *f)
{
	uint64_t limit = 7;
	int err = shell_check_options(argc, argv, "limit rounds", f);

	if (err == 0) {
		err = shell_option_u64(argc, argv, "limit", &limit, f);
	}
	snprintf(seen, sizeof(seen), "%lu", (unsigned long)limit);
	return err;
}

static const struct command rows_a[] = {
	{"vm list", "", "lists", 0, 0, record},
	{"vm pause", "<vm> [why]", "pauses", 1, 2, record},
	{"mem", "[vm]", "memory", 0, 1, record},
};
static const struct command rows_b[] = {
	{"snap take", "<vm> <name>", "takes", 2, 2, full},
	{"snap plain", "[limit=<n>]", "plain", 0, 9, plain},
};
static const size_t count_a = 3;
static const size_t count_b = 2;
static const struct command_table tables[] = {{rows_a, &count_a}, {rows_b, &count_b}, {NULL, NULL}};

TEST(execute)
{
	static const struct {
		const char *line;
		int result;
		const char *message;
		const char *seen;
	} rows[] = {
		{"", 0, "", "-"},
		{"   # nothing", 0, "", "-"},
		{"vm list", 0, "", ""},
		{"  vm   list  # all", 0, "", ""},
		{"vm pause a", 0, "", "[a]"},
		{"vm pause a \"two  words\"", 0, "", "[a][two  words]"},
		{"vm pause a=\"x y\"z \"\"", 0, "", "[a=x yz][]"},
		{"mem linux", 0, "", "[linux]"},
		{"vm pause", -TM_EINVAL, "usage: vm pause <vm> [why]", "-"},
		{"vm list x", -TM_EINVAL, "usage: vm list", "-"},
		{"vm", -TM_EINVAL, "usage: vm list|pause", "-"},
		{"vm dance", -TM_EINVAL, "usage: vm list|pause", "-"},
		{"v", -TM_EINVAL, "v: command: there is no such command (-EINVAL): see `help`", "-"},
		{"vm pause \"a", -TM_EINVAL,
		 "shell: line: a quote is not closed (-EINVAL): see `help`", "-"},
		{"a b c d e f g h i j k l m n o p q", -TM_E2BIG,
		 "shell: line: too many words (-E2BIG): see `help`", "-"},
		{"snap take linux one", -TM_ENOSPC,
		 "snap take: store: it is full (-ENOSPC): delete snapshots (snap delete) or boot "
		 "with a larger store=<MiB>M", "-"},
		{"snap plain limit=0x10", 0, "", "16"},
		{"snap plain limit=16M rounds=1", 0, "", "16777216"},
		{"snap plain", 0, "", "7"},
		{"snap plain limit=1x", -TM_EINVAL,
		 "snap plain: limit: \"1x\" is no number (-EINVAL): give a number such as 64, 0x40 "
		 "or 16M", NULL},
		{"snap plain limits=1", -TM_EINVAL,
		 "snap plain: option: limits=1 is none of: limit rounds (-EINVAL): see `help`", NULL},
	};

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[256];
		char message[400];

		strcpy(seen, "-");
		snprintf(text, sizeof(text), "%s", rows[i].line);
		CHECK_EQ(shell_execute(tables, text, message, sizeof(message)), rows[i].result);
		if (strcmp(message, rows[i].message) != 0 ||
		    (rows[i].seen != NULL && strcmp(seen, rows[i].seen) != 0)) {
			fprintf(stderr, "row %u: \"%s\" %s\n", i, message, seen);
			check_fail(__FILE__, __LINE__, rows[i].line);
		}
	}
}

TEST(numbers)
{
	static const struct {
		const char *text;
		bool ok;
		uint64_t value;
	} rows[] = {
		{"0", true, 0}, {"18446744073709551615", true, UINT64_MAX},
		{"18446744073709551616", false, 0}, {"0xffffffffffffffff", true, UINT64_MAX},
		{"0x10000000000000000", false, 0}, {"1K", true, 1024}, {"3G", true, 3ull << 30},
		{"17179869183G", true, 17179869183ull << 30}, {"17179869184G", false, 0},
		{"", false, 0}, {"K", false, 0}, {"1KK", false, 0}, {"-1", false, 0},
		{"0x", false, 0}, {"12a", false, 0},
	};

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t v = 0;

		CHECK_EQ(shell_number(rows[i].text, &v), rows[i].ok);
		CHECK(v == rows[i].value);
	}
}

CHECK_MAIN()
