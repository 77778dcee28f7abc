// SPDX-License-Identifier: GPL-2.0
// The init of a guest that dies: loads /provoke.ko with bug= from the kernel command line, or does what needs no
// module: sysrq-c and the end of init. Static: cc -O -static -o init init.c
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void write_to(const char *file, const char *text)
{
	int fd = open(file, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		perror(file);
	close(fd);
}

int main(void)
{
	char line[4096] = "", argument[64] = "", *at;
	int fd;

	mkdir("/proc", 0755);
	mount("proc", "/proc", "proc", 0, 0);
	fd = open("/proc/cmdline", O_RDONLY);
	if (fd < 0 || read(fd, line, sizeof(line) - 1) < 0)
		return 1;
	close(fd);
	at = strstr(line, " bug=");
	if (!at || sscanf(at, " %63s", argument) != 1)
		return 2;
	if (strstr(line, "hung_seconds="))
		write_to("/proc/sys/kernel/hung_task_timeout_secs", "3");
	if (strstr(line, "oops=loud"))
		write_to("/proc/sys/kernel/printk", "8");
	if (!strcmp(argument, "bug=init_killed"))
		return 7;
	if (!strcmp(argument, "bug=sysrq"))
		write_to("/proc/sysrq-trigger", "c");
	fd = open("/provoke.ko", O_RDONLY);
	if (fork() == 0) {
		syscall(SYS_finit_module, fd, argument, 0);
		perror("finit_module");
		return 0;
	}
	for (;;)
		sleep(1000);
}
