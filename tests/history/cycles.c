/* Finds the cycles of the graph, the most telling kind first, each by its shortest example.
 *
 * Kinds are sets of edges, from few to all: ww alone is G0, with wr G1c, with one rw G-single, with
 * more G2; then the same with real time, and with the order of versions. For each kind the strongly
 * connected components are found (Tarjan 1972), and in each the shortest cycle by a search from
 * every edge or node of interest, breadth first. A transaction that has been named once is not
 * named again, so what is wrong is told once, and by the kind that needs the fewest edges. This is
 * the order of Elle's search for anomalies, and Adya's of his phenomena. */
#include <stdlib.h>
#include <string.h>

#include "tests/history/private.h"

#define SEARCHES_MAX 2000u /* in one component: beyond them the shortest cycle so far will do */

struct finder {
    struct check *check;
    unsigned mask;        /* kinds of edges that count */
    uint32_t *part;       /* by node: its component, NONE if it is in no cycle */
    uint32_t *nodes;      /* those of components, one component after the other */
    uint32_t *part_first; /* of nodes, one more at the end */
    uint32_t part_count;
    /* of a search: */
    uint32_t *distance;          /* by node, in transactions; NONE if not reached */
    const struct edge **through; /* by node: the edge by which it was reached */
    uint32_t *reached;           /* nodes whose distance is set */
    size_t reached_count;
    struct queue {
        uint32_t *nodes;
        size_t len, room;
    } now, later;
    /* the shortest cycle so far */
    const struct edge **best;
    size_t best_count;
    uint32_t best_distance;
};

static const struct edge *edges_begin(const struct check *check, uint32_t node) {
    return check->edges + check->edge_first[node];
}
static const struct edge *edges_end(const struct check *check, uint32_t node) {
    return check->edges + check->edge_first[node + 1];
}

/* ---- strongly connected components ---- */

struct tarjan {
    struct finder *finder;
    uint32_t *index, *low;    /* by node; index 0: not visited */
    uint32_t *stack, *path;   /* of the algorithm; of the depth-first walk */
    const struct edge **next; /* by place on path */
    size_t stack_len, path_len;
    uint32_t counter;
    bool *on_stack;
};

static void tarjan_enter(struct tarjan *tarjan, uint32_t node) {
    tarjan->index[node] = tarjan->low[node] = ++tarjan->counter;
    tarjan->stack[tarjan->stack_len++] = node;
    tarjan->on_stack[node] = true;
    tarjan->next[tarjan->path_len] = edges_begin(tarjan->finder->check, node);
    tarjan->path[tarjan->path_len++] = node;
}

/* Takes a component off the stack; one of a single node is none (there are no edges to oneself). */
static void tarjan_leave(struct tarjan *tarjan, uint32_t root) {
    struct finder *finder = tarjan->finder;
    uint32_t first = finder->part_first[finder->part_count], at = first, node;
    do {
        node = tarjan->stack[--tarjan->stack_len];
        tarjan->on_stack[node] = false;
        finder->nodes[at++] = node;
        finder->part[node] = finder->part_count;
    } while (node != root);
    if (at == first + 1) {
        finder->part[root] = NONE;
        return;
    }
    finder->part_first[++finder->part_count] = at;
}

static void tarjan_walk(struct tarjan *tarjan, uint32_t root) {
    const struct check *check = tarjan->finder->check;
    tarjan_enter(tarjan, root);
    while (tarjan->path_len) {
        uint32_t node = tarjan->path[tarjan->path_len - 1];
        const struct edge **next = &tarjan->next[tarjan->path_len - 1];
        if (*next == edges_end(check, node)) {
            if (tarjan->low[node] == tarjan->index[node])
                tarjan_leave(tarjan, node);
            if (--tarjan->path_len) {
                uint32_t parent = tarjan->path[tarjan->path_len - 1];
                if (tarjan->low[node] < tarjan->low[parent])
                    tarjan->low[parent] = tarjan->low[node];
            }
            continue;
        }
        const struct edge *edge = (*next)++;
        if (!(edge->kind & tarjan->finder->mask))
            continue;
        if (!tarjan->index[edge->to])
            tarjan_enter(tarjan, edge->to);
        else if (tarjan->on_stack[edge->to] && tarjan->index[edge->to] < tarjan->low[node])
            tarjan->low[node] = tarjan->index[edge->to];
    }
}

static void find_parts(struct finder *finder) {
    size_t nodes = finder->check->node_count;
    struct tarjan tarjan = {.finder = finder};
    tarjan.index = zeroed(nodes, sizeof *tarjan.index);
    tarjan.low = zeroed(nodes, sizeof *tarjan.low);
    tarjan.stack = zeroed(nodes, sizeof *tarjan.stack);
    tarjan.path = zeroed(nodes, sizeof *tarjan.path);
    tarjan.next = zeroed(nodes, sizeof(void *));
    tarjan.on_stack = zeroed(nodes, sizeof *tarjan.on_stack);
    finder->part_count = 0;
    finder->part_first[0] = 0;
    memset(finder->part, 0xff, nodes * sizeof *finder->part);
    for (uint32_t i = 0; i < nodes; i++)
        if (!tarjan.index[i])
            tarjan_walk(&tarjan, i);
    free(tarjan.index);
    free(tarjan.low);
    free(tarjan.stack);
    free(tarjan.path);
    free(tarjan.next);
    free(tarjan.on_stack);
}

/* ---- the shortest cycle ---- */

static void reach(struct finder *finder, uint32_t node, uint32_t distance,
    const struct edge *through, struct queue *queue) {
    if (finder->distance[node] <= distance)
        return;
    if (finder->distance[node] == NONE)
        finder->reached[finder->reached_count++] = node;
    finder->distance[node] = distance;
    finder->through[node] = through;
    PUSH(queue->nodes, queue->len, queue->room, node);
}

static void expand(struct finder *finder, uint32_t node, unsigned mask) {
    const struct check *check = finder->check;
    uint32_t distance = finder->distance[node];
    for (const struct edge *edge = edges_begin(check, node); edge < edges_end(check, node);
         edge++) {
        if (!(edge->kind & mask) || finder->part[edge->to] != finder->part[node])
            continue;
        /* Ways through helpers cost nothing: what counts is transactions. */
        bool counts = edge->to < check->history->txn_count;
        reach(finder, edge->to, distance + counts, edge, counts ? &finder->later : &finder->now);
    }
}

/* The way from `from` to `to`, by edges of the mask; its distance, NONE if there is none or it is
 * not below the best. */
static uint32_t search(struct finder *finder, uint32_t from, uint32_t to, unsigned mask) {
    for (size_t i = 0; i < finder->reached_count; i++)
        finder->distance[finder->reached[i]] = NONE;
    finder->reached_count = finder->now.len = finder->later.len = 0;
    uint32_t distance = 0;
    bool round_trip = from == to;
    reach(finder, from, 0, NULL, &finder->now);
    if (round_trip) { /* leave, and forget that one was here */
        finder->now.len = 0;
        expand(finder, from, mask);
        finder->distance[from] = NONE;
    }
    for (; finder->now.len || finder->later.len; distance++) {
        for (size_t i = 0; i < finder->now.len; i++) {
            uint32_t node = finder->now.nodes[i];
            if (finder->distance[node] != distance)
                continue;
            if (node == to)
                return distance;
            expand(finder, node, mask);
        }
        if (distance + 1 >= finder->best_distance)
            return NONE;
        struct queue swap = finder->now;
        finder->now = finder->later, finder->later = swap;
        finder->later.len = 0;
    }
    return NONE;
}

/* Keeps the way just found, ending at `to`, with the edge that closes it, if any, in front. */
static void keep(struct finder *finder, uint32_t from, uint32_t to, const struct edge *closing,
    uint32_t distance) {
    size_t count = 0;
    uint32_t node = to;
    do {
        finder->best[count++] = finder->through[node];
        node = finder->through[node]->from;
    } while (node != from);
    if (closing)
        finder->best[count++] = closing;
    for (size_t i = 0; i < count / 2; i++) {
        const struct edge *swap = finder->best[i];
        finder->best[i] = finder->best[count - 1 - i];
        finder->best[count - 1 - i] = swap;
    }
    finder->best_count = count;
    finder->best_distance = distance;
}

/* A cycle with exactly one rw: from each of them back by other kinds. */
static void find_single(struct finder *finder, uint32_t part) {
    const struct check *check = finder->check;
    unsigned searches = 0;
    for (uint32_t i = finder->part_first[part]; i < finder->part_first[part + 1]; i++) {
        uint32_t node = finder->nodes[i];
        for (const struct edge *edge = edges_begin(check, node); edge < edges_end(check, node);
             edge++) {
            if (edge->kind != EDGE_RW || finder->part[edge->to] != part)
                continue;
            if (finder->best_distance <= 2 || searches++ == SEARCHES_MAX)
                return;
            uint32_t into = edge->to < check->history->txn_count;
            uint32_t back = search(finder, edge->to, node, finder->mask & ~(unsigned)EDGE_RW);
            if (back != NONE && back + into < finder->best_distance)
                keep(finder, edge->to, node, edge, back + into);
        }
    }
}

static void find_any(struct finder *finder, uint32_t part) {
    unsigned searches = 0;
    for (uint32_t i = finder->part_first[part]; i < finder->part_first[part + 1]; i++) {
        uint32_t node = finder->nodes[i];
        if (node >= finder->check->history->txn_count)
            continue;
        if (finder->best_distance <= 2 || searches++ == SEARCHES_MAX)
            return;
        uint32_t round = search(finder, node, node, finder->mask);
        if (round != NONE && round < finder->best_distance)
            keep(finder, node, node, NULL, round);
    }
}

static bool is_accused(const struct finder *finder, uint32_t part) {
    for (uint32_t i = finder->part_first[part]; i < finder->part_first[part + 1]; i++)
        if (finder->nodes[i] < finder->check->history->txn_count &&
            finder->check->accused[finder->nodes[i]])
            return true;
    return false;
}

static void accuse_parts(struct finder *finder) {
    struct check *check = finder->check;
    for (uint32_t part = 0; part < finder->part_count; part++) {
        if (is_accused(finder, part))
            continue;
        finder->best_count = 0;
        finder->best_distance = NONE;
        if (finder->mask & EDGE_RW)
            find_single(finder, part);
        if (!finder->best_count)
            find_any(finder, part);
        if (finder->best_count)
            accuse_cycle(check, finder->best, finder->best_count);
        for (uint32_t i = finder->part_first[part]; i < finder->part_first[part + 1]; i++)
            if (finder->nodes[i] < check->history->txn_count)
                check->accused[finder->nodes[i]] = true;
    }
}

void find_cycles(struct check *check) {
    static const unsigned kinds[] = {EDGE_WW, EDGE_WW | EDGE_WR, EDGE_WW | EDGE_WR | EDGE_RW,
        EDGE_WW | EDGE_RT, EDGE_WW | EDGE_WR | EDGE_RT, EDGE_WW | EDGE_WR | EDGE_RW | EDGE_RT,
        EDGE_WW | EDGE_WR | EDGE_RW | EDGE_RT | EDGE_VERSION};
    size_t nodes = check->node_count;
    struct finder finder = {.check = check};
    finder.part = zeroed(nodes, sizeof *finder.part);
    finder.nodes = zeroed(nodes, sizeof *finder.nodes);
    finder.part_first = zeroed(nodes + 1, sizeof *finder.part_first);
    finder.distance = zeroed(nodes, sizeof *finder.distance);
    memset(finder.distance, 0xff, nodes * sizeof *finder.distance);
    finder.through = zeroed(nodes, sizeof(void *));
    finder.reached = zeroed(nodes + 1, sizeof *finder.reached);
    finder.best = zeroed(nodes + 1, sizeof(void *));
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        finder.mask = kinds[i] | EDGE_HOP;
        find_parts(&finder);
        accuse_parts(&finder);
    }
    free(finder.part);
    free(finder.nodes);
    free(finder.part_first);
    free(finder.distance);
    free(finder.through);
    free(finder.reached);
    free(finder.best);
    free(finder.now.nodes);
    free(finder.later.nodes);
}
