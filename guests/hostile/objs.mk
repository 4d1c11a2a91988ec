# SPDX-License-Identifier: Apache-2.0
# Wildcards: a new file in this directory is built without touching this list.
hostile-objs-y += $(patsubst %.c,%.o,$(wildcard guests/hostile/*.c guests/hostile/$(ARCH)/*.c)) $(patsubst %.S,%.S.o,$(wildcard guests/hostile/*.S guests/hostile/$(ARCH)/*.S))
