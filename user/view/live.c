/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * live.c - the terminal taken, keys turned into what is shown, snapshots kept for the screen, the
 * terminal given back. Painting is live_draw.c's.
 *
 * ncurses has one current screen a program: it is set before every use. Its handlers for SIGINT and
 * SIGTERM would exit at once, without a summary: the caller's are put back.
 */
#include "view/live.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "view/words.h"

static const int ct_live_signals[CT_LIVE_SIGNALS] = { SIGINT, SIGTERM, SIGTSTP, SIGWINCH };

static void ct_live_colors(struct ct_live *live)
{
	if (!live->color || !has_colors() || start_color() == ERR) {
		live->color = false;
		return;
	}
	use_default_colors();
	for (short i = 0; i < 16; i++)
		init_pair((short)(i + 1), (short)(COLORS >= 16 ? i : i % 8), -1);
}

struct ct_live *ct_live__open(bool color, enum ct_axis axis)
{
	struct ct_live *live;

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
		errno = ENOTTY;
		return NULL;
	}
	if (!ct_live_can_draw()) {
		errno = ENOTSUP;
		return NULL;
	}
	live = calloc(1, sizeof(*live));
	if (!live)
		return NULL;
	live->color = color;
	live->axis = axis > CT_AXIS_UNKNOWN && axis < CT_AXIS_COUNT ? axis : CT_AXIS_CELL;
	live->utf8 = MB_CUR_MAX > 1;
	tcgetattr(STDIN_FILENO, &live->termios);
	for (int i = 0; i < CT_LIVE_SIGNALS; i++)
		sigaction(ct_live_signals[i], NULL, &live->actions[i]);
	live->screen = newterm(NULL, stdout, stdin);
	if (!live->screen) {
		free(live);
		errno = ENOTSUP;
		return NULL;
	}
	for (int i = 0; i < 2; i++) /* SIGINT, SIGTERM */
		sigaction(ct_live_signals[i], &live->actions[i], NULL);
	set_term(live->screen);
	ct_live_colors(live);
	cbreak();
	noecho();
	nonl();
	curs_set(0);
	keypad(stdscr, TRUE);
	nodelay(stdscr, TRUE);
	set_escdelay(25);
	ct_live_paint(live);
	return live;
}

static void ct_frame_free(struct ct_frame *frame)
{
	for (int axis = 0; axis < CT_AXIS_COUNT; axis++)
		ct_rows__free(&frame->rows[axis]);
	free(frame->regions);
}

void ct_live__close(struct ct_live *live)
{
	if (!live)
		return;
	set_term(live->screen);
	endwin();
	delscreen(live->screen);
	tcsetattr(STDIN_FILENO, TCSADRAIN, &live->termios);
	for (int i = 0; i < CT_LIVE_SIGNALS; i++)
		sigaction(ct_live_signals[i], &live->actions[i], NULL);
	ct_frame_free(&live->frame);
	free(live);
}

bool ct_live__wants_pages(const struct ct_live *live)
{
	return live->axis == CT_AXIS_PAGE && !live->paused;
}

/* The size is asked for and not only told by SIGWINCH: the caller may have blocked that. */
static void ct_live_resize(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_row || !size.ws_col)
		return;
	if (is_term_resized(size.ws_row, size.ws_col))
		resizeterm(size.ws_row, size.ws_col);
}

static void ct_frame_copy_run(struct ct_frame *frame, const struct ct_run_info *run)
{
	frame->run = *run;
	snprintf(frame->hook, sizeof(frame->hook), "%s", run->hook ? run->hook : "unknown");
	snprintf(frame->kernel, sizeof(frame->kernel), "%s", run->kernel ? run->kernel : "unknown");
	snprintf(frame->command, sizeof(frame->command), "%s", run->command ? run->command : "");
	frame->run.hook = frame->hook;
	frame->run.kernel = frame->kernel;
	frame->run.command = frame->command;
	frame->run.interpreters = NULL; /* not kept */
	frame->run.n_interpreters = 0;
}

/* False: out of memory; then the frame is not complete. */
static bool ct_frame_make(struct ct_frame *frame, const struct ct_snapshot *snapshot,
			  const struct ct_snapshot *last, double seconds)
{
	size_t bytes = snapshot->n_regions * sizeof(*snapshot->regions);

	memset(frame, 0, sizeof(*frame));
	frame->any = true;
	frame->others = ct_words__others(snapshot);
	frame->totals = snapshot->totals;
	frame->rate = frame->bytes_rate = NAN;
	frame->has_pages = snapshot->n_pages || !snapshot->all_pages;
	frame->stacks_every = snapshot->stacks_every;
	if (last && seconds > 0) {
		frame->rate = (double)(snapshot->totals.unshared - last->totals.unshared) / seconds;
		frame->bytes_rate =
			(double)(snapshot->totals.unshared_bytes - last->totals.unshared_bytes) /
			seconds;
	}
	frame->regions = malloc(bytes + 1);
	if (!frame->regions)
		return false;
	if (bytes)
		memcpy(frame->regions, snapshot->regions, bytes);
	frame->n_regions = snapshot->n_regions;
	for (int axis = CT_AXIS_UNKNOWN + 1; axis < CT_AXIS_COUNT; axis++) {
		if (ct_rows__make(&frame->rows[axis], snapshot, axis, CT_LIVE_ROWS_MOST))
			return false;
		ct_rows__rate(&frame->rows[axis], last, axis, seconds);
	}
	return true;
}

void ct_live__draw(struct ct_live *live, const struct ct_snapshot *snapshot,
		   const struct ct_snapshot *last, double seconds)
{
	struct ct_frame frame;

	set_term(live->screen);
	ct_live_resize();
	if (!live->paused) {
		if (!ct_frame_make(&frame, snapshot, last, seconds)) {
			ct_frame_free(&frame); /* out of memory: the old picture stays */
			return;
		}
		ct_frame_free(&live->frame);
		live->frame = frame;
		ct_frame_copy_run(&live->frame, &snapshot->run);
		if (!isnan(frame.rate)) {
			if (live->n_history == CT_LIVE_HISTORY)
				memmove(live->history, live->history + 1,
					(--live->n_history) * sizeof(*live->history));
			live->history[live->n_history++] = frame.rate;
		}
	}
	ct_live_paint(live);
}

static void ct_live_choose(struct ct_live *live, int axis)
{
	live->axis = (enum ct_axis)axis;
	live->scroll = 0;
}

/* Scrolling; the painter keeps it inside the table. */
static bool ct_live_scroll(struct ct_live *live, int key)
{
	size_t page = live->page_rows ? live->page_rows : 1;

	if (key == KEY_UP || key == 'k')
		live->scroll -= live->scroll > 0;
	else if (key == KEY_DOWN || key == 'j')
		live->scroll++;
	else if (key == KEY_PPAGE)
		live->scroll -= live->scroll < page ? live->scroll : page;
	else if (key == KEY_NPAGE)
		live->scroll += page;
	else if (key == KEY_HOME || key == 'g')
		live->scroll = 0;
	else if (key == KEY_END || key == 'G')
		live->scroll = CT_LIVE_ROWS_MOST;
	else
		return false;
	return true;
}

static enum ct_live_action ct_live_press(struct ct_live *live, int key)
{
	static const char letters[CT_AXIS_COUNT] = {
		0, 'c', 'a', 't', 'w', 'p', 'P', 'l', 'f', 'm'
	};

	for (int axis = CT_AXIS_UNKNOWN + 1; axis < CT_AXIS_COUNT; axis++)
		if (key == letters[axis] || key == '0' + axis)
			ct_live_choose(live, axis);
	if (key == '\t')
		ct_live_choose(live, live->axis % (CT_AXIS_COUNT - 1) + 1);
	else if (key == KEY_BTAB)
		ct_live_choose(live, (live->axis + CT_AXIS_COUNT - 3) % (CT_AXIS_COUNT - 1) + 1);
	else if (key == ' ')
		live->paused = !live->paused;
	else if (key == '?' || key == 'h' || key == KEY_F(1))
		live->help = !live->help;
	else if (key == 27)
		live->help = false;
	else if (key == 12) /* Ctrl-L: another program wrote over the screen */
		clearok(curscr, TRUE);
	else if (key == 'q' || key == 'Q')
		return CT_LIVE_QUIT;
	if (key == 'r') {
		live->n_history = 0;
		live->scroll = 0;
		live->paused = false;
		return CT_LIVE_RESET;
	}
	ct_live_scroll(live, key);
	return CT_LIVE_NONE;
}

/* Nothing to read, and never again: the terminal is gone. */
static bool ct_live_is_gone(void)
{
	struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };

	return poll(&in, 1, 0) > 0 && (in.revents & (POLLHUP | POLLERR | POLLNVAL));
}

enum ct_live_action ct_live__key(struct ct_live *live)
{
	enum ct_live_action action = CT_LIVE_NONE;
	int key, left = 256; /* a paste must not keep the screen still */

	set_term(live->screen);
	ct_live_resize();
	while (action == CT_LIVE_NONE && left-- && (key = getch()) != ERR)
		action = ct_live_press(live, key);
	if (action == CT_LIVE_NONE && ct_live_is_gone())
		action = CT_LIVE_QUIT;
	if (action != CT_LIVE_QUIT)
		ct_live_paint(live);
	return action;
}
