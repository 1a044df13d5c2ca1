#include "io/hash_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/file.h"
#include "io/limits.h"
#include "ppsp/build.h"

/*
 * Blocks are taken in order; block b uses slot b % slots, so a thread waits
 * until the block that had its slot before was handed on. Memory is a block of
 * data a thread, and slots blocks of groups' nodes. A block is whole groups.
 */
struct slot {
    uint64_t block;
    bool full;
    uint8_t *nodes;
};

struct pool {
    const struct io_hash_job *job;
    size_t hash_len;
    uint64_t block_chunks, blocks;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uint64_t next, handed_on; /* block to be taken; blocks the caller has had */
    struct slot *slots;
    unsigned slot_count;
    enum cv_err err;
    int error;
};

static uint64_t block_octets(const struct pool *p, uint64_t block) {
    uint64_t size = p->block_chunks * p->job->chunk_size, left = p->job->octets - block * size;
    return left < size ? left : size;
}

static size_t groups_in(const struct pool *p, uint64_t block) {
    uint64_t group = (uint64_t)PPSP_BUILD_GROUP * p->job->chunk_size;
    return (size_t)((block_octets(p, block) + group - 1) / group);
}

static void fail(struct pool *p, enum cv_err err, int error) {
    pthread_mutex_lock(&p->mutex);
    if (p->err == CV_ERR_OK) {
        p->err = err;
        p->error = error;
    }
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->mutex);
}

/* The next block and its free slot; NULL: nothing is left to do. */
static struct slot *take(struct pool *p) {
    struct slot *slot = NULL;
    pthread_mutex_lock(&p->mutex);
    if (p->err == CV_ERR_OK && p->next < p->blocks) {
        uint64_t block = p->next++;
        while (p->err == CV_ERR_OK && block >= p->handed_on + p->slot_count)
            pthread_cond_wait(&p->changed, &p->mutex);
        if (p->err == CV_ERR_OK) {
            slot = &p->slots[block % p->slot_count];
            assert(!slot->full);
            slot->block = block;
        }
    }
    pthread_mutex_unlock(&p->mutex);
    return slot;
}

/* The group that begins with data. */
static void hash_group(const struct pool *p, const uint8_t *data, uint64_t len, uint8_t *nodes) {
    const struct io_hash_job *job = p->job;
    uint8_t leaves[PPSP_BUILD_GROUP * CV_SHA_MAX];
    unsigned count = 0;
    for (uint64_t at = 0; at < len && count < PPSP_BUILD_GROUP; at += job->chunk_size) {
        uint64_t left = len - at;
        ppsp_build_leaf(job->alg, data + at,
                        (size_t)(left < job->chunk_size ? left : job->chunk_size),
                        leaves + count++ * p->hash_len);
    }
    ppsp_build_group(job->alg, leaves, count, nodes);
}

static bool hash_block(struct pool *p, struct slot *slot, uint8_t *data) {
    const struct io_hash_job *job = p->job;
    uint64_t len = block_octets(p, slot->block), begin = slot->block * p->block_chunks;
    ssize_t n = job->folder
                    ? io_folder_view_read(job->folder, data, (size_t)len, begin * job->chunk_size)
                    : io_file_pread(job->fd, data, (size_t)len, begin * job->chunk_size);
    if (n < 0 || (uint64_t)n < len) {
        fail(p, n < 0 && errno != ESTALE ? CV_ERR_STORE : CV_ERR_DIFFERS, errno);
        return false;
    }
    uint64_t step = (uint64_t)PPSP_BUILD_GROUP * job->chunk_size, group = 0;
    for (uint64_t at = 0; at < len; at += step, group++)
        hash_group(p, data + at, len - at, slot->nodes + group * PPSP_BUILD_RUN * p->hash_len);
    return true;
}

static void *worker(void *arg) {
    struct pool *p = arg;
    uint8_t *data = malloc((size_t)(p->block_chunks * p->job->chunk_size));
    if (!data)
        fail(p, CV_ERR_NOMEM, 0);
    for (struct slot *slot; data && (slot = take(p)) && hash_block(p, slot, data);) {
        pthread_mutex_lock(&p->mutex);
        slot->full = true;
        pthread_cond_broadcast(&p->changed);
        pthread_mutex_unlock(&p->mutex);
    }
    cv_crypto_thread_done();
    free(data);
    return NULL;
}

/* The caller's part: hands blocks on in order. */
static void hand_on(struct pool *p) {
    for (uint64_t block = 0; block < p->blocks; block++) {
        struct slot *slot = &p->slots[block % p->slot_count];
        pthread_mutex_lock(&p->mutex);
        while (p->err == CV_ERR_OK && !(slot->full && slot->block == block))
            pthread_cond_wait(&p->changed, &p->mutex);
        enum cv_err err = p->err;
        pthread_mutex_unlock(&p->mutex);
        if (err != CV_ERR_OK)
            return;

        err = p->job->groups(p->job->ctx, block * (p->block_chunks / PPSP_BUILD_GROUP), slot->nodes,
                             groups_in(p, block));
        if (err != CV_ERR_OK) {
            fail(p, err, 0);
            return;
        }
        pthread_mutex_lock(&p->mutex);
        slot->full = false;
        p->handed_on++;
        pthread_cond_broadcast(&p->changed);
        pthread_mutex_unlock(&p->mutex);
    }
}

static unsigned thread_count(const struct pool *p) {
    long n = p->job->threads ? (long)p->job->threads : sysconf(_SC_NPROCESSORS_ONLN);
    n = n < 1 ? 1 : n > IO_HASH_THREADS_MAX ? IO_HASH_THREADS_MAX : n;
    return (uint64_t)n > p->blocks ? (unsigned)p->blocks : (unsigned)n;
}

static void run(struct pool *p, unsigned threads) {
    pthread_t ids[IO_HASH_THREADS_MAX];
    unsigned started = 0;
    if (p->blocks == 1) { /* thousands of small files need no thousands of threads */
        worker(p);
        hand_on(p);
        return;
    }
    while (started < threads && pthread_create(&ids[started], NULL, worker, p) == 0)
        started++;
    if (started == 0)
        fail(p, CV_ERR_LIMIT, EAGAIN);
    else
        hand_on(p);
    for (unsigned i = 0; i < started; i++)
        pthread_join(ids[i], NULL);
}

static enum cv_err explain(const struct pool *p, struct io_why *why) {
    const char *path = p->job->path;
    if (p->err == CV_ERR_DIFFERS)
        io_why_set(why, "%s: changed while it was read; try again", path);
    else if (p->error)
        io_why_errno(why, path, p->error);
    return p->err;
}

enum cv_err io_hash_file(const struct io_hash_job *job, struct io_why *why) {
    assert(job->octets > 0);
    assert(job->chunk_size > 0 && job->chunk_size <= IO_CHUNK_MAX);
    struct pool p = {.job = job, .hash_len = cv_sha_len(job->alg)};
    uint64_t group = (uint64_t)PPSP_BUILD_GROUP * job->chunk_size;
    p.block_chunks = (group < IO_HASH_BLOCK ? IO_HASH_BLOCK / group : 1) * PPSP_BUILD_GROUP;
    uint64_t size = p.block_chunks * job->chunk_size;
    p.blocks = (job->octets + size - 1) / size;
    unsigned threads = thread_count(&p);
    p.slot_count = 2 * threads;
    p.slots = calloc(p.slot_count, sizeof *p.slots);
    size_t of_slot = (size_t)(p.block_chunks / PPSP_BUILD_GROUP) * PPSP_BUILD_RUN * p.hash_len;
    uint8_t *nodes = malloc(p.slot_count * of_slot);
    if (!p.slots || !nodes) {
        free(p.slots);
        free(nodes);
        return CV_ERR_NOMEM;
    }
    for (unsigned i = 0; i < p.slot_count; i++)
        p.slots[i].nodes = nodes + i * of_slot;
    pthread_mutex_init(&p.mutex, NULL);
    pthread_cond_init(&p.changed, NULL);
    if (!job->folder)
        (void)posix_fadvise(job->fd, 0, (off_t)job->octets, POSIX_FADV_SEQUENTIAL);

    run(&p, threads);

    pthread_mutex_destroy(&p.mutex);
    pthread_cond_destroy(&p.changed);
    free(nodes);
    free(p.slots);
    return explain(&p, why);
}
