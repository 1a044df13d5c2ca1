#include "cli/unpack.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

enum { ROOM_TO_GO_ON = 16 << 20 };

struct cli_unpack {
    struct cli_unpack_config cfg;
    struct io_folder_unpack work;
    struct io_wake *ended;
    pthread_t thread;
    bool running;
    enum cv_err err;
    struct io_why why;
    char path[];
};

static void *run(void *arg) {
    struct cli_unpack *u = arg;
    u->err = io_folder_unpack(&u->work, &u->why);
    io_wake_up(u->ended);
    return NULL;
}

static bool start(struct cli_unpack *u) {
    u->why.text[0] = '\0';
    u->running = pthread_create(&u->thread, NULL, run, u) == 0;
    return u->running;
}

static void on_ended(void *ctx) {
    struct cli_unpack *u = ctx;
    if (!u->running)
        return;
    pthread_join(u->thread, NULL);
    u->running = false;
    u->cfg.done(u->cfg.ctx, u->err, u->why.text[0] ? u->why.text : cv_strerror(u->err));
}

struct cli_unpack *cli_unpack_new(const struct cli_unpack_config *cfg) {
    size_t len = strlen(cfg->path) + 1;
    struct cli_unpack *u = calloc(1, sizeof *u + len);
    if (!u)
        return NULL;
    u->cfg = *cfg;
    memcpy(u->path, cfg->path, len);
    u->work.store = cfg->store;
    u->work.folder = cfg->folder;
    u->work.path = u->path;
    u->ended = io_wake_new(cfg->loop, on_ended, u);
    if (u->ended && start(u))
        return u;
    io_wake_free(u->ended);
    free(u);
    return NULL;
}

bool cli_unpack_again(struct cli_unpack *u) {
    struct statvfs fs;
    if (u->running || statvfs(u->path, &fs) != 0 ||
        (uint64_t)fs.f_bavail * fs.f_frsize < ROOM_TO_GO_ON)
        return false;
    return start(u);
}

void cli_unpack_free(struct cli_unpack *u) {
    if (!u)
        return;
    atomic_store(&u->work.stop, true);
    if (u->running)
        pthread_join(u->thread, NULL);
    io_wake_free(u->ended);
    free(u);
}
