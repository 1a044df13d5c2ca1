/*
 * Every limit of the DHT in one place. Counts unless the name says otherwise;
 * times in microseconds (cv_usec) are macros below, because an enum is an int.
 */
#ifndef CULVERT_DHT_LIMITS_H
#define CULVERT_DHT_LIMITS_H

#include "base/time.h"

enum {
    /* Format */
    DHT_BEN_DEPTH_MAX = 32,    /* nested lists and dictionaries */
    DHT_DATAGRAM_MIN = 15,     /* nothing valid is shorter */
    DHT_DATAGRAM_USUAL = 1024, /* BEP 32; more only for stored values */
    DHT_TID_MAX = 32,          /* transaction ids that we echo */
    DHT_TOKEN_LEN = 8,         /* ours */
    DHT_TOKEN_MAX = 40,        /* theirs; a longer one counts as none */

    /* Table */
    DHT_K = 8,
    DHT_REPLACEMENTS = 8,
    DHT_BAD_AFTER = 3,       /* unanswered queries in a row */
    DHT_NEARLY_EMPTY = 32,   /* fewer good nodes: ping overheard queriers at once */
    DHT_NODES_IN_REPLY = 16, /* taken from one answer */
    DHT_TABLE_BUCKETS = 160,
    DHT_LIARS = 64, /* addresses caught with changing ids */

    /* Look-ups */
    DHT_ALPHA = 4,
    DHT_PATHS = 4,            /* disjoint ones of a look-up */
    DHT_PATH_CANDIDATES = 32, /* remembered at once */
    DHT_PATH_QUERIES = 24,    /* asked */
    DHT_STARTS = 24,          /* of the table, dealt out */
    DHT_SWEEPS = 3,           /* neighbouring targets looked up where a key is crowded */
    DHT_CANDIDATES = (DHT_PATHS + 1) * DHT_PATH_CANDIDATES, /* of a look-up and side */
    DHT_LOOKUP_QUERIES = (DHT_PATHS + 1) * DHT_PATH_QUERIES,
    DHT_STORES_MAX = DHT_K + DHT_PATHS * DHT_K / 2 + DHT_PATH_QUERIES, /* stored on, per side */
    DHT_SIZES = 16,       /* look-ups that the size is from */
    DHT_TRIES = 2,        /* sends per candidate */
    DHT_KEEP_AT_ONCE = 8, /* of operations that are kept alive: rounds under way */
    DHT_OPS = 256,        /* operations at once */
    DHT_QUERIES = 1024,   /* unanswered at once */
    DHT_BOOTSTRAP_CONTACTS = 64,
    DHT_SAVED_NODES = 512,

    /* Stores */
    DHT_HASHES = 2000,
    DHT_PEERS_PER_HASH = 500,
    DHT_PEERS_PER_SOURCE = 256, /* live announcements by one /24 or /64, estimated */
    DHT_ITEMS = 700,
    DHT_ITEMS_PER_SOURCE = 128,
    DHT_VALUES_IN_REPLY = 50,
    DHT_SAMPLES_IN_REPLY = 20,

    /* Abuse */
    DHT_SOURCE_RATE = 20, /* queries a second of one IP (/64), averaged */
    DHT_SOURCE_BURST = 100,
    DHT_BUDGET_RATE = 4096, /* octets a second of long replies for one /24 (/64) */
    DHT_BUDGET_BURST = 16384,
    DHT_SOURCES = 4096,       /* tracked by the limiter */
    DHT_AMPLIFY = 4,          /* reply <= 4 x query for sources that hold no token */
    DHT_OUTBOX_MAX = 1 << 20, /* octets waiting to be sent */
    DHT_PING_RATE = 4,        /* overheard queriers pinged a second */
    DHT_PING_BURST = 64,

    DHT_EXTERNAL_VOTES = 3, /* of different /16 (/32) */
};

#define DHT_TOKEN_ROTATE CV_SEC(300) /* accepted for up to twice that (BEP 5) */
#define DHT_GOOD_FOR     CV_SEC(900)
#define DHT_PEER_EXPIRES CV_SEC(2700)
#define DHT_ITEM_EXPIRES CV_SEC(7200)

/* Longest pause before something is stored anew; drawn from the last fifth or
 * quarter of it. */
#define DHT_KEEP_PEER  CV_SEC(1800)
#define DHT_KEEP_ITEM  CV_SEC(3600)
#define DHT_KEEP_RETRY CV_SEC(60) /* nobody stored; doubles */

#define DHT_SHORT_FIRST CV_MSEC(300) /* before any round trip was measured */
#define DHT_SHORT_MIN   CV_MSEC(100)
#define DHT_SHORT_MAX   CV_SEC(1)
#define DHT_QUERY_LIVES CV_SEC(15) /* an answer is still recognised */

#define DHT_UPKEEP_EVERY   CV_SEC(10)
#define DHT_REFRESH_AFTER  CV_SEC(900) /* bucket without change */
#define DHT_REFRESH_FIRST  CV_SEC(10)  /* after the first answered look-up */
#define DHT_HOME_EVERY     CV_SEC(300)
#define DHT_LIAR_FOR       CV_SEC(900)
#define DHT_BOOTSTRAP_WAIT CV_SEC(8)
#define DHT_BOOTSTRAP_GAP  CV_MSEC(50) /* first pause; doubles */
#define DHT_BOOTSTRAP_SLOW CV_SEC(60)

#endif
