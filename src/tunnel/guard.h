/*
 * Guards: the few relays that ever see our address (docs/protocol/tunnel.md,
 * guards). All of them are a sample of TUN_CONTACTS_WANTED relays that is drawn
 * once: out of it come two first hops and, from TUN_SPARE_FROM relays on, a spare; they
 * stay for 60 to 120 days. Behind them the second layer L, two to four relays
 * that stay up to 22 days, so that whoever sits at the end of our circuits sees
 * the same few relays before him and not our guards.
 *
 * Those of the sample that are no first hops are contacts: they confirm what the
 * others say, and the next first hop is one of them. Whoever of the sample dies
 * is asked again, not replaced: not before a day of silence, and one in a day.
 * Else somebody who can break our links learns who we are from everybody.
 *
 * A first hop that lets fewer circuits through than the others is replaced as well: when
 * of TUN_GUARD_CIRCUITS or more that were begun through it less than 70 % of the median
 * of first hops became ready. Not more than one in a week either: whoever can make
 * circuits fail, from the second hop on, must not choose our guards by it.
 *
 * A plain struct; what must survive a restart goes through _save and _load as
 * a flat blob that node keeps. Wall-clock times: Unix seconds.
 */
#ifndef CULVERT_TUNNEL_GUARD_H
#define CULVERT_TUNNEL_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/endpoint.h"
#include "base/err.h"
#include "base/rng.h"
#include "base/time.h"
#include "tunnel/directory.h"
#include "tunnel/limits.h"

struct tun_guard {
    bool set;
    uint8_t identity[CV_KEY];
    struct cv_addr addr; /* where its descriptor is asked for; first hops and contacts only */
    /* Where else it is, for when it is silent there; family 0: nowhere that we know of. */
    struct cv_addr addr_too;
    int64_t chosen, until;
    int64_t silent_since; /* 0: answered when last asked */

    bool up;               /* (user, not saved) has a link now */
    cv_usec shunned_until; /* (user, not saved) circuits through it failed */

    uint16_t begun, through; /* circuits, and of these ready ones; halved now and then */
};

/* guard[0], guard[1]: first hops; guard[TUN_GUARD_SPARE]; then the second layer. */
enum { TUN_GUARD_SPARE = 2, TUN_GUARD_FIRSTS = 3 };

struct tun_guards {
    struct tun_guard first[TUN_GUARD_FIRSTS];
    struct tun_guard second[TUN_SECOND_MAX];
    struct tun_guard contact[TUN_CONTACTS_WANTED];
    int64_t replaced_at;       /* when a silent or poor first hop was last given up: once a week */
    uint8_t dismissed[CV_KEY]; /* the last poor one or liar, */
    int64_t dismissed_until;   /* not chosen again for a month */
};

/* How many second-layer guards a network of n relays calls for. */
unsigned tun_guards_seconds(size_t n);

bool tun_guards_is_first(const struct tun_guards *g, const uint8_t identity[CV_KEY]);
bool tun_guards_is_second(const struct tun_guards *g, const uint8_t identity[CV_KEY]);
struct tun_guard *tun_guards_find_first(struct tun_guards *g, const uint8_t identity[CV_KEY]);

/* A first hop or a contact. */
struct tun_guard *tun_guards_find_sampled(struct tun_guards *g, const uint8_t identity[CV_KEY]);
/* First hops and contacts: how many there are. */
unsigned tun_guards_sampled(const struct tun_guards *g);
/* Of these: whose time is over and who has no link. Others may have their places; by a clock
 * that nobody doubts. */
unsigned tun_guards_over(const struct tun_guards *g, int64_t wall);
/* Is `r`, which answered at `addr`, of the sample? It is drawn into it when there
 * is room and it is in conflict with nobody there; *changed is set then. */
bool tun_guards_sample(struct tun_guards *g, const struct tun_relay *r, const struct cv_addr *addr,
                       const struct tun_directory *dir, int64_t wall, const struct cv_rng *rng,
                       bool *changed);
/* A contact that never could be linked to, while there are no first hops. */
bool tun_guards_drop_contact(struct tun_guards *g, const uint8_t identity[CV_KEY]);

/*
 * Fills missing first hops from `contacts`: relays with a descriptor that
 * answered at the address beside them. Never two in conflict, never one of the
 * second layer; long-known ones first when there is a choice. `n` relays in the
 * network decide about the spare. True when something changed.
 */
struct tun_guard_contact {
    const struct tun_relay *relay;
    struct cv_addr addr;
};
bool tun_guards_choose_first(struct tun_guards *g, const struct tun_guard_contact *contacts,
                             size_t count, size_t n, const struct tun_directory *dir, int64_t wall,
                             const struct cv_rng *rng);

/* Fills the second layer from the confirmed relays of the day; those in
 * conflict with none of our first hops come first. True when something changed. */
bool tun_guards_choose_second(struct tun_guards *g, const struct tun_directory *dir, int64_t wall,
                              const struct cv_rng *rng);

/* Gives up what is over its time, and whoever is proved to lie; second-layer guards that
 * have no descriptor (only when the directory is `complete`); at most once a
 * week a first hop that was silent for a day or is poor, and at most once a day a
 * contact that was silent for a day.
 * Call it only when others live in our day: a wrong clock must cost no guard.
 * True: changed. */
bool tun_guards_retire(struct tun_guards *g, const struct tun_directory *dir, bool complete,
                       int64_t wall);

/* A circuit through a first hop with a link became ready, or came to nothing. True: it is
 * time to save what was counted, now and then. */
bool tun_guard_counted(struct tun_guard *g, bool through);
/* Does first hop i let less than 70 % of the median through? False while too few
 * circuits went through it, or through all others. */
bool tun_guards_is_poor(const struct tun_guards *g, unsigned i);

/* Its addresses: where it answered us, and of what its descriptor names the first of the other
 * family. */
void tun_guard_answered_at(struct tun_guard *g, const struct cv_addr *addr,
                           const struct tun_descriptor *desc);
/* A first hop answered, or did not. */
void tun_guard_heard(struct tun_guard *g);
void tun_guard_silent(struct tun_guard *g, int64_t wall);

/*
 * "CVG4" | replaced_at u64 | dismissed 32 | dismissed_until u64 | count u8 |
 * entries | BLAKE2b-128 of all before. Entry: place u8 | identity 32 | chosen u64 |
 * until u64 | silent_since u64 | family u8 | address 16 | port u16 | begun u16 |
 * through u16 | the other address: family u8, 0 for none | address 16 | port u16.
 * Little-endian. Places: first hops, second layer, contacts. CVG3, without other
 * addresses, CVG2, also without what was dismissed and counted, and CVG1, also without
 * contacts, are read too.
 */
enum {
    TUN_GUARD_PLACES = TUN_GUARD_FIRSTS + TUN_SECOND_MAX + TUN_CONTACTS_WANTED,
    TUN_GUARD_ENTRY = 1 + CV_KEY + 8 + 8 + 8 + 1 + 16 + 2 + 2 + 2 + 1 + 16 + 2,
    TUN_GUARDS_BLOB_MAX = 4 + 8 + CV_KEY + 8 + 1 + TUN_GUARD_PLACES * TUN_GUARD_ENTRY + 16
};

size_t tun_guards_save(const struct tun_guards *g, uint8_t out[TUN_GUARDS_BLOB_MAX]);
/* CV_ERR_CORRUPT: damaged, cut, or not of this format; VERSION: of a later one.
 * *ret untouched then. */
enum cv_err tun_guards_load(struct tun_guards *ret, const void *blob, size_t len);

#endif
