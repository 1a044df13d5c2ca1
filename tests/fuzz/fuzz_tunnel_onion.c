/*
 * Onion layers (tunnel/layer.h, tunnel/onion.h): a circuit of four hops and a
 * wire that belongs to the input. Each two octets are a step: what, and how.
 * Property: a cell that nobody changed arrives once, at the hop it was for or
 * from the hop that wrote it, with its data; a changed, repeated or forged one
 * is refused by the next hop and changes nothing.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "tunnel/layer.h"
#include "tunnel/onion.h"
#include "tunnel/params.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HOPS = 4, KEPT = 8, STAGE = TUN_WRAP_ROOM + HOPS * TUN_LAYER_HEAD, STEPS_MAX = 200 };

struct world {
    struct cv_rng rng;
    struct tun_onion owner;
    struct tun_layer hop[HOPS];
    cv_usec now;
    struct {
        uint8_t cell[TUN_CELL];
        uint8_t target, mark;
        bool sent, arrived;
    } kept[KEPT]; /* forward cells, as they left the owner */
};

static void check_data(const struct tun_inner *in, uint8_t mark) {
    assert(in->command == 1 + mark % 27);
    for (unsigned i = 0; i < in->len; i++)
        assert(in->data[i] == mark);
}

static void write_forward(struct world *w, unsigned slot, uint8_t how) {
    uint8_t buf[STAGE];
    unsigned target = how % HOPS;
    size_t len = (size_t)how * 4;
    memset(tun_onion_data(buf, target), how, len);
    assert(tun_onion_wrap(&w->owner, &w->rng, buf, target, (uint8_t)(1 + how % 27), len) ==
           CV_ERR_OK);
    memcpy(w->kept[slot].cell, buf, TUN_CELL);
    w->kept[slot].target = (uint8_t)target;
    w->kept[slot].mark = how;
    w->kept[slot].sent = true;
    w->kept[slot].arrived = false;
}

/* Takes a cell as far as it goes. `flip_at`: the hop before which an octet of
 * it is changed, HOPS for never. */
static void carry(struct world *w, unsigned slot, unsigned flip_at, uint8_t how) {
    uint8_t buf[STAGE], *cell = buf;
    struct tun_inner inner;
    if (!w->kept[slot].sent)
        return;
    memcpy(buf, w->kept[slot].cell, TUN_CELL);
    for (unsigned i = 0; i <= w->kept[slot].target; i++, cell += TUN_LAYER_HEAD) {
        struct tun_layer before = w->hop[i];
        if (i == flip_at)
            cell[how * 4] ^= 0x40;
        enum cv_err err =
            tun_layer_forward(&w->hop[i], w->now, cell, cell + TUN_LAYER_HEAD, &inner);
        if (err) {
            assert(i >= flip_at || w->kept[slot].arrived || err == CV_ERR_STALE ||
                   err == CV_ERR_REPLAY);
            assert(memcmp(&before, &w->hop[i], sizeof before) == 0);
            return;
        }
        assert(i < flip_at);
    }
    assert(!w->kept[slot].arrived);
    w->kept[slot].arrived = true;
    check_data(&inner, w->kept[slot].mark);
}

static void backward(struct world *w, unsigned from, unsigned flip, uint8_t how) {
    uint8_t cell[TUN_CELL], again[TUN_CELL];
    uint32_t s;
    unsigned who = HOPS;
    struct tun_inner inner;
    size_t len = (size_t)how * 4;
    memset(tun_layer_data(cell), how, len);
    assert(tun_layer_originate(&w->hop[from], &w->rng, cell, (uint8_t)(1 + how % 27), len, &s) ==
           CV_ERR_OK);
    for (unsigned i = from; i-- > 0;)
        assert(tun_layer_transit(&w->hop[i], &w->rng, cell, s, &s) == CV_ERR_OK);
    memcpy(again, cell, sizeof again);
    if (flip) {
        struct tun_onion before = w->owner;
        cell[16 + how * 4] ^= 0x20;
        assert(tun_onion_unwrap(&w->owner, w->now, cell, s, &who, &inner) != CV_ERR_OK);
        assert(memcmp(&before, &w->owner, sizeof before) == 0);
        return;
    }
    assert(tun_onion_unwrap(&w->owner, w->now, cell, s, &who, &inner) == CV_ERR_OK);
    assert(who == from);
    check_data(&inner, how);
    assert(tun_onion_unwrap(&w->owner, w->now, again, s, &who, &inner) == CV_ERR_REPLAY);
}

static void forged(struct world *w, unsigned at, const uint8_t *data, size_t size) {
    uint8_t buf[STAGE] = {0};
    struct tun_inner inner;
    struct tun_layer before = w->hop[at];
    struct tun_onion owner = w->owner;
    unsigned who;
    memcpy(buf, data, size < TUN_CELL ? size : TUN_CELL);
    assert(tun_layer_forward(&w->hop[at], w->now, buf, buf + TUN_LAYER_HEAD, &inner) != CV_ERR_OK);
    assert(memcmp(&before, &w->hop[at], sizeof before) == 0);
    uint32_t s = (uint32_t)(data[0] | data[1] << 8) << (at * 8);
    assert(tun_onion_unwrap(&w->owner, w->now, buf, s, &who, &inner) != CV_ERR_OK);
    assert(memcmp(&owner, &w->owner, sizeof owner) == 0);
}

/* No further ahead of the receiver than it promises to look. */
static void jump(struct world *w, unsigned hop, bool forward) {
    struct tun_ratchet_tx *tx = forward ? &w->owner.hop[hop].forward : &w->hop[hop].backward;
    uint32_t rx = forward ? w->hop[hop].forward.epoch : w->owner.hop[hop].backward.epoch;
    if (tx->epoch - rx < TUN_EPOCHS_AHEAD)
        tun_ratchet_jump(tx);
}

/* Time alone moves each sender by one epoch at most. On copies: who jumps
 * further than receivers look is left behind, and that is jump()'s business. */
static void turn(struct world *w) {
    struct tun_onion owner = w->owner;
    cv_usec at = tun_onion_turn(&owner, &w->rng, w->now);
    assert(at > w->now && tun_onion_turn(&owner, &w->rng, w->now) == at);
    for (unsigned i = 0; i < HOPS; i++) {
        struct tun_layer hop = w->hop[i];
        at = tun_layer_turn(&hop, &w->rng, w->now);
        assert(at > w->now && tun_layer_turn(&hop, &w->rng, w->now) == at);
        (void)tun_layer_turn(&hop, &w->rng, at + CV_SEC(180));
        assert(hop.backward.epoch <= w->hop[i].backward.epoch + 1);
        assert(owner.hop[i].forward.epoch <= w->owner.hop[i].forward.epoch + 1);
    }
}

static void step(struct world *w, const uint8_t *data, size_t size) {
    unsigned slot = data[0] >> 5, hop = data[0] >> 3 & 3;
    switch (data[0] & 7) {
    case 0:
    case 1:
        write_forward(w, slot, data[1]);
        break;
    case 2:
        carry(w, slot, HOPS, 0);
        break;
    case 3:
        carry(w, slot, hop, data[1]);
        break;
    case 4:
        backward(w, hop, slot & 1, data[1]);
        break;
    case 5:
        jump(w, hop, slot & 1);
        break;
    case 6:
        w->now += CV_MSEC(40) * data[1];
        for (unsigned i = 0; i < HOPS; i++) {
            tun_ratchet_expire(&w->hop[i].forward, w->now);
            tun_ratchet_expire(&w->owner.hop[i].backward, w->now);
        }
        turn(w);
        break;
    default:
        forged(w, hop, data, size);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct world w;
    struct cv_rng_seeded seeded;
    if (size > STEPS_MAX * 2)
        return 0;
    cv_crypto_init();
    memset(&w, 0, sizeof w);
    cv_rng_seeded_init(&seeded, 1);
    w.rng = cv_rng_seeded(&seeded);
    tun_onion_init(&w.owner);
    for (unsigned i = 0; i < HOPS; i++) {
        struct tun_layer_secret secret;
        uint8_t prk[32];
        memset(prk, (int)i, sizeof prk);
        tun_layer_secret_derive(&secret, prk, i ? TUN_SUITE_CHACHA : TUN_SUITE_AES);
        tun_layer_init(&w.hop[i], &secret);
        tun_onion_add(&w.owner, &secret);
    }
    for (; size >= 2; data += 2, size -= 2)
        step(&w, data, size);
    tun_onion_done(&w.owner);
    return 0;
}
