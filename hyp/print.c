// SPDX-License-Identifier: Apache-2.0
/* A printf subset into a buffer; pure. What it takes is said in log.h. */
#include <hyp/log.h>
#include <hyp/string.h>

struct out {
	char *buf;
	size_t len;	/* of buf, with the NUL */
	size_t used;	/* what an endless buffer would hold */
};

struct spec {
	bool left, zero, alt;
	size_t width;
	unsigned longs;
};

static void put(struct out *o, char c)
{
	if (o->used + 1 < o->len) {
		o->buf[o->used] = c;
	}
	o->used++;
}

static void pad(struct out *o, char c, size_t width, size_t len)
{
	for (; len < width; len++) {
		put(o, c);
	}
}

static void put_text(struct out *o, const struct spec *s, const char *text, size_t len)
{
	if (!s->left) {
		pad(o, ' ', s->width, len);
	}
	for (size_t i = 0; i < len; i++) {
		put(o, text[i]);
	}
	if (s->left) {
		pad(o, ' ', s->width, len);
	}
}

static void put_number(struct out *o, const struct spec *s, uint64_t v, unsigned base, bool negative)
{
	char digits[24];
	size_t n = sizeof(digits);
	size_t sign;

	do {
		digits[--n] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	if (s->zero && !s->left) {
		sign = (negative ? 1u : 0u) + (s->alt ? 2u : 0u);
		while (sizeof(digits) - n + sign < s->width && n > 3) {
			digits[--n] = '0';
		}
	}
	if (s->alt) {
		digits[--n] = 'x';
		digits[--n] = '0';
	}
	if (negative) {
		digits[--n] = '-';
	}
	put_text(o, s, digits + n, sizeof(digits) - n);
}

static const char *parse_spec(const char *f, struct spec *s)
{
	*s = (struct spec){0};
	for (;; f++) {
		if (*f == '-') {
			s->left = true;
		} else if (*f == '0') {
			s->zero = true;
		} else if (*f == '#') {
			s->alt = true;
		} else {
			break;
		}
	}
	for (; *f >= '0' && *f <= '9' && s->width < 100; f++) {
		s->width = s->width * 10 + (size_t)(*f - '0');
	}
	for (; *f == 'l' || *f == 'z'; f++) {
		s->longs++;
	}
	return f;
}

static void put_signed(struct out *o, struct spec *s, int64_t v)
{
	/* Negate as unsigned: the smallest number has no positive twin. */
	put_number(o, s, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, 10, v < 0);
}

int hyp_vsnprintf(char *buf, size_t len, const char *fmt, va_list ap)
{
	struct out o = {buf, len, 0};

	for (const char *f = fmt; *f; f++) {
		struct spec s;
		const char *text;
		char c;

		if (*f != '%') {
			put(&o, *f);
			continue;
		}
		f = parse_spec(f + 1, &s);
		switch (*f) {
		case 'd':
		case 'i':
			put_signed(&o, &s, s.longs ? va_arg(ap, int64_t) : va_arg(ap, int));
			break;
		case 'u':
			put_number(&o, &s, s.longs ? va_arg(ap, uint64_t) : va_arg(ap, unsigned), 10,
				   false);
			break;
		case 'x':
			put_number(&o, &s, s.longs ? va_arg(ap, uint64_t) : va_arg(ap, unsigned), 16,
				   false);
			break;
		case 'p':
			s.alt = true;
			put_number(&o, &s, (uint64_t)va_arg(ap, void *), 16, false);
			break;
		case 's':
			text = va_arg(ap, const char *);
			text = text ? text : "(null)";
			put_text(&o, &s, text, strlen(text));
			break;
		case 'c':
			c = (char)va_arg(ap, int);
			put_text(&o, &s, &c, 1);
			break;
		case '%':
			put(&o, '%');
			break;
		default:	/* not ours: show it, and stop before a wrong argument is taken */
			put(&o, '%');
			put(&o, '?');
			goto out;
		}
	}
out:
	if (len) {
		buf[MIN(o.used, len - 1)] = '\0';
	}
	return (int)o.used;
}

int hyp_snprintf(char *buf, size_t len, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = hyp_vsnprintf(buf, len, fmt, ap);
	va_end(ap);
	return n;
}
