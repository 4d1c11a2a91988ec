// SPDX-License-Identifier: Apache-2.0
//
// hyp/console.c on a UART made of two buffers: whose line is on the screen, focus keys, throttle.
//
// LINK: hyp/console.c hyp/print.c

#include <string.h>

#include <arch/time.h>
#include <arch/vcpu.h>
#include <hyp/console.h>
#include <hyp/log.h>
#include <hyp/vm.h>

#include "check.h"

static char screen[1 << 20];
static size_t shown_bytes;
static const char *keys = "";
static uint64_t now = 1;
static struct vm vms[3];
static unsigned told[3];

static void u_init(uint64_t base)
{
	(void)base;
}

static void u_putc(char c)
{
	if (shown_bytes + 1 < sizeof(screen) && c != '\r') {
		screen[shown_bytes++] = c;
	} else if (c == '\r' && shown_bytes + 1 < sizeof(screen)) {
		screen[shown_bytes++] = '<';	// carriage returns are seen as <
	}
}

static int u_getc(void)
{
	return *keys ? (uint8_t)*keys++ : -1;
}

static void u_irq(void)
{
}

static const struct uart_ops uart = {"test", u_init, u_putc, u_getc, u_irq};

void spin_lock(struct spinlock *l)
{
	(void)l;
}

void spin_unlock(struct spinlock *l)
{
	(void)l;
}

uint64_t arch_time_now(void)
{
	return now;
}

uint64_t arch_time_freq(void)
{
	return 1000;
}

struct vm *vm_get(uint64_t handle)
{
	return handle < 3 ? &vms[handle] : NULL;
}

struct vm *vm_next(int after)
{
	return after + 1 < 3 ? &vms[after + 1] : NULL;
}

void vm_put(struct vm *vm)
{
	(void)vm;
}

void arch_console_input(struct vm *vm)
{
	told[vm->handle]++;
}

static void reset(void)
{
	static const char *const names[] = {"mgr", "a", "b"};

	for (unsigned i = 0; i < 3; i++) {
		memset(&vms[i], 0, sizeof(vms[i]));
		vms[i].handle = (uint16_t)i;
		memcpy(vms[i].name, names[i], strlen(names[i]) + 1);
		told[i] = 0;
	}
	console_register(&uart, 0);
	for (unsigned i = 0; i < 3; i++) {
		console_vm_gone(&vms[i]);
	}
	EXPECT(console_focus(&vms[0]) == 0);
	now += 5000;
	shown_bytes = 0;
	memset(screen, 0, sizeof(screen));
}

static void say(unsigned vm, const char *text)
{
	console_vm_write(&vms[vm], text, strlen(text));
}

static void expect_screen(int line, const char *want)
{
	if (strcmp(screen, want) != 0) {
		fprintf(stderr, "line %d\n got: %s\nwant: %s\n", line, screen, want);
	}
	EXPECT(strcmp(screen, want) == 0);
	shown_bytes = 0;
	memset(screen, 0, sizeof(screen));
}
#define SCREEN(want) expect_screen(__LINE__, want)

#define ERASE "<\033[K"

TEST(whole_lines_carry_the_name)
{
	reset();
	say(1, "one\n");
	say(2, "two\ntwo again\n");
	say(0, "mine\r\n");
	SCREEN("[a] one<\n[b] two<\n[b] two again<\n[mgr] mine<\n");
}

TEST(part_lines_show_in_focus_only)
{
	reset();
	say(1, "hid");
	SCREEN("");
	say(0, "$ ");
	SCREEN("[mgr] $ ");
	say(1, "den\n");
	SCREEN(ERASE "[a] hidden<\n[mgr] $ ");
	console_hyp_write("tidemark: x\n", 12);
	SCREEN(ERASE "tidemark: x<\n[mgr] $ ");
	say(0, "ls\n");
	SCREEN("ls<\n");
	say(1, "later\n");
	SCREEN("[a] later<\n");
}

TEST(a_carriage_return_keeps_the_name)
{
	reset();
	say(0, "abc\rxy");
	SCREEN("[mgr] abc<[mgr] xy");
	say(1, "bar 1%\rbar 2%\n");
	SCREEN(ERASE "[a] bar 2%<\n[mgr] xy");
}

TEST(who_is_not_in_focus_moves_no_cursor)
{
	reset();
	say(1, "\033[2J\033[Hfake\b\b\n");
	SCREEN("[a] [2J[Hfake<\n");
	say(0, "\033[1mbold\n");
	SCREEN("[mgr] \033[1mbold<\n");
}

TEST(long_lines_of_others_are_cut_in_pieces)
{
	char text[CONSOLE_LINE + 10];

	reset();
	memset(text, 'x', sizeof(text));
	console_vm_write(&vms[1], text, sizeof(text));
	EXPECT(strlen(screen) == 4 + CONSOLE_LINE + 2);
	say(1, "\n");
	EXPECT(strstr(screen, "\n[a] xxxxxxxxxx<\n") != NULL);
}

TEST(keys_move_the_focus)
{
	char got[8];

	reset();
	say(2, "login: ");
	keys = "ab";
	console_input_poll();
	EXPECT(told[0] == 1 && told[2] == 0);
	CHECK_EQ(console_vm_read(&vms[2], got, 8), 0);
	CHECK_EQ(console_vm_read(&vms[0], got, 1), 1);
	CHECK_EQ(console_vm_read(&vms[0], got + 1, 8 - 1), 1);
	EXPECT(got[0] == 'a' && got[1] == 'b');
	keys = "\0242r";
	console_input_poll();
	SCREEN("tidemark: console: b (Ctrl-T h: help)<\n[b] login: ");
	EXPECT(told[2] == 1);
	CHECK_EQ(console_vm_read(&vms[0], got, 8), 0);
	CHECK_EQ(console_vm_read(&vms[2], got, 8), 1);
	EXPECT(got[0] == 'r');
	keys = "\024n";
	console_input_poll();
	SCREEN("<\ntidemark: console: mgr (Ctrl-T h: help)<\n");
	keys = "\024\024\0249\024h";
	console_input_poll();
	CHECK_EQ(console_vm_read(&vms[0], got, 8), 1);
	EXPECT(got[0] == 0x14 && strstr(screen, "Ctrl-T then") != NULL);
}

TEST(a_flood_is_dropped_and_counted)
{
	static char flood[1000];
	size_t before;

	reset();
	memset(flood, 'y', sizeof(flood));
	flood[999] = '\n';
	for (unsigned i = 0; i < 1000; i++) {
		console_vm_write(&vms[1], flood, sizeof(flood));
	}
	before = shown_bytes;
	EXPECT(before < 400 * 1024);
	say(2, "others go on\n");
	EXPECT(strstr(screen, "[b] others go on") != NULL);
	now += 2000;
	say(1, "back\n");
	EXPECT(strstr(screen + before, "bytes dropped)<\n") != NULL);
	EXPECT(strstr(screen + before, "[a] back") != NULL);
}

TEST(a_vm_that_ends_leaves_its_line_and_the_focus)
{
	reset();
	EXPECT(console_focus(&vms[1]) == 0);
	say(1, "half");
	console_vm_gone(&vms[1]);
	SCREEN("tidemark: console: a (Ctrl-T h: help)<\n[a] half<\n");
	keys = "k";
	console_input_poll();
	EXPECT(told[0] == 1);
}

CHECK_MAIN()
