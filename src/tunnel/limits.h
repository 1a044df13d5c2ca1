/*
 * Every limit and fixed size of the tunnel module, on one screen. Sizes that
 * are octets of the wire are proved by static_assert where the layout is.
 */
#ifndef CULVERT_TUNNEL_LIMITS_H
#define CULVERT_TUNNEL_LIMITS_H

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
    TUN_HOPS_MAX = 4, /* in any circuit; also the number of backward slots */
    /* Room a cell needs while its owner wraps it (onion.h). */
    TUN_WRAP_ROOM = TUN_CELL + TUN_FILLER * (TUN_HOPS_MAX - 1),

    /* --- numbers --- */
    TUN_WINDOW = 2048,          /* entries of every replay window */
    TUN_EPOCH_BITS = 20,        /* keys of a layer ratchet every 2^20 numbers */
    TUN_SEQUENCE_BITS = 31,     /* of a layer sequence, on the wire */
    TUN_SEQUENCE_CAP = 1 << 30, /* cells of one direction of one hop */
    TUN_OLD_EPOCH_MS = 5000,    /* the previous epoch is still accepted for so long */
    TUN_REKEY_CELLS = 1 << 20,  /* new link handshake after so many, or */
    TUN_REKEY_MS = 120000,      /* after so long */

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
    TUN_DIGEST = 16, /* D = BLAKE2b-128(descriptor) */
    TUN_NETWORK_ID = 8,

    /* --- relay and link command bodies --- */
    TUN_BUCKET_PAIRS_MAX = 23, /* (identity, D) in one answer */
    TUN_IDENTITIES_MAX = 20,   /* asked for in one DESCRIPTORS */
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
};

#endif
