/*
 * What the files of the ledger engine share. Each owns one concern:
 *   ledger.c    life, links, deadlines, events, the group commit
 *   counter.c   octets per relay and epoch, from carried() to a closed row
 *   settle.c    a closed row becomes two half-blocks: counters, proposal, agreement
 *   ask.c       half-blocks of direct neighbours, asked for and answered
 *   gossip.c    half-blocks and proofs of forgery from farther away
 *   names.c     what names may do that cost nothing
 *   succession.c  keys that took another's place
 *   prune.c     half-blocks that later ones have made superfluous
 *   account.c   private accounts of clients and their class
 *   standing.c  the ranking and the weights of relays' links
 *   issue.c     tokens as a guard: issued to relays, redeemed by nobody in particular
 *   wallet.c    tokens of our own
 *   why.c       why classes, scores and tokens changed
 */
#ifndef CULVERT_REPUTATION_LEDGER_INTERNAL_H
#define CULVERT_REPUTATION_LEDGER_INTERNAL_H

#include <sys/queue.h>

#include "base/heap.h"
#include "base/map.h"
#include "base/tokenbucket.h"
#include "crypto/siphash.h"
#include "reputation/chain.h"
#include "reputation/graph.h"
#include "reputation/ledger.h"
#include "reputation/message.h"
#include "reputation/priority.h"
#include "reputation/prune.h"
#include "reputation/rank_walk.h"
#include "reputation/why.h"

enum rep_timer_kind { REP_TIMER_ROW, REP_TIMER_ASK, REP_TIMER_GRANT };

/* First member of whatever waits, so that the heap's answer can be told apart. */
struct rep_timer {
    struct cv_timer timer;
    enum rep_timer_kind kind;
};

/* Octets of one epoch with one relay. At most one row of a relay is open (its
 * epoch runs, release_at 0); closed ones wait for their release, oldest first. */
struct rep_open_row {
    struct rep_timer wait; /* closed: when to do the next step */
    struct rep_peer *peer;
    struct rep_pending p;
    cv_usec retry; /* wait before the next repetition */
    bool asked;    /* we sent COUNTERS and wait for theirs */
    bool dirty;    /* in ledger->dirty_rows, to be written */
    bool stored;   /* the store has a version of it */
    TAILQ_ENTRY(rep_open_row) of_peer;
    TAILQ_ENTRY(rep_open_row) of_dirty;
};

TAILQ_HEAD(rep_rows, rep_open_row);
TAILQ_HEAD(rep_links, rep_link);

/* A chain that a neighbour knows further than we do. */
struct rep_want {
    uint8_t owner[CV_KEY];
    uint64_t upto;       /* so far the neighbour says that it knows all of it */
    uint64_t from, back; /* back: how far to go back when it does not fit */
    uint8_t backs;
    bool near; /* all of it was taken that was shown so far */
};

/* How far one neighbour told all that it knows of one chain, holes and all (prune.h). */
struct rep_told {
    uint64_t of; /* hash of both keys; 0: none */
    uint64_t upto;
};

/* What one neighbour is asked for, in order; the first is asked now. */
struct rep_wants {
    struct rep_want list[REP_WANTS];
    unsigned n, tries;
    bool asked;
    cv_usec until;         /* of the answer */
    uint32_t epoch, taken; /* new half-blocks of others it brought in that epoch, .. */
    uint32_t looked;       /* .. and old ones of which it was looked whether they are of use */
};

/* A list of keys. */
struct rep_keys {
    uint8_t (*v)[CV_KEY];
    uint32_t n, cap;
};

/* What names without standing brought in one epoch, all together. */
struct rep_names {
    uint32_t epoch, kept, accused;
};

struct rep_known;

struct rep_gossip {
    struct cv_map *known;    /* by owner, to struct rep_known */
    struct rep_known **near; /* by distance; REP_GOSSIP_OWNERS */
    uint32_t near_n, close_n, near_at, close_at;
    uint64_t generation;
    uint64_t blocks;                  /* half-blocks in the store */
    struct rep_keys closed;           /* that have a successor */
    struct rep_keys forgers[2];       /* with a proof: [1] that had standing when it came */
    uint8_t fresh[REP_FRESH][CV_KEY]; /* owners of what was new lately */
    uint32_t fresh_at;
    struct rep_digest vain[REP_VAIN];
    uint32_t vain_near;    /* near_n when these were in vain */
    struct rep_told *told; /* REP_TOLD, by hash; NULL: none in this epoch */
    uint32_t epoch;
    uint32_t
        rationed[2]; /* half-blocks in it while room is scarce, by neighbours with a score: [1] */
    cv_usec at, wait;
};

/* A relay we have counted with. Stays until the ledger is freed. */
struct rep_peer {
    uint8_t key[CV_KEY];
    uint8_t pair_secret[CV_KEY];
    bool has_secret;
    bool checked_self; /* it was asked once for half-blocks of ours that we lack */
    bool banned;
    struct rep_rows rows;
    struct rep_links links;                  /* newest first; the first one carries messages */
    uint64_t held_given, held_taken;         /* counted while the clock was unknown */
    uint64_t released_given, released_taken; /* agreed by both */
    struct rep_timer ask;
    uint64_t ask_from; /* first half-block of its chain that we lack */
    unsigned ask_tries;
    uint8_t asked_owner[CV_KEY]; /* whose chain the answer we wait for is about */
    bool asked;                  /* an answer is due: its half-blocks are taken */
    struct cv_tokenbucket answers;
    struct rep_wants wants;
    /* In that epoch: half-blocks it pushed, proofs it brought about names without standing. */
    uint32_t names_epoch, pushed, accused;
    uint32_t hits; /* of the last ranking */
};

/* A batch of our own tokens, and when to ask for it. */
struct rep_batch {
    struct rep_purse secret;
    cv_usec ask_at;
    uint8_t tries; /* each is a circuit */
};

/* A client's account while it has a link or unwritten octets. */
struct rep_client {
    struct rep_account a;
    int64_t changed_at; /* when its class last changed */
    struct rep_links links;
    bool dirty; /* in ledger->dirty_clients */
    TAILQ_ENTRY(rep_client) of_dirty;
};

/* How many accounts of one network have links up. */
struct rep_network {
    uint32_t links;
};

struct rep_link {
    cv_handle handle;
    enum rep_role role;
    struct rep_peer *peer;     /* RELAY */
    struct rep_client *client; /* CLIENT, unless served as nameless */
    struct cv_addr network;    /* /24 or /56 */
    struct rep_timer grant;    /* queued: it redeemed a token, */
    uint8_t token[REP_TOKEN];  /* this one last */
    struct cv_tokenbucket tries, messages;
    enum rep_class gate_class;
    uint32_t weight;
    bool changed; /* in ledger->changed: class or weight not told yet */
    bool tell_class, tell_weight, tell_banned;
    TAILQ_ENTRY(rep_link) of_owner;
    TAILQ_ENTRY(rep_link) of_changed;
};

struct rep_send {
    cv_handle link;
    uint16_t len;
    STAILQ_ENTRY(rep_send) next;
    uint8_t body[];
};
STAILQ_HEAD(rep_sends, rep_send);

struct rep_ledger {
    struct cv_ed25519_secret identity_secret;
    struct rep_config cfg; /* identity_secret zeroed */
    const struct rep_store *store;
    const struct cv_rng *rng;
    uint8_t hash_key[CV_SIPHASH_KEY];
    cv_usec last_mono;
    uint32_t epoch;     /* the running one; 0: clock unknown so far */
    cv_usec epoch_look; /* when the next may have begun */
    int64_t epoch_end;  /* Unix seconds; 0: clock unknown so far */

    struct cv_map *peers;    /* by key, to struct rep_peer */
    struct cv_map *clients;  /* by key, to struct rep_client */
    struct cv_map *links;    /* by handle, to struct rep_link */
    struct cv_map *networks; /* by cv_addr, to struct rep_network */
    struct cv_heap timers;
    struct rep_gossip gossip;
    struct rep_names names;
    struct rep_graph *graph;
    struct rep_walks *walks;
    uint32_t ego;

    bool in_transaction;
    cv_usec commit_at; /* NEVER: nothing to write */
    uint32_t changes;  /* rows changed since the last commit */
    TAILQ_HEAD(, rep_open_row) dirty_rows;
    TAILQ_HEAD(, rep_client) dirty_clients;
    cv_usec expire_at;      /* of old accounts, reasons and tokens */
    struct cv_now calendar; /* when that was looked at last; wall 0: not yet */
    cv_usec doubted;        /* until then it is not believed */

    struct rep_prune prune; /* the last pass; before 0: none yet */
    cv_usec prune_at;       /* its next step */
    uint32_t pruned;        /* as the store knows it */

    cv_usec rerank_at;
    uint8_t rerank_why;  /* enum rep_why_cause: the dearest of what made it due; 0: none */
    uint64_t generation; /* of rankings */
    uint64_t hits_mean;  /* of neighbours that have any */

    struct rep_batch *batches; /* REP_PURSES; NULL: none yet */
    uint32_t batches_n;
    struct cv_voprf_secret token_secret[2]; /* as an issuer, of the weeks before these: */
    uint32_t token_after[2];                /* 0: none yet */
    struct cv_tokenbucket issues, redeems;

    struct rep_sends ready, held; /* held: until what they say is committed */
    uint32_t queued;
    TAILQ_HEAD(, rep_link) changed;
    enum cv_err failed; /* not OK: nothing is signed or stored any more */
    bool tell_failed;

    struct rep_stats stats;
};

/* ---- ledger.c ---- */

/* Opens the transaction of the running group commit. False: failed. */
bool rep_ledger_begin(struct rep_ledger *l, struct cv_now now);
/* `n` rows changed: they are committed within REP_COMMIT_WAIT. */
void rep_ledger_touch(struct rep_ledger *l, struct cv_now now, uint32_t n);
/* The store failed, or our chain is not the newest: stop signing for good. */
void rep_ledger_fail(struct rep_ledger *l, enum cv_err err);
/* Queues a message on the peer's newest link. With `durable` it leaves after
 * the running transaction is committed. No link or a full queue: dropped, the
 * protocol repeats. */
void rep_ledger_send(struct rep_ledger *l, const struct rep_peer *p, const struct rep_message *m,
                     bool durable);
void rep_ledger_changed(struct rep_ledger *l, struct rep_link *k);

/* The owner is proven to have forged: no score, no links, no half-blocks of it. */
void rep_ledger_banned(struct rep_ledger *l, struct cv_now now, const uint8_t owner[CV_KEY]);
/* A row of why, with its day, unless nothing changed (was = became). */
void rep_ledger_because(struct rep_ledger *l, struct cv_now now, struct rep_why *w);
/* Finds or makes. */
enum cv_err rep_ledger_peer(struct rep_ledger *l, const uint8_t key[CV_KEY], struct rep_peer **ret);
/* Takes a half-block in, that `from` brought (NULL: it is ours), and does what follows for
 * graph, stats and bans. */
enum cv_err rep_ledger_add(struct rep_ledger *l, struct cv_now now, const struct rep_record *r,
                           struct rep_peer *from, struct rep_chain_result *ret);

/* ---- counter.c ---- */

enum cv_err rep_counter_load(struct rep_ledger *l, struct cv_now now);
void rep_counter_add(struct rep_ledger *l, struct cv_now now, struct rep_peer *p, uint64_t given,
                     uint64_t taken);
/* Looks at the calendar: closes rows whose epoch has ended. */
void rep_counter_epoch(struct rep_ledger *l, struct cv_now now);
/* Writes what changed into the open transaction. */
enum cv_err rep_counter_write(struct rep_ledger *l);
/* Will it be a row, by our count? Else it tells nothing: a cell is quickly sent. */
bool rep_counter_weighs(const struct rep_ledger *l, const struct rep_open_row *row);
struct rep_open_row *rep_counter_find(struct rep_peer *p, uint32_t epoch);
void rep_counter_dirty(struct rep_ledger *l, struct cv_now now, struct rep_open_row *row);
/* The row is released or given up. */
void rep_counter_drop(struct rep_ledger *l, struct cv_now now, struct rep_open_row *row);
/* Frees a row's memory only. */
void rep_counter_forget(struct rep_ledger *l, struct rep_open_row *row);
/* When to look again at a closed row, for the calendar and for retries. */
void rep_counter_wait(struct rep_ledger *l, struct rep_open_row *row, cv_usec at);

/* ---- settle.c ---- */

void rep_settle_due(struct rep_ledger *l, struct cv_now now, struct rep_open_row *row);
void rep_settle_link_up(struct rep_ledger *l, struct cv_now now, struct rep_peer *p);
enum cv_err rep_settle_counters(struct rep_ledger *l, struct cv_now now, struct rep_peer *p,
                                const struct rep_message *m);
/* A half-block of `p` about us is in the store: new, or shown again. */
void rep_settle_record(struct rep_ledger *l, struct cv_now now, struct rep_peer *p,
                       const struct rep_record *r);

/* ---- ask.c ---- */

void rep_ask_link_up(struct rep_ledger *l, struct cv_now now, struct rep_peer *p);
void rep_ask_due(struct rep_ledger *l, struct cv_now now, struct rep_peer *p);
enum cv_err rep_ask_answer(struct rep_ledger *l, struct cv_now now, struct rep_peer *p,
                           const struct rep_message *m);
enum cv_err rep_ask_records(struct rep_ledger *l, struct cv_now now, struct rep_peer *p,
                            const struct rep_message *m);

/* ---- gossip.c ---- */

enum cv_err rep_gossip_init(struct rep_ledger *l);
void rep_gossip_done(struct rep_ledger *l);
void rep_gossip_link_up(struct rep_ledger *l, struct cv_now now, struct rep_peer *p);
void rep_gossip_due(struct rep_ledger *l, struct cv_now now);
/* A half-block of `owner` was new to us. */
void rep_gossip_news(struct rep_ledger *l, struct cv_now now, const uint8_t owner[CV_KEY]);
/* The next exchange is due soon. */
void rep_gossip_soon(struct rep_ledger *l, struct cv_now now);
enum cv_err rep_gossip_digest(struct rep_ledger *l, struct cv_now now, struct rep_peer *p,
                              const struct rep_message *m);
/* Is `r` of the chain that `p` was asked for? And near enough to be kept? */
bool rep_gossip_wanted(const struct rep_peer *p, const struct rep_record *r);
bool rep_gossip_near(const struct rep_ledger *l, const struct rep_record *r);
/* One more half-block of others by `p`, within its quota? */
bool rep_gossip_may_take(struct rep_ledger *l, struct rep_peer *p);
/* One more old one of which it is looked whether it is superfluous? Such take no room, but each
 * costs looks into the store. */
bool rep_gossip_may_look(struct rep_ledger *l, struct rep_peer *p);
/* BLOCKS came from `p`: n half-blocks, `news` of them new or superfluous, the last one
 * `err`. */
void rep_gossip_records(struct rep_ledger *l, struct cv_now now, struct rep_peer *p,
                        const struct rep_record *first, unsigned n, unsigned news, enum cv_err err);
/* Up to REP_FORK_FANOUT neighbours, any with the same chance, but not `from` (or NULL). */
unsigned rep_gossip_choose(struct rep_ledger *l, const struct rep_peer *from,
                           struct rep_peer *ret[REP_FORK_FANOUT]);
/* Tells neighbours of a proof; `from` (or NULL) knows it. */
void rep_gossip_fork(struct rep_ledger *l, const struct rep_fork *f, uint8_t ttl,
                     const struct rep_peer *from);
enum cv_err rep_gossip_on_fork(struct rep_ledger *l, struct cv_now now, struct rep_peer *p,
                               const struct rep_message *m);

/* ---- names.c ---- */

/* CV_ERR_NOMEM: as before. */
enum cv_err rep_keys_add(struct rep_keys *k, const uint8_t key[CV_KEY]);
/* Has the key a row, with us or anybody, or octets counted that will make one? */
bool rep_names_standing(const struct rep_ledger *l, const uint8_t key[CV_KEY]);
/* May `p` bring one more thing about `owner` that is kept for good? Without standing so many
 * are in an epoch, whoever brings them. */
bool rep_names_room(struct rep_ledger *l, struct rep_peer *p, const uint8_t owner[CV_KEY]);
/* May `p` show this half-block of its own about us unasked? What makes our row does not ask
 * for room. */
bool rep_names_may_push(struct rep_ledger *l, struct rep_peer *p, const struct rep_record *r);
/* May `p` bring a proof against `owner`? One against somebody with standing always. */
bool rep_names_may_accuse(struct rep_ledger *l, struct rep_peer *p, const uint8_t owner[CV_KEY]);
/* It did; call when the proof is kept, before its owner is banned. */
void rep_names_accused(struct rep_ledger *l, struct rep_peer *p, const uint8_t owner[CV_KEY]);

/* ---- succession.c ---- */

/* After the graph and the proofs. */
enum cv_err rep_succession_load(struct rep_ledger *l);
/* A new neighbour hears of its own successor, of whom we succeed, and of some others. */
void rep_succession_link_up(struct rep_ledger *l, const struct rep_peer *p);
/* Tells of up to `most` of them, from a random one on. */
void rep_succession_tell(struct rep_ledger *l, const struct rep_peer *to, unsigned most);
/* Does anything here hang on the key that it closes? */
bool rep_succession_near(const struct rep_ledger *l, const struct rep_record *r);
/* It is in the store. */
void rep_succession_new(struct rep_ledger *l, struct cv_now now, const struct rep_record *r);

/* ---- prune.c ---- */

/* Once an epoch, while the calendar holds: what is older than REP_PRUNE_EPOCHS is looked
 * at, a little at a time. */
void rep_prune_begin(struct rep_ledger *l, struct cv_now now);
void rep_prune_due(struct rep_ledger *l, struct cv_now now);
/* Half-blocks of epochs before this one are not missed when they are superfluous: what was
 * pruned, as the store knows it. It is in no future, whatever a file says. */
uint32_t rep_prune_before(const struct rep_ledger *l);

/* ---- account.c ---- */

enum cv_err rep_account_open(struct rep_ledger *l, struct cv_now now, struct rep_link *k,
                             const uint8_t key[CV_KEY]);
void rep_account_close(struct rep_ledger *l, struct rep_link *k);
void rep_account_carried(struct rep_ledger *l, struct cv_now now, struct rep_link *k, uint64_t out,
                         uint64_t in);
enum cv_err rep_account_write(struct rep_ledger *l);
/* Forgets what is old, accounts, reasons and tokens, when the calendar has held for an
 * hour: what a clock that runs ahead deletes would be missing once it is right. */
void rep_account_expire(struct rep_ledger *l, struct cv_now now);
/* Tells the class of a link, token included, when it changed. */
void rep_account_class(struct rep_ledger *l, struct rep_link *k);
void rep_account_forget(struct rep_ledger *l, struct rep_client *c);

/* ---- issue.c ---- */

/* The week that runs, by the descriptor in use; false while the clock is unknown. */
bool rep_token_week(struct cv_now now, uint32_t *ret);
/* Does its score earn that relay a batch here? Not how large it is: that would show in no token.
 * It must without any single other relay's word: with one, it would earn for its fakes. */
bool rep_token_earned(const struct rep_ledger *l, const uint8_t identity[CV_KEY]);
/* Forgets what belongs to weeks that are over. Once a day, while the calendar holds. */
void rep_token_expire(struct rep_ledger *l, struct cv_now now);

/* ---- wallet.c ---- */

enum cv_err rep_wallet_load(struct rep_ledger *l, struct cv_now now);
void rep_wallet_expire(struct rep_ledger *l, uint32_t week); /* memory of weeks before */
void rep_wallet_free(struct rep_ledger *l);

/* ---- standing.c ---- */

enum cv_err rep_standing_load(struct rep_ledger *l);
/* The ranking is due again, because of something. */
void rep_standing_dirty(struct rep_ledger *l, struct cv_now now, enum rep_why_cause why);
void rep_standing_rank(struct rep_ledger *l, struct cv_now now);
/* Weight of one relay's link from the last ranking. */
void rep_standing_weigh(struct rep_ledger *l, struct rep_link *k);

#endif
