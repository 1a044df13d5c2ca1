/*
 * All descriptors we know, by (identity, day), and how far each may be trusted
 * (docs/protocol/tunnel.md, discovery).
 *
 * Anybody can sign a descriptor; what a relay must not be able to do is show a
 * different one to each client. So a relay is used beyond the first hop only
 * when its D (BLAKE2b-128 of the descriptor) was named by two relays of other
 * /16 and family. A *claim* is "relay `by` says that D belongs to (identity,
 * day)"; claims may come before the descriptor does. Two signed descriptors for
 * one (identity, day) prove equivocation: both are kept, whoever is asked for that
 * relay shows both, and nothing that it signs is used for TUN_LIAR_DAYS. In buckets
 * such a relay stands with a D of zeros, so that the proof goes wherever one of the
 * two went.
 *
 * Names cost nothing to invent, so entries without a descriptor are few and
 * pass: TUN_BARE_MAX in all, TUN_BARE_OF_ONE that one relay named first, none
 * older than TUN_BARE_S. Of the TUN_DIRECTORY_MAX entries the oldest bare one
 * makes room for a new one, then the oldest that nobody confirmed and we did not
 * reach; never one that was. A pointer to an entry stays valid until the next
 * tun_directory_add(), _claim(), _expire() or _free(), for confirmed and reached
 * ones until _expire() or _free(). Not for sharing between threads.
 */
#ifndef CULVERT_TUNNEL_DIRECTORY_H
#define CULVERT_TUNNEL_DIRECTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/err.h"
#include "base/rng.h"
#include "base/time.h"
#include "tunnel/descriptor.h"
#include "tunnel/limits.h"
#include "tunnel/relayref.h"

struct tun_directory;

/* As buckets list them. */
struct tun_pair {
    uint8_t identity[CV_KEY];
    uint8_t d[TUN_DIGEST];
};

struct tun_claim {
    uint8_t by[CV_KEY]; /* the relay that said so */
    uint8_t d[TUN_DIGEST];
};

/* What `by` measured, coded (capacity.h). */
struct tun_report {
    uint8_t by[CV_KEY];
    uint8_t code;
};

/* What is known of one relay on one day. Only directory.c writes the fields,
 * but for those marked (user). */
struct tun_relay {
    struct tun_descriptor desc; /* identity and day always; the rest if raw_len > 0 */
    uint16_t raw_len;           /* 0: only claims so far */
    uint8_t raw[TUN_DESCRIPTOR_MAX];

    uint8_t claims; /* of one D, no two by relays in conflict with each other */
    uint8_t claim_next;
    struct tun_claim claim[TUN_CLAIMS_MAX];
    bool confirmed; /* two claims name our D */
    /* Bit i of each: of desc.addr[i]. Those of a family of ours have to answer before we tell
     * of the relay; and of a family that not two of those who confirm it have, nobody
     * has vouched for an address. */
    uint8_t tried, unvouched;
    bool disputed;  /* `disputed_by` names another D: ask it for that descriptor */
    bool liar;      /* signed two descriptors, for this day or lately: not used */
    bool accused;   /* somebody says that there are two, and has to show both */
    uint8_t *other; /* the second one of this day; NULL: we hold no proof */
    uint16_t other_len;
    uint8_t disputed_by[CV_KEY];
    bool ours;         /* it is ourselves: chosen as hop never (path.h, guard.h) */
    uint32_t capacity; /* KiB/s, the median of reports; 0: too few */
    uint8_t reports, report_next;
    struct tun_report report[TUN_REPORTS_MAX];
    int64_t first_seen;          /* Unix seconds; of any day, once there is a descriptor */
    uint8_t named_by[CV_KEY];    /* while raw_len is 0: who brought us the name, */
    TAILQ_ENTRY(tun_relay) bare; /* and its place among such entries, oldest first */

    uint8_t outside;           /* (user) bit i: others, whom it had not called, reached it there */
    uint8_t reached;           /* (user) bit i: it answered our DESCRIBE at desc.addr[i]; */
    struct cv_addr reached_at; /* (user) at this one first; none for ourselves */
    /* (user) of `reached`: it answered there under yesterday's descriptor and was not asked
     * under this one. Such a bit is not handed on a second time. */
    uint8_t kept;
    cv_usec shunned_until; /* (user) paths avoid it when they can; 0 = not */
    cv_usec gone_until;    /* (user) it was silent to our PING: circuits through it are given up */
    uint32_t measured;     /* (user) what we measured ourselves, KiB/s; 0: nothing yet */
    cv_usec asked_at;      /* (user) when its descriptor was last asked for */
    cv_usec again_at;      /* (user) when it is asked where it has not answered, again */
};

/* NULL only when out of memory. Borrows `rng` during the call. */
struct tun_directory *tun_directory_new(const uint8_t network_id[TUN_NETWORK_ID],
                                        const struct cv_rng *rng);
/* We have sockets of this family only (0: of both): what we tell of others is about their
 * addresses of it. Before the first entry. */
void tun_directory_speaks(struct tun_directory *dir, uint8_t family);
/* Entries of `identity` made from now on are marked as ours. */
void tun_directory_own(struct tun_directory *dir, const uint8_t identity[CV_KEY]);
/* What was reached under the descriptors of the day before, since those of `day` came, is
 * taken to be there under these, too (tun_relay's `kept`). */
void tun_directory_keep(struct tun_directory *dir, uint32_t day);
/* NULL is allowed; always returns NULL. */
struct tun_directory *tun_directory_free(struct tun_directory *dir);

/*
 * Takes a descriptor as signed; verifies it. OK: new. EXIST: known, the same.
 * DIFFERS: another one for this identity and day, also validly signed; the entry
 * is a liar's from now on and has both (EXIST when it was before). STALE: its day is not current at
 * `wall` (*ret_day is set). DENIED: another network. LIMIT, NOMEM; or what tun_descriptor_open()
 * says. *ret (may be NULL) is set for OK, EXIST and DIFFERS.
 */
enum cv_err tun_directory_add(struct tun_directory *dir, int64_t wall, const void *raw, size_t len,
                              struct tun_relay **ret, uint32_t *ret_day);

/* A digest that stands for "there are two". */
bool tun_digest_is_proof(const uint8_t d[TUN_DIGEST]);

/* At its i-th address it was reached by ourselves, and by two others as well. These either
 * tried it when we asked (REACH), or tell of the relay themselves, by the same rule. */
bool tun_relay_is_there(const struct tun_relay *r, unsigned i);
/* What relays tell others of: who is there at each address of a family that we have. */
bool tun_relay_is_passed(const struct tun_relay *r);
/* What we show to whoever asks for it: the descriptor of a relay that we pass on,
 * and both of a liar that we would have shown. */
bool tun_relay_is_shown(const struct tun_relay *r);

/*
 * `by` says that d belongs to (identity, day). `path`: relays through which it
 * was asked, n of them (0 for a link of our own): nobody confirms what may be
 * an invention of its own, so that a claim about `by` or about a relay on the
 * path, its network or its family is ignored (OK). NOENT: `by` is not known.
 * DIFFERS: noted; it contradicts the descriptor that we hold. LIMIT: a new name,
 * and `by` has TUN_BARE_OF_ONE without a descriptor here; ask it for some of
 * these first. LIMIT too when all entries are confirmed or reached. NOMEM.
 */
enum cv_err tun_directory_claim(struct tun_directory *dir, int64_t wall,
                                const uint8_t identity[CV_KEY], uint32_t day,
                                const uint8_t d[TUN_DIGEST], const uint8_t by[CV_KEY],
                                const uint8_t (*path)[CV_KEY], size_t n);

/*
 * `by` measured the relay whose identity begins with `prefix`: 8 octets, that nobody
 * makes a second identity for. Counted when `by` is known, is not that relay and shares
 * neither network nor family with it; of reporters in conflict with each other one
 * counts. The median is taken from TUN_REPORTS_MIN on.
 */
void tun_directory_report(struct tun_directory *dir, uint32_t day, const uint8_t prefix[8],
                          uint8_t code, const uint8_t by[CV_KEY]);

/* What a relay weighs when one is drawn: what was measured, but never more than it
 * says of itself. KiB/s. */
uint32_t tun_relay_weight(const struct tun_relay *r);

/* The entry, with or without a descriptor; NULL when there is none. */
struct tun_relay *tun_directory_find(const struct tun_directory *dir,
                                     const uint8_t identity[CV_KEY], uint32_t day);
/* The entry with a descriptor of this digest, whatever its day. */
struct tun_relay *tun_directory_find_d(const struct tun_directory *dir,
                                       const uint8_t identity[CV_KEY], const uint8_t d[TUN_DIGEST]);
/* The relay that somebody else names by the D that he knows. Near 03:00 his clock may see another
 * day in use than ours: when that one's D is not known here, or nobody confirms it, the entry of
 * our day. It is the same relay, under a descriptor that is judged as any. NULL: none. */
struct tun_relay *tun_directory_find_meant(const struct tun_directory *dir,
                                           const uint8_t identity[CV_KEY],
                                           const uint8_t d[TUN_DIGEST], int64_t wall);
/* The entry with a descriptor, of the day in use or else of the days around it. */
struct tun_relay *tun_directory_find_now(const struct tun_directory *dir,
                                         const uint8_t identity[CV_KEY], int64_t wall);

enum tun_directory_which {
    TUN_DIRECTORY_KNOWN,    /* have a descriptor and are no liars */
    TUN_DIRECTORY_REACHED,  /* of these, whom we reached ourselves */
    TUN_DIRECTORY_PASSED,   /* of these, whom others reached, too: what relays pass on */
    TUN_DIRECTORY_CONFIRMED /* known and confirmed */
};

/* Entries of a day, in order of identity; how many were written (<= cap). */
size_t tun_directory_list(const struct tun_directory *dir, uint32_t day,
                          enum tun_directory_which which, struct tun_relay **ret, size_t cap);
size_t tun_directory_count(const struct tun_directory *dir, uint32_t day,
                           enum tun_directory_which which);
/* IPv4 and IPv6 have a DHT each. What one looks up has to be where another stored it: in that of
 * the family which more confirmed relays of the day that ask the DHT have, of IPv4 when they
 * are as many. 4 or 6. */
uint8_t tun_directory_dht_family(const struct tun_directory *dir, uint32_t day);

/* Entries of a day whose descriptor `source` claims to have and we have not, or
 * not that one. In order of age; how many were written (<= cap). */
size_t tun_directory_missing(const struct tun_directory *dir, uint32_t day,
                             const uint8_t source[CV_KEY], struct tun_relay **ret, size_t cap);

/*
 * A bucket as two nodes compare it: BLAKE2b-128 over its sorted (identity, D)
 * pairs (those of liars with a D of zeros), and up to `cap` of these from number `from` on.
 * *ret_total: all pairs of the bucket. Returns how many were written. CV_ERR_NOMEM: negative.
 */
ssize_t tun_directory_bucket(const struct tun_directory *dir, uint32_t day, unsigned level,
                             uint16_t bucket, enum tun_directory_which which, size_t from,
                             uint8_t ret_hash[16], uint16_t *ret_total, struct tun_pair *ret_pairs,
                             size_t cap);

/* Forgets entries of days that nobody uses any more, and old bare ones. */
void tun_directory_expire(struct tun_directory *dir, int64_t wall);

/* The same relay, network (/16 of v4, /32 of v6) or family (named by both):
 * never both in one path. */
bool tun_relay_conflict(const struct tun_descriptor *a, const struct tun_descriptor *b);

/* Both have an address of one family: else neither can have a link to the other, and they
 * are never next to each other in a path. */
bool tun_relay_meets(const struct tun_descriptor *a, const struct tun_descriptor *b);

/* What a circuit needs to know of a relay; its newest onion key at `wall`. Of
 * its addresses those that answered us, if any did, the first one first: the others are
 * what it says, and may be anybody's. */
void tun_relay_ref_fill(struct tun_relay_ref *ret, const struct tun_relay *r, int64_t wall);

#endif
