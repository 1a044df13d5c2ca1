#include "base/slab.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/watched.h"

enum { LINE = 64, BLOCK = 2 << 20, SIZE_MAX_OCTETS = 64 << 10 };

/* At its beginning; objects follow from the next line on. */
struct cv_slab_block {
    TAILQ_ENTRY(cv_slab_block) entry; /* while it has room */
    void *free;                       /* objects that were in use, each with the next in front */
    uint32_t begun, used;             /* objects ever in use; now */
};

static_assert(sizeof(struct cv_slab_block) <= LINE, "objects begin at the second line");

static uint32_t objects(const struct cv_slab *s) {
    return (uint32_t)((BLOCK - LINE) / s->size);
}

static struct cv_slab_block *block_of(void *object) {
    return (struct cv_slab_block *)((uintptr_t)object & ~(uintptr_t)(BLOCK - 1));
}

static struct cv_slab_block *block_new(struct cv_slab *s) {
    struct cv_slab_block *b = aligned_alloc(BLOCK, BLOCK);
    if (!b)
        return NULL;
    if (s->blocks > 0)
        (void)madvise(b, BLOCK, MADV_HUGEPAGE); /* refused: it works without */
    *b = (struct cv_slab_block){0};
    CV_HIDE((uint8_t *)b + LINE, BLOCK - LINE);
    TAILQ_INSERT_TAIL(&s->roomy, b, entry);
    s->blocks++;
    return b;
}

static void block_free(struct cv_slab *s, struct cv_slab_block *b) {
    TAILQ_REMOVE(&s->roomy, b, entry);
    s->blocks--;
    CV_SHOW(b, BLOCK);
    free(b);
}

void cv_slab_init(struct cv_slab *s, size_t size) {
    assert(size > 0);
    assert(size <= SIZE_MAX_OCTETS);
    *s = (struct cv_slab){.size = (size + LINE - 1) / LINE * LINE};
    TAILQ_INIT(&s->roomy);
}

void cv_slab_done(struct cv_slab *s) {
    assert(s->used == 0);
    struct cv_slab_block *b;
    while ((b = TAILQ_FIRST(&s->roomy)) != NULL)
        block_free(s, b);
    assert(s->blocks == 0);
}

void *cv_slab_take(struct cv_slab *s) {
    struct cv_slab_block *b = TAILQ_FIRST(&s->roomy);
    if (!b && (b = block_new(s)) == NULL)
        return NULL;
    void *object = b->free ? b->free : (uint8_t *)b + LINE + b->begun * s->size;
    CV_SHOW(object, s->size);
    if (b->free)
        memcpy(&b->free, object, sizeof b->free);
    else
        b->begun++;
    if (++b->used == objects(s))
        TAILQ_REMOVE(&s->roomy, b, entry);
    s->used++;
    return memset(object, 0, s->size);
}

void cv_slab_give(struct cv_slab *s, void *object) {
    if (!object)
        return;
    struct cv_slab_block *b = block_of(object);
    assert(b->used > 0);
    if (b->used-- == objects(s))
        TAILQ_INSERT_TAIL(&s->roomy, b, entry);
    s->used--;
    memcpy(object, &b->free, sizeof b->free);
    b->free = object;
    CV_HIDE(object, s->size);
    if (b->used == 0 && (TAILQ_FIRST(&s->roomy) != b || TAILQ_NEXT(b, entry)))
        block_free(s, b);
}
