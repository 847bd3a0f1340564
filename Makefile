# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#
# make            the program, the embedded heap's library and its demo: $(BUILD)/
# make install    PREFIX=/usr/local DESTDIR=
# make demo       install what is missing, build, watch a forking program with a garbage collector
# make check      install what is missing, then every test;  check-fast: no sanitizers, no other kernels
# make help       the rest
#
# BUILD=DIR builds elsewhere, V=1 shows the commands, SAN=1 builds with ASan and UBSan.
# Sources are found by wildcard; a folder is added by adding it to USER_DIRS.

BUILD   ?= build
PREFIX  ?= /usr/local
DESTDIR ?=
VERSION := 0.1
ARCH    := $(shell uname -m | sed 's/x86_64/x86/; s/aarch64/arm64/')
Q       := $(if $(V),,@)
say      = $(if $(V),@:,@printf '  %-7s %s\n' $(1) $(2))

USER_DIRS := base process heap heap/cpython tally view capture resolve census cli

# --- tools and libraries; what is missing ends in one line --------------------------------------
CC           ?= cc
CLANG        ?= $(or $(shell command -v clang || ls /usr/bin/clang-[0-9]* 2>/dev/null | sort -V | tail -n1))
BPFTOOL      ?= $(shell PATH="$$PATH:/usr/local/sbin:/usr/sbin:/sbin" command -v bpftool)
PKG_CONFIG   ?= pkg-config
CLANG_FORMAT ?= clang-format
CLANG_TIDY   ?= clang-tidy
LIBRARIES    := libbpf libelf libdw zlib jansson ncursesw

# These install or need no compiler: they must run on a machine that has only make.
NO_BUILD_GOALS := demo fuzz check check-fast bench experiments readme format lint golden clean help
missing         = $(error cowtrace: $(1) not found: run tests/setup/install.sh or apt-get install $(2))
need_program    = $(if $(shell command -v $(firstword $(1)) 2>/dev/null),,$(call missing,$(2),$(3)))
need_library    = $(if $(shell $(PKG_CONFIG) --exists $(1) 2>/dev/null && echo y),,$(call missing,library $(1),$(2)))

ifneq ($(filter-out $(NO_BUILD_GOALS),$(or $(MAKECMDGOALS),all)),)
$(call need_program,$(CC),C compiler $(CC),gcc libc6-dev)
$(call need_program,$(or $(CLANG),clang),clang,clang)
$(call need_program,$(or $(BPFTOOL),bpftool),bpftool,bpftool)
$(call need_program,$(PKG_CONFIG),pkg-config,pkg-config)
$(call need_library,libbpf,libbpf-dev)
$(call need_library,libelf,libelf-dev)
$(call need_library,libdw,libdw-dev)
$(call need_library,zlib,zlib1g-dev)
$(call need_library,jansson,libjansson-dev)
$(call need_library,ncursesw,libncurses-dev)
LIB_CFLAGS := $(shell $(PKG_CONFIG) --cflags-only-I $(LIBRARIES))
LIBS       := $(shell $(PKG_CONFIG) --libs $(LIBRARIES))
endif

# --- flags --------------------------------------------------------------------------------------
WARN     := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror
CFLAGS   ?= -O2 -g
HARDEN   := -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE
LDHARDEN := -pie -Wl,-z,relro,-z,now
ifdef SAN
HARDEN   := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -fPIE
LDHARDEN := -pie -fsanitize=address,undefined
endif
DEPFLAGS   = -MMD -MP
CPPFLAGS  += -D_GNU_SOURCE -DCT_VERSION='"$(VERSION)"' -Iuser -Ibpf -I$(BUILD)/gen $(LIB_CFLAGS)
COMPILE    = $(CC) -std=c17 $(CPPFLAGS) $(WARN) $(HARDEN) $(CFLAGS) $(DEPFLAGS)
LINK       = $(CC) $(CFLAGS) $(LDHARDEN) $(LDFLAGS)
BPF_CFLAGS = -g -O2 -target bpf -mcpu=v3 -D__TARGET_ARCH_$(ARCH) -Ibpf -Ivmlinux -Wall -Werror

# --- sources ------------------------------------------------------------------------------------
BPF_SRCS     := $(wildcard bpf/*.bpf.c)
SKELS        := $(BPF_SRCS:bpf/%.bpf.c=$(BUILD)/gen/%.skel.h)
BENCH_SKELS  := $(patsubst tests/bench/%.bpf.c,$(BUILD)/gen/%.skel.h,$(wildcard tests/bench/*.bpf.c))
USER_SRCS    := $(foreach d,$(USER_DIRS),$(wildcard user/$d/*.c))
MAIN_OBJ     := $(BUILD)/user/cli/main.o
USER_OBJS    := $(filter-out $(MAIN_OBJ),$(USER_SRCS:%.c=$(BUILD)/%.o))
GCHEAP_OBJS  := $(patsubst %.c,$(BUILD)/%.o,$(wildcard user/gcheap/*.c))
# each a program $(BUILD)/gcheap-NAME; prefork.c is gcheap-demo
DEMOS        := $(patsubst user/gcheap/demo/%.c,$(BUILD)/gcheap-%,$(wildcard user/gcheap/demo/*.c))
DEMOS        := $(DEMOS:$(BUILD)/gcheap-prefork=$(BUILD)/gcheap-demo)
CHECKED_OBJS := $(patsubst %.c,$(BUILD)/checked/%.o,$(wildcard user/gcheap/*.c))
UNIT_SRCS    := $(wildcard tests/unit/test_*.c)
UNIT_HELPERS := $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(UNIT_SRCS),$(wildcard tests/unit/*.c)))
UNITS        := $(UNIT_SRCS:tests/%.c=$(BUILD)/%)
TRUTH_SHARED := $(wildcard tests/truth/truth.c tests/truth/oracle*.c)
TRUTH_COMMON := $(TRUTH_SHARED:%.c=$(BUILD)/%.o)
TRUTHS       := $(patsubst tests/%.c,$(BUILD)/%,$(filter-out $(TRUTH_SHARED),$(wildcard tests/truth/*.c)))
EXPERIMENTS  := $(patsubst tests/%.c,$(BUILD)/%,$(wildcard tests/experiments/*.c))
INTERPRETERS := $(patsubst tests/%.c,$(BUILD)/%,$(wildcard tests/interpreters/*.c))
BENCHES      := $(patsubst tests/%.c,$(BUILD)/%,$(filter-out %.bpf.c,$(wildcard tests/bench/*.c)))

PROGRAMS := $(BUILD)/cowtrace $(if $(GCHEAP_OBJS),$(BUILD)/libgcheap.a $(BUILD)/libgcheap-checked.a) $(DEMOS)
GCHEAP   := $(if $(GCHEAP_OBJS),$(BUILD)/libgcheap.a)

.PHONY: all install demo fuzz check check-fast bench format lint golden clean help tidy asan unit truth benches experiments experiment-programs interpreter-programs
.DELETE_ON_ERROR:
.SECONDARY:
.SUFFIXES:

all: $(PROGRAMS)
unit: $(UNITS)
truth: $(TRUTHS)
benches: $(BENCHES)
experiment-programs: $(EXPERIMENTS)
interpreter-programs: $(INTERPRETERS)

# A tool can be there and broken; one line tells that too. Redone only after "make clean".
$(BUILD)/tools.ok:
	$(Q)mkdir -p $(@D)
	$(Q)echo 'int ct_try(void) { return 0; }' | $(CLANG) -target bpf -xc -c - -o $@.o > $@.log 2>&1 || \
		{ echo "cowtrace: $(CLANG) cannot compile for bpf ($$(head -n1 $@.log)): apt-get install --reinstall clang" >&2; exit 1; }
	$(Q)$(BPFTOOL) version > $@.log 2>&1 || \
		{ echo "cowtrace: $(BPFTOOL) does not run ($$(head -n1 $@.log)): apt-get install --reinstall bpftool" >&2; exit 1; }
	$(Q)rm -f $@.o $@.log && touch $@

# --- kernel side --------------------------------------------------------------------------------
$(BUILD)/bpf/%.bpf.o: bpf/%.bpf.c | $(BUILD)/tools.ok
	$(call say,BPF,$<)
	$(Q)mkdir -p $(@D) && $(CLANG) $(BPF_CFLAGS) $(DEPFLAGS) -c $< -o $@

$(BUILD)/bpf/%.bpf.o: tests/bench/%.bpf.c | $(BUILD)/tools.ok
	$(call say,BPF,$<)
	$(Q)mkdir -p $(@D) && $(CLANG) $(BPF_CFLAGS) $(DEPFLAGS) -c $< -o $@

$(BUILD)/gen/%.skel.h: $(BUILD)/bpf/%.bpf.o
	$(call say,SKEL,$@)
	$(Q)mkdir -p $(@D) && $(BPFTOOL) gen skeleton $< name $(subst -,_,$*) > $@.tmp && mv $@.tmp $@

# --- user side ----------------------------------------------------------------------------------
# Order-only: the first build needs the skeletons there, later ones know from -MMD who reads them.
$(filter $(BUILD)/user/capture/%,$(USER_OBJS)): | $(SKELS)
$(BENCHES:$(BUILD)/%=$(BUILD)/tests/%.o): | $(BENCH_SKELS)

$(BUILD)/%.o: %.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(COMPILE) -c $< -o $@

$(BUILD)/libcowtrace.a: $(USER_OBJS)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(BUILD)/libgcheap.a: $(GCHEAP_OBJS)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

# the embedded heap that catches its misuse; for programs built with the same define
$(BUILD)/checked/%.o: %.c
	$(call say,CC,"$< (checked)")
	$(Q)mkdir -p $(@D) && $(COMPILE) -DGCHEAP_CHECKED -c $< -o $@

$(BUILD)/libgcheap-checked.a: $(CHECKED_OBJS)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(BUILD)/cowtrace: $(MAIN_OBJ) $(BUILD)/libcowtrace.a $(GCHEAP)
	$(call say,LINK,$@)
	$(Q)$(LINK) $^ $(LIBS) -lpthread -lm -o $@

$(BUILD)/gcheap-demo: $(BUILD)/user/gcheap/demo/prefork.o $(GCHEAP)
	$(call say,LINK,$@)
	$(Q)$(LINK) $^ -lpthread -lrt -lm -o $@

$(BUILD)/gcheap-%: $(BUILD)/user/gcheap/demo/%.o $(GCHEAP)
	$(call say,LINK,$@)
	$(Q)$(LINK) $^ -lpthread -lrt -lm -o $@

# --- tests --------------------------------------------------------------------------------------
$(BUILD)/unit/%: $(BUILD)/tests/unit/%.o $(UNIT_HELPERS) $(BUILD)/libcowtrace.a $(GCHEAP)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D) && $(LINK) $^ $(LIBS) -lcmocka -lpthread -lrt -lm -o $@

# the saved heaps are read the same way by the fuzzer
$(BUILD)/unit/test_py_corpus: $(BUILD)/tests/fuzz/image.o

$(BUILD)/unit/%_checked: $(BUILD)/checked/tests/unit/%_checked.o $(BUILD)/libgcheap-checked.a
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D) && $(LINK) $^ -lcmocka -lpthread -lrt -lm -o $@

$(BUILD)/truth/%: $(BUILD)/tests/truth/%.o $(TRUTH_COMMON)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D) && $(LINK) $^ -lpthread -o $@

$(BUILD)/bench/%: $(BUILD)/tests/bench/%.o $(BUILD)/libcowtrace.a $(GCHEAP)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D) && $(LINK) $^ $(LIBS) -lpthread -lm -o $@

$(BUILD)/interpreters/%: $(BUILD)/tests/interpreters/%.o $(BUILD)/libcowtrace.a
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D) && $(LINK) $^ $(LIBS) -lpthread -lm -o $@

# saves heap images of running interpreters for the fuzzer: tests/fuzz/dump.py
$(BUILD)/fuzz-dump: $(BUILD)/tests/fuzz/dump.o $(BUILD)/tests/fuzz/image.o $(BUILD)/libcowtrace.a
	$(call say,LINK,$@)
	$(Q)$(LINK) -Wl,--wrap=pread $^ $(LIBS) -lpthread -lm -o $@

fuzz:
	@tests/setup/install.sh build check
	@BUILD='$(BUILD)' tests/fuzz/run.sh 600

# munmap is wrapped: memory that a child gives back is looked at first
$(BUILD)/experiments/%: $(BUILD)/tests/experiments/%.o $(BUILD)/tests/truth/oracle.o $(GCHEAP)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D) && $(LINK) -Wl,--wrap=munmap $^ -lpthread -lrt -lm -o $@

asan:
	+$(Q)$(MAKE) --no-print-directory BUILD=$(BUILD)/asan SAN=1 unit

check:
	@tests/setup/install.sh build check
	+$(Q)MAKE='$(MAKE)' BUILD='$(BUILD)' tests/check

check-fast:
	@tests/setup/install.sh build check
	+$(Q)MAKE='$(MAKE)' BUILD='$(BUILD)' tests/check --fast

lint:
	@BUILD='$(BUILD)' tests/lint/run.sh

# Slow (2 s a file), so not part of check.
tidy: $(SKELS)
	$(Q)for f in $(USER_SRCS) $(wildcard user/gcheap/*.c user/gcheap/demo/*.c tests/truth/*.c tests/unit/*.c); do \
		$(CLANG_TIDY) --quiet $$f -- -std=c17 $(CPPFLAGS) 2> /dev/null || bad=1; done; [ -z "$$bad" ]

bench:
	@tests/setup/install.sh build bench
	+$(Q)$(MAKE) --no-print-directory all benches
	@tests/setup/as-root.sh python3 tests/bench/run.py --build '$(BUILD)'

experiments:
	@tests/setup/install.sh build check
	+$(Q)$(MAKE) --no-print-directory all experiment-programs
	@BUILD='$(BUILD)' tests/setup/as-root.sh python3 tests/experiments/run.py --build '$(BUILD)'

# The golden files are written by the unit tests that compare with them.
readme:
	@tests/setup/install.sh build check bench
	+$(Q)$(MAKE) --no-print-directory all benches
	@BUILD='$(BUILD)' tests/setup/as-root.sh python3 tests/setup/readme.py

golden:
	+$(Q)$(MAKE) --no-print-directory unit
	@for t in $$(grep -ls CT_GOLDEN tests/unit/test_*.c); do \
		CT_GOLDEN=write $(BUILD)/unit/$$(basename $$t .c) > /dev/null || exit 1; done; \
		git status --short tests/golden

# --- use ----------------------------------------------------------------------------------------
demo:
	@tests/setup/install.sh build
	+$(Q)$(MAKE) --no-print-directory all
	@tests/setup/demo.sh $(BUILD)

install: all
	install -D -m 755 $(BUILD)/cowtrace $(DESTDIR)$(PREFIX)/sbin/cowtrace
	install -D -m 644 user/cli/cowtrace.1 $(DESTDIR)$(PREFIX)/share/man/man1/cowtrace.1
	install -D -m 644 user/cli/completion.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/cowtrace

format:
	$(Q)find bpf user tests -name '*.[ch]' -exec $(CLANG_FORMAT) -i {} +

clean:
	rm -rf $(BUILD)

help:
	@sed -n '3,10s/^# \{0,1\}//p' Makefile
	@echo 'make asan       the unit tests with ASan and UBSan, in $$(BUILD)/asan'
	@echo 'make fuzz       each libFuzzer target for 10 minutes, with what it finds in $$(BUILD)/fuzz'
	@echo 'make unit | truth | benches       build one kind of test program'
	@echo 'make experiments   what freezing, immortal objects, the split layout and shared arrays save (as root)'
	@echo 'make lint | tidy | format | golden | bench | clean'

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
