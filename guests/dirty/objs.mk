# SPDX-License-Identifier: Apache-2.0
# Wildcards: a new file in this directory is built without touching this list.
dirty-objs-y += $(patsubst %.c,%.o,$(wildcard guests/dirty/*.c)) $(patsubst %.S,%.S.o,$(wildcard guests/dirty/*.S))
