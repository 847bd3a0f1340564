/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * ct_phase.h - what an interpreter is doing, from the words that it keeps about itself. Plain
 * arithmetic on words that the caller has read (ct_interpreter.h), tested on the host as well.
 */
#ifndef CT_PHASE_H
#define CT_PHASE_H

/** struct ct_phase_words - what could be read of an interpreter. */
struct ct_phase_words {
	__u64 finalising; /* not 0: it is ending */
	__u32 collecting; /* not 0: inside a collection */
	__u32 asked;	  /* how many of these words the runtime has an address for */
	__u32 failed;	  /* how many of them could not be read */
};

/**
 * ct_phase_of_words - CT_PHASE_KNOWN, _COLLECTING and _FINALISING. What was read counts even where
 * another word could not be; but only with CT_PHASE_KNOWN does a missing flag mean "no".
 */
static __always_inline __u32 ct_phase_of_words(const struct ct_phase_words *words)
{
	__u32 phase = 0;

	if (words->asked && !words->failed)
		phase |= CT_PHASE_KNOWN;
	if (words->collecting)
		phase |= CT_PHASE_COLLECTING;
	if (words->finalising)
		phase |= CT_PHASE_FINALISING;
	return phase;
}

/**
 * ct_phase_of_counts - the generation that is being collected, from generations[1].count and
 * [2].count. A collection of generation N begins (Modules/gcmodule.c:collect, Python/gc.c) by
 * adding 1 to the count of N + 1 and setting those up to N to 0; the collector does not run inside
 * itself, so they stay so until it ends.
 */
static __always_inline __u32 ct_phase_of_counts(__s32 count1, __s32 count2)
{
	if (count1)
		return 0;
	return count2 ? 1 : 2;
}

#endif /* CT_PHASE_H */
