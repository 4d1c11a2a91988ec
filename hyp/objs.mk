# SPDX-License-Identifier: Apache-2.0
# Wildcards: a new file in this directory is built without touching this list.
hyp-objs-y += $(patsubst %.c,%.o,$(wildcard hyp/*.c)) $(patsubst %.S,%.S.o,$(wildcard hyp/*.S))
# For the banner; "unknown" outside a repository.
cflags-hyp/main.o := -DTM_COMMIT='"$(shell git rev-parse --short=8 HEAD 2>/dev/null || echo unknown)"'
