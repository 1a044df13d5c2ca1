/*
 * Every limit and fixed size of the tunnel module, on one screen. Sizes that
 * are octets of the wire are proved by static_assert where the layout is. How long
 * an answer is waited for, and what one queue is tuned by, stands in the file that waits.
 */
#ifndef CULVERT_TUNNEL_LIMITS_H
#define CULVERT_TUNNEL_LIMITS_H

#include <stdint.h>

enum {
    /* --- the datagram (tunnel.md section 3) --- */
    TUN_DATAGRAM = 1232, /* IPv6 minimum MTU less headers: never fragments, all alike */
    TUN_HEADER = 28,
    TUN_CELL = TUN_DATAGRAM - TUN_HEADER,              /* 1204 */
    TUN_TAG = 16,                                      /* Poly1305 */
    TUN_LAYER_HEAD = 4 + TUN_TAG,                      /* what one forward layer adds in front */
    TUN_FORWARD_PLAIN = TUN_CELL - TUN_LAYER_HEAD,     /* 1184 */
    TUN_BACKWARD_HEAD = 16 + TUN_TAG,                  /* four slots and the tag */
    TUN_BACKWARD_PLAIN = TUN_CELL - TUN_BACKWARD_HEAD, /* 1172 */
    TUN_CONTROL_PLAIN = TUN_CELL - TUN_TAG,            /* 1188, sealed link command */
    TUN_CONTROL_MAX = TUN_CONTROL_PLAIN - 2,           /* body after its length */
    TUN_TAIL = 60,   /* end of a forward plaintext: random, then forced by fillers */
    TUN_FILLER = 20, /* grows by this at each hop a forward cell passes */
    TUN_INNER = 3,   /* command u8 | length u16 */
    TUN_FORWARD_MAX = TUN_FORWARD_PLAIN - TUN_TAIL - TUN_INNER, /* 1121 */
    TUN_BACKWARD_MAX = TUN_BACKWARD_PLAIN - TUN_INNER,          /* 1169 */
    TUN_E2E_OVERHEAD = 20,                                      /* masked number and tag */
    TUN_E2E_MAX = TUN_FORWARD_MAX - TUN_E2E_OVERHEAD,           /* 1101 */
    TUN_EXIT_OVERHEAD = 2,                                      /* flow u16 */
    TUN_HOPS_MAX = 4, /* in any circuit; also the number of backward slots */
    /* Room a cell needs while its owner wraps it (onion.h). */
    TUN_WRAP_ROOM = TUN_CELL + TUN_FILLER * (TUN_HOPS_MAX - 1),

    /* --- numbers --- */
    TUN_WINDOW = 2048,           /* entries of every replay window */
    TUN_EXPECTED_MAX = 4,        /* datagrams announced before they come (tun_expect) */
    TUN_EPOCH_BITS = 20,         /* keys of a layer ratchet every 2^20 numbers */
    TUN_SEQUENCE_BITS = 31,      /* of a layer sequence, on the wire */
    TUN_SEQUENCE_CAP = 1 << 30,  /* cells of one direction of one hop */
    TUN_EPOCH_MS_MIN = 60000,    /* or earlier: each sender draws how long, */
    TUN_EPOCH_MS_MAX = 180000,   /* again and again */
    TUN_OLD_EPOCH_MS = 5000,     /* the previous epoch is still accepted for so long */
    TUN_EPOCHS_AHEAD = 4,        /* a receiver looks for keys so far ahead */
    TUN_REKEY_CELLS = 1 << 20,   /* new link handshake after so many, or */
    TUN_REKEY_MS = 120000,       /* so long after they first carried something, or */
    TUN_REKEY_IDLE_MS = 3600000, /* so long after the last one, though they carried nothing */
    TUN_REJECT_CELLS = 1 << 26,  /* nothing is sealed or taken beyond, renewed or not */

    /* --- handshakes --- */
    TUN_PARAMS_MAX = 64,    /* padded parameters of a circuit handshake */
    TUN_COOKIE = 16,        /* of an address */
    TUN_COOKIE_MS = 120000, /* the cookie secret rotates; the last one still counts */
    TUN_EXTEND_FLIGHT_MAX = 400,
    TUN_TTL_MIN = 4, /* what an owner draws for its first CREATE */
    TUN_TTL_MAX = 7,
    TUN_EXTENDS_MAX = 3, /* a relay performs for one circuit */

    /* --- descriptors (details.md section 3) --- */
    TUN_DESCRIPTOR_MAX = 900,
    TUN_ONION_KEYS = 5, /* of a day; the fifth bridges to the next */
    TUN_ADDRS_MAX = 4,
    TUN_FAMILY_MAX = 8,
    TUN_EXIT_PORTS_MAX = 8,
    TUN_DIGEST = 16,        /* D = BLAKE2b-128(descriptor) */
    TUN_KEYRING_MAX = 4096, /* octets of a relay's stored keys */
    TUN_NETWORK_ID = 8,

    /* --- relay and link command bodies --- */
    TUN_BUCKET_PAIRS_MAX = 23,   /* (identity, D) in one answer */
    TUN_BUCKET_PAGED_MAX = 512,  /* pairs of a bucket that relays page through; of more, by parts */
    TUN_BUCKETS_ASKED_MAX = 320, /* questions for names in one round: 5,000 of whom we know none */
    TUN_IDENTITIES_MAX = 20,     /* asked for in one DESCRIPTORS */
    TUN_LOOKUP_KEYS_MAX = 4,
    TUN_ITEM_MAX = 1000, /* bencoded value of a BEP 44 item */
    TUN_PEERS_MAX = 50,
    TUN_SWARM_ID_MAX = 512,
    TUN_RENDEZVOUS_COOKIE = 20,
    TUN_SPARE_INDEXES_MAX = 8,
    TUN_HALFBLOCK = 232,
    TUN_HALFBLOCKS_MAX = 5, /* in one LEDGER */

    /* --- receiver indexes --- */
    TUN_RXINDEX_SLOTS_MAX = 1 << 16,
    TUN_WORKER_BITS_MAX = 6,

    /* --- workers of one relay (worker.h) --- */
    TUN_WORKERS_MAX = 16,
    TUN_MESSAGES_MAX = 4096, /* told one worker by all others and not taken yet, of what is
                              * counted; told in one step, of everything: twice */
    TUN_STRANGERS_S = 100,   /* that a worker shows the face; burst twice that */
    TUN_FOREIGN_MAX = 1472,  /* octets of a datagram that is not the tunnel's */

    /* --- the engine: how much of everything --- */
    TUN_LINKS_MAX = 4096,
    TUN_CIRCUITS_MAX = 1024,   /* of our own */
    TUN_HOPS_HELD_MAX = 50000, /* circuits of others */
    TUN_LINK_CIRCUITS_MAX = 16384,
    TUN_PLACES_OWN_PART = 16, /* one part in so many of the links is for those we open */
    TUN_PLACES_RELAY = 64,    /* circuits that a relay with standing brings count as one */
    TUN_PLACES_DRAWN = 64,    /* of who has most, looked at to find the one that ends */
    TUN_PLACES_ASKED = 16,    /* links from one address, at a time, whether they are there */
    TUN_PLACES_SEEN = 256,    /* links from one address, for a handshake: is one of that port? */
    TUN_HALF_OPEN_MAX = 1024, /* links that wait for a first cell */
    TUN_SPARES = 4,           /* receiver indexes handed out in advance */
    TUN_EVENTS_MAX = 2048,    /* waiting for poll_event */
    TUN_OUTBOX_MAX = 2048,    /* control commands and raw datagrams waiting */
    TUN_FLOW_CELLS = 2048,    /* waiting in one direction of a relayed circuit */
    TUN_OWN_CELLS = 128,      /* waiting in a circuit of ours, before AGAIN */
    TUN_QUEUE_MIB = 64,       /* of cells, in all queues together, */
    TUN_QUEUE_LINK = 4,       /* and one part in so many for one link */
    TUN_GRANT_MAX = 64,       /* cells of a constant rate that wait to be sent, at a busy relay */
    TUN_ASKINGS_MAX = 64,     /* requests under way in one circuit of ours */
    TUN_MEMOS_MAX = 16,       /* answers remembered for one circuit of others */
    TUN_MEMO_MIB = 16,        /* of these, altogether */
    TUN_CLASS_NEW = 2,        /* of the gate, for links that nobody classified */
    TUN_CLASS_DEBT = 3,       /* for those who take much more than they give */
    TUN_WEIGHT_NEW = 10,      /* of a relay's link: one turn a round */
    TUN_WEIGHT_UNKNOWN = 5,   /* of all links of relays without standing in one network */
    TUN_NETWORK_WEIGHT = 16,  /* cells a round of a client network */
    TUN_TRIES = 5,            /* of anything that is repeated */
    TUN_CREATES_S = 50,       /* of one link, a second */
    TUN_INTRODUCTIONS_S = 5,  /* passed on to one seeder, a second */
    TUN_ASKED_S = 2,          /* of these by one circuit */

    /* --- how long: of a circuit's use, and of a cell's wait (CoDel) --- */
    TUN_CIRCUIT_MIN_S = 2400, /* drawn between these */
    TUN_CIRCUIT_MAX_S = 3600,
    TUN_CODEL_TARGET_MS = 100,
    TUN_CODEL_INTERVAL_MS = 300,

    /* --- constant rate (tunnel.md section 10) --- */
    TUN_PACE_TICK_US = 9856, /* a cell in so long is one Mbit/s of datagrams */
    TUN_PACE_LATE = 8,       /* ticks that a late timer makes up for */
    TUN_PACE_MAX = 16,       /* Mbit/s of one circuit */
    TUN_PACE_PPM = 50,       /* by which an owner's clock is hidden */
    TUN_PACE_MBIT = 512,     /* a relay promises at once, */
    TUN_PACE_LINK = 2,       /* and one part in so many over one link */
    TUN_PACE_BEGIN = 8,      /* ticks that it sends before it has heard the owner, */
    TUN_PACE_SILENT = 128,   /* and to one who has spoken and says nothing more */
    TUN_PACE_IDLE =
        51, /* ticks' worth that was not sent for his silence: who else wants it has it, */
    TUN_PACE_SHORT = 512, /* and the end in any case */
    TUN_PACE_RUN_ON_MAX_S = 1800,
    TUN_RUN_ON_MIN_S = 300, /* the rate goes on after the end of what it was for */
    TUN_RUN_ON_MAX_S = 1200,
    TUN_PACED_CIRCUITS = 2,  /* that share the rate of a swarm */
    TUN_PACED_JOINS_MAX = 8, /* visitors of a seeder that keeps a rate */

    /* --- what others may make a relay do: so many a second, so many at once --- */
    TUN_ADMIT_NETWORK_S = 10,     /* handshakes of a /24 or /56; proved ones; DESCRIBEs */
    TUN_ADMIT_NETWORK_BURST = 50, /* beyond: a cookie for the first, else nothing */
    TUN_ADMIT_CLAIMED_S = 100,    /* handshakes of everybody; a cookie beyond */
    TUN_ADMIT_CLAIMED_BURST = 200,
    TUN_ADMIT_PROVED_S = 500, /* those with a cookie; 150 us each */
    TUN_ADMIT_PROVED_BURST = 1000,
    TUN_ADMIT_DESCRIBE_S = 500, /* 60 us each */
    TUN_ADMIT_DESCRIBE_BURST = 1000,
    TUN_ADMIT_CREATES_S = 2000, /* CREATEs of all links; 100 us each */
    TUN_ADMIT_CREATES_BURST = 4000,
    TUN_CREATES_BURST = 200,  /* of one link; TUN_CREATES_S a second */
    TUN_ENDINGS_S = 2500,     /* circuits of others that a worker which ends gives up, */
    TUN_ENDINGS_BURST = 1000, /* two DESTROYs each, which must not crowd themselves out */
    TUN_ENDINGS_SPARE = 64,   /* places of the outbox that stay free of these */
    TUN_DESTROYS_S = 20,      /* answers to one link about circuits that are not there */
    TUN_DESTROYS_BURST = 100,
    TUN_INTRODUCTIONS_BURST = 20, /* to one seeder; TUN_INTRODUCTIONS_S a second */
    TUN_ASKED_BURST = 8,          /* of these by one circuit; TUN_ASKED_S a second */
    TUN_ERRAND_COST = 10,         /* of a request that the node has work with, */
    TUN_ERRANDS_S = 1,            /* in units that one circuit has, a second, */
    TUN_ERRANDS_BURST = 20,       /* and at once */
    TUN_ANSWERS_S = 500,          /* questions about relays, of all circuits */
    TUN_ANSWERS_BURST = 2000,
    TUN_PROOFS_S = 1, /* descriptors that circuits show, of relays known by another one */
    TUN_PROOFS_BURST = 16,

    /* --- directory, guards, paths (tunnel.md section 5) --- */
    TUN_DIRECTORY_MAX = 4096, /* entries; relays times days */
    TUN_CLAIMS_MAX = 6,       /* kept of one entry */
    TUN_BARE_MAX = 1024,      /* of the entries: named by somebody, descriptor not seen */
    TUN_BARE_OF_ONE = 256,    /* of these, named first by one relay */
    TUN_BARE_S = 600,         /* and how long they are kept */
    TUN_LIARS_MAX = 64,       /* identities that signed two descriptors, */
    TUN_LIAR_DAYS = 30,       /* and how long nothing they sign is used */
    TUN_PROOF_TOLD = 3,       /* relays that a client shows a proof to */
    TUN_SECOND_MAX = 4,       /* second-layer guards L: min(4, max(2, n / 4)) */
    TUN_SPARE_FROM = 8,       /* relays: a third guard in reserve */
    TUN_GUARDS_APART = 16,    /* relays: guards stand nowhere else in paths we choose */
    TUN_RELAYS_ENOUGH = 6,    /* of different networks: every kind of path can be made */
    TUN_WEIGHTS_FROM = 100,   /* relays: capacity counts, */
    TUN_SHARE_PARTS = 20,     /* and one part in so many is the most that one gets */
    TUN_CAPACITY_MAX = 16384, /* KiB/s: more is not told apart */
    TUN_UNMEASURED = 256,     /* KiB/s, of whom too few measured */
    TUN_REPORTS_MAX = 9,      /* of what others measured, kept of one entry */
    TUN_REPORTS_MIN = 5,      /* of different networks, before their median counts */
    TUN_CAPACITIES_MAX = 120, /* measured relays in one answer */
    TUN_PROBE_TRAIN = 20,     /* cells sent at once to see how fast they come, */
    TUN_PROBE_TRAINS = 3,     /* and how often; the median counts */
    TUN_PROBE_S_MIN = 60,     /* between two probes of one relay */
    TUN_PROBE_S_MAX = 120,
    TUN_REFUSALS_MAX = 64, /* pairs of which one did not extend to the other */
    TUN_APART_MAX = 8,     /* circuits that a new one keeps apart from */
    TUN_PATH_DRAWS = 64,   /* tried for one place of a path in a large network */
    TUN_GUARD_DAYS_MIN = 60,
    TUN_GUARD_DAYS_MAX = 120,
    TUN_GUARD_CIRCUITS = 64,      /* through a guard, before it is compared with the others, */
    TUN_GUARD_CIRCUITS_MAX = 128, /* and when what was counted is halved */
    TUN_GUARD_SAVED_EVERY = 16,   /* counted ones; fewer are forgotten at the end of a node */
    TUN_GUARD_POOR_PERCENT = 70,  /* of the median */
    TUN_GUARD_DISMISSED_DAYS = 30,
    TUN_GUARD_KNOWN_DAYS = 7, /* preferred for guards, when there is a choice */
    TUN_SECOND_DAYS_MIN = 1,
    TUN_SECOND_DAYS_MAX = 22,
    TUN_THIRDS = 2,        /* third hops of a swarm that is shared, */
    TUN_THIRD_DAYS = 30,   /* each for so long, */
    TUN_THIRD_SECONDS = 2, /* behind so many of our L, as long as those serve */

    /* --- bootstrapping of a client --- */
    TUN_ADDRESSES_MAX = 64, /* found in the DHT and not yet asked */
    TUN_CONTACTS_MAX = 8,   /* relays asked from our own address, guards included */
    TUN_CONTACTS_WANTED = 4,
    TUN_CALENDAR_MIN = 3,        /* networks that must answer before our clock is doubted, */
    TUN_CALENDAR_MAX = 5,        /* and of which the median counts */
    TUN_REACH_ENOUGH = 2,        /* relays that reached a newcomer from outside */
    TUN_REACH_WITNESSES = 8,     /* asked to try, at most, for one that asks */
    TUN_REACH_JOBS = 32,         /* newcomers tried at a time, a quarter from one network */
    TUN_REACH_TRIES = 32,        /* questions under way; of these for others' sake, */
    TUN_REACH_TRIES_OTHERS = 24, /* all of them, */
    TUN_REACH_TRIES_NETWORK = 4, /* and those of one network */
    TUN_REACH_ASKS = 32,      /* words of relays on us that are remembered: 16 of two addresses */
    TUN_REACH_AGAIN = 8,      /* reached yesterday, not yet today: asked in a minute */
    TUN_NAMED_TRIES = 3,      /* an address that only a descriptor names is asked so often */
    TUN_QUESTIONS_BURST = 16, /* DESCRIBEs that a network leaves unanswered, then */
    TUN_QUESTIONS_EVERY_MS = 15000, /* one in so long */
    TUN_AHEAD = 3,                  /* circuits built before anybody wants one, */
    TUN_AHEAD_IDLE = 2,             /* and when nobody has wanted any for ten minutes */

    /* --- clocks (decision 0049) --- */
    TUN_CLOCK_OFF_S = 600,            /* wrong by so much, a clock costs nobody anything; */
    TUN_TURN_S = 3 * TUN_CLOCK_OFF_S, /* so near to a turn two of them may stand on both sides of
                                         it, or what was written on the other still stands */

    /* --- hidden swarms (tunnel.md section 7) --- */
    TUN_CONTACT_LIFE_MAX_S = 3 * 3600, /* a contact that says more is not believed */
    TUN_PUBLISH_TRIES = 4,             /* to write a slot that others write, too */
    TUN_SLOT_AHEAD_S = 7200,           /* signed further ahead a slot is left alone */
    TUN_HIDDEN_MAX = 64,               /* swarms viewed or shared at once */
    TUN_KNOWN_CONTACTS_MAX = 32,       /* of one swarm, from its slots, */
    TUN_NAMED_CONTACTS_MAX = 16,       /* and named by peers, .. */
    TUN_NAMED_OF_ONE = 4,              /* .. of which by one peer; */
    TUN_NAMED_FAILS = 3,               /* not tried any more after so many failures */
    TUN_MISLED_MAX = 8,                /* failures of what a peer named, until nobody listens */
    TUN_SAID_CONTACTS = 2,             /* kept of what a visitor says of itself */
    TUN_TELL_CONTACTS = 8,             /* told a peer at a time */
    TUN_KNOWN_OUTDATED = 8,            /* failures that "not said any more" ranks as, .. */
    TUN_KNOWN_GIVEN_UP = 32,           /* .. and what is not tried any more: */
    TUN_STRANGE_MAX = 2,               /* so often its point did not know it, or .. */
    TUN_OVER_FAILS = 3,                /* .. over by our own clock, it failed so often */
    TUN_MEETINGS_MAX = 4,              /* joined rendezvous of a viewer with one swarm, .. */
    TUN_NAMED_MEETINGS = 2,            /* .. of which with those that peers named */
    TUN_MEETING_TRIES = 4,             /* rendezvous points tried for one contact */
    TUN_LAG_LOOKS = 4,     /* in a row at which a way brought less than half of the others, */
    TUN_LAG_LEAST = 65536, /* and these so many octets each, on average */
    TUN_INTRO_POINTS = 3,
    TUN_INTRO_REPLAYS = 1024,   /* introductions remembered by their ephemeral key */
    TUN_INTRO_QUEUE = 32,       /* introductions that wait for their answer */
    TUN_VIEWER_JOINS_MAX = 8,   /* circuits caused by introductions, alive, when viewing too */
    TUN_SHARE_JOINS_MAX = 64,   /* the same, for a seeder that only shares */
    TUN_INTRO_BURST = 4,        /* new circuits caused by introductions at once, */
    TUN_INTRO_EVERY_MS = 10000, /* then one in so long */
    TUN_EFFORT_FIRST = 12,      /* leading zero bits that a stamp has to show: nothing, this, .. */
    TUN_EFFORT_SECOND = 16,
    TUN_EFFORT_MAX = 20,     /* .. and no more: a contact that asks more is not believed */
    TUN_EFFORT_BEYOND = 2,   /* by which a viewer goes further when nobody came */
    TUN_EFFORT_ANSWERED = 2, /* introductions answered in a tick once the burst is over */
    TUN_EFFORT_LOST = 8,     /* left without an answer in one: a step up, */
    TUN_EFFORT_REST = 3,     /* not again within so many ticks; */
    TUN_EFFORT_CALM = 30,    /* and a step down after so many without need */
    TUN_STAMP_TRIES = 2048,  /* hashes of a node at a time, some tenths of a millisecond, */
    TUN_STAMP_PAUSE_MS = 2,  /* and when the next come */
    TUN_BUSY_TRIES = 16,     /* one introduction at a point that passes on no more just now */
};

/* Times, in microseconds. */
#define TUN_RETRY_FIRST      ((uint64_t)250000)   /* doubled at each of TUN_TRIES */
#define TUN_KEEPALIVE        ((uint64_t)25000000) /* below the UDP timeout of most NATs */
#define TUN_PASSIVE          ((uint64_t)5000000)  /* heard data, said nothing: say something */
#define TUN_LINK_WAIT        ((uint64_t)35000000) /* sent data, heard nothing: it is dead */
#define TUN_LINK_PROBE       ((uint64_t)12000000) /* sent data, heard nothing: ask, */
#define TUN_LINK_PROBE_AGAIN ((uint64_t)3000000)  /* and again */
#define TUN_LINK_SILENCE     ((uint64_t)90000000) /* whatever we did: it is dead */
#define TUN_HALF_OPEN_TIME   ((uint64_t)10000000)
#define TUN_OLD_SESSION      ((uint64_t)5000000)   /* keys of the session before */
#define TUN_REJECT_AFTER     ((uint64_t)300000000) /* keys that could not be renewed */
#define TUN_CIRCUIT_PING     ((uint64_t)60000000)
#define TUN_CIRCUIT_PROBE    ((uint64_t)1000000) /* sent, heard nothing: PING */
#define TUN_CIRCUIT_DEAD     ((uint64_t)5000000) /* still nothing */
#define TUN_HOP_IDLE         ((uint64_t)180000000)
#define TUN_PLACE_SILENT     ((uint64_t)10000000) /* of its owner: a circuit may make place, */
#define TUN_PLACE_USED       ((uint64_t)1000000) /* a cell of its owner in so long: it is in use, */
#define TUN_PLACE_COUNTED    ((uint64_t)60000000) /* counted anew after so long, or some more */
#define TUN_PLACE_LEFT       ((uint64_t)75000000) /* and goes first: TUN_CIRCUIT_PING is over */
#define TUN_PLACE_ASK        ((uint64_t)250000)   /* links from an address are asked so often, */
#define TUN_PLACE_DOUBT      ((uint64_t)1000000)  /* if silent for so long: are they there? */
#define TUN_PLACE_LOST       ((uint64_t)8000000)  /* no answer to three questions: no more */
#define TUN_PLACE_WAIT       ((uint64_t)15000000) /* who would have one of these stays half-open */
#define TUN_MOVED_TURN       ((uint64_t)20000000) /* workers that may be meant, by turns: two tries */
#define TUN_MEMO_TIME        ((uint64_t)20000000)
#define TUN_NAMED_HEARD      ((uint64_t)60000000) /* who was silent for longer is not named */
#define TUN_LATE_ANSWER      ((uint64_t)20000000) /* an answer is still known as one */

#define TUN_LAG_LOOK      ((uint64_t)5000000)    /* ways are compared so often */
#define TUN_REPLACE_FIRST ((uint64_t)20000000)   /* after one way the next, and each time .. */
#define TUN_REPLACE_LAST  ((uint64_t)3600000000) /* .. four times as long, up to this */

#endif
