/* Every limit of the ledger on one screen. Sources: docs/protocol/ledger.md. */
#ifndef CULVERT_REPUTATION_LIMITS_H
#define CULVERT_REPUTATION_LIMITS_H

#include <stdint.h>

#include "base/time.h"

enum {
    REP_RECORD = 232,        /* octets of a half-block */
    REP_RECORD_SIGNED = 168, /* of these are under the signature */
    REP_HASH = 32,
    REP_NETWORK_ID = 8,

    REP_RECORDS_PER_MESSAGE = 5, /* half-blocks in one LEDGER message */
    REP_MESSAGE_MAX = 2 + REP_RECORDS_PER_MESSAGE * REP_RECORD,

    REP_EPOCH_SECONDS = 7 * 86400, /* default, and least on network "culvert" */
    REP_EPOCH_SECONDS_MIN = 1,
    REP_EPOCH_SECONDS_MAX = 366 * 86400,
    REP_RELEASE_PART = 7,        /* released in the first 1/7 of the next epoch */
    REP_RELEASE_EPOCHS_KEPT = 8, /* older unreleased counts are given up */

    REP_COMMIT_RECORDS = 1000, /* changed rows that force a commit at once */

    REP_LINKS = 16384,         /* links up at a time */
    REP_PEERS = 131072,        /* relays with a row or a link in memory */
    REP_GRAPH_NODES = 1 << 20, /* relays known to the ranking */
    REP_ACCOUNTS = 65536,      /* private accounts in memory */
    REP_ACCOUNTS_PER_NETWORK =
        256,                    /* of one /24 or /56 with links up; more are served as nameless */
    REP_ACCOUNT_DAYS = 30,      /* private accounts are deleted after */
    REP_CALENDAR_HOLDS = 3600,  /* s without a leap before anything is deleted for its age; */
    REP_CALENDAR_SLACK = 300,   /* a leap is longer */
    REP_CALENDAR_DOUBT = 86400, /* s after somebody said that it is wrong */
    REP_BAN_DAYS = 30,          /* links of a proven forger are refused */
    REP_ASK_MESSAGES_PER_MINUTE = 60, /* answers to one neighbour's ASKs */
    REP_MESSAGES_S = 20,              /* LEDGER messages on one link in a second, .. */
    REP_MESSAGES_BURST = 200,         /* .. and at once; more are not read */
    REP_RECORDS_PER_EPOCH = 16,       /* new half-blocks a neighbour may push in one epoch */
    REP_STRANGERS_KEPT = 1024,        /* half-blocks about us, unasked, and successions of all names
                                         that nothing is counted for, an epoch: names are free */
    REP_ASK_TRIES = 5,                /* unanswered asks before it is left for later */
    REP_SENDS_QUEUED = 4096,          /* messages waiting to be polled; more wait for a repeat */

    REP_DIGEST_HASH = 8, /* octets of a head's hash in a digest */
    REP_DIGEST = 32 + 8 + REP_DIGEST_HASH,
    REP_DIGESTS_PER_MESSAGE = 24,
    REP_GOSSIP_OWNERS = 4096,     /* chains near us that gossip keeps up with */
    REP_GOSSIP_PER_EPOCH = 65536, /* new half-blocks of others that a neighbour may bring, .. */
    REP_LOOKS_PER_EPOCH = 4096,   /* .. and old ones that are not stored if they are superfluous */
    REP_BLOCKS_KEPT = 1 << 22,    /* half-blocks in the store (1.1 GB); then only proposals of what
                                     we counted, and answers to ours */
    REP_BLOCKS_SCARCE = 1 << 21,  /* from so many on others' are rationed: in an epoch .. */
    REP_RATION = 16384,           /* .. so many by neighbours with a score, as many by the rest, */
    REP_RATION_PART = 8,          /* and of these no more than this part by one */
    REP_PRUNE_EPOCHS = 32,        /* superfluous half-blocks of others go after; in steps of .. */
    REP_PRUNE_STEP = 64,          /* .. so many that are looked at */
    REP_FRESH = 8,                /* chains with news, told of first */
    REP_VAIN = 256,               /* claims about chains too far away, not asked for again */
    REP_WANTS = 32,               /* chains that a neighbour is to be asked for */
    REP_TOLD = 16384,             /* holes that a neighbour left in a chain, of one epoch */
    REP_FORK_FANOUT = 25,         /* neighbours told of a proof at once, .. */
    REP_FORK_TTL = 3,             /* .. and so many times on */
    REP_FORKS_TOLD = 16,          /* to a new neighbour */
    REP_FORKS_STRANGE = 16,       /* proofs about strangers that a neighbour may bring in .. */
    REP_FORKS_STRANGE_ALL = 1024, /* .. an epoch, and all together: anybody can invent forgers */

    REP_TOKENS = 16,          /* priority tokens in a batch: one a week for an identity */
    REP_TOKEN_BATCHES = 4096, /* a guard issues in one week */
    REP_TOKEN_HITS = 10,      /* walks of REP_WALKS that a score needs for a batch, */
    REP_TOKEN_HITS_PART = 4,  /* and this part of the mean neighbour's */
    REP_TOKEN_TRIES_S = 50,   /* tokens shown to a guard, looked at in a second; burst twice */
    REP_TOKEN_TRY_S = 30,     /* one link may show one in so long, */
    REP_TOKEN_TRIES_LINK = 8, /* and so many at once: each is said three times */
    REP_TOKEN_ISSUES_S = 10,  /* requests for batches that are signed: in a second, burst twice */
    REP_TOKEN_LAST_HOURS = 6, /* of a week: nobody asks for its tokens any more */
    REP_TOKEN_DOUBLINGS = 9,  /* of the wait for an answer */
    REP_PURSES = 64,          /* batches of our own: guards times weeks */

    REP_WHY_KEPT = 4096, /* rows of why.h, of each kind; a file may have .. */
    REP_WHY_SLACK = 256, /* .. so many more of one: they go together */

    REP_HEIRS = 16, /* keys in a row that one relay had, whose rows still count */

    REP_WALKS = 10000,        /* walks of one ranking */
    REP_ALPHA_PERMILLE = 850, /* a walk goes on with this probability */
    REP_WALK_STEPS = 64,      /* 0.85^64 = 3e-5: longer walks change nothing */
    REP_HALF_LIFE_EPOCHS = 4,

    REP_WEIGHT_MEAN = 100, /* of a relay that scores as the mean neighbour does */
    REP_WEIGHT_MIN = 50,   /* of an unknown one */
    REP_WEIGHT_MAX = 400,
};

#define REP_MINIMUM_OCTETS (UINT64_C(64) << 20) /* default, and least on network "culvert" */
#define REP_COMMIT_WAIT    CV_MSEC(100)
#define REP_RETRY_FIRST    CV_MSEC(500) /* a lost LEDGER message is repeated after, doubling */
#define REP_RETRY_MAX      CV_SEC(60)
#define REP_ASK_WAIT       CV_SEC(2)         /* for an answer */
#define REP_ASK_FIRST_MAX  CV_SEC(30)        /* after a link came up, at random */
#define REP_GOSSIP_FIRST   CV_SEC(2)         /* between two digests, when there is news, .. */
#define REP_GOSSIP_MAX     CV_SEC(120)       /* .. doubled up to */
#define REP_PRUNE_WAIT     CV_MSEC(200)      /* between two steps of pruning */
#define REP_RERANK_WAIT    CV_SEC(1)         /* changes are gathered before a ranking */
#define REP_TOKEN_TIME     CV_SEC(3600)      /* in class 0, that a token buys */
#define REP_TOKEN_AGAIN    CV_SEC(21600)     /* after a refusal, until a batch is asked for again */
#define REP_TOKEN_RETRY    CV_SEC(60)        /* after no answer, doubling */
#define REP_TOKEN_SPREAD   86400             /* s: the first question of a week, at random within */
#define REP_AMOUNT_MAX     (UINT64_MAX >> 2) /* a cumulative counter; fits SQLite's integers */

#endif
