/* A folder on the disk: shared as one content, and given back from it. */
#include "support/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/contents.h"
#include "io/folder_unpack.h"
#include "io/folder_view.h"
#include "io/limits.h"
#include "io/store_file.h"
#include "support/folder.h"

CV_SUITE(io_folder, .init = cv_crypto_init, .timeout = 600);

enum { CHUNK = 1024 };

struct made {
    char top[256], folder[300], out[300];
    struct io_state *state;
};

static void make(struct made *m) {
    char state[300];
    folder_make(m->top);
    snprintf(m->folder, sizeof m->folder, "%s/films", m->top);
    snprintf(m->out, sizeof m->out, "%s/out", m->top);
    snprintf(state, sizeof state, "%s/state", m->top);
    cr_assert_eq(mkdir(m->folder, 0700), 0);
    cr_assert_eq(io_state_open(state, &m->state, NULL), CV_ERR_OK);
}

static void unmake(struct made *m) {
    io_state_close(m->state);
    folder_remove(m->top);
}

/* `octets` that follow from the name. */
static void put(const char *top, const char *path, size_t octets) {
    char full[700];
    uint8_t *data = malloc(octets + 1);
    for (size_t i = 0; i < octets; i++)
        data[i] = (uint8_t)(1 + path[i % strlen(path)] + 7 * i + i / 251);
    snprintf(full, sizeof full, "%s/%s", top, path);
    for (char *p = full + strlen(top) + 1; (p = strchr(p, '/')); *p++ = '/') {
        *p = 0;
        mkdir(full, 0700);
    }
    FILE *f = fopen(full, "w");
    cr_assert_not_null(f, "%s", full);
    fwrite(data, 1, octets, f);
    fclose(f);
    free(data);
}

static struct io_folder_view *look(struct made *m, struct io_why *why, enum cv_err *err) {
    struct io_folder_view *v = NULL;
    *err = io_folder_look(open(m->folder, O_RDONLY | O_DIRECTORY), m->folder, CHUNK, &v, why);
    return v;
}

static void put_some(struct made *m) {
    put(m->folder, "z", 3 * CHUNK);
    put(m->folder, "a/b/c", 5);
    put(m->folder, "a/empty", 0);
    put(m->folder, "a.b", CHUNK + 1);
    put(m->folder, "end", 0);
}

/* Reading anywhere gives what one reading of all gives; gaps are zeros. */
Test(io_folder, is_one_content) {
    struct made m;
    struct io_why why = {""};
    enum cv_err err;
    make(&m);
    put_some(&m);
    struct io_folder_view *v = look(&m, &why, &err);
    cr_assert_eq(err, CV_ERR_OK, "%s", why.text);
    size_t len = io_folder_view_octets(v);
    uint8_t *all = malloc(len + 100), *some = malloc(len + 100);
    cr_assert_eq(io_folder_view_read(v, all, len + 100, 0), (ssize_t)len);
    struct io_folder *f = NULL;
    cr_assert_eq(io_folder_parse(all, io_folder_index_octets(all), CHUNK, len, &f, &why), CV_ERR_OK,
                 "%s", why.text);
    static const char *const paths[] = {"a.b", "a/b/c", "a/empty", "end", "z"};
    cr_assert_eq(f->count, 5);
    uint64_t at = io_folder_index_octets(all);
    for (size_t i = 0; i < f->count; i++) {
        char full[700];
        cr_expect_str_eq(f->files[i].path, paths[i]);
        for (; at < f->files[i].offset; at++)
            cr_assert_eq(all[at], 0);
        snprintf(full, sizeof full, "%s/%s", m.folder, paths[i]);
        FILE *file = fopen(full, "r");
        size_t n = fread(some, 1, len, file);
        fclose(file);
        cr_assert_eq(n, f->files[i].octets);
        cr_assert_eq(memcmp(some, all + at, n), 0);
        at += n;
    }
    for (size_t from = 0; from < len; from += 97)
        for (size_t n = 1; n < 3000; n += 731) {
            size_t want = from + n < len ? n : len - from;
            cr_assert_eq(io_folder_view_read(v, some, n, from), (ssize_t)want);
            cr_assert_eq(memcmp(some, all + from, want), 0);
        }
    io_folder_free(f);
    free(all);
    free(some);
    io_folder_view_free(v);
    unmake(&m);
}

static struct io_store *share(struct made *m, bool known, enum cv_err *err, uint8_t *root,
                              struct io_why *why) {
    struct io_share_config cfg = {
        .path = m->folder, .chunk_size = CHUNK, .alg = CV_SHA256, .only_known = known};
    struct io_store *s = NULL;
    *err = io_store_share(m->state, &cfg, &s, root, why);
    return s;
}

static bool listed(void *ctx, const struct io_content *content) {
    (void)content;
    (*(unsigned *)ctx)++;
    return true;
}

/* Nothing is left that would be listed as content. */
static void leaves_nothing(struct made *m, const char *what) {
    uint8_t root[CV_SHA_MAX];
    struct io_why why = {""};
    enum cv_err err;
    unsigned left = 0;
    cr_expect_null(share(m, false, &err, root, &why));
    cr_expect_eq(err, CV_ERR_MALFORMED, "%s", what);
    cr_expect_eq(io_contents_each(m->state, listed, &left, &why), CV_ERR_OK);
    cr_expect_eq(left, 0, "%s", what);
}

Test(io_folder, what_cannot_be_shared) {
    static const struct {
        const char *what, *line;
    } rows[] = {
        {"nothing", ": holds no file; there is nothing to share"},
        {"link", "/x: is a link; a shared folder holds files and folders only"},
        {"link in a folder", "/d/x: is a link; a shared folder holds files and folders only"},
        {"fifo", "/x: is no plain file; a shared folder holds files and folders only"},
        {"socket", "/x: is no plain file; a shared folder holds files and folders only"},
        {"control", "/a\nb: has a control character, so it cannot be shared; rename it"},
        {"not UTF-8", "/\xff: is not UTF-8, so it cannot be shared; rename it"},
        {"part",
         "/" IO_FOLDER_PART ": is a name that downloads use, so it cannot be shared; rename it"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct made m;
        char path[400], want[900];
        struct io_why why = {""};
        enum cv_err err;
        make(&m);
        snprintf(path, sizeof path, "%s/x", m.folder);
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        if (i > 0)
            put(m.folder, "good", 5);
        switch (i) {
        case 1:
            cr_assert_eq(symlink("good", path), 0);
            break;
        case 2:
            put(m.folder, "d/y", 1);
            snprintf(path, sizeof path, "%s/d/x", m.folder);
            cr_assert_eq(symlink("/etc", path), 0);
            break;
        case 3:
            cr_assert_eq(mkfifo(path, 0600), 0);
            break;
        case 4:
            snprintf(at.sun_path, sizeof at.sun_path, "%.100s", path);
            int fd = socket(AF_UNIX, SOCK_STREAM, 0);
            cr_assert_eq(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
            close(fd);
            break;
        case 5:
            put(m.folder, "a\nb", 1);
            break;
        case 6:
            put(m.folder, "\xff", 1);
            break;
        case 7:
            put(m.folder, IO_FOLDER_PART, 1);
            break;
        default:
            break;
        }
        cr_expect_null(look(&m, &why, &err));
        cr_expect_eq(err, CV_ERR_MALFORMED, "%s", rows[i].what);
        snprintf(want, sizeof want, "%s%s", m.folder, rows[i].line);
        cr_expect_str_eq(why.text, want, "%s", rows[i].what);
        leaves_nothing(&m, rows[i].what);
        unmake(&m);
    }
}

/* However somebody names the folder, paths in messages have one slash between two names. */
Test(io_folder, slashes_at_the_end_of_its_name_are_not_told) {
    static const struct {
        const char *name, *inside, *itself;
    } rows[] = {{"/", "/x", "/"},
                {"///", "/x", "/"},
                {"films", "films/x", "films"},
                {"films/", "films/x", "films"},
                {"/a/films//", "/a/films/x", "/a/films"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct made m;
        struct io_why why = {""};
        struct io_folder_view *v = NULL;
        char path[400], want[900];
        make(&m);
        for (unsigned link = 0; link < 2; link++) {
            snprintf(path, sizeof path, "%s/x", m.folder);
            if (link)
                cr_assert_eq(symlink("good", path), 0);
            cr_expect_eq(io_folder_look(open(m.folder, O_RDONLY | O_DIRECTORY), rows[i].name, CHUNK,
                                        &v, &why),
                         CV_ERR_MALFORMED);
            snprintf(want, sizeof want, "%s: %s", link ? rows[i].inside : rows[i].itself,
                     link ? "is a link; a shared folder holds files and folders only"
                          : "holds no file; there is nothing to share");
            cr_expect_str_eq(why.text, want);
        }
        unmake(&m);
    }
}

/* Whatever changes in it is noticed: before it is opened, and while it is read. */
Test(io_folder, changes_are_noticed) {
    for (int change = 0; change < 7; change++) {
        struct made m;
        struct io_why why = {""};
        enum cv_err err;
        uint8_t root[CV_SHA_MAX], again[CV_SHA_MAX], chunk[CHUNK];
        char path[400], other[400];
        size_t len;
        make(&m);
        put_some(&m);
        struct io_store *s = share(&m, false, &err, root, &why);
        cr_assert_eq(err, CV_ERR_OK, "%s", why.text);
        cr_expect(io_store_is_folder(s));
        uint64_t last = io_store_stats(s).chunks - 1; /* of the file z */
        cr_assert_eq(io_store_ops.read_chunks(s, last, 1, chunk, CHUNK, &len), CV_ERR_OK);
        snprintf(path, sizeof path, "%s/z", m.folder);
        snprintf(other, sizeof other, "%s/y", m.top);
        bool in_z = true;
        switch (change) {
        case 0: /* nothing */
            in_z = false;
            break;
        case 1:
            put(m.folder, "z", 3 * CHUNK - 1);
            break;
        case 2:
            cr_assert_eq(unlink(path), 0);
            break;
        case 3: /* somebody puts a link there, to the same octets */
            cr_assert_eq(rename(path, other), 0);
            cr_assert_eq(symlink(other, path), 0);
            break;
        case 4: /* same size and time, another file */
            put(m.top, "y", 3 * CHUNK);
            struct stat st;
            cr_assert_eq(stat(path, &st), 0);
            struct timespec times[2] = {st.st_atim, st.st_mtim};
            cr_assert_eq(utimensat(AT_FDCWD, other, times, 0), 0);
            cr_assert_eq(rename(other, path), 0);
            break;
        case 5: { /* written in place, as far as its time tells */
            struct timespec later[2] = {{.tv_sec = 5}, {.tv_sec = 5}};
            cr_assert_eq(utimensat(AT_FDCWD, path, later, 0), 0);
            break;
        }
        default: /* one that was not there */
            put(m.folder, "a/new", 9);
            in_z = false;
            break;
        }
        err = io_store_ops.read_chunks(s, last, 1, chunk, CHUNK, &len);
        cr_expect_eq(err, in_z ? CV_ERR_CORRUPT : CV_ERR_OK, "change %d", change);
        if (in_z) {
            char want[500];
            snprintf(want, sizeof want, "%s: changed while it was shared; share it again",
                     m.folder);
            cr_expect_str_eq(io_store_why(s), want);
        }
        io_store_close(s);
        /* What was not open cannot be told from another of that size and time. */
        bool known = change == 0 || change == 4;
        s = share(&m, true, &err, again, &why);
        cr_expect_eq(err,
                     known         ? CV_ERR_OK
                     : change == 3 ? CV_ERR_MALFORMED
                                   : CV_ERR_DIFFERS,
                     "change %d: %s", change, why.text);
        io_store_close(s);
        unmake(&m);
    }
}

/* What a viewer has when it is complete. */
static struct io_store *fetched(struct made *m, struct io_store *from) {
    struct io_store_config cfg = {.chunk_size = CHUNK, .alg = CV_SHA256, .pinned = true};
    struct io_why why = {""};
    struct io_store *s;
    struct ppsp_store_size size;
    cr_assert_eq(io_store_open(m->state, &cfg, &s, &why), CV_ERR_OK, "%s", why.text);
    cr_assert_eq(io_store_ops.size(from, &size), CV_ERR_OK);
    cr_assert_eq(io_store_ops.set_size(s, &size), CV_ERR_OK);
    for (uint64_t i = 0; i < size.chunks; i++) {
        uint8_t chunk[CHUNK];
        size_t len;
        cr_assert_eq(io_store_ops.read_chunks(from, i, 1, chunk, CHUNK, &len), CV_ERR_OK);
        cr_assert_eq(io_store_ops.write_chunks(s, i, 1, chunk, len), CV_ERR_OK);
    }
    return s;
}

static ssize_t read_store(void *ctx, uint64_t offset, uint8_t *buf, size_t len) {
    uint8_t chunk[CHUNK];
    size_t got;
    enum cv_err err = io_store_ops.read_chunks(ctx, offset / CHUNK, 1, chunk, CHUNK, &got);
    if (err)
        return err;
    got -= offset % CHUNK;
    len = len < got ? len : got;
    memcpy(buf, chunk + offset % CHUNK, len);
    return (ssize_t)len;
}

static bool same(const char *one, const char *two) {
    char diff[] = "diff", r[] = "-rq", *args[] = {diff, r, strdup(one), strdup(two), NULL};
    int status = -1;
    pid_t pid;
    cr_assert_eq(posix_spawnp(&pid, diff, NULL, NULL, args, environ), 0);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    free(args[2]);
    free(args[3]);
    return status == 0;
}

Test(io_folder, is_given_back) {
    struct made m;
    struct io_why why = {""};
    enum cv_err err;
    uint8_t root[CV_SHA_MAX];
    char path[400], line[900];
    make(&m);
    put_some(&m);
    put(m.folder, "large", 700 * 1000);
    struct io_store *source = share(&m, false, &err, root, &why), *s = fetched(&m, source);
    struct io_folder *f = NULL;
    cr_assert_eq(io_folder_load(read_store, s, CHUNK, io_store_stats(s).octets, &f, &why),
                 CV_ERR_OK, "%s", why.text);
    struct io_folder_unpack u = {.store = s, .folder = f, .path = m.out};
    cr_assert_eq(io_folder_unpack(&u, &why), CV_ERR_OK, "%s", why.text);
    cr_expect(same(m.folder, m.out));
    /* Again, and after being cut short: what is there is kept. */
    snprintf(path, sizeof path, "%s/a/b/c", m.out);
    cr_assert_eq(unlink(path), 0);
    put(m.out, IO_FOLDER_PART, 77);
    cr_assert_eq(io_folder_unpack(&u, &why), CV_ERR_OK, "%s", why.text);
    cr_expect(same(m.folder, m.out));
    atomic_store(&u.stop, true);
    cr_expect_eq(io_folder_unpack(&u, &why), CV_ERR_CLOSED);
    atomic_store(&u.stop, false);

    static const struct {
        const char *path, *link; /* to make; link NULL: a file of `octets` */
        size_t octets;
        const char *line;
    } rows[] = {
        {"z", NULL, 3 * CHUNK, "is there already and differs"},
        {"z", NULL, 3 * CHUNK - 1, "is there already and differs"},
        {"z", "/etc/passwd", 0, "is a link"},
        {"a", "/tmp", 0, "something that is no folder is in the way"},
        {"a", NULL, 5, "something that is no folder is in the way"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        folder_remove(m.out);
        cr_assert_eq(mkdir(m.out, 0700), 0);
        snprintf(path, sizeof path, "%s/%s", m.out, rows[i].path);
        if (rows[i].link)
            cr_assert_eq(symlink(rows[i].link, path), 0);
        else
            put(m.out, rows[i].path, rows[i].octets);
        if (i == 0) { /* same size, one octet differs */
            int fd = open(path, O_WRONLY);
            cr_assert_eq(pwrite(fd, "?", 1, 2 * CHUNK), 1);
            close(fd);
        }
        cr_expect_eq(io_folder_unpack(&u, &why), CV_ERR_EXIST, "row %zu", i);
        snprintf(line, sizeof line, ": %s; move it away, or name another folder with -o",
                 rows[i].line);
        cr_expect(strstr(why.text, line) != NULL, "row %zu: %s", i, why.text);
        cr_expect_eq(unlink(path), 0, "row %zu: it is not there any more", i);
    }
    io_folder_free(f);
    io_store_close(s);
    io_store_close(source);
    unmake(&m);
}
