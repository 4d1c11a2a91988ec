# SPDX-License-Identifier: Apache-2.0
# Wildcards: a new file in this directory is built without touching this list.
hyp-objs-y += $(patsubst %.c,%.o,$(wildcard boot/x86/*.c)) $(patsubst %.S,%.S.o,$(wildcard boot/x86/*.S))
