/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* ct_core.h - all that the hooks share, in the order in which it builds on itself. */
#ifndef CT_CORE_H
#define CT_CORE_H

#include "vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "ct_abi.h"
#include "ct_config.h"

const volatile struct ct_config ct_config; /* the only object in .rodata */

struct ct_control ct_control SEC(".data.control");

#define CT_LAYOUT (&ct_config.layout) /* volatile to the end: else it is folded to zero */

#include "ct_classify.h"
#include "ct_task.h"

#include "ct_interpreter.h"
#include "ct_record.h"
#include "ct_stack.h"

#include "ct_family.h"
#include "ct_pagetable.h"

char LICENSE[] SEC("license")
= "Dual BSD/GPL";

#endif /* CT_CORE_H */
