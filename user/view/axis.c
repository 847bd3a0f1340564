/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* axis.c - the words of --by, of the live keys and of table heads, made enum ct_axis and back. */
#include <string.h>

#include "view/view.h"

static const char *const ct_axis_names[CT_AXIS_COUNT] = {
	"unknown", "cell",    "cause", "type",	   "writer",
	"page",	   "process", "line",  "function", "module",
};

const char *ct_axis_name(enum ct_axis axis)
{
	return ct_axis_names[(unsigned int)axis < CT_AXIS_COUNT ? axis : CT_AXIS_UNKNOWN];
}

enum ct_axis ct_axis_parse(const char *word)
{
	for (int axis = CT_AXIS_UNKNOWN + 1; axis < CT_AXIS_COUNT; axis++)
		if (word && !strcmp(word, ct_axis_names[axis]))
			return (enum ct_axis)axis;
	return CT_AXIS_UNKNOWN;
}
