// SPDX-License-Identifier: Apache-2.0
/*
 * One UART for everybody. Owns the UART, what is on the screen's last line, the focus and the
 * typed characters; LOCK_CONSOLE guards all of it and struct console_vm of every VM.
 *
 * The last line on the screen may be the unfinished line of the VM in focus (`shown`). A whole line
 * of somebody else erases it, is printed, and the unfinished one is drawn again below.
 */
#include <arch/time.h>
#include <arch/vcpu.h>
#include <hyp/console.h>
#include <hyp/err.h>
#include <hyp/lock.h>
#include <hyp/log.h>
#include <hyp/string.h>
#include <hyp/vm.h>

#define INPUT_SIZE 4096u		/* a power of two */
#define INPUT_BURST 256u		/* characters a call takes from the UART */
#define KEY_ESCAPE 0x14			/* Ctrl-T */
#define ERASE_LINE "\r\033[K"
#define BYTES_A_SECOND (256u * 1024)	/* of one VM */

static struct spinlock lock = SPINLOCK_INIT(LOCK_CONSOLE);
static const struct uart_ops *uart;
static struct vm *shown;
static uint64_t focus = MANAGER_HANDLE;
static bool escape;
static char input[INPUT_SIZE];
static uint32_t input_head, input_tail;

void console_register(const struct uart_ops *ops, uint64_t base)
{
	ops->init(base);
	uart = ops;
}

void console_emergency(const char *s, size_t len)
{
	if (!uart) {
		return;
	}
	for (size_t i = 0; i < len; i++) {
		if (s[i] == '\n') {
			uart->putc('\r');
		}
		uart->putc(s[i]);
	}
}

static void emit(const char *s)
{
	console_emergency(s, strlen(s));
}

static void emit_name(const struct vm *vm)
{
	emit("[");
	emit(vm->name);
	emit("] ");
}

static void emit_partial(const struct vm *vm)
{
	emit_name(vm);
	console_emergency(vm->console.line, vm->console.len);
}

/* Before somebody else's whole line, and after it. */
static void hide(void)
{
	if (shown) {
		emit(ERASE_LINE);
	}
}

static void show_again(void)
{
	if (shown) {
		emit_partial(shown);
	}
}

void console_hyp_write(const char *s, size_t len)
{
	spin_lock(&lock);
	hide();
	console_emergency(s, len);
	show_again();
	spin_unlock(&lock);
}

static void end_line(struct vm *vm)
{
	if (shown == vm) {
		emit("\n");
		shown = NULL;
	} else {
		hide();
		emit_partial(vm);
		emit("\n");
		show_again();
	}
	vm->console.len = 0;
}

/* More of a line, which is on the screen if its VM is in focus. */
static void add_to_line(struct vm *vm, char c)
{
	struct console_vm *con = &vm->console;

	if (con->len < sizeof(con->line)) {
		con->line[con->len++] = c;
	} else if (vm->handle != focus) {
		end_line(vm);
		con->line[con->len++] = c;
	}
	if (shown == vm) {
		console_emergency(&c, 1);
	} else if (vm->handle == focus) {
		shown = vm;
		emit_partial(vm);
	}
}

static void put_char(struct vm *vm, char c)
{
	struct console_vm *con = &vm->console;

	if (c == '\n') {
		con->cr = false;
		end_line(vm);
		return;
	}
	if (c == '\r') {
		con->cr = true;
		return;
	}
	if (con->cr) {
		/* It draws its line anew, but may not draw over its name. */
		con->cr = false;
		con->len = 0;
		if (shown == vm) {
			emit("\r");
			emit_name(vm);
		}
	}
	/* Who is not in focus moves no cursor. */
	if (vm->handle != focus && (uint8_t)c < 0x20 && c != '\t') {
		return;
	}
	add_to_line(vm, c);
}

/* How many of these bytes fit into this second's share. */
static size_t throttle(struct vm *vm, size_t len)
{
	struct console_vm *con = &vm->console;
	uint64_t now = arch_time_now();
	size_t allowed;

	if (con->window == 0 || now - con->window > arch_time_freq()) {
		con->window = now | 1;
		con->written = 0;
		if (con->dropped) {
			char text[48];

			hyp_snprintf(text, sizeof(text), "(%lu bytes dropped)", con->dropped);
			con->dropped = 0;
			if (con->len) {
				end_line(vm);
			}
			for (const char *p = text; *p; p++) {
				put_char(vm, *p);
			}
			end_line(vm);
		}
	}
	allowed = MIN(len, (size_t)(BYTES_A_SECOND - con->written));
	con->written += (uint32_t)allowed;
	con->dropped += len - allowed;
	return allowed;
}

void console_vm_write(struct vm *vm, const char *s, size_t len)
{
	spin_lock(&lock);
	len = throttle(vm, len);
	for (size_t i = 0; i < len; i++) {
		put_char(vm, s[i]);
	}
	spin_unlock(&lock);
}

size_t console_vm_read(struct vm *vm, char *s, size_t len)
{
	size_t n = 0;

	spin_lock(&lock);
	while (n < len && vm->handle == focus && input_tail != input_head) {
		s[n++] = input[input_tail++ % INPUT_SIZE];
	}
	spin_unlock(&lock);
	return n;
}

int console_focus(struct vm *vm)
{
	char text[64 + TM_VM_NAME_LEN];

	spin_lock(&lock);
	if (focus != vm->handle) {
		if (shown) {
			emit("\n");
			shown = NULL;
		}
		hyp_snprintf(text, sizeof(text), "tidemark: console: %s (Ctrl-T h: help)\n",
			     vm->name);
		emit(text);
		focus = vm->handle;
		input_tail = input_head;
		if (vm->console.len) {
			shown = vm;
			emit_partial(vm);
		}
	}
	spin_unlock(&lock);
	return 0;
}

void console_vm_gone(struct vm *vm)
{
	spin_lock(&lock);
	if (vm->console.len) {
		end_line(vm);
	}
	if (shown == vm) {
		shown = NULL;
	}
	if (focus == vm->handle) {
		focus = MANAGER_HANDLE;
		input_tail = input_head;
	}
	spin_unlock(&lock);
}

/* The key after Ctrl-T. No lock held: VMs are looked up. */
static void command(char c)
{
	static const char help[] = "tidemark: Ctrl-T then: 0-9 the VM of that number, n the next, "
				   "Ctrl-T sends one\n";
	struct vm *vm = NULL;

	if (c >= '0' && c <= '9') {
		vm = vm_get((uint64_t)(c - '0'));
	} else if (c == 'n') {
		vm = vm_next((int)READ_ONCE(focus));
		vm = vm ? vm : vm_next(-1);
	}
	if (!vm || console_focus(vm)) {
		console_hyp_write(help, sizeof(help) - 1);
	}
	if (vm) {
		vm_put(vm);
	}
}

static void type(char c)
{
	spin_lock(&lock);
	if (input_head - input_tail < INPUT_SIZE) {
		input[input_head++ % INPUT_SIZE] = c;
	}
	spin_unlock(&lock);
}

void console_input_poll(void)
{
	bool typed = false;
	struct vm *vm;

	for (unsigned i = 0; uart && i < INPUT_BURST; i++) {
		/* Only the CPU that takes the UART's interrupt reads it. */
		int c = uart->getc();

		if (c < 0) {
			break;
		}
		if (escape && c != KEY_ESCAPE) {
			escape = false;
			command((char)c);
		} else if (!escape && c == KEY_ESCAPE) {
			escape = true;
		} else {
			escape = false;
			type((char)c);
			typed = true;
		}
	}
	vm = typed ? vm_get(READ_ONCE(focus)) : NULL;
	if (vm) {
		arch_console_input(vm);
		vm_put(vm);
	}
}
