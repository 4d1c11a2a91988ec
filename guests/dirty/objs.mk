# SPDX-License-Identifier: Apache-2.0
# Wildcards: a new file in this directory is built without touching this list.
dirty-objs-y += $(patsubst %.c,%.o,$(wildcard guests/dirty/*.c guests/dirty/$(ARCH)/*.c)) $(patsubst %.S,%.S.o,$(wildcard guests/dirty/*.S guests/dirty/$(ARCH)/*.S))
cflags-guests/dirty/writer.o := -I guests/dirty/$(ARCH)
