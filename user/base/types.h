/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* types.h - the few types that every layer shares. */
#ifndef CT_BASE_TYPES_H
#define CT_BASE_TYPES_H

#include <stddef.h>
#include <stdint.h>

/** An address in the target: an integer, so that nothing can dereference it. */
typedef uint64_t ct_raddr_t;

#define CT_PAGE_SIZE	     4096ull
#define CT_PAGE_MASK	     (~(CT_PAGE_SIZE - 1))
#define CT_ARRAY_SIZE(a)     (sizeof(a) / sizeof((a)[0]))
#define CT_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define ct_cleanup(fn)	     __attribute__((cleanup(fn)))

#endif /* CT_BASE_TYPES_H */
