# SPDX-License-Identifier: Apache-2.0
# Wildcards: a new file in this directory is built without touching this list.
hello-objs-y += $(patsubst %.c,%.o,$(wildcard guests/hello/*.c guests/hello/$(ARCH)/*.c)) $(patsubst %.S,%.S.o,$(wildcard guests/hello/*.S guests/hello/$(ARCH)/*.S))
