/* Every limit and period of ppsp on one screen. Times in microseconds. */
#ifndef CULVERT_PPSP_LIMITS_H
#define CULVERT_PPSP_LIMITS_H

#include "base/time.h"

enum {
    PPSP_VERSION = 1,
    PPSP_CHUNK_SIZE_MIN = 512, /* RFC 7574 section 8.1 */
    PPSP_CHUNK_SIZE_MAX = 65000,
    PPSP_DATAGRAM_MAX = 65507,

    /* Chunks are sent and verified by aligned groups of 2^GROUP_LEVEL chunks;
     * a page of the hash tree holds the levels 0..GROUP_LEVEL of one. */
    PPSP_GROUP_LEVEL = 4,
    PPSP_GROUP_CHUNKS = 1 << PPSP_GROUP_LEVEL,
    PPSP_PAGE_NODES = 2 * PPSP_GROUP_CHUNKS - 1,
    PPSP_PAGES = 64, /* tree pages kept in memory per active swarm */

    PPSP_STAGE_CHUNKS = 64,      /* verified chunks gathered for one store write .. */
    PPSP_STAGE_OCTETS = 1 << 16, /* .. and at most so many octets of them */
    PPSP_STAGE_SEGMENTS = 64,    /* such writes that wait while the store is busy */
    PPSP_WITHHOLD = 256,       /* one chunk in so many is not sent until it is asked for again .. */
    PPSP_WITHHOLD_RANGE = 32,  /* .. where at least so many follow each other */
    PPSP_FALSE_ACKS = 16,      /* .. and so many of these acknowledged unsent end the channel */
    PPSP_BURST_CHUNKS = 48,    /* chunks served to one peer in a row; <= CV_RUN_MAX */
    PPSP_PENDING_HASHES = 128, /* unverified hashes remembered per channel */
    PPSP_REQUEST_RANGES = 64,  /* ranges a peer may have queued with us */
    PPSP_SPARSE_MAX = 32,      /* intervals before a chunk set becomes a bitmap */
    PPSP_PEER_SET_OCTETS = 1 << 20, /* of the bitmap of a peer's chunks: 8 Mi chunks; .. */
    PPSP_PEER_INTERVALS = 4096,     /* .. of longer content so many intervals are known */
    PPSP_WANTS = 64,                /* wants of one swarm: as many as the gateway has players */
    PPSP_EVENTS = 1024,
    PPSP_ASKED = 16,      /* calls of swarms that are not open, waiting to be told */
    PPSP_HALF_OPEN = 256, /* handshakes answered but not proven */
    PPSP_KEPT = 8,        /* one place for a peer in so many is not for strangers who call */
    PPSP_BANS = 64,
    PPSP_PEX_ANSWER = 8,    /* addresses told, and believed, at a time */
    PPSP_PEX_PEERS = 32,    /* peers of a swarm that other peers named */
    PPSP_CONTACTS_DUE = 64, /* events about contacts that wait at a time */

    /* Membership certificates (section 12.2.1), in seconds of the calendar. */
    PPSP_MEMBER_TIME = 86400, /* that ours are good for */
    PPSP_MEMBER_LEFT = 600,   /* of which so much must be left when they are given */
    PPSP_MEMBER_SKEW = 600,   /* that the issuer's clock may be ahead */

    PPSP_WINDOW_MIN = 32,    /* chunks asked of one peer at a time, at least .. */
    PPSP_WINDOW_MAX = 16384, /* .. and at most */
    PPSP_FLIGHT_RUNS = 2048, /* runs of <= 64 chunks in flight per direction */
    PPSP_GONE_RUNS = 256,    /* such runs given up and still known as sent */

    PPSP_COMMIT_OCTETS = 8 << 20,

    /* Live swarms (section 6). */
    PPSP_MUNRO_CHUNKS_MAX = 1024, /* under one signature that is accepted */
    PPSP_MUNROS_MAX = 65536,      /* signatures remembered; older chunks are not given on */
    PPSP_LIVE_INTERVALS = 1024,   /* of a chunk set: nothing bounds the numbers */
    PPSP_LIVE_AHEAD = 65536,      /* chunks behind the newest signed one that a peer is asked for */
    PPSP_LIVE_PICK = 8,           /* chunks of one request, so that peers get different ones */
    PPSP_LIVE_ASK = 16,           /* chunks asked of one peer at a time, at least */
    PPSP_SIGNATURES = 64,         /* of Sign All, waiting for their chunks, per channel */
};

#define PPSP_HANDSHAKE_RETRY     CV_MSEC(250) /* doubles up to .. */
#define PPSP_HANDSHAKE_RETRY_MAX CV_SEC(8)
#define PPSP_RTT_MAX             CV_SEC(2)   /* more is a machine that slept */
#define PPSP_KEEPALIVE           CV_SEC(25)  /* under the 30 s of common NATs */
#define PPSP_DEAD                CV_SEC(180) /* section 3.12, with .. */
#define PPSP_DEAD_DATAGRAMS      3           /* .. so many sent in vain */
#define PPSP_DEAD_ANSWER         CV_SEC(5)   /* .. the last of them so long ago */
#define PPSP_SILENT              CV_SEC(10)  /* asked in vain so long: called anew; doubles */
#define PPSP_HALF_OPEN_TIME      CV_SEC(10)
#define PPSP_BAN_TIME            CV_SEC(600)
#define PPSP_HAVE_DELAY          CV_MSEC(20) /* news are gathered so long */
#define PPSP_HAVE_AGAIN          CV_SEC(1)  /* everything is told again, as HAVE may get lost, .. */
#define PPSP_HAVE_AGAIN_MAX      CV_SEC(64) /* .. at doubling intervals up to this */
#define PPSP_PEX_HEARD           CV_SEC(60) /* section 3.10: traffic in the last minute */
#define PPSP_PEX_EVERY           CV_SEC(60) /* asked and answered no more often */
#define PPSP_STORE_RETRY         CV_MSEC(20)  /* busy */
#define PPSP_UNTAKE_AGAIN        CV_MSEC(250) /* what could not be taken out of a set */
#define PPSP_STORE_REREAD        CV_SEC(1)    /* what could not be read */
#define PPSP_COMMIT_DELAY        CV_SEC(2)
/* RFC 6817: at most 100 ms. The estimate is the least of a round trip; the mean of
 * the queue lies 15 ms above it. */
#define PPSP_LEDBAT_TARGET        CV_MSEC(90)
#define PPSP_LEDBAT_TARGET_HIDDEN CV_MSEC(60)

#endif
