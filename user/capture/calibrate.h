/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* calibrate.h - where this boot of the kernel put its direct map and struct pages. */
#ifndef CT_CAPTURE_CALIBRATE_H
#define CT_CAPTURE_CALIBRATE_H

#include <linux/types.h>
#include <stddef.h>

#include "ct_calibrate.h"

/**
 * ct_calibrate - find the kernel's layout by experiment on this process's own page tables.
 * Return: 0, -EOPNOTSUPP when no guess proves itself, or the errno of loading and attaching; the
 * reason has been put into @why (at least 256 bytes).
 */
int ct_calibrate(struct ct_kernel_layout *layout, char *why, size_t why_len);

#endif /* CT_CAPTURE_CALIBRATE_H */
