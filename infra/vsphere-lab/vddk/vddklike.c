/* nbdkit-vddklike-plugin: the stand-in for nbdkit's vddk plugin where Debian's
 * package cannot be had. It takes the same parameters and asks the lab in the
 * same way, so that tests still exercise everything but the plugin itself. */
#define _GNU_SOURCE
#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk.h"
#include "resolver.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

/* In sectors: what one QueryAllocatedBlocks of the real plugin asks for. */
#define EXTENT_CHUNK VIX_MIN_CHUNK_SIZE

static char *password;
static const char *libdir, *file, *vm, *user, *thumbprint, *snapshot;

static const struct { const char *name; const char **value; } parameters[] = {
  { "libdir", &libdir }, { "file", &file }, { "vm", &vm }, { "user", &user },
  { "thumbprint", &thumbprint }, { "snapshot", &snapshot },
};

/* What the real plugin takes and the lab has no use for. */
static const char *const ignored[] = {
  "server", "port", "transports", "compression", "config", "nfchostport",
  "single-link", "unbuffered", "vimapiver",
};

static int
vddklike_config (const char *key, const char *value)
{
  if (strcmp (key, "password") == 0) {
    free (password);
    return nbdkit_read_password (value, &password);
  }
  for (size_t i = 0; i < sizeof parameters / sizeof parameters[0]; i++) {
    if (strcmp (key, parameters[i].name) == 0) {
      *parameters[i].value = value;
      return 0;
    }
  }
  for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
    if (strcmp (key, ignored[i]) == 0)
      return 0;
  nbdkit_error ("unknown parameter '%s'", key);
  return -1;
}

static int
vddklike_config_complete (void)
{
  char text[1024];

  if (libdir == NULL || file == NULL || vm == NULL || user == NULL ||
      password == NULL) {
    nbdkit_error ("libdir, file, vm, user and password are required");
    return -1;
  }
  if (!resolver_configure (libdir, text, sizeof text)) {
    nbdkit_error ("%s", text);
    return -1;
  }
  return 0;
}

static void
vddklike_unload (void)
{
  free (password);
}

static void *
vddklike_open (int read_only)
{
  struct disk_request request = {
    .vm = vm, .snapshot = snapshot ? snapshot : "", .file = file,
    .user = user, .password = password,
    .thumbprint = thumbprint ? thumbprint : "", .read_only = read_only,
  };
  struct disk_answer answer;
  struct disk *disk;

  if (!resolver_ask (&request, &answer)) {
    nbdkit_error ("VixDiskLib_Open: %s: VixDiskLib_Open: Cannot open disk %s: "
                  "%s", file, file, answer.text);
    return NULL;
  }
  disk = disk_open (&answer, read_only);
  if (disk == NULL) {
    nbdkit_error ("VixDiskLib_Open: %s: %m", file);
    close (answer.socket);
  }
  return disk;
}

static void
vddklike_close (void *handle)
{
  disk_close (handle);
}

static int64_t
vddklike_get_size (void *handle)
{
  return (int64_t) (disk_sectors (handle) * SECTOR_SIZE);
}

static int
answer (VixError result, const char *what)
{
  if (result == VIX_OK)
    return 0;
  nbdkit_error ("%s: %s", what, result == VIX_E_INVALID_ARG
                ? "One of the parameters was invalid" : "Unknown error");
  nbdkit_set_error (EIO);
  return -1;
}

/* VDDK moves whole sectors. */
static bool
is_aligned (uint32_t count, uint64_t offset)
{
  if (count % SECTOR_SIZE == 0 && offset % SECTOR_SIZE == 0)
    return true;
  nbdkit_error ("the request is not aligned to sectors");
  nbdkit_set_error (EIO);
  return false;
}

static int
vddklike_pread (void *handle, void *buffer, uint32_t count, uint64_t offset,
                uint32_t flags)
{
  (void) flags;
  if (!is_aligned (count, offset))
    return -1;
  return answer (disk_read (handle, offset / SECTOR_SIZE, count / SECTOR_SIZE,
                            buffer), "VixDiskLib_Read");
}

static int
vddklike_pwrite (void *handle, const void *buffer, uint32_t count,
                 uint64_t offset, uint32_t flags)
{
  (void) flags;
  if (!is_aligned (count, offset))
    return -1;
  return answer (disk_write (handle, offset / SECTOR_SIZE, count / SECTOR_SIZE,
                             buffer), "VixDiskLib_Write");
}

static int
vddklike_flush (void *handle, uint32_t flags)
{
  (void) flags;
  return answer (disk_flush (handle), "VixDiskLib_Flush");
}

static int
add_range (struct nbdkit_extents *extents, uint64_t from, uint64_t to,
           uint32_t type)
{
  if (from >= to)
    return 0;
  return nbdkit_add_extent (extents, from * SECTOR_SIZE,
                            (to - from) * SECTOR_SIZE, type);
}

static int
vddklike_extents (void *handle, uint32_t count, uint64_t offset,
                  uint32_t flags, struct nbdkit_extents *extents)
{
  uint64_t from = offset / SECTOR_SIZE / EXTENT_CHUNK * EXTENT_CHUNK;
  uint64_t end = (offset + count + SECTOR_SIZE - 1) / SECTOR_SIZE;
  VixBlockList *list;
  int result = 0;

  (void) flags;
  if (disk_allocated (handle, from, end - from, EXTENT_CHUNK, &list) != VIX_OK)
    return add_range (extents, from, end, 0); /* All of it may be data. */
  for (uint32_t i = 0; i < list->numBlocks && result == 0; i++) {
    const VixBlock *block = &list->blocks[i];

    result = add_range (extents, from, block->offset,
                        NBDKIT_EXTENT_HOLE | NBDKIT_EXTENT_ZERO);
    if (result == 0)
      result = add_range (extents, block->offset,
                          block->offset + block->length, 0);
    from = block->offset + block->length;
  }
  free (list);
  if (result == 0)
    result = add_range (extents, from, end,
                        NBDKIT_EXTENT_HOLE | NBDKIT_EXTENT_ZERO);
  return result;
}

static struct nbdkit_plugin plugin = {
  .name = "vddklike",
  .longname = "stand-in for the VMware VDDK plugin, for tests",
  .version = "1",
  .unload = vddklike_unload,
  .config = vddklike_config,
  .config_complete = vddklike_config_complete,
  .open = vddklike_open,
  .close = vddklike_close,
  .get_size = vddklike_get_size,
  .pread = vddklike_pread,
  .pwrite = vddklike_pwrite,
  .flush = vddklike_flush,
  .extents = vddklike_extents,
};

NBDKIT_REGISTER_PLUGIN (plugin)
