/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* live_term.c - whether the terminal can be drawn on; apart because of the macros of <term.h>. */
#include <stdlib.h>
#include <unistd.h>

#include "view/live.h"

#include <term.h>

bool ct_live_can_draw(void)
{
	const char *term = getenv("TERM"), *move;
	bool can;
	int err;

	if (!term || !*term || setupterm(term, STDOUT_FILENO, &err) == ERR)
		return false;
	move = tigetstr("cup");
	can = move && move != (char *)-1;
	del_curterm(cur_term);
	return can;
}
