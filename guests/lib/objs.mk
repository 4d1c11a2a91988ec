# SPDX-License-Identifier: Apache-2.0
# Wildcards: a new file in this directory is built without touching this list.
lib-objs-y += $(patsubst %.c,%.o,$(wildcard guests/lib/*.c)) $(patsubst %.S,%.S.o,$(wildcard guests/lib/*.S))
lib-objs-y += $(patsubst %.c,%.o,$(wildcard guests/lib/$(ARCH)/*.c)) $(patsubst %.S,%.S.o,$(wildcard guests/lib/$(ARCH)/*.S))
