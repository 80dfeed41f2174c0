#include "tests/model/tell.h"

#include "core/buf.h"

/* ---- moves ---- */

static unsigned losses_of(const struct world *world, unsigned call) {
    for (unsigned i = 0; i < world->known_count; i++)
        if (world->known[i].call == call && world->known[i].txn->call)
            return world->known[i].txn->losses;
    return world->scenario->shapes[call]->losses;
}

void tell_before(struct world *world, const struct move *move) {
    struct tale *tale = &world->tale;
    *tale = (struct tale){.last_lsn = stage_last_lsn(world->stage)};
    if (move->kind == MOVE_DELIVER) {
        tale->msg = stage_mail(world->stage, move->from, move->to);
        tale->type = tale->msg->type;
    }
    for (unsigned i = 0; i < world->scenario->count; i++) {
        tale->released[i] = world->calls[i]->released;
        tale->losses[i] = losses_of(world, i);
    }
}

static const char *op_name(enum branch_op op) {
    switch (op) {
    case BRANCH_READ:
        return "READ";
    case BRANCH_WALK:
        return "WALK";
    case BRANCH_VALIDATE:
        return "VALIDATE";
    case BRANCH_PREPARE:
        return "PREPARE";
    case BRANCH_COMMIT:
        return "COMMIT";
    case BRANCH_COMMIT_ALONE:
        return "COMMIT ALONE";
    case BRANCH_ABORT:
        return "ABORT";
    }
    return "";
}

static bool validates(enum branch_op op) {
    return op == BRANCH_VALIDATE || op == BRANCH_PREPARE || op == BRANCH_COMMIT_ALONE;
}

static const char *answer_name(enum branch_answer answer) {
    return answer == ANSWER_YES ? "yes" : answer == ANSWER_REPEAT ? "repeat" : "no";
}

/* A branch that a shard did its op of; it may wait for another's mark. */
static void tell_branch(struct buf *story, const struct branch *branch, unsigned shard) {
    buf_printf(story, "%s at %u", op_name(branch->op), shard);
    if (branch->msg.type == MSG_BRANCH)
        buf_printf(story, " waits");
    else if (validates(branch->op))
        buf_printf(story, " %s", answer_name(branch->answer));
}

static void tell_message(
    const struct world *world, const struct move *move, const struct tale *tale) {
    struct buf *story = world->story;
    switch ((enum message)tale->type) {
    case MSG_FOLLOW:
        buf_printf(story, "moves to %u", move->to);
        return;
    case MSG_DONE:
        buf_printf(story, "reply home");
        return;
    case MSG_BRANCH:
        tell_branch(story, (const struct branch *)tale->msg, move->to);
        return;
    case MSG_BRANCH_ANSWER:
        buf_printf(story, "answer home");
        return;
    case MSG_TICKET_WANT:
        buf_printf(story, "asks for the ticket");
        return;
    case MSG_TICKET_ANSWER:
        buf_printf(story, "has the ticket");
        return;
    case MSG_TICKET_RETURN:
    case MSG_TICKET_RETURNED:
        buf_printf(story, "gives the ticket back");
        return;
    }
}

static void tell_move(const struct world *world, const struct move *move, const struct tale *tale) {
    switch ((enum move_kind)move->kind) {
    case MOVE_START:
        buf_printf(world->story, "starts");
        return;
    case MOVE_DELIVER:
        tell_message(world, move, tale);
        return;
    case MOVE_TURN:
        buf_printf(world->story, "goes on at %u", move->to);
        return;
    case MOVE_WAKE:
        buf_printf(world->story, "tries again");
        return;
    case MOVE_SYNC:
        buf_printf(
            world->story, "%llu durable", (unsigned long long)stage_durable_lsn(world->stage));
        return;
    }
}

/* Moves of one call that follow each other share its name: "T1: starts, READ at 1; T2: ..." */
static void tell_whose(struct world *world, const struct move *move) {
    struct buf *story = world->story;
    if (world->told_any && world->told == move->call) {
        buf_printf(story, ", ");
        return;
    }
    if (world->told_any)
        buf_printf(story, "; ");
    if (move->kind == MOVE_SYNC)
        buf_printf(story, "log: ");
    else
        buf_printf(story, "T%u: ", move->call + 1u);
    world->told_any = true;
    world->told = move->call;
}

void tell_after(struct world *world, const struct move *move) {
    const struct tale *tale = &world->tale;
    struct buf *story = world->story;
    uint64_t last = stage_last_lsn(world->stage);
    tell_whose(world, move);
    tell_move(world, move, tale);
    if (last > tale->last_lsn)
        buf_printf(story, " = LSN %llu", (unsigned long long)last);
    for (unsigned i = 0; i < world->scenario->count; i++) {
        if (losses_of(world, i) > tale->losses[i])
            buf_printf(story, i == move->call ? " (lost)" : " (T%u lost)", i + 1);
        if (world->calls[i]->released && !tale->released[i])
            buf_printf(story, i == move->call ? " (replied)" : " (T%u replied)", i + 1);
    }
}

/* ---- outcomes ---- */

static char letter_of(const struct world *world, unsigned key) {
    for (unsigned i = 0; i < KEY_COUNT; i++)
        if (world->keys[i] == key)
            return model_key_letter((enum model_key)i);
    return '?';
}

static void tell_value(
    const struct world *world, unsigned key, const struct stage_value *value, struct buf *text) {
    char letter = letter_of(world, key);
    if (value->there && value->version == 0)
        buf_printf(text, "%c own", letter);
    else if (value->there)
        buf_printf(text, "%c of %llu", letter, (unsigned long long)value->version);
    else
        buf_printf(text, "no %c", letter);
}

static void tell_seen(
    const struct world *world, const struct stage_call *call, unsigned step, struct buf *text) {
    const struct seen *seen = &call->seen[step];
    switch (call->steps[step].kind) {
    case STEP_GET:
    case STEP_VERSION:
        buf_printf(text, ", saw ");
        tell_value(world, call->steps[step].key, &seen->value, text);
        return;
    case STEP_RANGE:
        buf_printf(text, ", walked over [");
        for (unsigned i = 0; i < seen->count; i++) {
            buf_printf(text, i ? " " : "");
            tell_value(world, seen->items[i].key, &seen->items[i].value, text);
        }
        buf_printf(text, "]");
        return;
    case STEP_SET:
    case STEP_DELETE:
    case STEP_YIELD:
        return;
    }
}

static bool wrote(const struct stage_call *call) {
    for (unsigned i = 0; i < call->step_count; i++)
        if (call->steps[i].kind == STEP_SET || call->steps[i].kind == STEP_DELETE)
            return !call->rolls_back;
    return false;
}

void world_outcome(struct world *world, struct buf *text) {
    for (unsigned i = 0; i < world->scenario->count; i++) {
        const struct stage_call *call = world->calls[i];
        buf_printf(text, "%sT%u (%s)", i ? "; " : "", i + 1, world->scenario->shapes[i]->name);
        for (unsigned step = 0; call->finished && step < call->step_count; step++)
            tell_seen(world, call, step, text);
        if (!call->finished)
            buf_printf(text, " did not end");
        else if (wrote(call))
            buf_printf(text, ", committed as %llu", (unsigned long long)call->version);
        if (call->finished && !call->released)
            buf_printf(text, ", no reply");
    }
}
