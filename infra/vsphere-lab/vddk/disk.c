#define _GNU_SOURCE
#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WORKERS 4

struct request {
  struct request *next;
  bool is_write;
  uint64_t sector, count;
  uint8_t *buffer;
  VixDone done;
  void *data;
};

struct disk {
  int fd, session;
  bool read_only, no_extents;
  uint64_t sectors;
  unsigned latency_us;
  int64_t failing_sector;

  pthread_mutex_t lock;
  pthread_cond_t changed;
  struct request *first, **last;
  unsigned busy;
  bool stopping;
  pthread_t workers[WORKERS];
};

static void *work (void *);

struct disk *
disk_open (const struct disk_answer *answer, bool read_only)
{
  struct disk *d = calloc (1, sizeof *d);
  int flags = (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC;

  if (d == NULL)
    return NULL;
  d->fd = open (answer->path, flags);
  if (d->fd < 0) {
    free (d);
    return NULL;
  }
  d->session = answer->socket;
  d->read_only = read_only;
  d->no_extents = answer->no_extents;
  d->sectors = answer->capacity / SECTOR_SIZE;
  d->latency_us = answer->latency_us;
  d->failing_sector = answer->failing_sector;
  d->last = &d->first;
  pthread_mutex_init (&d->lock, NULL);
  pthread_cond_init (&d->changed, NULL);
  for (int i = 0; i < WORKERS; i++)
    pthread_create (&d->workers[i], NULL, work, d);
  return d;
}

void
disk_close (struct disk *d)
{
  disk_wait (d);
  pthread_mutex_lock (&d->lock);
  d->stopping = true;
  pthread_cond_broadcast (&d->changed);
  pthread_mutex_unlock (&d->lock);
  for (int i = 0; i < WORKERS; i++)
    pthread_join (d->workers[i], NULL);
  pthread_cond_destroy (&d->changed);
  pthread_mutex_destroy (&d->lock);
  close (d->fd);
  close (d->session);
  free (d);
}

uint64_t
disk_sectors (const struct disk *d)
{
  return d->sectors;
}

static bool
in_range (const struct disk *d, uint64_t sector, uint64_t count)
{
  return sector <= d->sectors && count <= d->sectors - sector;
}

static bool
covers_failing_sector (const struct disk *d, uint64_t sector, uint64_t count)
{
  return d->failing_sector >= 0 && (uint64_t) d->failing_sector >= sector &&
         (uint64_t) d->failing_sector < sector + count;
}

VixError
disk_read (struct disk *d, uint64_t sector, uint64_t count, uint8_t *buffer)
{
  size_t left = count * SECTOR_SIZE;
  off_t at = (off_t) (sector * SECTOR_SIZE);

  if (d->latency_us > 0)
    usleep (d->latency_us);
  if (!in_range (d, sector, count))
    return VIX_E_INVALID_ARG;
  if (covers_failing_sector (d, sector, count))
    return VIX_E_FAIL;
  while (left > 0) {
    ssize_t n = pread (d->fd, buffer, left, at);

    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return VIX_E_FAIL;
    if (n == 0) { /* The file is shorter than the disk. */
      memset (buffer, 0, left);
      break;
    }
    buffer += n;
    at += n;
    left -= (size_t) n;
  }
  return VIX_OK;
}

VixError
disk_write (struct disk *d, uint64_t sector, uint64_t count,
            const uint8_t *buffer)
{
  size_t left = count * SECTOR_SIZE;
  off_t at = (off_t) (sector * SECTOR_SIZE);

  if (d->read_only)
    return VIX_E_FAIL;
  if (!in_range (d, sector, count))
    return VIX_E_INVALID_ARG;
  while (left > 0) {
    ssize_t n = pwrite (d->fd, buffer, left, at);

    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return VIX_E_FAIL;
    buffer += n;
    at += n;
    left -= (size_t) n;
  }
  return VIX_OK;
}

VixError
disk_flush (struct disk *d)
{
  return fsync (d->fd) == 0 ? VIX_OK : VIX_E_FAIL;
}

/* Takes the next request off the queue; NULL when the disk is being closed.
 * Called, and returns, with the lock held. */
static struct request *
next_request (struct disk *d)
{
  struct request *r;

  while (d->first == NULL && !d->stopping)
    pthread_cond_wait (&d->changed, &d->lock);
  r = d->first;
  if (r != NULL && (d->first = r->next) == NULL)
    d->last = &d->first;
  return r;
}

static void *
work (void *arg)
{
  struct disk *d = arg;
  struct request *r;

  pthread_mutex_lock (&d->lock);
  while ((r = next_request (d)) != NULL) {
    VixError result;

    d->busy++;
    pthread_mutex_unlock (&d->lock);
    result = r->is_write ? disk_write (d, r->sector, r->count, r->buffer)
                         : disk_read (d, r->sector, r->count, r->buffer);
    r->done (r->data, result);
    free (r);
    pthread_mutex_lock (&d->lock);
    d->busy--;
    pthread_cond_broadcast (&d->changed);
  }
  pthread_mutex_unlock (&d->lock);
  return NULL;
}

static VixError
enqueue (struct disk *d, struct request request)
{
  struct request *r = malloc (sizeof *r);

  if (r == NULL)
    return VIX_E_OUT_OF_MEMORY;
  *r = request;
  pthread_mutex_lock (&d->lock);
  *d->last = r;
  d->last = &r->next;
  pthread_cond_broadcast (&d->changed);
  pthread_mutex_unlock (&d->lock);
  return VIX_ASYNC;
}

VixError
disk_read_async (struct disk *d, uint64_t sector, uint64_t count,
                 uint8_t *buffer, VixDone done, void *data)
{
  return enqueue (d, (struct request) { .sector = sector, .count = count,
                                        .buffer = buffer, .done = done,
                                        .data = data });
}

VixError
disk_write_async (struct disk *d, uint64_t sector, uint64_t count,
                  const uint8_t *buffer, VixDone done, void *data)
{
  return enqueue (d, (struct request) { .is_write = true, .sector = sector,
                                        .count = count,
                                        .buffer = (uint8_t *) buffer,
                                        .done = done, .data = data });
}

void
disk_wait (struct disk *d)
{
  pthread_mutex_lock (&d->lock);
  while (d->first != NULL || d->busy > 0)
    pthread_cond_wait (&d->changed, &d->lock);
  pthread_mutex_unlock (&d->lock);
}

/* Adds a range to the list, or to its last block if they touch. */
static VixBlockList *
append (VixBlockList *list, size_t *room, uint64_t start, uint64_t end)
{
  VixBlock *last = list->numBlocks ? &list->blocks[list->numBlocks - 1] : NULL;

  if (last != NULL && last->offset + last->length >= start) {
    last->length = end - last->offset;
    return list;
  }
  if (list->numBlocks == *room) {
    *room *= 2;
    list = realloc (list, sizeof *list + *room * sizeof (VixBlock));
    if (list == NULL)
      abort (); /* A test library; there is nothing to save. */
  }
  list->blocks[list->numBlocks++] = (VixBlock) { start, end - start };
  return list;
}

VixError
disk_allocated (struct disk *d, uint64_t sector, uint64_t count,
                uint64_t chunk, VixBlockList **out)
{
  uint64_t end = sector + count < d->sectors ? sector + count : d->sectors;
  uint64_t at = sector;
  size_t room = 64;
  VixBlockList *list;

  if (d->no_extents)
    return VIX_E_NOT_SUPPORTED;
  if (chunk < VIX_MIN_CHUNK_SIZE || sector % chunk != 0 ||
      count / chunk > VIX_MAX_CHUNK_NUMBER)
    return VIX_E_INVALID_ARG;
  list = malloc (sizeof *list + room * sizeof (VixBlock));
  if (list == NULL)
    return VIX_E_OUT_OF_MEMORY;
  list->numBlocks = 0;
  while (at < end) {
    off_t data = lseek (d->fd, (off_t) (at * SECTOR_SIZE), SEEK_DATA);
    uint64_t from, to;

    if (data < 0 || (uint64_t) data >= end * SECTOR_SIZE)
      break;
    to = (uint64_t) lseek (d->fd, data, SEEK_HOLE) / SECTOR_SIZE;
    from = (uint64_t) data / SECTOR_SIZE / chunk * chunk;
    to = (to + chunk - 1) / chunk * chunk;
    at = to < end ? to : end;
    list = append (list, &room, from < sector ? sector : from, at);
  }
  *out = list;
  return VIX_OK;
}
