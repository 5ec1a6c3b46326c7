/* The part of VDDK's interface that nbdkit's vddk plugin calls, written from
 * the public function list and the layout in nbdkit's BSD-licensed header.
 * The names of functions and error codes are VMware's. */
#ifndef SENDENSE_VIXDISKLIB_H
#define SENDENSE_VIXDISKLIB_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#define API __attribute__ ((visibility ("default")))

typedef uint64_t VixError;
typedef void VixLogFunc (const char *format, va_list args);
typedef void (*VixDone) (void *data, VixError result);

enum {
  VIX_OK = 0,
  VIX_E_FAIL = 1,
  VIX_E_OUT_OF_MEMORY = 2,
  VIX_E_INVALID_ARG = 3,
  VIX_E_FILE_NOT_FOUND = 4,
  VIX_E_NOT_SUPPORTED = 6,
  VIX_E_BUFFER_TOOSMALL = 24,
  VIX_ASYNC = 25000,
};

enum { VIX_FLAG_OPEN_READ_ONLY = 4 };
enum { VIX_CRED_UID = 1, VIX_CRED_SESSIONID = 2 };
enum { VIX_ADAPTER_SCSI_LSILOGIC = 3 };

/* QueryAllocatedBlocks: the smallest chunk, in sectors, and the most chunks. */
#define VIX_MIN_CHUNK_SIZE 128u
#define VIX_MAX_CHUNK_NUMBER (512u * 1024u)

/* Layout of VDDK 6.7 to 8. */
typedef struct {
  char *vmxSpec, *serverName, *thumbPrint;
  long reserved1;
  int credType;
  union {
    struct { char *userName, *password; } uid;
    struct { char *cookie, *userName, *key; } sessionId;
  } creds;
  uint32_t port, nfcHostPort;
  char *reserved3, reserved4[8];
  void *reserved5;
  struct { char *id, *datastoreMoRef, *ssId; } spec;
  int specType;
} VixConnectParams;

typedef struct { uint32_t cylinders, heads, sectors; } VixGeometry;

typedef struct {
  VixGeometry biosGeo, physGeo;
  uint64_t capacity; /* sectors */
  int adapterType, numLinks;
  char *parentFileNameHint, *uuid;
  uint32_t logicalSectorSize, physicalSectorSize;
} VixInfo;

typedef struct { uint64_t offset, length; } VixBlock; /* sectors */
typedef struct { uint32_t numBlocks; VixBlock blocks[1]; } VixBlockList;

#endif
