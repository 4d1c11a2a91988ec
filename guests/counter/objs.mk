# SPDX-License-Identifier: Apache-2.0
# Wildcards: a new file in this directory is built without touching this list.
counter-objs-y += $(patsubst %.c,%.o,$(wildcard guests/counter/*.c guests/counter/$(ARCH)/*.c)) $(patsubst %.S,%.S.o,$(wildcard guests/counter/*.S guests/counter/$(ARCH)/*.S))
