/* Histories as text: reads and writes the format that text.c describes.
 *
 * Ownership: the caller's streams and texts. Threads: none of its own. Errors: history_load says
 * line and reason. */
#ifndef CONCAVE_TESTS_HISTORY_TEXT_H
#define CONCAVE_TESTS_HISTORY_TEXT_H

#include <stdio.h>

#include "tests/history/history.h"

/* The history in a file; NULL, with a reason of up to `size` bytes, if it is not one. */
struct history *history_load(FILE *file, char *error, size_t size);
/* Writes it so that history_load reads the same; errors are the stream's (ferror). */
void history_save(const struct history *history, FILE *file);
/* The transactions alone, without the line that heads a file: to go on with a file. */
void history_save_txns(const struct history *history, FILE *file);

#endif
