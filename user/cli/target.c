/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* target.c - the process to trace: found and checked, or started and held until we are ready. */
#include "cli/target.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fmt.h"
#include "base/log.h"
#include "base/types.h"
#include "cli/options.h"
#include "resolve/image.h"

/* What /proc/PID/status says. */
struct ct_status {
	char state;
	int tgid;
	bool has_memory;
};

static int ct_read_status(pid_t pid, struct ct_status *status)
{
	char path[64], line[512];
	FILE *f;

	*status = (struct ct_status){ 0 };
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		sscanf(line, "State: %c", &status->state);
		sscanf(line, "Tgid: %d", &status->tgid);
		if (!strncmp(line, "VmSize:", 7))
			status->has_memory = true;
	}
	fclose(f);
	return 0;
}

static void ct_set_command(struct ct_target *target, const char *command)
{
	ct_escape(target->command, sizeof(target->command), command, SIZE_MAX);
}

int ct_target__find(struct ct_target *target, pid_t pid, bool follow)
{
	struct ct_status status;
	char *command;

	*target = (struct ct_target){ .pid = pid, .go_fd = -1, .exec_error_fd = -1 };
	if (ct_read_status(pid, &status)) {
		ct_error("no process %d: nothing to attach to ('ps -e' lists what runs)", pid);
		return CT_EXIT_NO_TARGET;
	}
	if (status.state == 'Z' || status.state == 'X') {
		ct_error("process %d is a zombie: it has ended and has no memory any more", pid);
		return CT_EXIT_NO_TARGET;
	}
	if (!status.has_memory) {
		ct_error("process %d is a kernel thread: it has no memory of its own to copy", pid);
		return CT_EXIT_NO_TARGET;
	}
	if (status.tgid == getpid()) {
		ct_error("process %d is cowtrace itself: give the pid of another program", pid);
		return CT_EXIT_NO_TARGET;
	}
	if (status.tgid == 1 && follow) {
		ct_error("process 1 is the ancestor of all others: give the main process of one "
			 "service, or add --no-follow");
		return CT_EXIT_NO_TARGET;
	}
	if (status.tgid != pid) {
		ct_warn("%d is a thread of process %d, which is traced", pid, status.tgid);
		target->pid = status.tgid;
	}
	command = ct_command_of(target->pid, "?");
	ct_set_command(target, command ? command : "?");
	free(command);
	return 0;
}

/* In the child: wait to be traced, then become the command. */
static void ct_run_command(char **argv, int go_fd, int error_fd)
{
	char byte;
	ssize_t n;
	int err;

	do {
		n = read(go_fd, &byte, 1);
	} while (n < 0 && errno == EINTR);
	if (n != 1)
		_exit(CT_EXIT_FAILED); /* cowtrace gave up */
	close(go_fd);
	execvp(argv[0], argv);
	err = errno;
	n = write(error_fd, &err, sizeof(err));
	_exit(err == ENOENT ? 127 : 126);
}

int ct_target__start(struct ct_target *target, char **argv)
{
	char joined[256] = "";
	int go[2], error[2];
	sigset_t none;

	*target = (struct ct_target){ .go_fd = -1, .exec_error_fd = -1, .started = true };
	if (pipe2(go, O_CLOEXEC) || pipe2(error, O_CLOEXEC)) {
		ct_error("cannot start a command: %s", strerror(errno));
		return CT_EXIT_FAILED;
	}
	target->pid = fork();
	if (target->pid < 0) {
		ct_error("cannot start a command: %s", strerror(errno));
		return CT_EXIT_FAILED;
	}
	if (!target->pid) {
		/* what cowtrace changed of signals must not be inherited */
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		signal(SIGPIPE, SIG_DFL);
		close(go[1]);
		ct_run_command(argv, go[0], error[1]);
	}
	close(go[0]);
	close(error[1]);
	target->go_fd = go[1];
	target->exec_error_fd = error[0];
	for (size_t used = 0; *argv && used < sizeof(joined) - 1; argv++)
		used += (size_t)snprintf(joined + used, sizeof(joined) - used, "%s%s",
					 used ? " " : "", *argv);
	ct_set_command(target, joined);
	return 0;
}

int ct_target__release(struct ct_target *target)
{
	int err = 0;
	ssize_t n;

	if (!target->started)
		return 0;
	n = write(target->go_fd, "", 1);
	close(target->go_fd);
	target->go_fd = -1;
	do {
		n = read(target->exec_error_fd, &err, sizeof(err));
	} while (n < 0 && errno == EINTR);
	close(target->exec_error_fd);
	target->exec_error_fd = -1;
	if (n != sizeof(err))
		return 0; /* closed by a successful exec */
	ct_error("cannot run %s: %s", target->command, strerror(err));
	return err == ENOENT ? 127 : 126;
}

bool ct_target__reap(struct ct_target *target, int *status)
{
	int wait_status;

	if (!target->started || waitpid(target->pid, &wait_status, WNOHANG) != target->pid)
		return false;
	target->started = false;
	*status = WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
	return true;
}

#ifndef CAP_PERFMON
#define CAP_PERFMON 38
#define CAP_BPF	    39
#endif

const char *ct_missing_capabilities(char *text, size_t len)
{
	static const struct {
		int bit;
		bool admin_will_do; /* CAP_SYS_ADMIN includes it */
		const char *name;
	} needed[] = {
		{ CAP_BPF, true, "CAP_BPF" },
		{ CAP_PERFMON, true, "CAP_PERFMON" },
		{ CAP_SYS_PTRACE, false, "CAP_SYS_PTRACE" },
	};
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };
	uint64_t have = 0;
	size_t used = 0;

	if (!syscall(SYS_capget, &header, data))
		have = (uint64_t)data[1].effective << 32 | data[0].effective;
	text[0] = '\0';
	for (size_t i = 0; i < CT_ARRAY_SIZE(needed) && used < len; i++) {
		if (have & 1ull << needed[i].bit)
			continue;
		if (needed[i].admin_will_do && (have & 1ull << CAP_SYS_ADMIN))
			continue;
		used += (size_t)snprintf(text + used, len - used, "%s%s", used ? ", " : "",
					 needed[i].name);
	}
	return text;
}

int ct_check_privileges(void)
{
	char missing[128];

	if (*ct_missing_capabilities(missing, sizeof(missing))) {
		ct_error("missing %s: run it as root (sudo cowtrace ...)", missing);
		return CT_EXIT_FAILED;
	}
	if (access("/sys/kernel/btf/vmlinux", R_OK)) {
		ct_error("this kernel has no BTF (/sys/kernel/btf/vmlinux: %s): it must be built "
			 "with "
			 "CONFIG_DEBUG_INFO_BTF",
			 strerror(errno));
		return CT_EXIT_FAILED;
	}
	return 0;
}
