# SPDX-License-Identifier: Apache-2.0
#
# Tidemark's only makefile. Each directory says in its objs.mk which objects it gives; everything
# else (flags, rules, variants, packages) is here.
#
# Two stages. The goals of `make help` first run tests/tools/deps.sh, which installs the packages
# that are missing, and then call this file again with STAGE=2. Nothing at parse time needs a
# tool that a bare Debian 12 plus `make` does not have.
#
# Variants live side by side in one O=: the image is $(O)/tidemark$(VARIANT).img, where VARIANT is
# empty for the release build, -debug for DEBUG=1, -test for TEST=1, -debug-test for both.

ARCH  ?= arm64
DEBUG ?= 0
TEST  ?= 0
ifeq ($(ARCH),x86)
O     ?= build/x86
else
O     ?= build
endif
# Downloads and newlib. Shared by all O=, never removed by `clean`.
CACHE ?= build/cache
# Debian's python3, not another one that comes first in PATH: pexpect and pytest live there.
PYTHON ?= /usr/bin/python3
OPT   ?= -O2

MAKEFLAGS += --no-builtin-rules --no-builtin-variables --no-print-directory
.SUFFIXES:
.DELETE_ON_ERROR:
.SECONDARY:
.DEFAULT_GOAL := help
SHELL := /bin/sh

FRONT_GOALS := all hyp guests modules run test check soak bench bench-diff lint sdk config-check \
	host-tests newlib media
.PHONY: help packages deps clean distclean FORCE $(FRONT_GOALS)

# ------------------------------------------------------------------------------------------------
# Stage 1: help, clean, packages
# ------------------------------------------------------------------------------------------------
ifneq ($(STAGE),2)

help:
	@echo 'make all           release image, debug image, guests and the module archive'
	@echo 'make hyp           the hypervisor image only: $$(O)/tidemark.img (DEBUG=1: -debug, TEST=1: -test)'
	@echo 'make guests        the guest programs of guests/*: $$(O)/guests/<name>.elf and .bin'
	@echo 'make run           boot it under QEMU with Debian Linux, live snapshot, destroy, restore'
	@echo 'make check         quick: builds, host tests under sanitizers, lint (every commit)'
	@echo 'make test          check + all emulated rows; last line "N passed, M failed"'
	@echo 'make soak          rows that take longer than make test allows'
	@echo 'make bench         operation costs under icount: table and $$(O)/bench.json'
	@echo 'make bench-diff    compare $$(O)/bench.json with BASE=<file>'
	@echo 'make lint          layers, headers, ELF segments, sizes, static analysis'
	@echo 'make config-check  check a VM configuration on the host: CONFIG=<file.dts>'
	@echo 'make media         ARCH=x86: $$(O)/disk.img, esp.img, grub.iso, to boot from (CMDLINE=)'
	@echo 'make sdk           headers, library and linker script to build a guest: $$(O)/sdk'
	@echo 'make deps          install missing Debian packages, unpack those for guests, build newlib'
	@echo 'make clean         remove $$(O), keep downloads and newlib'
	@echo 'make distclean     remove downloads and newlib too'
	@echo
	@echo 'variables: ARCH=arm64 DEBUG=0|1 TEST=0|1 O=build CACHE=build/cache V=1'
	@echo 'of run:    GUEST=<Image or ELF> BOOTARGS= MEM=<MiB> CPUS=<vCPUs> NCPUS=<physical CPUs>'
	@echo '           CPU=max|cortex-a72|cortex-a53 GIC=3|2 BOOT=kernel|u-boot LOSE=1 INTERACTIVE=1'
	@echo '           ARCH=x86: VENDOR=amd|intel (QEMU, Bochs) BOOT=kernel|disk|grub|grub2|uefi|u-boot'
	@echo '           TIMEOUT=<seconds> SEED=<n>'
	@echo 'of check, test, soak: TARGETS="arm64 x86" (arm64: leave x86 out)'

# A sub-make of its own gets all CPUs unless the user chose a -j.
JOBS = $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(shell nproc 2>/dev/null || echo 1))

packages:
	@tests/tools/deps.sh

$(filter-out bench-diff,$(FRONT_GOALS)) deps: packages
	@+$(MAKE) $(JOBS) STAGE=2 $@

bench-diff:
	@$(PYTHON) tests/tools/bench.py diff $(BASE) $(O)/bench.json

clean:
	@if [ -d '$(O)' ]; then find '$(O)' -mindepth 1 -maxdepth 1 ! -name cache -exec rm -rf {} +; fi

distclean: clean
	@rm -rf '$(CACHE)' '$(O)'

else
# ------------------------------------------------------------------------------------------------
# Stage 2: the build
# ------------------------------------------------------------------------------------------------
ifeq ($(filter arm64 x86,$(ARCH)),)
$(error ARCH=$(ARCH): unknown; choose arm64 or x86)
endif
ifeq ($(filter 0 1,$(DEBUG)),)
$(error DEBUG=$(DEBUG): choose 0 or 1)
endif
ifeq ($(filter 0 1,$(TEST)),)
$(error TEST=$(TEST): choose 0 or 1)
endif

ifeq ($(V),1)
Q :=
say := @:
else
Q := @
say := @printf '  %-8s %s\n'
endif

VARIANT := $(if $(filter 1,$(DEBUG)),-debug)$(if $(filter 1,$(TEST)),-test)
OBJ     := $(O)/obj/$(ARCH)$(if $(VARIANT),$(VARIANT),-release)
IMG     := $(O)/tidemark$(VARIANT).img
ELF     := $(O)/tidemark$(VARIANT).elf

TRIPLE_arm64 := aarch64-none-elf
TRIPLE_x86   := x86_64-none-elf
TRIPLE   := $(TRIPLE_$(ARCH))
CC       := clang --target=$(TRIPLE)
LD       := ld.lld
AR       := llvm-ar
OBJCOPY  := llvm-objcopy
NM       := llvm-nm
HOSTCC   := clang

SYSROOT  := $(CACHE)/$(ARCH)
NEWLIB   := $(CACHE)/newlib-$(ARCH)
UNPACKED := $(SYSROOT)/.stamp
NEWLIB_STAMP := $(NEWLIB)/.stamp

WARN := -Wall -Wextra -Werror -Wconversion -Wshadow -Wundef -Wvla -Wmissing-prototypes \
	-Wstrict-prototypes -Wimplicit-fallthrough

# --- package contents and newlib ----------------------------------------------------------------
$(UNPACKED): tests/tools/unpack.sh
	@mkdir -p $(CACHE) && flock $(CACHE)/.lock tests/tools/unpack.sh $(ARCH) $(SYSROOT)

$(NEWLIB_STAMP): tests/tools/newlib.sh
	@mkdir -p $(CACHE) && flock $(CACHE)/.lock tests/tools/newlib.sh $(ARCH) $(NEWLIB)

newlib: $(NEWLIB_STAMP)
deps: $(NEWLIB_STAMP) $(UNPACKED)
	@:

# --- hypervisor ---------------------------------------------------------------------------------
hyp-objs-y :=
include hyp/objs.mk arch/$(ARCH)/objs.mk drivers/objs.mk boot/objs.mk boot/$(ARCH)/objs.mk

ARCHFLAGS_arm64 := -mgeneral-regs-only -mstrict-align -march=armv8-a
# The image is linked in the top 2 GiB.
ARCHFLAGS_x86   := -mgeneral-regs-only -mno-red-zone -mcmodel=kernel -fcf-protection=none
# -Oz packs functions; the symbol table counts in fours.
COLDFLAGS_x86   := -falign-functions=4
# -I . is for <boot/...> and <drivers/...>; check_layers.sh says who may use it.
HYP_INC := -I hyp/public -I hyp/include -I arch/$(ARCH)/include -I .
HYP_DEF := -DDEBUG=$(DEBUG) -DTM_TEST_BUILD=$(TEST)
HYP_COMMON := $(ARCHFLAGS_$(ARCH)) -ffreestanding -fno-pic -fno-common -g -MMD -MP $(HYP_DEF) $(HYP_INC)
HYP_CFLAGS := -std=c11 $(OPT) $(WARN) $(HYP_COMMON) -fno-omit-frame-pointer \
	-fstack-protector-strong -ffunction-sections -fdata-sections \
	-fno-asynchronous-unwind-tables -fno-unwind-tables -fno-strict-aliasing \
	-isystem boot/include -isystem $(SYSROOT)/usr/include
ifeq ($(DEBUG),1)
HYP_CFLAGS += -fsanitize=undefined -fsanitize-trap=undefined
endif
# An objs.mk may add flags for one object: cflags-boot/arm64/early.o := -fno-stack-protector

COLD_arm64 := boot cpu exception idreg inject irq mmu panic psci_host smp vgic/v2 vuart
COLD_x86   := boot exception mmu panic power smp

# Code that runs once, or that nobody waits for, is built for size (release only: a debug build keeps
# its lines apart). The paths that the benchmark watches keep $(OPT).
HYP_COLD := $(filter boot/% drivers/uart/%,$(hyp-objs-y)) $(patsubst %,hyp/%.o,bootvms console crash \
	dirty_hw dirtycalls event log main manager memcalls memslot memslot_anon memslot_steps owner page_alloc \
	panic print test_hooks testcalls vcpu vcpucalls vm vmcalls window windowcalls) \
	$(patsubst %,arch/$(ARCH)/%.o,$(COLD_$(ARCH))) drivers/gic/gicv2.o
ifeq ($(DEBUG),0)
$(foreach o,$(HYP_COLD),$(eval cflags-$(o:.o=.o) += -Oz $(COLDFLAGS_$(ARCH))))
endif

HYP_OBJS := $(addprefix $(OBJ)/,$(hyp-objs-y))
LIBFDT_arm64 := $(SYSROOT)/usr/lib/aarch64-linux-gnu/libfdt.a
LIBFDT_x86   := $(SYSROOT)/usr/lib/x86_64-linux-gnu/libfdt.a
LIBFDT   := $(LIBFDT_$(ARCH))

$(OBJ)/%.o: %.c Makefile | $(UNPACKED)
	$(say) CC $<
	@mkdir -p $(@D)
	$(Q)$(CC) $(HYP_CFLAGS) $(cflags-$*.o) -c $< -o $@

# Assembly keeps its suffix, so that fpu.c and fpu.S may stand side by side.
$(OBJ)/%.S.o: %.S Makefile | $(UNPACKED)
	$(say) AS $<
	@mkdir -p $(@D)
	$(Q)$(CC) $(HYP_COMMON) -D__ASSEMBLER__=1 $(cflags-$*.S.o) -c $< -o $@

$(OBJ)/hyp.lds: linker/hyp.lds.S Makefile
	@mkdir -p $(@D)
	$(Q)$(CC) -E -P -x assembler-with-cpp -MMD -MP -MT $@ -MF $@.d $(HYP_DEF) $(HYP_INC) $< -o $@

HYP_LDFLAGS := -nostdlib -static -T $(OBJ)/hyp.lds --gc-sections --orphan-handling=error \
	--build-id=none -z noexecstack -z max-page-size=4096 -z norelro

# Two links: the first with an empty symbol table, whose addresses fill the second. The table is
# the tail of .rodata, behind every function, so none of them moves; symtab.py compares to be sure.
$(ELF): $(HYP_OBJS) $(OBJ)/hyp.lds tests/tools/symtab.py $(UNPACKED)
	$(say) LD $@
	$(Q)$(PYTHON) tests/tools/symtab.py empty > $(OBJ)/symtab0.S
	$(Q)$(CC) -c $(OBJ)/symtab0.S -o $(OBJ)/symtab0.o
	$(Q)$(LD) $(HYP_LDFLAGS) $(HYP_OBJS) $(OBJ)/symtab0.o $(LIBFDT) -o $(OBJ)/pass1.elf
	$(Q)$(NM) -n $(OBJ)/pass1.elf > $(OBJ)/pass1.nm
	$(Q)$(PYTHON) tests/tools/symtab.py make $(OBJ)/pass1.nm > $(OBJ)/symtab1.S
	$(Q)$(CC) -c $(OBJ)/symtab1.S -o $(OBJ)/symtab1.o
	$(Q)$(LD) $(HYP_LDFLAGS) -Map=$(OBJ)/tidemark.map $(HYP_OBJS) $(OBJ)/symtab1.o $(LIBFDT) -o $@
	$(Q)$(NM) -n $@ > $(OBJ)/pass2.nm
	$(Q)$(PYTHON) tests/tools/symtab.py compare $(OBJ)/pass1.nm $(OBJ)/pass2.nm

$(IMG): $(ELF)
	$(Q)$(OBJCOPY) -O binary $< $@
	$(say) IMAGE "$@ ($$(wc -c < $@) bytes)"

hyp: $(IMG)
	@:

-include $(HYP_OBJS:.o=.d) $(OBJ)/hyp.lds.d

# --- guests -------------------------------------------------------------------------------------
# Every guest is a static PIE behind an Image header (x86: of our own): it runs wherever it is loaded.
GUEST_NAMES := $(filter-out lib,$(patsubst guests/%/objs.mk,%,$(wildcard guests/*/objs.mk)))
include guests/lib/objs.mk $(GUEST_NAMES:%=guests/%/objs.mk)
# A directory without sources yet is no guest yet.
GUEST_NAMES := $(foreach g,$(GUEST_NAMES),$(if $(strip $($(g)-objs-y)),$(g)))

GOBJ := $(O)/obj/$(ARCH)-guests
GUEST_ARCH_arm64 := -mstrict-align -march=armv8-a
GUEST_ARCH_x86   := -mgeneral-regs-only -mno-red-zone -fcf-protection=none
GUEST_COMMON := $(GUEST_ARCH_$(ARCH)) -ffreestanding -fpie -fvisibility=hidden -g -MMD -MP \
	-I hyp/public -I guests/lib/include
GUEST_CFLAGS := -std=c11 -O2 $(WARN) $(GUEST_COMMON) -fno-common -fno-omit-frame-pointer \
	-ffunction-sections -fdata-sections -fno-asynchronous-unwind-tables -fno-unwind-tables \
	-D_POSIX_C_SOURCE=200809L -isystem $(NEWLIB)/include -isystem $(SYSROOT)/usr/include
GUEST_LIB := $(O)/guests/libtidemark-guest.a
GUEST_LDS := $(O)/guests/guest.lds
GUEST_LDFLAGS := -nostdlib -pie --no-dynamic-linker -Bsymbolic -z text -z noexecstack -z norelro \
	-z max-page-size=4096 --gc-sections --build-id=none -u _start --hash-style=sysv

$(GOBJ)/%.o: %.c Makefile | $(NEWLIB_STAMP) $(UNPACKED)
	$(say) GUESTCC $<
	@mkdir -p $(@D)
	$(Q)$(CC) $(GUEST_CFLAGS) $(cflags-$*.o) -c $< -o $@

$(GOBJ)/%.S.o: %.S Makefile | $(NEWLIB_STAMP)
	$(say) GUESTAS $<
	@mkdir -p $(@D)
	$(Q)$(CC) $(GUEST_COMMON) -D__ASSEMBLER__=1 -c $< -o $@

$(GUEST_LIB): $(addprefix $(GOBJ)/,$(lib-objs-y))
	@mkdir -p $(@D) && rm -f $@
	$(Q)$(AR) rcs $@ $^

$(GUEST_LDS): linker/guest.lds.S Makefile
	@mkdir -p $(@D)
	$(Q)$(CC) -E -P -x assembler-with-cpp $< -o $@

define guest_rules
$(O)/guests/$(1).elf: $(addprefix $(GOBJ)/,$($(1)-objs-y)) $(GUEST_LIB) $(GUEST_LDS) $(NEWLIB_STAMP)
	$$(say) GUESTLD $$@
	$$(Q)$(LD) $(GUEST_LDFLAGS) -T $(GUEST_LDS) $(addprefix $(GOBJ)/,$($(1)-objs-y)) \
		$($(1)-ldflags-y) --start-group $(GUEST_LIB) $(LIBFDT) $(NEWLIB)/lib/libc.a --end-group -o $$@
endef
$(foreach g,$(GUEST_NAMES),$(eval $(call guest_rules,$(g))))

$(O)/guests/%.bin: $(O)/guests/%.elf
	$(Q)$(OBJCOPY) -O binary $< $@

GUEST_BINS := $(GUEST_NAMES:%=$(O)/guests/%.bin)
guests: $(GUEST_BINS)
	@:
-include $(patsubst %.o,$(GOBJ)/%.d,$(lib-objs-y) $(foreach g,$(GUEST_NAMES),$($(g)-objs-y)))

# --- module archive -----------------------------------------------------------------------------
LINUX_IMAGE := $(SYSROOT)/linux.img
INITRAMFS   := $(O)/initramfs.cpio
CONFIG      ?= boot/config/default.dts
MKCPIO      := $(PYTHON) tests/tools/mkcpio.py

$(INITRAMFS): guests/linux/init tests/tools/mkcpio.py $(UNPACKED)
	$(say) CPIO $@
	@mkdir -p $(@D)
	$(Q)$(MKCPIO) -o $@ --dir bin --dir proc --dir sys --dir dev --dir tmp --dir run \
		--node dev/console=5:1:600 --node dev/null=1:3:666 \
		--file bin/busybox=$(SYSROOT)/bin/busybox:755 --symlink bin/sh=busybox \
		--file init=guests/linux/init:755

# The archive is described by the configuration: modules.py reads the image names in it.
$(O)/modules.cpio: $(CONFIG) $(GUEST_BINS) $(INITRAMFS) tests/tools/modules.py tests/tools/mkcpio.py
	$(say) MODULES $@
	@mkdir -p $(@D)
	$(Q)$(PYTHON) tests/tools/modules.py --build $(O) --sysroot $(SYSROOT) -o $@ $(CONFIG)

modules: $(O)/modules.cpio

all: $(GUEST_BINS) $(INITRAMFS)
	@+$(MAKE) STAGE=2 DEBUG=0 TEST=0 hyp
	@+$(MAKE) STAGE=2 DEBUG=1 TEST=0 hyp
	$(Q)if [ -e $(CONFIG) ]; then $(MAKE) STAGE=2 modules; fi

# --- host tests ---------------------------------------------------------------------------------
# One program per tests/host/test_*.c. A comment line in the test names what it is linked with:
#   // LINK: hyp/pgtable.c arch/arm64/stage2_format.c      files, relative to the top
#   // LINK: core                                          all of hyp/*.c and tests/host/fake*.c
#   // FLAGS: -DX=1                                        extra flags for the test file only
#   // LIBS: -lfdt                                         host libraries
#   // ARCH: x86                                            all of it sees arch/x86/include, not
#                                                           the stand-in of tests/host/include
# Each runs under ASan+UBSan; test_ring* under TSan as well.
HOST_TESTS := $(patsubst tests/host/%.c,%,$(wildcard tests/host/test_*.c))
HOST_TSAN  := $(filter test_ring% test_dirty_ring% test_dirty_bitmap%,$(HOST_TESTS))
HOST_FAKES := $(wildcard tests/host/fake*.c)
# string.c defines memcpy and friends; on the host those are libc's.
HOST_CORE  := $(filter-out hyp/string.c,$(wildcard hyp/*.c)) $(HOST_FAKES)
HOST_INC   := -I tests/host/include -I hyp/public -I hyp/include -I guests/lib/include \
	-I tests/host -I .
HOST_CFLAGS := -std=gnu11 -g -O1 $(WARN) -fno-omit-frame-pointer -fno-strict-aliasing \
	-ffunction-sections -fdata-sections -fno-common -MMD -MP -pthread \
	-DDEBUG=1 -DTM_TEST_BUILD=1 -DTM_HOST_TEST=1 -DTM_ABI_ARM64=1 $(HOST_INC)
SAN_asan := -fsanitize=address,undefined -fno-sanitize-recover=all
SAN_tsan := -fsanitize=thread
SAN_asan-x86 := $(SAN_asan)
HOST_INC_asan-x86 := -I arch/x86/include
HOST_DEF_asan-x86 := -UTM_ABI_ARM64 -DTM_ABI_X86=1

host_link = $(shell sed -n 's,^// LINK: *,,p' tests/host/$(1).c)
host_srcs = $(sort tests/host/$(1).c $(foreach w,$(call host_link,$(1)),$(if $(filter core,$(w)),$(HOST_CORE),$(w))))
host_libs = $(shell sed -n 's,^// LIBS: *,,p' tests/host/$(1).c)
host_flags = $(shell sed -n 's,^// FLAGS: *,,p' tests/host/$(1).c)
host_arch = $(shell sed -n 's,^// ARCH: *,-,p' tests/host/$(1).c)
host_objs = $(patsubst %.c,$(O)/host/$(1)$(call host_arch,$(2))/%.o,$(call host_srcs,$(2)))

define host_sanitizer_rules
$(O)/host/$(1)/%.o: %.c Makefile
	$$(say) HOSTCC '$$< [$(1)]'
	@mkdir -p $$(@D)
	$$(Q)$(HOSTCC) $(HOST_INC_$(1)) $(HOST_CFLAGS) $(HOST_DEF_$(1)) $(SAN_$(1)) $$(hostflags-$$*) \
		-c $$< -o $$@
endef
$(foreach s,asan tsan asan-x86,$(eval $(call host_sanitizer_rules,$(s))))

define host_test_rules
hostflags-tests/host/$(2) := $(call host_flags,$(2))
$(O)/host/$(1)/$(2): $(call host_objs,$(1),$(2))
	@mkdir -p $$(@D)
	$$(Q)$(HOSTCC) $(SAN_$(1)) -pthread -fuse-ld=lld -Wl,--gc-sections $$^ $(call host_libs,$(2)) -o $$@
-include $(patsubst %.o,%.d,$(call host_objs,$(1),$(2)))
endef
$(foreach t,$(HOST_TESTS),$(eval $(call host_test_rules,asan,$(t))))
$(foreach t,$(HOST_TSAN),$(eval $(call host_test_rules,tsan,$(t))))
HOST_PROGS := $(HOST_TESTS:%=$(O)/host/asan/%) $(HOST_TSAN:%=$(O)/host/tsan/%)

host-programs: $(HOST_PROGS)

# ONLY=test_foo runs one of them.
host-tests: $(if $(ONLY),$(O)/host/asan/$(ONLY),$(HOST_PROGS))
	@rm -rf $(O)/test/host
	@$(PYTHON) tests/tools/run_host.py $(O)/test/host $^

# The boot configuration's checker as a host program. CONFIG_ARGS='cpus=4 ram=4096 module=a.bin'
$(eval $(call host_test_rules,asan,config_check))
config-check: $(O)/host/asan/config_check
	@mkdir -p $(O)/config
	$(Q)dtc -q -I dts -O dtb -o $(O)/config/check.dtb $(CONFIG)
	$(Q)$(O)/host/asan/config_check $(O)/config/check.dtb $(CONFIG_ARGS)

# --- lint ---------------------------------------------------------------------------------------
# crash.c is faults on purpose.
lint: $(IMG)
	@tests/tools/lint.sh '$(O)' '$(CC)' '$(ARCHFLAGS_$(ARCH))' '$(HYP_CFLAGS)' \
		'$(SYSROOT)/usr/include' $(ELF) $(IMG) \
		$(filter-out hyp/crash.c,$(filter %.c,$(hyp-objs-y:.o=.c)))

# --- check, test, soak --------------------------------------------------------------------------
# What does not build stops the run. A failed test or lint is noted in $(O)/test and the rest still
# runs: count.py has the last word and prints the closing line.
# TARGETS says whose images are built and whose rows run: arm64 (with the host tests), x86, or both.
TARGETS ?= arm64 x86
ifeq ($(filter arm64,$(TARGETS)),)
$(error TARGETS=$(TARGETS): choose arm64, or arm64 and x86)
endif
ifneq ($(filter check test soak,$(if $(filter x86,$(ARCH)),$(MAKECMDGOALS))),)
$(error $(MAKECMDGOALS) covers all targets: leave ARCH out (TARGETS=arm64 leaves x86 out))
endif
WITH_X86 := $(filter x86,$(TARGETS))
X86 := STAGE=2 ARCH=x86 O=$(O)/x86 CACHE=$(CACHE)

check-steps: guests
	@+$(MAKE) STAGE=2 DEBUG=0 TEST=0 hyp
	@+$(MAKE) STAGE=2 DEBUG=1 TEST=1 hyp
	@+$(if $(WITH_X86),$(MAKE) $(X86) x86-check-images)
	@+$(MAKE) STAGE=2 host-programs
	@+$(MAKE) -s STAGE=2 host-tests || true
	@+$(MAKE) -s STAGE=2 DEBUG=0 TEST=0 lint || true
	@+$(if $(WITH_X86),$(MAKE) -s $(X86) DEBUG=0 TEST=0 lint || true)
x86-check-images: guests
	@+$(MAKE) STAGE=2 DEBUG=0 TEST=0 hyp
	@+$(MAKE) STAGE=2 DEBUG=1 TEST=1 hyp
.PHONY: check-steps host-programs x86-check-images x86-images

LINT_TAPS := $(O)/test/lint.tap $(if $(WITH_X86),$(O)/x86/test/lint.tap)
check: check-steps
	@$(PYTHON) tests/tools/count.py --title check $(O)/test/host $(LINT_TAPS)

# Rows need: release, debug and debug-test images, all guests, the initramfs. EMU_ARGS go to pytest.
# EMU_LIMIT is the wall time for all rows together.
EMU_LIMIT ?= $(if $(filter 1,$(SOAK)),36000,2700)
EMU_JOBS ?= $(shell nproc 2>/dev/null || echo 1)
PYTEST := $(PYTHON) -m pytest -p no:cacheprovider -q --rootdir=tests/emu
emu-images: guests $(INITRAMFS) $(PLUGINS)
	@+$(MAKE) STAGE=2 DEBUG=0 TEST=0 hyp
	@+$(MAKE) STAGE=2 DEBUG=1 TEST=0 hyp
	@+$(MAKE) STAGE=2 DEBUG=1 TEST=1 hyp
	@+$(if $(WITH_X86),$(MAKE) $(X86) x86-images)
x86-images: guests $(INITRAMFS) boot-loaders $(O)/vmx-test.img
	@+$(MAKE) STAGE=2 DEBUG=0 TEST=0 hyp
	@+$(MAKE) STAGE=2 DEBUG=1 TEST=0 hyp
	@+$(MAKE) STAGE=2 DEBUG=1 TEST=1 hyp
.PHONY: emu-images emu-rows

emu-rows: emu-images
	@rm -f $(O)/test/emu.tap
	@mkdir -p $(O)/test
	@TM_BUILD=$(O) TM_SYSROOT=$(SYSROOT) TM_SOAK=$(SOAK) PYTHONDONTWRITEBYTECODE=1 \
		$(if $(WITH_X86),TM_BUILD_X86=$(O)/x86 TM_SYSROOT_X86=$(CACHE)/x86) \
		timeout -k 10 $(EMU_LIMIT) $(PYTEST) $(if $(filter-out 1,$(EMU_JOBS)),-n $(EMU_JOBS) --dist load) \
		tests/emu $(EMU_ARGS) </dev/null || true

test: check-steps
	@+$(MAKE) STAGE=2 emu-rows
	@$(PYTHON) tests/tools/count.py $(O)/test/host $(LINT_TAPS) $(O)/test/emu.tap

soak:
	@+$(MAKE) STAGE=2 SOAK=1 emu-rows
	@$(PYTHON) tests/tools/count.py $(O)/test/emu.tap

# --- x86: bootable media ------------------------------------------------------------------------
# boot/disk is the first sectors of a disk for PC BIOSes, boot/efi a UEFI application. Each medium
# holds image, module archive and CMDLINE=. Tests make their own by tests/tools/x86disk.py.
ifeq ($(ARCH),x86)
BOOT_COMMON := -std=c11 -ffreestanding -fno-builtin -fno-stack-protector -mgeneral-regs-only \
	-fno-asynchronous-unwind-tables -I . -MMD -MP
DISK_CFLAGS := --target=i386-none-elf -march=i386 -Oz -fno-pic $(WARN) $(BOOT_COMMON)
EFI_CFLAGS  := --target=x86_64-unknown-windows -Os -fshort-wchar -mno-red-zone \
	-mno-stack-arg-probe $(WARN) $(BOOT_COMMON) -isystem /usr/include/efi
BOBJ := $(O)/obj/x86-boot
DISK_OBJS := $(BOBJ)/disk/entry.S.o $(BOBJ)/disk/load.o

$(BOBJ)/disk/%.o: boot/disk/%.c Makefile
	$(say) CC $<
	@mkdir -p $(@D)
	$(Q)clang $(DISK_CFLAGS) -c $< -o $@

$(BOBJ)/disk/%.S.o: boot/disk/%.S Makefile
	$(say) AS $<
	@mkdir -p $(@D)
	$(Q)clang $(DISK_CFLAGS) -D__ASSEMBLER__=1 -c $< -o $@

$(BOBJ)/efi/%.o: boot/efi/%.c Makefile
	$(say) CC $<
	@mkdir -p $(@D)
	$(Q)clang $(EFI_CFLAGS) -c $< -o $@

$(O)/disk.bin: $(DISK_OBJS) boot/disk/disk.lds
	$(Q)$(LD) -m elf_i386 -T boot/disk/disk.lds --oformat binary $(DISK_OBJS) -o $@

$(O)/BOOTX64.EFI: $(BOBJ)/efi/loader.o
	$(Q)lld-link /subsystem:efi_application /entry:efi_main /nodefaultlib /Brepro /out:$@ $^
-include $(DISK_OBJS:.o=.d) $(BOBJ)/efi/loader.d

MEDIA = $(PYTHON) tests/tools/x86disk.py
MEDIA_PARTS = -o $@ --image $(IMG) --modules $(O)/modules.cpio --cmdline '$(CMDLINE)'
MEDIA_DEPS := $(IMG) $(O)/modules.cpio tests/tools/x86disk.py FORCE

$(O)/disk.img: $(O)/disk.bin $(MEDIA_DEPS)
	$(say) DISK $@
	$(Q)$(MEDIA) disk --loader $< $(MEDIA_PARTS)

$(O)/esp.img: $(O)/BOOTX64.EFI $(MEDIA_DEPS)
	$(say) DISK $@
	$(Q)$(MEDIA) esp --loader $< $(MEDIA_PARTS)

$(O)/grub.iso: $(MEDIA_DEPS)
	$(say) DISK $@
	$(Q)$(MEDIA) iso --multiboot $(or $(MULTIBOOT),1) $(MEDIA_PARTS)

# arch/x86/vmx/ on a machine of its own, for tests/emu/test_x86_vmx.py.
VMXT_CFLAGS := --target=x86_64-none-elf -std=c11 -O2 -g $(filter-out -Wconversion,$(WARN)) -ffreestanding \
	-fno-pic -fno-common -fno-strict-aliasing -fno-stack-protector -mgeneral-regs-only -mno-red-zone \
	-fcf-protection=none -MMD -MP -DDEBUG=0 -DTM_TEST_BUILD=0 $(HYP_INC) -isystem boot/include
VMXT_SRCS := $(wildcard tests/bare/vmx/*.[cS] arch/x86/vmx/*.[cS]) hyp/print.c hyp/string.c
VMXT_OBJS := $(VMXT_SRCS:%=$(O)/obj/x86-vmxtest/%.o)

$(O)/obj/x86-vmxtest/%.c.o: %.c Makefile | $(UNPACKED)
	$(say) CC '$< [vmx-test]'
	@mkdir -p $(@D)
	$(Q)clang $(VMXT_CFLAGS) -c $< -o $@

$(O)/obj/x86-vmxtest/%.S.o: %.S Makefile
	@mkdir -p $(@D)
	$(Q)clang $(VMXT_CFLAGS) -D__ASSEMBLER__=1 -c $< -o $@

$(O)/vmx-test.img: $(VMXT_OBJS) tests/bare/vmx/vmx.lds
	$(Q)$(LD) -nostdlib -static -T tests/bare/vmx/vmx.lds $(VMXT_OBJS) -o $(O)/vmx-test.elf
	$(Q)$(OBJCOPY) -O binary $(O)/vmx-test.elf $@
-include $(VMXT_OBJS:.o=.d)

boot-loaders: $(O)/disk.bin $(O)/BOOTX64.EFI
	@:
media: $(O)/disk.img $(O)/esp.img $(O)/grub.iso
.PHONY: boot-loaders
endif

# --- run, bench, sdk ----------------------------------------------------------------------------
run: $(O)/guests/manager.bin $(INITRAMFS) hyp $(if $(filter x86,$(ARCH)),boot-loaders)
	@$(PYTHON) tests/tools/run.py --arch $(ARCH) $(if $(VENDOR),--vendor $(VENDOR)) --build $(O) --sysroot $(SYSROOT) --image $(IMG) \
		$(if $(GUEST),--guest '$(GUEST)') $(if $(BOOTARGS),--bootargs '$(BOOTARGS)') \
		$(if $(MEM),--mem $(MEM)) $(if $(CPUS),--cpus $(CPUS)) $(if $(NCPUS),--ncpus $(NCPUS)) \
		$(if $(CPU),--cpu $(CPU)) $(if $(GIC),--gic $(GIC)) $(if $(BOOT),--boot $(BOOT)) \
		$(if $(SEED),--seed $(SEED)) $(if $(TIMEOUT),--timeout $(TIMEOUT)) \
		$(if $(filter 1,$(LOSE)),--lose) $(if $(filter 1,$(INTERACTIVE)),--interactive)

# TCG plugins of ours, built with the host compiler: tests/tools/x.c -> $(O)/x.so
PLUGINS := $(patsubst tests/tools/%.c,$(O)/%.so,$(wildcard tests/tools/*.c))
$(O)/%.so: tests/tools/%.c Makefile
	$(say) PLUGIN $@
	@mkdir -p $(@D)
	$(Q)$(HOSTCC) -std=gnu11 -O2 -Wall -Wextra -fPIC -shared $< -o $@

bench: guests $(INITRAMFS) $(if $(filter x86,$(ARCH)),boot-loaders,$(PLUGINS))
	@+$(MAKE) STAGE=2 DEBUG=0 TEST=0 hyp
	@$(PYTHON) tests/tools/bench.py run --arch $(ARCH) --build $(O) --sysroot $(SYSROOT)

sdk: $(GUEST_LIB) $(GUEST_LDS) $(NEWLIB_STAMP)
	@tests/tools/sdk.sh $(O) $(NEWLIB) $(GUEST_LIB) $(GUEST_LDS) $(LIBFDT) $(TRIPLE) '$(GUEST_ARCH_$(ARCH))'

endif
