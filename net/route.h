/* Routes: which call answers which request, and what a failure looks like in HTTP.
 *
 * This file alone maps enum status to status codes. A fixed path is matched literally, as sent;
 * /fn/ paths are the application's to match.
 * Threads: the worker's. Errors: become replies. */
#ifndef CONCAVE_NET_ROUTE_H
#define CONCAVE_NET_ROUTE_H

#include "net/exchange.h"
#include "shard/script.h"

struct worker;

enum route_action {
    ROUTE_ANSWERED,   /* the reply is complete */
    ROUTE_SUBMIT,     /* call->procedure is set */
    ROUTE_FILE,       /* the file thread answers */
    ROUTE_FLUSH,      /* answer when exchange->flush_lsn is durable */
    ROUTE_CHECKPOINT, /* answer when the checkpoint that was asked for is over */
};

/* Looks at the request, sets call->label, and says what is to be done. */
enum route_action route_request(struct worker *worker, struct exchange *exchange);

/* The same for a path below /fn/: the application's routes alone. Sets call->procedure, or answers
 * that there is no such route or method; request.route is one of that path's if there is any. */
enum route_action route_to_script(
    const struct script_engine *engine, const struct script_app *app, struct exchange *exchange);

/* Makes the error reply for a call that ended with a status other than ST_OK, or that could not
 * even be submitted. */
void route_failed(struct exchange *exchange, enum status status);

#endif
