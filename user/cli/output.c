/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* output.c - where a run's results go. */
#include "cli/output.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <langinfo.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/log.h"

#define CT_JSON_PAGES 10000 /* most pages listed; totals are of all */

static bool ct_wants_color(int fd)
{
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(fd) && !(no_color && *no_color) && term && strcmp(term, "dumb") != 0;
}

static unsigned int ct_columns(int fd)
{
	struct winsize size;

	return !ioctl(fd, TIOCGWINSZ, &size) && size.ws_col >= 40 ? size.ws_col : 120;
}

static int ct_open_json(struct ct_output *output, const char *name)
{
	int fd;

	output->json_name = name;
	if (!strcmp(name, "-")) {
		output->json = stdout;
		return 0;
	}
	/* not truncated before there is something to put there */
	fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	output->json = fd >= 0 ? fdopen(fd, "w") : NULL;
	if (!output->json) {
		ct_error("cannot write %s: %s", name, strerror(errno));
		return CT_EXIT_FAILED;
	}
	return 0;
}

int ct_output__open(struct ct_output *output, const struct ct_options *options)
{
	bool json_on_stdout = (options->json && !strcmp(options->json, "-")) ||
			      (options->faults && !strcmp(options->faults, "-"));
	/* a command's own output is not to be mixed with ours */
	int fd = options->command || json_on_stdout ? STDERR_FILENO : STDOUT_FILENO;
	bool on_terminal = !options->command && !json_on_stdout && !options->plain &&
			   isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	double interval_s = options->interval_s;

	*output = (struct ct_output){ .text = fd == STDOUT_FILENO ? stdout : stderr };
	if (interval_s == 0)
		interval_s = on_terminal ? 0.5 : options->command || json_on_stdout ? 0 : 2;
	output->interval_ns = (uint64_t)(interval_s * 1e9);
	output->last_ns = ct_now_ns();
	output->style = (struct ct_text_style){ .color = ct_wants_color(fd),
						.utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8"),
						.columns = ct_columns(fd),
						.axis = options->axis,
						.rows = 10 };
	return options->json ? ct_open_json(output, options->json) : 0;
}

void ct_output__start_live(struct ct_output *output, const struct ct_options *options)
{
	if (options->command || options->plain || output->text != stdout || !isatty(STDIN_FILENO) ||
	    !isatty(STDOUT_FILENO))
		return;
	output->live = ct_live__open(ct_wants_color(STDOUT_FILENO), options->axis);
	if (output->live)
		ct_log_hold();
	else
		ct_warn("no live screen on this terminal (TERM=%s): printing blocks instead",
			getenv("TERM") ? getenv("TERM") : "");
}

/* Text that cannot be written: a closed pipe is how `| head` says that it has enough. */
static void ct_text_failed(struct ct_output *output, int err)
{
	if (!err)
		return;
	output->closed = true;
	if (err == -EPIPE)
		return;
	output->failed = true;
	ct_error("cannot write the text: %s", strerror(-err));
}

void ct_output__show(struct ct_output *output, struct ct_session *session)
{
	uint64_t now_ns = ct_now_ns();
	bool pages = output->live ? ct_live__wants_pages(output->live)
				  : output->style.axis == CT_AXIS_PAGE;
	struct ct_snapshot *snapshot = ct_session__snapshot(session, pages ? 256 : 0);

	if (!snapshot)
		return;
	if (output->live)
		ct_live__draw(output->live, snapshot, output->last,
			      (double)(now_ns - output->last_ns) / 1e9);
	else if (!output->closed)
		ct_text_failed(output, ct_view_text__block(output->text, &output->style, snapshot,
							   output->last));
	ct_snapshot__free(output->last);
	output->last = snapshot;
	output->last_ns = now_ns;
}

enum ct_live_action ct_output__key(struct ct_output *output, struct ct_session *session)
{
	enum ct_live_action action = ct_live__key(output->live);

	if (action == CT_LIVE_RESET) {
		ct_session__reset(session);
		ct_snapshot__free(output->last);
		output->last = NULL;
	}
	if (action != CT_LIVE_QUIT)
		ct_output__show(output, session);
	return action;
}

static int ct_write_json(struct ct_output *output, const struct ct_snapshot *snapshot)
{
	int err = 0;

	if (output->json != stdout && ftruncate(fileno(output->json), 0) && errno != EINVAL)
		err = -errno; /* EINVAL: a device or a pipe, which cannot be cut */
	if (!err)
		err = ct_view_json__write(output->json, snapshot);
	if (output->json != stdout && fclose(output->json) && !err)
		err = -errno;
	if (err)
		ct_error("cannot write the JSON to %s: %s",
			 output->json == stdout ? "standard output" : output->json_name,
			 strerror(-err));
	output->json = NULL;
	return err ? CT_EXIT_FAILED : 0;
}

int ct_output__finish(struct ct_output *output, struct ct_session *session)
{
	struct ct_snapshot *snapshot = ct_session__snapshot(session, CT_JSON_PAGES);
	int status = 0;

	ct_live__close(output->live);
	if (output->live)
		ct_log_release();
	output->live = NULL;
	if (!snapshot) {
		ct_error("out of memory: no summary");
		status = CT_EXIT_FAILED;
	} else {
		if (!output->closed)
			ct_text_failed(output, ct_view_text__summary(output->text, &output->style,
								     snapshot));
		if (output->json)
			status = ct_write_json(output, snapshot);
	}
	ct_snapshot__free(snapshot);
	ct_snapshot__free(output->last);
	output->last = NULL;
	return output->failed ? CT_EXIT_FAILED : status;
}
