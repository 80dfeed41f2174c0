/* The one global ticket: it lets a transaction that has lost three times finish.
 *
 * Its holder marks what it reads at once and waits only for marks that were there already, while
 * optimistic transactions lose to its marks; so it cannot lose, and nothing starves. There is one,
 * so holders never meet. TICKET_SHARD keeps the queue, first come first served; a ticket whose
 * deadline has passed is sent back ungranted. Ownership: a ticket is a member of its transaction
 * and travels as a message. Threads: TICKET_SHARD's. */
#ifndef CONCAVE_SHARD_TICKET_H
#define CONCAVE_SHARD_TICKET_H

#include "shard/state.h"

void ticket_office_init(struct ticket_office *office);
/* MSG_TICKET_WANT: grants it or queues it. */
void ticket_want(struct shard *shard, struct ticket *ticket);
/* MSG_TICKET_RETURN: sends it home to rest and grants the next. */
void ticket_return(struct shard *shard, struct ticket *ticket);

#endif
