# SPDX-License-Identifier: Apache-2.0
# Wildcards: a new file in this directory is built without touching this list.
bench-objs-y += $(patsubst %.c,%.o,$(wildcard guests/bench/*.c guests/bench/$(ARCH)/*.c)) $(patsubst %.S,%.S.o,$(wildcard guests/bench/*.S guests/bench/$(ARCH)/*.S))
