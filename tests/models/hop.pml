/*
 * The handshake with one hop (docs/protocol/tunnel.md section 3; handshake.c,
 * circuit.c, hop.c): an owner, the relay that is meant, and a relay between them
 * that is hostile: it repeats, withholds, mixes up and answers itself. A flight 2 is
 * what an owner can tell of it: for which flight 1 it was confirmed, by whose onion
 * key, and the suite it names.
 *
 * Promised, and asserted where it would be broken:
 *   keys       the owner uses keys of a hop only when the relay that was meant
 *              derived the same ones from this very handshake
 *   downgrade  both hold the suite that was asked for
 *   hop        the relay gives nothing to a circuit whose CREATE it did not accept,
 *              and takes up no second circuit for a CREATE that is repeated
 */
#define MEANT   1
#define HOSTILE 2
#define NOBODY  9

mtype = { CREATE, CREATED, CELL };
/* kind, flight 1 (which), whose key it is sealed to, suite */
chan to_relay = [2] of { mtype, byte, byte, byte };
/* kind, flight 1 answered, whose key confirmed it, suite */
chan to_owner = [2] of { mtype, byte, byte, byte };

/* ---- for the assertions ---- */
bool derived[3]; /* [flight 1]: the relay that is meant has keys of it */
byte derived_suite[3];
byte circuits[3]; /* that it holds for it */
byte asked;       /* suite */

active proctype owner() {
    byte flight = 1, x, by, suite, uses = NOBODY;
    mtype kind;
    if
    :: asked = 1
    :: asked = 2
    fi;
    to_relay!CREATE, flight, MEANT, asked;
    do
    :: to_owner?kind, x, by, suite ->
        if
        :: kind == CREATED && uses == NOBODY ->
#ifdef FAULT_ANY_KEY
            by = MEANT;
#endif
#ifdef FAULT_ANY_FLIGHT
            x = flight;
#endif
            if
            :: x == flight && by == MEANT -> /* the confirmation verifies */
                if
#ifndef FAULT_DOWNGRADE
                :: suite != asked -> break /* the circuit is given up: no less */
#endif
                :: else ->
                    uses = flight;
                    assert(derived[uses]);                /* keys */
                    assert(derived_suite[uses] == suite); /* keys */
                    assert(suite == asked)                /* downgrade */
                fi
            :: else /* goes on waiting */
            fi
        :: else
        fi;
        kind = 0; x = 0; by = 0; suite = 0
    :: uses == NOBODY && flight == 1 -> /* repeats the same flight, or gives up and begins anew */
        if
        :: to_relay!CREATE, flight, MEANT, asked
        :: flight = 2; to_relay!CREATE, flight, MEANT, asked
        fi
    :: uses != NOBODY -> break
    od;
    if
    :: uses != NOBODY && nfull(to_relay) ->
        to_relay!CELL, uses, MEANT, asked
    :: else
    fi
}

/* The relay that is meant. It has suite 2, or not; what the answer names is what it
 * speaks. A careless or subverted one names less than was asked for. */
active proctype relay() {
    byte x, to, suite;
    mtype kind;
    bool has_2, careless;
    if
    :: has_2 = true
    :: has_2 = false
    fi;
    if
    :: careless = true
    :: careless = false
    fi;
    do
    :: to_relay?kind, x, to, suite ->
        if
        :: kind == CREATE && to == MEANT && derived[x] ->
#ifdef FAULT_REPEATED_CREATE
            circuits[x]++;
#endif
            assert(circuits[x] <= 1); /* hop */
            if
            :: nfull(to_owner) -> to_owner!CREATED, x, MEANT, derived_suite[x]
            :: true
            fi
        :: kind == CREATE && to == MEANT && !derived[x] ->
            if
            :: suite == 2 && !has_2 && !careless /* DESTROY, and no answer */
            :: else ->
                derived[x] = true;
                derived_suite[x] = (suite == 2 && (!has_2 || careless) -> 1 : suite);
                circuits[x] = 1;
                if
                :: nfull(to_owner) -> to_owner!CREATED, x, MEANT, derived_suite[x]
                :: true
                fi
            fi
        :: kind == CELL -> assert(derived[x]) /* hop */
        :: else /* sealed to another key */
        fi;
        kind = 0; x = 0; to = 0; suite = 0
    od
}

/* Between them: holds its own onion key, and sees both flights. */
active proctype between() {
    byte n, x, by, suite;
    mtype kind;
    do
    :: n < 2 && nfull(to_owner) -> n++;
        if
        :: to_owner!CREATED, 1, HOSTILE, asked
        :: to_owner!CREATED, 2, HOSTILE, asked
        :: to_owner!CREATED, 0, MEANT, asked /* of a handshake of its own with MEANT */
        fi
    :: n < 2 && len(to_owner) > 0 -> n++; to_owner?kind, x, by, suite;
        if
        :: true /* withheld */
        :: nfull(to_owner) -> to_owner!kind, x, by, suite; /* repeated */
            if
            :: nfull(to_owner) -> to_owner!kind, x, by, suite
            :: true
            fi
        fi;
        kind = 0; x = 0; by = 0; suite = 0
    :: n < 2 && nfull(to_relay) -> n++; to_relay!CREATE, 1, MEANT, asked /* repeated */
    :: n < 2 && len(to_relay) > 0 -> n++; to_relay?kind, x, by, suite; kind = 0; x = 0; by = 0; suite = 0
    od
}
