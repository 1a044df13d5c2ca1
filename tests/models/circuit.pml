/*
 * How a circuit grows (docs/protocol/tunnel.md sections 3 and 7; hop.c, circuit.c):
 * an owner who extends as far and as often as he can, over a chain of relays of
 * which one may be hostile and writes into CREATE what it likes.
 *
 * Promised, and asserted where it would be broken:
 *   ttl      beginning at the first hop, or behind a hostile one, no more than eight
 *            honest relays follow each other, whatever the owner asks
 *   extends  an honest relay performs no more than three for one circuit
 *   one way  a relay has one next hop and passes cells on only once it answered
 */
#define CHAIN 10 /* one more than may follow each other behind a hostile first */
#define TTL_MAX 7
#define EXTENDS_MAX 3
#define NONE 99

byte hostile = NONE; /* which relay, if any */
byte flaky;          /* whose next relay sometimes does not answer: asked again and again */
bool there[CHAIN];   /* holds a hop of this circuit */
byte ttl[CHAIN], extends[CHAIN];
bool extended[CHAIN];
byte in_a_row[CHAIN]; /* honest ones up to and with this */

/* CREATE with this ttl comes to relay i. */
inline create(i, t) {
    if
    :: i == hostile -> there[i] = true; in_a_row[i] = 0
#ifdef FAULT_ANY_TTL
    :: i != hostile ->
#else
    :: i != hostile && t > TTL_MAX /* DESTROY */
    :: i != hostile && t <= TTL_MAX ->
#endif
        there[i] = true;
        ttl[i] = t;
        if
        :: i == 0 -> in_a_row[i] = 1
        :: else -> in_a_row[i] = in_a_row[i - 1] + 1
        fi;
        assert(in_a_row[i] <= TTL_MAX + 1) /* ttl */
    fi
}

/* EXTEND to relay i + 1, which may not answer. */
inline extend(i) {
    if
    :: i == hostile -> /* any ttl, any time */
        if
        :: create(i + 1, TTL_MAX)
        :: create(i + 1, TTL_MAX + 1)
        :: create(i + 1, 200)
        fi;
        extended[i] = there[i + 1]
    :: else ->
        if
#ifdef FAULT_EXTENDS_AT_ZERO
        :: extends[i] >= EXTENDS_MAX
#elif defined(FAULT_EXTENDS_WITHOUT_END)
        :: ttl[i] == 0
#else
        :: ttl[i] == 0 || extends[i] >= EXTENDS_MAX
#endif
#ifndef FAULT_TWO_NEXT_HOPS
        :: extended[i]
#endif
        :: else ->
            assert(!extended[i]); /* one way */
            extends[i]++;
            assert(extends[i] <= EXTENDS_MAX); /* extends */
            if
            :: i == flaky /* unreachable: may be asked again */
            :: true ->
#ifdef FAULT_TTL_STANDS
                create(i + 1, ttl[i]);
#else
                create(i + 1, ttl[i] - (ttl[i] > 0 -> 1 : 0));
#endif
                extended[i] = there[i + 1]
            fi
        fi
    fi
}

active proctype circuit() {
    byte i, t;
    if /* who is hostile */
    :: true
    :: hostile = 0
    :: hostile = 4
    fi;
    if
    :: flaky = 0
    :: flaky = 5
    :: flaky = 7
    fi;
    if /* what the owner draws; a hostile one writes more */
    :: t = 4 :: t = 7 :: t = 8 :: t = 200
    fi;
    create(0, t);
    do
    :: atomic { i < CHAIN - 2 && there[i + 1] -> i++ } /* goes on with the newest */
    :: atomic { there[i] -> extend(i) }                /* also where it was extended before */
    :: atomic { i > 0 -> i-- }                         /* or with one before */
    :: true -> break
    od
}
