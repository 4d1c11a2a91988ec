// SPDX-License-Identifier: Apache-2.0
//
// What newlib asks of a system: console, heap, end. The heap lies behind the image, up to
// tm_boot.image's end. newlib is built for one thread: only the boot CPU may come here.

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <tidemark/console.h>
#include <tidemark/guest.h>

#undef errno
extern int errno;
extern char _end[];

/* newlib for x86-64 asks for the plain names. */
#if defined(__x86_64__)
#define _write write
#define _read read
#define _sbrk sbrk
#define _close close
#define _lseek lseek
#define _fstat fstat
#define _isatty isatty
#define _kill kill
#define _getpid getpid
#endif

int _write(int fd, const char *data, int len);
int _read(int fd, char *data, int len);
void *_sbrk(ptrdiff_t by);
int _close(int fd);
long _lseek(int fd, long offset, int whence);
int _fstat(int fd, struct stat *st);
int _isatty(int fd);
int _kill(int pid, int sig);
int _getpid(void);
_Noreturn void _exit(int code);

int _write(int fd, const char *data, int len)
{
	if ((fd != 1 && fd != 2) || len < 0) {
		errno = EBADF;
		return -1;
	}
	tm_console_write(data, (size_t)len);
	return len;
}

/* Waits for the first byte; tm_console_read does not. */
int _read(int fd, char *data, int len)
{
	int c;

	if (fd != 0 || len <= 0) {
		errno = EBADF;
		return -1;
	}
	c = tm_console_getc(~0u);
	data[0] = (char)c;
	return 1 + (int)tm_console_read(data + 1, (size_t)len - 1);
}

void *_sbrk(ptrdiff_t by)
{
	static uint64_t brk;
	uint64_t low = (uint64_t)(uintptr_t)_end;
	uint64_t old;

	if (brk == 0) {
		brk = low;
	}
	old = brk;
	if (by < 0 ? (uint64_t)-by > brk - low :
		     (uint64_t)by > tm_boot.image.gpa + tm_boot.image.size - brk) {
		errno = ENOMEM;
		return (void *)-1;
	}
	brk += (uint64_t)by;
	return (void *)(uintptr_t)old;
}

int _close(int fd)
{
	(void)fd;
	return -1;
}

long _lseek(int fd, long offset, int whence)
{
	(void)fd, (void)offset, (void)whence;
	return 0;
}

int _fstat(int fd, struct stat *st)
{
	(void)fd;
	st->st_mode = S_IFCHR;
	return 0;
}

int _isatty(int fd)
{
	(void)fd;
	return 1;
}

int _kill(int pid, int sig)
{
	(void)pid;
	tm_crash("signal %d", sig);
}

int _getpid(void)
{
	return 1;
}

_Noreturn void _exit(int code)
{
	if (code != 0) {
		tm_console_printf("guest: exit code %d\n", code);
	}
	tm_power_off();
}

/* libfdt comes as a hosted archive that was compiled with a stack protector. */
uintptr_t __stack_chk_guard = 0x5bd1e995u;
_Noreturn void __stack_chk_fail(void);

_Noreturn void __stack_chk_fail(void)
{
	tm_crash("stack smashed");
}
