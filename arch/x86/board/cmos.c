// SPDX-License-Identifier: Apache-2.0
/*
 * The CMOS clock (MC146818 as the PC has it), read-only: a fixed date plus the PM timer's time, so a
 * VM's clock neither tells it the world's time nor jumps at a restore. No alarms, no interrupts, no
 * memory sizes; BCD, 24 hours. Board lock held.
 */
#include "board_priv.h"

#define SECOND 0x00u
#define MINUTE 0x02u
#define HOUR 0x04u
#define WEEKDAY 0x06u
#define DAY 0x07u
#define MONTH 0x08u
#define YEAR 0x09u
#define STATUS_A 0x0au
#define STATUS_B 0x0bu
#define STATUS_D 0x0du
#define CENTURY 0x32u

/* The first second is that of 2026-01-01, a Thursday, counted in days from 0000-03-01. */
#define FIRST_DAY 739922u
#define SECONDS_A_CENTURY 3155760000ull

static uint8_t bcd(unsigned v)
{
	return (uint8_t)((v / 10 % 10) << 4 | v % 10);
}

/* The Gregorian calendar in years that begin in March, so that the odd day is their last. */
static uint8_t date(unsigned days, unsigned what)
{
	unsigned era = days / 146097, in_era = days % 146097;
	unsigned year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
	unsigned in_year = in_era - (365 * year + year / 4 - year / 100);
	unsigned march_month = (5 * in_year + 2) / 153;
	unsigned month = march_month < 10 ? march_month + 3 : march_month - 9;

	year += era * 400 + (month <= 2);
	switch (what) {
	case DAY:
		return bcd(in_year - (153 * march_month + 2) / 5 + 1);
	case MONTH:
		return bcd(month);
	case YEAR:
		return bcd(year % 100);
	default:
		return bcd(year / 100);
	}
}

uint8_t cmos_read(const struct board *b)
{
	unsigned now = (unsigned)(pm_ticks(b) / PM_TIMER_HZ % SECONDS_A_CENTURY);
	unsigned days = FIRST_DAY + now / 86400;

	switch (b->cmos_index) {
	case SECOND:
		return bcd(now % 60);
	case MINUTE:
		return bcd(now / 60 % 60);
	case HOUR:
		return bcd(now / 3600 % 24);
	case WEEKDAY:
		return bcd((now / 86400 + 4) % 7 + 1);
	case DAY:
	case MONTH:
	case YEAR:
	case CENTURY:
		return date(days, b->cmos_index);
	case STATUS_A:
		return 0x26;
	case STATUS_B:
		return 0x02;
	case STATUS_D:
		return 0x80;
	default:
		return 0;
	}
}
