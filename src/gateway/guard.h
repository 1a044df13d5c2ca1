/*
 * Who may ask the gateway for what. The gateway is on loopback, where every
 * program and every page that a browser has open can reach it, so each request
 * is judged by its head before anything else happens:
 *
 *     Host            is one of ours: a name that was rebound to 127.0.0.1 is not
 *     Origin          when there is one, is that Host: forms and scripts of other pages
 *     Sec-Fetch-Site  when there is one, says that the page asking is ours or that
 *                     a person did; a link on a foreign page may open ours
 *     token           of the interface: whoever can read the state folder has it.
 *                     As Authorization: Bearer, never in a cookie: a browser gives
 *                     cookies to every server on this host, whatever its port
 *
 *     ticket          takes that token once (ticket.h), as Authorization: Ticket
 *
 * Media have tokens of their own in the link (players cannot set headers). Pure.
 */
#ifndef CULVERT_GATEWAY_GUARD_H
#define CULVERT_GATEWAY_GUARD_H

#include <stdbool.h>
#include <stddef.h>

enum gw_area {
    GW_AREA_MEDIA,  /* a file; its token is checked where the file is known */
    GW_AREA_PAGE,   /* the page's own files: nothing in them is secret */
    GW_AREA_API,    /* all that can be seen and done */
    GW_AREA_TICKET, /* where a ticket is taken; it is checked there */
};

enum gw_verdict {
    GW_PASS = 0,
    GW_MISDIRECTED = 421, /* another Host */
    GW_FOREIGN = 403,     /* asked for by another site */
    GW_NO_TOKEN = 401,
};

/* Texts of the request's head; NULL: not there. */
struct gw_head {
    const char *host, *origin, *fetch_site, *fetch_mode, *authorization;
};

enum { GW_HOSTS = 2, GW_HOST_MAX = 32, GW_TOKEN_TEXT = 33 };

/* What this gateway knows of itself. */
struct gw_self {
    char hosts[GW_HOSTS][GW_HOST_MAX]; /* Host headers that mean us */
    char token[GW_TOKEN_TEXT];         /* 128 bits in hex */
};

enum gw_verdict gw_guard(const struct gw_self *self, enum gw_area area, const struct gw_head *head);

/* Compares in constant time; false when `text` is NULL. */
bool gw_token_is(const char *text, size_t len, const char *token);

#endif
