# SPDX-License-Identifier: Apache-2.0
# Wildcards: a new file in this directory is built without touching this list.
ticker-objs-y += $(patsubst %.c,%.o,$(wildcard guests/ticker/*.c guests/ticker/$(ARCH)/*.c)) $(patsubst %.S,%.S.o,$(wildcard guests/ticker/*.S guests/ticker/$(ARCH)/*.S))
