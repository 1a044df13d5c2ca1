/* Every limit of io on one screen. */
#ifndef CULVERT_IO_LIMITS_H
#define CULVERT_IO_LIMITS_H

#include <stdint.h>

enum {
    /* One receive call: so many messages, each of which may hold as many
     * datagrams as the kernel coalesces (64; newer kernels: 128). */
    IO_RECV_MESSAGES = 16,
    IO_RECV_OCTETS = 65536,
    IO_RECV_SPLIT_MAX = 128,

    /* Asked for the buffers of sockets that carry circuits, when nobody says otherwise; the
     * system may give less. Plain PPSPP has the system's default: with more its windows grow
     * so large that a machine which is busy repeats a third of everything. */
    IO_BUFFER_WISH = 4 << 20,

    /* One send call: so many messages, each a segmented run or one datagram. */
    IO_SEND_MESSAGES = 64,
    IO_SEND_OCTETS = 65487, /* of a segmented send: 65535 - IPv6 and UDP header */
    IO_GSO_REFUSALS = 8,    /* refused so often in a row, segmentation stays off */
    IO_TTL = 64,
    IO_SHARE_SHIFT = 2, /* of a datagram's fourth octet: what is left says whose it is (udp.h) */

    IO_PATH_MAX = 4096,
    IO_NAME_MAX = 128,
    IO_CONTENT_LINK_MAX = 4096 + 1, /* of a content's culvert: link, with its NUL */
    IO_STATE_FILE_MAX = 1 << 20,    /* of a file read whole from the state folder */

    IO_TRACE_LINE = 1024,

    /* Written but not durably marked: beyond this a store says AGAIN, so that
     * kill -9 and power cuts cost no more than that, and what waits in ppsp to be
     * written (PPSP_STAGE_SEGMENTS): 16 MiB fetched anew. */
    IO_STORE_UNCOMMITTED_MAX = 12 << 20,
    IO_STORE_COMMIT_AT = 6 << 20, /* a commit begins by itself */

    IO_TREE_SHARE = 100, /* a hash tree of less than 1 / so much of the content is kept whole */
    IO_TREE_BLOCKS = 16, /* of the hash tree in memory, 128 hashes each .. */
    IO_TREE_PAGES = 64,  /* .. and groups of 16 chunks that were just written */
    IO_LEAVES_OCTETS = 3 << 20, /* of leaf hashes that need not be made again, a store */

    IO_LIBRARY_FILES = 100000,    /* of one library */
    IO_RING_OCTETS_MAX = 1 << 30, /* of a live swarm's window */

    /* Of a folder as one swarm (folder_index.h). */
    IO_FOLDER_FILES = 10000,
    IO_FOLDER_INDEX = 4 << 20, /* octets */
    IO_FOLDER_PATH_MAX = 1024,
    IO_FOLDER_PART_MAX = 255, /* of a path: what file systems take */
    IO_FOLDER_DEPTH = 32,

    IO_CHUNK_MAX = 1 << 20,  /* octets of a chunk */
    IO_HASH_BLOCK = 1 << 20, /* octets a hashing thread reads at once; a group at least */
    IO_HASH_THREADS_MAX = 16,
};

/* 32-bit chunk numbers are what PPSPP's default addressing carries. */
#define IO_STORE_CHUNKS_MAX (UINT64_C(1) << 32)

/* What `play` leaves in the state folder, or a tenth of the disk if that is less. */
#define IO_CACHE_OCTETS (UINT64_C(20) << 30)

#endif
