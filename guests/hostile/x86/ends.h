// SPDX-License-Identifier: Apache-2.0
/* Where ends.S runs, and its ways down. */
#ifndef HOSTILE_ENDS_H
#define HOSTILE_ENDS_H

#define ENDS_AT 0x8000
#define GARBAGE 0x9000			/* a page and the next */
#define RANDOM_GDT 0xb000

#define WAY_REAL 0
#define WAY_PM16 1
#define WAY_PM32 2
#define WAY_BIG 3
#define WAY_VM86 4
#define WAY_SEGS 5

#endif
