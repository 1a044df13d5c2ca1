/*
 * Walking through a whole network: every address that is named is asked eight
 * times (find_node) whom it knows, first in a random direction, then closer and
 * farther from its own id; 32 questions are under way at a time. At most 200,000
 * addresses; one that does not answer its first question is asked no more. Only
 * the family of a contact is walked.
 */
#ifndef CULVERT_TOOLS_DHT_CRAWL_H
#define CULVERT_TOOLS_DHT_CRAWL_H

#include <stdbool.h>
#include <stddef.h>

#include "dht/dht.h"
#include "dht_session.h"

struct dht_crawl;

struct dht_crawled {
    struct dht_node node; /* its id as it said itself, once it has answered */
    bool answered;
};

/* Ends the program when out of memory. Borrows the session. */
struct dht_crawl *dht_crawl_new(struct dht_session *s);
/* Returns NULL; NULL is allowed. */
struct dht_crawl *dht_crawl_free(struct dht_crawl *c);

/* Somebody to ask. */
void dht_crawl_add(struct dht_crawl *c, const struct cv_addr *addr);
/* Asks on; stops the session when nobody is left. */
void dht_crawl_go_on(struct dht_crawl *c);
/* An event of the engine; false when it is not about a crawl. */
bool dht_crawl_event(struct dht_crawl *c, const struct dht_event *e);

bool dht_crawl_over(const struct dht_crawl *c);
size_t dht_crawl_count(const struct dht_crawl *c);
const struct dht_crawled *dht_crawl_at(const struct dht_crawl *c, size_t i);

#endif
