#include "net/files.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>

#include "net/static_file.h"
#include "net/worker.h"

enum job { JOB_OPEN, JOB_READ, JOB_CLOSE };

struct files {
    struct server *server;
    pthread_t thread;
    struct mailbox box;
    sem_t wake;
    atomic_bool stop;
    atomic_uint waiting; /* to be opened */

    /* ---- the file thread ---- */
    unsigned open;
    struct buf folder; /* zero-terminated */
};

/* ---- the file thread ---- */

static void work_on(struct files *files, struct exchange *exchange) {
    switch ((enum job)exchange->call.msg.type) {
    case JOB_OPEN:
        static_file_open(exchange, files->folder.data, files->open < files->server->files_open_max);
        files->open += exchange->file.open;
        atomic_fetch_sub_explicit(&files->waiting, 1, memory_order_relaxed);
        return;
    case JOB_READ:
        static_file_read(exchange);
        break;
    case JOB_CLOSE:
        static_file_close(exchange);
        break;
    }
    files->open -= !exchange->file.open;
}

static void send_home(struct files *files, struct exchange *exchange) {
    struct worker *home = files->server->workers[exchange->call.home];
    exchange->call.msg.type = WORKER_MSG_FILE;
    worker_send(home, home->index, &exchange->call.msg);
}

/* All that has come; waits for it, and announces that, if there is nothing. */
static struct msg *next_jobs(struct files *files) {
    struct msg *jobs = mailbox_drain(&files->box);
    while (!jobs && !atomic_load(&files->stop)) {
        mailbox_sleep(&files->box);
        jobs = mailbox_drain(&files->box);
        while (!jobs && sem_wait(&files->wake) != 0)
            assert(errno == EINTR);
        mailbox_wake(&files->box);
        if (!jobs)
            jobs = mailbox_drain(&files->box);
    }
    return jobs;
}

static void *thread_main(void *argument) {
    struct files *files = argument;
    for (struct msg *msg; (msg = next_jobs(files));) {
        while (msg) {
            struct msg *next = msg->next;
            struct exchange *exchange = ((struct call *)(void *)msg)->owner;
            work_on(files, exchange);
            send_home(files, exchange);
            msg = next;
        }
    }
    return NULL;
}

/* ---- life ---- */

static void destroy(struct files *files) {
    sem_destroy(&files->wake);
    buf_free(&files->folder);
    free(files);
}

struct files *files_start(struct server *server) {
    struct files *files = calloc(1, sizeof(*files));
    if (!files)
        return NULL;
    files->server = server;
    mailbox_init(&files->box);
    sem_init(&files->wake, 0, 0);
    buf_init(&files->folder, SIZE_MAX);
    buf_printf(&files->folder, "%s/static", server->options->resources);
    buf_append_byte(&files->folder, '\0');
    if (!buf_ok(&files->folder) || pthread_create(&files->thread, NULL, thread_main, files) != 0) {
        destroy(files);
        return NULL;
    }
    pthread_setname_np(files->thread, "files");
    return files;
}

void files_stop(struct files *files) {
    atomic_store(&files->stop, true);
    sem_post(&files->wake);
    pthread_join(files->thread, NULL);
    assert(files->open == 0);
    destroy(files);
}

/* ---- the worker's thread ---- */

static void send_out(struct worker *worker, struct exchange *exchange, enum job job) {
    struct files *files = worker->server->files;
    assert(!exchange->file.away);
    exchange->file.away = true;
    exchange->call.home = worker->index;
    exchange->call.msg.type = job;
    exchange->call.msg.from = worker->index;
    worker->files_out++;
    if (mailbox_push(&files->box, &exchange->call.msg))
        sem_post(&files->wake);
}

bool files_open(struct worker *worker, struct exchange *exchange) {
    struct files *files = worker->server->files;
    if (atomic_fetch_add_explicit(&files->waiting, 1, memory_order_relaxed) >= FILES_JOBS_MAX) {
        atomic_fetch_sub_explicit(&files->waiting, 1, memory_order_relaxed);
        return false;
    }
    send_out(worker, exchange, JOB_OPEN);
    return true;
}

void files_read(struct worker *worker, struct exchange *exchange) {
    assert(exchange->state == EXCHANGE_SENDING);
    send_out(worker, exchange, JOB_READ);
}

void files_drop(struct worker *worker, struct exchange *exchange) {
    assert(!exchange->conn);
    if (exchange->file.away)
        return; /* files_returned will see that nobody waits */
    if (exchange->file.open)
        send_out(worker, exchange, JOB_CLOSE);
    else
        exchange_give(&worker->pool, exchange);
}

void files_returned(struct worker *worker, struct msg *msg) {
    struct exchange *exchange = ((struct call *)(void *)msg)->owner;
    assert(exchange->file.away && worker->files_out > 0);
    exchange->file.away = false;
    worker->files_out--;
    if (!exchange->conn) {
        files_drop(worker, exchange);
    } else if (exchange->state == EXCHANGE_RUNNING && !exchange->file.open) {
        worker_committed(worker, &exchange->call);
        worker_released(worker, &exchange->call);
    } else {
        exchange->state = EXCHANGE_SENDING;
        worker_mark_dirty(worker, exchange->conn);
    }
}
