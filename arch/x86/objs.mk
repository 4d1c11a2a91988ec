# SPDX-License-Identifier: Apache-2.0
# Wildcards: a new file here or one directory below is built without touching this list.
hyp-objs-y += $(patsubst %.c,%.o,$(wildcard arch/x86/*.c arch/x86/*/*.c))
hyp-objs-y += $(patsubst %.S,%.S.o,$(wildcard arch/x86/*.S arch/x86/*/*.S))
