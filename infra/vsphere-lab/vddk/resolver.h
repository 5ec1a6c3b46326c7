/* Asks the lab which file holds a disk; see internal/vddk/resolver.go for the
 * protocol. Shared by the stub library and by the fallback plugin. */
#ifndef SENDENSE_RESOLVER_H
#define SENDENSE_RESOLVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SECTOR_SIZE 512u

/* What the client of the disk said about itself and the disk. */
struct disk_request {
  const char *vm;         /* "moref=vm-62" or the id alone */
  const char *snapshot;   /* managed object id; "" for the current disk */
  const char *file;       /* "[datastore] path/disk.vmdk" */
  const char *user;
  const char *password;
  const char *thumbprint;
  bool read_only;
};

/* What the lab answered. The socket stays open while the disk is open. */
struct disk_answer {
  char path[4096];
  uint64_t capacity;      /* bytes */
  unsigned latency_us;    /* added to each read */
  int64_t failing_sector; /* reads that cover it fail; -1 for none */
  bool no_extents;
  int socket;
  uint64_t error;         /* VDDK's error code, if refused */
  char text[1024];        /* VDDK's error text, if refused */
};

/* Reads "resolver=HOST:PORT" from <libdir>/stub.conf. */
bool resolver_configure (const char *libdir, char *text, size_t size);

/* True if the disk may be opened; false leaves error and text. */
bool resolver_ask (const struct disk_request *, struct disk_answer *);

#endif
