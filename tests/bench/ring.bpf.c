/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* ring.bpf.c - fills a ring buffer from a table of records, as the hooks would (consumer.c). */
#include "vmlinux.h"

#include <bpf/bpf_helpers.h>

#include "ct_abi.h"

char LICENSE[] SEC("license")
= "Dual BSD/GPL";

#define CT_TABLE 1024

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 << 20);
} ct_ring SEC(".maps");

struct ct_record ct_table[CT_TABLE];
__u32 ct_count; /* in: records of ct_table to send */
__u32 ct_sent;	/* out, of this run */

SEC("raw_tp/sys_enter")
int ct_fill(void *ctx)
{
	__u32 sent = 0;

	for (__u32 i = 0; i < CT_TABLE; i++) {
		if (i >= ct_count)
			break;
		if (bpf_ringbuf_output(&ct_ring, &ct_table[i], sizeof(ct_table[i]),
				       BPF_RB_NO_WAKEUP))
			break;
		sent++;
	}
	ct_sent = sent;
	return 0;
}
