/*
 * The link handshake (docs/protocol/tunnel.md section 4; linkhs.c, epoch.c) as a
 * state machine: one initiator, one responder, a wire that loses, repeats and
 * invents, and a forger who sends from an address at which he hears nothing.
 * Cryptography is what a receiver can tell: whose ephemeral a message belongs to,
 * and whether it was made by somebody who holds the keys for it.
 *
 * Promised, and asserted where it would be broken:
 *   state    under load the responder keeps nothing for an address before a cookie
 *            that was sent there came back from there
 *   keys     the responder seals nothing before a cell proved that the initiator
 *            holds the keys; the initiator seals nothing before flight 2 verified
 *   renewal  the initiator uses new keys for its cells only once the responder does
 *   octets   an address that proved nothing is sent no more than came from it
 *
 * FAULT_* breaks one line each; tests/models/check wants every one to be found.
 */
#define HOME   0 /* the initiator lives there */
#define VICTIM 1 /* nobody answers there; the forger writes it as his own */
#define NOBODY 9

#define FORGER 7 /* his ephemeral: he knows its secret, and hears nothing */

#define SLOTS 2
#define TRIES 2

mtype = { FLIGHT1, COOKIE, FLIGHT2, CELL, CONTINUE, DATA };

/* kind, address (of the sender to the responder, of the receiver from it),
 * ephemeral, cookie (0: none; else its address + 1), genuine */
chan to_responder = [2] of { mtype, byte, byte, byte, bool };
chan to_initiator = [2] of { mtype, byte, byte, byte, bool };

/* ---- what nobody in it knows: for the assertions ---- */
bool loaded;             /* now; may change with every flight 1 */
bool proved[2];          /* a cookie sent there was used there */
byte owed[2];            /* datagrams that came less those that went, until it is valid */
bool valid[2];           /* a cell proved the address */
byte holder[8];          /* [ephemeral]: 1 the initiator verified flight 2 of it */
byte current = NOBODY;   /* the ephemeral whose session the responder uses */

/* The forger saw one flight 1 of the initiator, with or without a cookie. */
byte seen_e = NOBODY, seen_cookie;

inline answer(kind, a, e, c) {
    assert(valid[a] || owed[a] > 0); /* octets: all datagrams are alike */
    owed[a] = (valid[a] -> 0 : owed[a] - 1);
    if
    :: a == HOME && nfull(to_initiator) -> to_initiator!kind, a, e, c, true
    :: true /* lost, or nobody is there */
    fi
}

active proctype responder() {
    byte a, e, c, state[SLOTS], slot_e[SLOTS], slot_a[SLOTS], s;
    bool genuine, fits;
    mtype kind;
    do
    :: atomic { to_responder?kind, a, e, c, genuine ->
        owed[a] = (valid[a] -> 0 : owed[a] + 1);
        if
        :: kind == FLIGHT1 ->
            if
            :: loaded = true
            :: loaded = false
            fi;
#ifdef FAULT_COOKIE_OF_ANYBODY
            fits = c != 0;
#else
            fits = c == a + 1;
#endif
#ifdef FAULT_STATE_BEFORE_COOKIE
            fits = true;
#endif
            if
            :: loaded && !fits -> answer(COOKIE, a, e, a + 1)
            :: else ->
                s = 0;
                do
                :: s < SLOTS && state[s] != 0 -> s++
                :: else -> break
                od;
                if
                :: s < SLOTS ->
                    assert(!loaded || proved[a]); /* state */
                    state[s] = 1;
                    slot_e[s] = e;
                    slot_a[s] = a;
                    answer(FLIGHT2, a, e, 0);
#ifdef FAULT_FLIGHT_2_AGAIN
                    answer(FLIGHT2, a, e, 0); /* "it may have been lost" */
#endif
#ifdef FAULT_KEYS_AT_ONCE
                    assert(holder[e] == 1); /* keys: it sends its indexes along */
#endif
                :: else
                fi
            fi
        :: kind != FLIGHT1 && genuine -> /* the tag opened under that session */
            s = 0;
            do
            :: s < SLOTS && !(state[s] != 0 && slot_e[s] == e) -> s++
            :: else -> break
            od;
            if
            :: s < SLOTS ->
                if
                :: state[s] == 1 ->
                    state[s] = 2;
                    valid[slot_a[s]] = true;
                    if
                    :: current == NOBODY || kind == CONTINUE -> current = e
                    :: else
                    fi
                :: else
                fi;
                assert(holder[e] == 1); /* keys: from here on it seals under them */
                answer(CELL, slot_a[s], e, 0)
            :: else
            fi
        :: else /* a tag that does not open */
        fi;
        s = 0; kind = 0; a = 0; e = 0; c = 0; genuine = false; fits = false; loaded = false }
    :: state[1] == 1 -> state[1] = 0; slot_e[1] = 0; slot_a[1] = 0 /* half-open times out */
    :: state[0] == 1 -> state[0] = 0; slot_e[0] = 0; slot_a[0] = 0
    od
}

inline flight_1() {
    atomic {
        tries++;
        seen_e = e;
        seen_cookie = cookie;
        proved[HOME] = proved[HOME] || cookie != 0;
        if
        :: nfull(to_responder) -> to_responder!FLIGHT1, HOME, e, cookie, true
        :: true
        fi
    }
}

/* Ephemerals 1 (the first handshake) and 2 (the renewal). */
active proctype initiator() {
    byte e = 1, cookie, tries, a, f, c, use = NOBODY, said;
    bool genuine, answered;
    mtype kind;
    flight_1();
    do
    :: tries < TRIES && !answered -> flight_1()
    :: atomic { to_initiator?kind, a, f, c, genuine ->
        if
        :: kind == COOKIE && genuine && f == e -> cookie = c
        :: kind == FLIGHT2 && f == e && !answered ->
#ifdef FAULT_FLIGHT_2_UNVERIFIED
            genuine = true;
            holder[e] = holder[e];
#else
            if
            :: genuine -> holder[e] = 1
            :: else
            fi;
#endif
            if
            :: genuine ->
                answered = true;
                if
                :: use == NOBODY ->
                    use = e;
                    assert(holder[use] == 1) /* keys */
                :: else
#ifdef FAULT_NEW_KEYS_AT_ONCE
                    -> use = e
#endif
                fi
            :: else /* does not end the wait for the real one */
            fi
        :: kind == CELL && genuine && f == e && answered && use != e ->
            use = e /* it came under the new keys: the responder uses them */
        :: else
        fi;
        kind = 0; a = 0; f = 0; c = 0; genuine = false }
    :: answered && use != e && said < 2 && nfull(to_responder) -> said++;
        to_responder!CONTINUE, HOME, e, 0, true
    :: use != NOBODY && said < 2 && nfull(to_responder) -> said++;
        /* renewal: either the responder has moved to it, or the session is the first */
        assert(use == 1 || current == use);
        to_responder!DATA, HOME, use, 0, true
    :: use == 1 && e == 1 -> /* 120 s later */
        e = 2;
        answered = false;
        tries = 0;
        said = 0;
        cookie = 0;
        flight_1()
    od
}

/* Hears what the initiator sends, and nothing of what goes to VICTIM. */
active proctype forger() {
    byte n;
    do
    :: n < 2 && nfull(to_responder) -> n++;
        if
        :: to_responder!FLIGHT1, VICTIM, FORGER, 0, true
        :: seen_e != NOBODY -> to_responder!FLIGHT1, VICTIM, seen_e, seen_cookie, true
        :: to_responder!CELL, VICTIM, FORGER, 0, false
        fi
    :: n < 2 && nfull(to_initiator) -> n++;
        if
        :: to_initiator!FLIGHT2, HOME, 1, 0, false
        :: to_initiator!FLIGHT2, HOME, 2, 0, false
        :: to_initiator!COOKIE, HOME, 1, 0, false
        fi
    od
}
