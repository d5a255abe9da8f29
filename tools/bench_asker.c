// SPDX-License-Identifier: LGPL-2.1-or-later
// Asks a log server on a netlink socket what the kernel would ask it, one request at a time, and measures the answers.
// usage: bench_asker PORT PID COUNT: for each type of request a line "name nanoseconds cpu_nanoseconds instructions",
// each per request; instructions are 0 where the machine does not count them. It does not know who answers.

#include <stdint.h>
#include <linux/connector.h>
#include <linux/dm-log-userspace.h>
#include <linux/netlink.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { REGIONS = 4096, PORT_ABOVE = 1 << 28 };

static int fd, cpu_clock_of, counter;
static struct sockaddr_nl server = {.nl_family = AF_NETLINK};
static uint32_t seq = 1;

static int64_t now(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static int64_t ask(int type, const void *data, uint32_t size)
{
	static union { char bytes[1024]; struct nlmsghdr header; } buffer;
	struct cn_msg *message = NLMSG_DATA(&buffer.header);
	struct dm_ulog_request *request = (struct dm_ulog_request *)message->data;

	memset(buffer.bytes, 0, NLMSG_LENGTH(sizeof *message + sizeof *request));
	request->luid = 0xffff888012345678;
	strcpy(request->uuid, "bench");
	request->version = DM_ULOG_REQUEST_VERSION;
	request->seq = seq;
	request->request_type = type;
	request->data_size = size;
	memcpy(request->data, data, size);
	message->id.idx = CN_IDX_DM;
	message->id.val = CN_VAL_DM_USERSPACE_LOG;
	message->seq = seq++;
	message->len = sizeof *request + size;
	buffer.header.nlmsg_len = NLMSG_LENGTH(sizeof *message + message->len);
	buffer.header.nlmsg_type = NLMSG_DONE;
	if (sendto(fd, buffer.bytes, buffer.header.nlmsg_len, 0, (void *)&server, sizeof server) < 0 ||
	    recv(fd, buffer.bytes, sizeof buffer, 0) < 0 || request->error) {
		fprintf(stderr, "bench_asker: type %d: error %d\n", type, request->error);
		exit(1);
	}
	return *(int64_t *)request->data;
}

static void measure(const char *name, int type, uint32_t size, long count)
{
	uint64_t data[2] = {0, 1}, began = 0, ended = 0;
	int64_t start = 0, cpu = 0;

	for (long i = -count / 10; i < count; i++) {
		if (!i) {
			start = now(CLOCK_MONOTONIC), cpu = now(cpu_clock_of);
			if (counter >= 0 && read(counter, &began, sizeof began) < 0)
				began = 0;
		}
		data[0] = (uint64_t)(i + count) * 37 % REGIONS;
		ask(type, data, size);
	}
	cpu = now(cpu_clock_of) - cpu, start = now(CLOCK_MONOTONIC) - start;
	if (counter >= 0 && read(counter, &ended, sizeof ended) < 0)
		ended = began;
	printf("%s %.0f %.0f %.0f\n", name, (double)start / count, (double)cpu / count, (double)(ended - began) / count);
}

int main(int argc, char **argv)
{
	struct sockaddr_nl own = {.nl_family = AF_NETLINK};
	struct perf_event_attr attr = {.size = sizeof attr, .type = PERF_TYPE_HARDWARE, .config = PERF_COUNT_HW_INSTRUCTIONS};
	clockid_t clock;
	char string[64];
	long count = argc > 3 ? atol(argv[3]) : 0;

	if (count < 1 || clock_getcpuclockid(atoi(argv[2]), &clock)) {
		fprintf(stderr, "usage: bench_asker PORT PID COUNT\n");
		return 2;
	}
	cpu_clock_of = clock;
	attr.inherit = 1;
	counter = syscall(SYS_perf_event_open, &attr, atoi(argv[2]), -1, -1, 0);
	server.nl_pid = atoi(argv[1]);
	own.nl_pid = server.nl_pid + PORT_ABOVE;  // so that the server can know who is to ask it
	fd = socket(AF_NETLINK, SOCK_DGRAM, NETLINK_USERSOCK);
	if (fd < 0 || bind(fd, (void *)&own, sizeof own)) {
		perror("bench_asker");
		return 1;
	}
	sprintf(string, "%d core 1024 nosync", REGIONS * 1024);
	ask(DM_ULOG_CTR, string, strlen(string));
	ask(DM_ULOG_RESUME, "", 0);
	measure("IN_SYNC", DM_ULOG_IN_SYNC, 8, count);
	measure("IS_CLEAN", DM_ULOG_IS_CLEAN, 8, count);
	measure("MARK_REGION", DM_ULOG_MARK_REGION, 8, count);
	measure("FLUSH", DM_ULOG_FLUSH, 0, count);
	measure("FLUSH_with_mark", DM_ULOG_FLUSH, 8, count);
	measure("CLEAR_REGION", DM_ULOG_CLEAR_REGION, 8, count);
	measure("GET_RESYNC_WORK", DM_ULOG_GET_RESYNC_WORK, 0, count);
	measure("SET_REGION_SYNC", DM_ULOG_SET_REGION_SYNC, 16, count);
	measure("GET_SYNC_COUNT", DM_ULOG_GET_SYNC_COUNT, 0, count);
	measure("IS_REMOTE_RECOVERING", DM_ULOG_IS_REMOTE_RECOVERING, 8, count);
	measure("STATUS_INFO", DM_ULOG_STATUS_INFO, 0, count);
	ask(DM_ULOG_PRESUSPEND, "", 0);
	ask(DM_ULOG_POSTSUSPEND, "", 0);
	ask(DM_ULOG_DTR, "", 0);
	return 0;
}
