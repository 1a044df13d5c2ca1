/* Committing: the caller's thread queues bitmap pages; the flushing thread
 * makes content and hashes durable first, then writes and flushes the pages. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/file.h"
#include "io/store_priv.h"

static struct io_store_page *page_in(struct io_store_pages *q, uint64_t number) {
    for (size_t i = 0; i < q->used; i++)
        if (q->all[i].number == number)
            return &q->all[i];
    if (q->used == q->cap) {
        size_t cap = q->cap ? 2 * q->cap : 8;
        struct io_store_page *all = realloc(q->all, cap * sizeof *all);
        if (!all)
            return NULL;
        q->all = all;
        q->cap = cap;
    }
    q->all[q->used].number = number;
    return &q->all[q->used++];
}

/* 0 or errno. */
static int write_out(struct io_store *s, const struct io_store_pages *pages) {
    if (fdatasync(s->data) != 0 || fdatasync(s->tree) != 0 || fdatasync(s->leaves) != 0)
        return errno;
    for (size_t i = 0; i < pages->used; i++)
        if (io_file_pwrite(s->have, pages->all[i].octets, IO_PAGE,
                           pages->all[i].number * IO_PAGE) != 0)
            return errno;
    return fdatasync(s->have) != 0 ? errno : 0;
}

static void *flush_loop(void *arg) {
    struct io_store *s = arg;
    struct io_store_flusher *f = &s->flusher;
    pthread_mutex_lock(&f->mutex);
    for (;;) {
        while (!f->stop && f->queue.used == 0)
            pthread_cond_wait(&f->changed, &f->mutex);
        if (f->queue.used == 0)
            break; /* told to stop, and nothing is left */
        struct io_store_pages job = f->queue;
        uint64_t octets = f->queued_octets;
        f->queue = (struct io_store_pages){0};
        f->queued_octets = 0;
        f->busy = true;
        pthread_mutex_unlock(&f->mutex);

        int error = f->error ? f->error : write_out(s, &job);
        free(job.all);

        pthread_mutex_lock(&f->mutex);
        f->busy = false;
        f->error = error;
        if (!error) {
            f->octets -= octets;
            f->commits++;
        }
        pthread_cond_broadcast(&f->changed);
        if (f->notify)
            f->notify(f->notify_ctx);
    }
    pthread_mutex_unlock(&f->mutex);
    return NULL;
}

void io_store_notify(struct io_store *s, void (*fn)(void *ctx), void *ctx) {
    assert(!s->flusher.running);
    s->flusher.notify = fn;
    s->flusher.notify_ctx = ctx;
}

/* The thread begins with the first commit: most stores of a seeder need none. */
static enum cv_err ensure_thread(struct io_store *s) {
    struct io_store_flusher *f = &s->flusher;
    if (f->running)
        return CV_ERR_OK;
    if (pthread_create(&f->thread, NULL, flush_loop, s) != 0) {
        io_why_set(&s->why, "%s: no thread for flushing: too many processes", s->where);
        return CV_ERR_LIMIT;
    }
    f->running = true;
    return CV_ERR_OK;
}

static enum cv_err failed(struct io_store *s, int error) {
    enum cv_err err = io_why_errno(&s->why, s->where, error);
    return err == CV_ERR_FULL ? CV_ERR_FULL : CV_ERR_STORE;
}

/* Moves what is dirty into the queue; the mutex is held. */
static enum cv_err queue_dirty(struct io_store *s) {
    struct io_store_flusher *f = &s->flusher;
    uint64_t pages = io_page_count(s->header.chunks);
    for (uint64_t i = 0; i < pages; i++) {
        if (!(s->dirty[i >> 3] >> (i & 7) & 1))
            continue;
        struct io_store_page *page = page_in(&f->queue, IO_PAGE_FIRST + i);
        if (!page)
            return CV_ERR_NOMEM;
        io_page_write_bits(page->octets, s->header.id, i, s->words, s->header.chunks);
        s->dirty[i >> 3] = (uint8_t)(s->dirty[i >> 3] & ~(1u << (i & 7)));
    }
    f->queued_octets += s->fresh_octets;
    s->fresh_octets = 0;
    return CV_ERR_OK;
}

enum cv_err io_store_commit(struct io_store *s) {
    struct io_store_flusher *f = &s->flusher;
    bool fresh = !s->header.shared && s->fresh_octets > 0;
    /* Before the bits are queued, or these could be durable without their hashes. */
    enum cv_err err = s->header.shared ? CV_ERR_OK : io_tree_write(s);
    if (err == CV_ERR_OK && fresh)
        err = ensure_thread(s);
    if (err != CV_ERR_OK)
        return err;
    pthread_mutex_lock(&f->mutex);
    int error = f->error;
    if (!error && fresh)
        err = queue_dirty(s);
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->mutex);
    return error ? failed(s, error) : err;
}

enum cv_err io_store_flush(struct io_store *s) {
    enum cv_err err = io_store_commit(s);
    struct io_store_flusher *f = &s->flusher;
    if (!f->running)
        return err;
    pthread_mutex_lock(&f->mutex);
    while (f->busy || f->queue.used > 0)
        pthread_cond_wait(&f->changed, &f->mutex);
    int error = f->error;
    pthread_mutex_unlock(&f->mutex);
    return error ? failed(s, error) : err;
}

void io_store_stop(struct io_store *s) {
    struct io_store_flusher *f = &s->flusher;
    if (!f->running)
        return;
    pthread_mutex_lock(&f->mutex);
    f->stop = true;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->mutex);
    pthread_join(f->thread, NULL);
    f->running = false;
}
