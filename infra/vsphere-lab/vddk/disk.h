/* An open disk of the stub: a raw file, and threads that serve asynchronous
 * requests as VDDK does. */
#ifndef SENDENSE_DISK_H
#define SENDENSE_DISK_H

#include <stdbool.h>

#include "resolver.h"
#include "vixdisklib.h"

struct disk;

/* Takes the answer's socket over and closes it with the disk. NULL with errno
 * set if the file cannot be opened. */
struct disk *disk_open (const struct disk_answer *, bool read_only);
void disk_close (struct disk *);

uint64_t disk_sectors (const struct disk *);
VixError disk_read (struct disk *, uint64_t sector, uint64_t count, uint8_t *);
VixError disk_write (struct disk *, uint64_t sector, uint64_t count,
                     const uint8_t *);
VixError disk_flush (struct disk *);

/* Starts a request; done is called from another thread. */
VixError disk_read_async (struct disk *, uint64_t sector, uint64_t count,
                          uint8_t *, VixDone, void *data);
VixError disk_write_async (struct disk *, uint64_t sector, uint64_t count,
                           const uint8_t *, VixDone, void *data);
void disk_wait (struct disk *);

/* Lists the chunks that hold data, in sectors. */
VixError disk_allocated (struct disk *, uint64_t sector, uint64_t count,
                         uint64_t chunk, VixBlockList **);

#endif
