/* The player that `play` starts: a process of the command, never of a daemon. */
#ifndef CULVERT_CLI_PLAYER_H
#define CULVERT_CLI_PLAYER_H

#include <stdbool.h>

#include <sys/types.h>

enum { CLI_PLAYER_LINK = 16384 };

struct cli_player {
    pid_t pid;     /* 0: none runs */
    bool detached; /* it only tells a browser, and ends */
};

/*
 * Starts `program`; when it is NULL the first of mpv, vlc and ffplay that is there, else,
 * on a desktop, the browser; "browser" asks for that. Its argument is `link`, for a browser
 * what `page` answers: the link of our page that plays it, written into `out` of
 * CLI_PLAYER_LINK; NULL: there is no page, and it gets `link`, too.
 */
typedef const char *cli_player_page_fn(void *ctx, char *out);
void cli_player_start(struct cli_player *p, const char *program, const char *link,
                      cli_player_page_fn *page, void *ctx);

/* True once, when a player that ran has ended: the film is over or its window
 * was closed. When there was no player to start, or a browser was told, it stays false:
 * nobody knows when that is over, and the link is there to be opened by hand. */
bool cli_player_ended(struct cli_player *p);

#endif
