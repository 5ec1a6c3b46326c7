/* libvixDiskLib.so.8 for tests: drives Debian's real nbdkit vddk plugin
 * without VMware's library. Each open asks the lab where the bytes are and how
 * the disk shall misbehave, so one build serves any number of labs:
 * <libdir>/stub.conf names the lab's resolver. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk.h"
#include "resolver.h"
#include "vixdisklib.h"

struct connection {
  char *vm, *snapshot, *user, *password, *thumbprint;
  bool read_only;
};

static VixLogFunc *log_function, *warn_function;
static __thread char last_error[2048];

static void
say (VixLogFunc *function, const char *format, ...)
{
  va_list args;

  if (function == NULL)
    return;
  va_start (args, format);
  function (format, args);
  va_end (args);
}

/* Notes the text that GetErrorText will return, and logs it as VDDK does. */
static VixError
fail (VixError error, const char *text)
{
  snprintf (last_error, sizeof last_error, "%.2000s", text);
  say (warn_function, "VixDiskLib: %s. Error %llu\n", last_error,
       (unsigned long long) error);
  return error;
}

API VixError
VixDiskLib_InitEx (uint32_t major, uint32_t minor, VixLogFunc *log,
                   VixLogFunc *warn, VixLogFunc *panic, const char *libdir,
                   const char *config)
{
  char text[1024];

  (void) panic;
  (void) config;
  log_function = log;
  warn_function = warn;
  if (!resolver_configure (libdir, text, sizeof text))
    return fail (VIX_E_FILE_NOT_FOUND, text);
  say (log_function, "VixDiskLib: stub %u.%u\n", major, minor);
  return VIX_OK;
}

API void
VixDiskLib_Exit (void)
{
}

API char *
VixDiskLib_GetErrorText (VixError error, const char *locale)
{
  (void) locale;
  if (error == VIX_OK)
    return strdup ("The operation was successful");
  return strdup (last_error[0] ? last_error : "Unknown error");
}

API void
VixDiskLib_FreeErrorText (char *text)
{
  free (text);
}

API VixConnectParams *
VixDiskLib_AllocateConnectParams (void)
{
  return calloc (1, sizeof (VixConnectParams));
}

API void
VixDiskLib_FreeConnectParams (VixConnectParams *params)
{
  free (params);
}

API const char *
VixDiskLib_ListTransportModes (void)
{
  return "file:nbdssl:nbd";
}

static char *
copy (const char *text)
{
  return strdup (text ? text : "");
}

API VixError
VixDiskLib_ConnectEx (const VixConnectParams *p, char read_only,
                      const char *snapshot, const char *modes, void **out)
{
  bool by_cookie = p->credType == VIX_CRED_SESSIONID;
  struct connection *c;

  if (modes && *modes && !strstr (modes, "nbd") && !strstr (modes, "file"))
    return fail (VIX_E_NOT_SUPPORTED, "no such transport mode");
  c = calloc (1, sizeof *c);
  if (c == NULL)
    return VIX_E_OUT_OF_MEMORY;
  c->vm = copy (p->vmxSpec);
  c->snapshot = copy (snapshot);
  c->thumbprint = copy (p->thumbPrint);
  c->user = copy (by_cookie ? p->creds.sessionId.userName
                            : p->creds.uid.userName);
  c->password = copy (by_cookie ? p->creds.sessionId.key
                                : p->creds.uid.password);
  c->read_only = read_only;
  *out = c;
  return VIX_OK;
}

API VixError
VixDiskLib_Disconnect (void *connection)
{
  struct connection *c = connection;

  free (c->vm);
  free (c->snapshot);
  free (c->thumbprint);
  free (c->user);
  explicit_bzero (c->password, strlen (c->password));
  free (c->password);
  free (c);
  return VIX_OK;
}

static VixError
refused (const char *file, const struct disk_answer *answer)
{
  char text[2048];

  snprintf (text, sizeof text, "VixDiskLib_Open: Cannot open disk %.900s: %s",
            file, answer->text);
  return fail (answer->error, text);
}

API VixError
VixDiskLib_Open (void *connection, const char *file, uint32_t flags, void **out)
{
  const struct connection *c = connection;
  bool read_only = (flags & VIX_FLAG_OPEN_READ_ONLY) || c->read_only;
  struct disk_request request = {
    .vm = c->vm, .snapshot = c->snapshot, .file = file, .user = c->user,
    .password = c->password, .thumbprint = c->thumbprint,
    .read_only = read_only,
  };
  struct disk_answer answer;

  if (!resolver_ask (&request, &answer))
    return refused (file, &answer);
  *out = disk_open (&answer, read_only);
  if (*out == NULL)
    return fail (VIX_E_FILE_NOT_FOUND, strerror (errno));
  say (log_function, "VixDiskLib: open vm=%s snapshot=%s file=%s flags=%u\n",
       c->vm, c->snapshot, file, flags);
  return VIX_OK;
}

API VixError
VixDiskLib_Close (void *handle)
{
  disk_close (handle);
  return VIX_OK;
}

API VixError
VixDiskLib_Wait (void *handle)
{
  disk_wait (handle);
  return VIX_OK;
}

API const char *
VixDiskLib_GetTransportMode (void *handle)
{
  (void) handle;
  return "nbdssl";
}

API VixError
VixDiskLib_GetInfo (void *handle, VixInfo **out)
{
  uint64_t sectors = disk_sectors (handle);
  VixInfo *info = calloc (1, sizeof *info);

  if (info == NULL)
    return VIX_E_OUT_OF_MEMORY;
  info->capacity = sectors;
  info->adapterType = VIX_ADAPTER_SCSI_LSILOGIC;
  info->numLinks = 1;
  info->logicalSectorSize = info->physicalSectorSize = SECTOR_SIZE;
  info->biosGeo = (VixGeometry) { (uint32_t) (sectors / (255 * 63)), 255, 63 };
  *out = info;
  return VIX_OK;
}

API void
VixDiskLib_FreeInfo (VixInfo *info)
{
  free (info);
}

/* Gives the result of a transfer a text for GetErrorText. */
static VixError
explain (VixError result)
{
  switch (result) {
  case VIX_E_FAIL:
    return fail (result, "The disk could not be read or written");
  case VIX_E_INVALID_ARG:
    return fail (result, "The transfer is not within the disk");
  default:
    return result;
  }
}

API VixError
VixDiskLib_Read (void *handle, uint64_t sector, uint64_t count, uint8_t *buffer)
{
  return explain (disk_read (handle, sector, count, buffer));
}

API VixError
VixDiskLib_Write (void *handle, uint64_t sector, uint64_t count,
                  const uint8_t *buffer)
{
  return explain (disk_write (handle, sector, count, buffer));
}

API VixError
VixDiskLib_ReadAsync (void *handle, uint64_t sector, uint64_t count,
                      uint8_t *buffer, VixDone done, void *data)
{
  return disk_read_async (handle, sector, count, buffer, done, data);
}

API VixError
VixDiskLib_WriteAsync (void *handle, uint64_t sector, uint64_t count,
                       const uint8_t *buffer, VixDone done, void *data)
{
  return disk_write_async (handle, sector, count, buffer, done, data);
}

API VixError
VixDiskLib_Flush (void *handle)
{
  return disk_flush (handle);
}

API VixError
VixDiskLib_Create (void *connection, const char *path, const void *params,
                   void *progress, void *data)
{
  (void) connection;
  (void) path;
  (void) params;
  (void) progress;
  (void) data;
  return fail (VIX_E_NOT_SUPPORTED, "the stub creates no disks");
}

API VixError
VixDiskLib_QueryAllocatedBlocks (void *handle, uint64_t sector, uint64_t count,
                                 uint64_t chunk, VixBlockList **out)
{
  return disk_allocated (handle, sector, count, chunk, out);
}

API VixError
VixDiskLib_FreeBlockList (VixBlockList *list)
{
  free (list);
  return VIX_OK;
}

API VixError
VixDiskLib_GetMetadataKeys (void *handle, char *buffer, size_t size,
                            size_t *needed)
{
  static const char keys[] = "adapterType\0geometry.sectors\0geometry.heads\0"
                             "geometry.cylinders\0uuid\0";

  (void) handle;
  if (needed != NULL)
    *needed = sizeof keys;
  if (size < sizeof keys)
    return VIX_E_BUFFER_TOOSMALL;
  memcpy (buffer, keys, sizeof keys);
  return VIX_OK;
}
