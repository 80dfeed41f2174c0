/* One file of the simulated disk (sim_disk.h): what the cache shows, what the medium has, and what
 * a power cut makes of the difference.
 *
 * Ownership: the disk owns its files. Threads: one. Errors: asserts only. */
#ifndef CONCAVE_TESTS_SUPPORT_SIM_FILE_H
#define CONCAVE_TESTS_SUPPORT_SIM_FILE_H

#include "tests/support/sim_disk.h"

struct version {
    uint64_t offset; /* whole sectors */
    uint64_t len;
    unsigned char *bytes;
};

struct inode {
    struct inode *next;
    unsigned char *cache, *medium;
    unsigned char *lost;      /* by sector: clean in the cache, but not on the medium */
    unsigned char *allocated; /* by block */
    uint64_t cap;             /* bytes of the two images; whole blocks, zero behind the size */
    uint64_t size, synced_size;
    struct version *writes; /* since the last sync */
    uint64_t *sizes;        /* after each call since the last sync that changed it */
    size_t write_count, write_cap, size_count, size_cap;
    bool used;           /* for the sweep */
    struct inode *clone; /* while its disk is cloned */
};

/* ---- small things ---- */

/* A seeded draw below the bound. */
uint64_t sim_below(uint64_t *random, uint64_t bound);
/* Memory running out ends the test. */
void *sim_checked(void *memory);
/* Makes room in an array for one more. */
void *sim_grow(void *array, size_t count, size_t *cap, size_t element);
void *sim_copy(const void *bytes, size_t len);
uint64_t sim_round_down(uint64_t bytes, uint64_t step);
uint64_t sim_round_up(uint64_t bytes, uint64_t step);

/* ---- files ---- */

struct inode *inode_clone(const struct inode *from);
void inode_free(struct inode *inode);
/* Both images become at least this long; the file does not. */
void inode_make_room(struct inode *inode, uint64_t bytes);
void inode_write(struct inode *inode, uint64_t offset, const unsigned char *bytes, uint64_t len);
/* The file has become this long, by writing or allocation. */
void inode_note_size(struct inode *inode, uint64_t size);
void inode_set_size(struct inode *inode, uint64_t size);
void inode_sync(struct inode *inode);
/* A sync fails: each dirty sector has come to the medium or not; all are clean now. */
void inode_fail_sync(struct inode *inode, uint64_t *random);
/* What is lost by a failed sync is forgotten: the cache shows what the medium has. */
void inode_drop_cache(struct inode *inode);
void inode_cut(struct inode *inode, enum sim_outcome outcome, uint64_t *random);

#endif
