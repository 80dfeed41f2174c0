/* The hash index by itself, with nodes made by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/hash.h"
#include "shard/index.h"
#include "shard/treap.h"

#define NODES 60000u

struct fixture {
    struct slab slab;
    struct key_index index;
    struct treap_node *nodes[NODES];
};

static struct slice key_of(const unsigned *number) {
    return slice_of((const char *)number, sizeof *number);
}

/* The key is the number's bytes; the hash is the caller's, so that tests can make keys collide. */
static struct treap_node *make_node(struct fixture *f, unsigned number, uint64_t hash) {
    struct treap_node *node =
        slab_alloc(&f->slab, offsetof(struct treap_node, key) + sizeof number);
    assert_non_null(node);
    *node = (struct treap_node){.hash = hash, .key_len = sizeof number};
    memcpy(node->key, &number, sizeof number);
    return f->nodes[number] = node;
}

static uint64_t good_hash(unsigned number) {
    return hash_key(key_of(&number), 1);
}

static void add(struct fixture *f, unsigned number, uint64_t hash) {
    struct treap_node *node = make_node(f, number, hash);
    assert_int_equal(index_reserve(&f->index, node), ST_OK);
    index_publish(&f->index, node);
}

static const struct treap_node *find(const struct fixture *f, unsigned number, uint64_t hash) {
    return index_find(&f->index, key_of(&number), hash);
}

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    slab_init(&f->slab);
    assert_int_equal(index_init(&f->index, &f->slab), ST_OK);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    slab_destroy(&f->slab);
    free(f);
    return 0;
}

/* An empty index finds nothing. */
static void test_empty_finds_nothing(void **state) {
    assert_null(find(*state, 1, good_hash(1)));
    assert_null(find(*state, 2, 0));
}

/* A reserved node is not found before it is published, and not after it was taken out. */
static void test_reserved_nodes_are_unseen_until_published(void **state) {
    struct fixture *f = *state;
    struct treap_node *node = make_node(f, 1, 99);
    assert_int_equal(index_reserve(&f->index, node), ST_OK);
    assert_null(find(f, 1, 99));
    index_publish(&f->index, node);
    assert_ptr_equal(find(f, 1, 99), node);
    index_remove(&f->index, node);
    assert_null(find(f, 1, 99));
    assert_int_equal(index_check(&f->index), 0);
}

/* A reserved node can be taken out again, and nothing else goes with it. */
static void test_reserved_nodes_can_be_removed(void **state) {
    struct fixture *f = *state;
    add(f, 1, 99);
    struct treap_node *waiting = make_node(f, 2, 99);
    assert_int_equal(index_reserve(&f->index, waiting), ST_OK);
    index_remove(&f->index, waiting);
    assert_ptr_equal(find(f, 1, 99), f->nodes[1]);
    assert_int_equal(index_check(&f->index), 1);
}

/* An index made for the nodes that come takes no more memory while they do. */
static void test_an_index_made_large_enough_stays(void **state) {
    struct fixture *f = *state;
    assert_int_equal(index_presize(&f->index, NODES), ST_OK);
    size_t used = slab_used(&f->slab);
    assert_true(used < NODES * 16);
    add(f, 0, good_hash(0));
    size_t node_bytes = slab_used(&f->slab) - used;
    for (unsigned i = 1; i < NODES; i++)
        add(f, i, good_hash(i));
    assert_int_equal(slab_used(&f->slab), used + NODES * node_bytes);
    for (unsigned i = 0; i < NODES; i++)
        assert_ptr_equal(find(f, i, good_hash(i)), f->nodes[i]);
    assert_int_equal(index_check(&f->index), NODES);
}

/* An index made for fewer nodes, or for better hashes, grows as ever. */
static void test_an_index_made_too_small_grows(void **state) {
    struct fixture *f = *state;
    assert_int_equal(index_presize(&f->index, NODES / 10), ST_OK);
    for (unsigned i = 0; i < NODES / 2; i++)
        add(f, i, good_hash(i) << 20);
    for (unsigned i = 0; i < NODES / 2; i++)
        assert_ptr_equal(find(f, i, good_hash(i) << 20), f->nodes[i]);
    assert_int_equal(index_check(&f->index), NODES / 2);
}

/* A node takes the place of another one with its key and hash. */
static void test_a_copy_takes_the_place_of_a_node(void **state) {
    struct fixture *f = *state;
    add(f, 1, 99);
    add(f, 2, 99);
    struct treap_node *old = f->nodes[1], *copy = make_node(f, 1, 99);
    index_replace(&f->index, old, copy);
    assert_ptr_equal(find(f, 1, 99), copy);
    assert_ptr_equal(find(f, 2, 99), f->nodes[2]);
    assert_int_equal(index_check(&f->index), 2);
}

/* Through all growing and splitting, every node stays findable; after half are removed, the other
 * half still is. Some are reserved early and published only when the index has grown over them. */
static void test_nodes_stay_findable_while_it_grows_and_shrinks(void **state) {
    struct fixture *f = *state;
    for (unsigned i = 0; i < NODES; i++) {
        if (i % 16 == 3)
            assert_int_equal(index_reserve(&f->index, make_node(f, i, good_hash(i))), ST_OK);
        else
            add(f, i, good_hash(i));
    }
    assert_int_equal(index_check(&f->index), NODES - NODES / 16);
    for (unsigned i = 0; i < NODES; i++) {
        assert_ptr_equal(find(f, i, good_hash(i)), i % 16 == 3 ? NULL : f->nodes[i]);
        if (i % 16 == 3)
            index_publish(&f->index, f->nodes[i]);
    }
    assert_true(f->index.depth >= 5); /* or else nothing was split */
    for (unsigned i = 0; i < NODES; i += 2)
        index_remove(&f->index, f->nodes[i]);
    for (unsigned i = 0; i < NODES; i++)
        assert_ptr_equal(find(f, i, good_hash(i)), i % 2 ? f->nodes[i] : NULL);
    assert_int_equal(index_check(&f->index), NODES / 2);
}

/* An entry costs between 10 and 14 bytes once there are many, the directory included. */
static void test_entries_are_small(void **state) {
    struct fixture *f = *state;
    for (unsigned i = 0; i < NODES; i++) {
        size_t before = slab_used(&f->slab);
        make_node(f, i, good_hash(i));
        before = slab_used(&f->slab) - before;
        assert_int_equal(index_reserve(&f->index, f->nodes[i]), ST_OK);
        size_t index_bytes = slab_used(&f->slab) - (i + 1) * before;
        if (i > 5000)
            assert_in_range(index_bytes / (i + 1), 10, 14);
    }
}

/* Keys whose hashes agree in all bits that the directory uses do not blow it up, and are found. */
static void test_colliding_hashes_do_not_blow_up_the_directory(void **state) {
    struct fixture *f = *state;
    for (unsigned i = 0; i < 5000; i++)
        add(f, i, good_hash(i) & 0x3ffff);
    assert_true(f->index.depth <= 8);
    assert_true(slab_used(&f->slab) < 5000 * (64 + 20));
    for (unsigned i = 0; i < 5000; i++)
        assert_ptr_equal(find(f, i, good_hash(i) & 0x3ffff), f->nodes[i]);
    assert_int_equal(index_check(&f->index), 5000);
}

/* Keys of one and the same hash are told apart, and removed one by one. */
static void test_equal_hashes_are_told_apart(void **state) {
    struct fixture *f = *state;
    const uint64_t hash = UINT64_MAX; /* its home is the table's last place: probing goes round */
    for (unsigned i = 0; i < 600; i++)
        add(f, i, hash);
    for (unsigned i = 0; i < 600; i++) {
        assert_ptr_equal(find(f, i, hash), f->nodes[i]);
        index_remove(&f->index, f->nodes[i]);
        assert_null(find(f, i, hash));
        assert_int_equal(index_check(&f->index), 599 - i);
    }
}

/* Wherever the memory runs out while the index grows, nothing changes and the next try works. */
static void test_out_of_memory_changes_nothing(void **state) {
    struct fixture *f = *state;
    for (unsigned i = 0; i < 20000; i++) {
        struct treap_node *node = make_node(f, i, good_hash(i));
        for (uint64_t n = 0;; n++) {
            size_t count = f->index.count;
            slab_fail_after(&f->slab, n);
            enum status status = index_reserve(&f->index, node);
            slab_fail_after(&f->slab, SLAB_FAIL_NEVER);
            if (status == ST_OK)
                break;
            assert_int_equal(status, ST_NOMEM);
            assert_int_equal(f->index.count, count);
            assert_int_equal(index_check(&f->index), count);
            assert_true(n < 4);
        }
        index_publish(&f->index, node);
    }
    for (unsigned i = 0; i < 20000; i++)
        assert_ptr_equal(find(f, i, good_hash(i)), f->nodes[i]);
}

/* Creating the index fails cleanly when there is no memory. */
static void test_create_out_of_memory(void **state) {
    (void)state;
    struct slab slab;
    slab_init(&slab);
    for (uint64_t n = 0; n < 2; n++) {
        struct key_index index;
        slab_fail_after(&slab, n);
        assert_int_equal(index_init(&index, &slab), ST_NOMEM);
        assert_int_equal(slab_used(&slab), 0);
    }
    slab_destroy(&slab);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_empty_finds_nothing),
        TEST(test_reserved_nodes_are_unseen_until_published),
        TEST(test_reserved_nodes_can_be_removed),
        TEST(test_an_index_made_large_enough_stays),
        TEST(test_an_index_made_too_small_grows),
        TEST(test_a_copy_takes_the_place_of_a_node),
        TEST(test_nodes_stay_findable_while_it_grows_and_shrinks),
        TEST(test_entries_are_small),
        TEST(test_colliding_hashes_do_not_blow_up_the_directory),
        TEST(test_equal_hashes_are_told_apart),
        TEST(test_out_of_memory_changes_nothing),
        cmocka_unit_test(test_create_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
