// SPDX-License-Identifier: LGPL-2.1-or-later
// The least that a log in user space can cost: one thread, bits in memory, no checks, nothing durable. A yardstick.
// Without an argument it answers the kernel; with "usersock", whoever asks on a netlink socket of its own.

#include <stdint.h>
#include <linux/connector.h>
#include <linux/dm-log-userspace.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LOGS = 128, REGIONS_BYTES = 1 << 21, BUFFER = 4096 };

struct log {
	uint64_t luid, regions, in_sync, region_size, search;
	unsigned char *clean, *sync;
};

static struct log logs[LOGS];

static int bit(const unsigned char *bits, uint64_t region) { return bits[region >> 3] >> (region & 7) & 1; }

static void put(unsigned char *bits, uint64_t region, int value)
{
	if (value)
		bits[region >> 3] |= 1 << (region & 7);
	else
		bits[region >> 3] &= ~(1 << (region & 7));
}

static struct log *of(uint64_t luid)
{
	struct log *free_one = NULL;

	for (int i = 0; i < LOGS; i++) {
		if (logs[i].luid == luid)
			return &logs[i];
		if (!logs[i].luid && !free_one)
			free_one = &logs[i];
	}
	return free_one;
}

static void construct(struct log *log, const struct dm_ulog_request *request)
{
	unsigned long long length = 0, size = 1;

	sscanf(request->data, "%llu core %llu", &length, &size);
	log->luid = request->luid;
	log->region_size = size;
	log->regions = (length + size - 1) / size;
	log->search = 0;
	log->clean = log->clean ? log->clean : malloc(REGIONS_BYTES);
	log->sync = log->sync ? log->sync : malloc(REGIONS_BYTES);
	int fill = strstr(request->data, "nosync") ? 0xff : 0;
	memset(log->clean, fill, REGIONS_BYTES);
	memset(log->sync, fill, REGIONS_BYTES);
	log->in_sync = fill ? log->regions : 0;
}

static void answer(struct log *log, struct dm_ulog_request *request)
{
	uint64_t *data = (uint64_t *)request->data;
	uint32_t count = request->data_size / 8;

	request->data_size = 0;
	switch (request->request_type & DM_ULOG_REQUEST_MASK) {
	case DM_ULOG_CTR:
		construct(log, request);
		break;
	case DM_ULOG_DTR:
		log->luid = 0;
		break;
	case DM_ULOG_GET_REGION_SIZE:
		data[0] = log->region_size;
		request->data_size = 8;
		break;
	case DM_ULOG_IS_CLEAN:
	case DM_ULOG_IN_SYNC:
		data[0] = bit((request->request_type & DM_ULOG_REQUEST_MASK) == DM_ULOG_IN_SYNC ? log->sync : log->clean, data[0]);
		request->data_size = 8;
		break;
	case DM_ULOG_FLUSH:
	case DM_ULOG_MARK_REGION:
		for (uint32_t i = 0; i < count; i++)
			put(log->clean, data[i], 0);
		break;
	case DM_ULOG_CLEAR_REGION:
		for (uint32_t i = 0; i < count; i++)
			put(log->clean, data[i], 1);
		break;
	case DM_ULOG_GET_RESYNC_WORK:
		while (log->search < log->regions && bit(log->sync, log->search))
			log->search++;
		data[0] = log->search < log->regions;
		data[1] = log->search;
		request->data_size = 16;
		break;
	case DM_ULOG_SET_REGION_SYNC:
		log->in_sync += (int)data[1] - bit(log->sync, data[0]);
		put(log->sync, data[0], (int)data[1]);
		break;
	case DM_ULOG_GET_SYNC_COUNT:
		data[0] = log->in_sync;
		request->data_size = 8;
		break;
	case DM_ULOG_STATUS_INFO:
		request->data_size = 1 + sprintf(request->data, "1 core");
		break;
	case DM_ULOG_IS_REMOTE_RECOVERING:
		data[0] = 0;
		data[1] = log->regions - (log->in_sync < log->regions);
		request->data_size = 16;
		break;
	}
}

int main(int argc, char **argv)
{
	static union { char bytes[BUFFER]; struct nlmsghdr header; } buffer;
	int alone = argc > 1 && !strcmp(argv[1], "usersock"), group = CN_IDX_DM, size = 8 << 20;
	int fd = socket(AF_NETLINK, SOCK_DGRAM, alone ? NETLINK_USERSOCK : NETLINK_CONNECTOR);
	struct sockaddr_nl address = {.nl_family = AF_NETLINK};
	socklen_t length = sizeof address;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
	if (fd < 0 || bind(fd, (void *)&address, sizeof address) || getsockname(fd, (void *)&address, &length) ||
	    (!alone && setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group))) {
		perror("bench_floor");
		return 1;
	}
	printf("ready %u\n", address.nl_pid);
	fflush(stdout);
	for (;;) {
		length = sizeof address;
		if (recvfrom(fd, buffer.bytes, sizeof buffer, 0, (void *)&address, &length) < 0)
			continue;
		struct cn_msg *message = NLMSG_DATA(&buffer.header);
		struct dm_ulog_request *request = (struct dm_ulog_request *)message->data;
		struct log *log = of(request->luid);
		if (!log || (log->luid != request->luid && (request->request_type & DM_ULOG_REQUEST_MASK) != DM_ULOG_CTR)) {
			request->error = 0;
			request->data_size = 0;
		} else {
			answer(log, request);
		}
		message->len = sizeof *request + request->data_size;
		buffer.header.nlmsg_len = NLMSG_LENGTH(sizeof *message + message->len);
		sendto(fd, buffer.bytes, buffer.header.nlmsg_len, 0, (void *)&address, sizeof address);
	}
}
