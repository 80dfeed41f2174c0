#include "shard/ticket.h"

#include <assert.h>

void ticket_office_init(struct ticket_office *office) {
    office->holder = NULL;
    office->first = NULL;
    office->end = &office->first;
}

static void send_home(struct shard *shard, struct ticket *ticket, enum message type) {
    ticket->msg.type = type;
    shard->options.env.send(shard->options.env.ctx, ticket->msg.from, &ticket->msg);
}

static void grant_next(struct shard *shard) {
    struct ticket_office *office = &shard->office;
    while (!office->holder && office->first) {
        struct ticket *ticket = office->first;
        office->first = ticket->next;
        if (!office->first)
            office->end = &office->first;
        ticket->granted = ticket->deadline_ns > shard->now_ns;
        if (ticket->granted)
            office->holder = ticket;
        send_home(shard, ticket, MSG_TICKET_ANSWER);
    }
}

void ticket_want(struct shard *shard, struct ticket *ticket) {
    struct ticket_office *office = &shard->office;
    ticket->next = NULL;
    *office->end = ticket;
    office->end = &ticket->next;
    grant_next(shard);
}

void ticket_return(struct shard *shard, struct ticket *ticket) {
    assert(shard->office.holder == ticket);
    shard->office.holder = NULL;
    send_home(shard, ticket, MSG_TICKET_RETURNED);
    grant_next(shard);
}
