#define _GNU_SOURCE
#include "resolver.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { VIX_FAIL = 1 };

static struct sockaddr_in resolver_address;

static bool
parse_address (char *value)
{
  char *port = strrchr (value, ':');

  if (port == NULL)
    return false;
  *port++ = '\0';
  resolver_address.sin_family = AF_INET;
  resolver_address.sin_port = htons ((uint16_t) atoi (port));
  return inet_pton (AF_INET, value, &resolver_address.sin_addr) == 1;
}

bool
resolver_configure (const char *libdir, char *text, size_t size)
{
  static const char key[] = "resolver=";
  char path[4096], line[256];
  bool found = false;
  FILE *conf;

  snprintf (path, sizeof path, "%s/stub.conf", libdir ? libdir : ".");
  conf = fopen (path, "r");
  if (conf == NULL) {
    snprintf (text, size, "cannot read %.900s", path);
    return false;
  }
  while (!found && fgets (line, sizeof line, conf) != NULL) {
    line[strcspn (line, "\r\n")] = '\0';
    if (strncmp (line, key, strlen (key)) == 0)
      found = parse_address (line + strlen (key));
  }
  fclose (conf);
  if (!found)
    snprintf (text, size, "%.900s names no resolver=HOST:PORT", path);
  return found;
}

static bool
refuse (struct disk_answer *answer, uint64_t error, const char *text)
{
  if (answer->socket >= 0)
    close (answer->socket);
  answer->socket = -1;
  answer->error = error ? error : VIX_FAIL;
  snprintf (answer->text, sizeof answer->text, "%s", text);
  return false;
}

static bool
send_request (int socket, const struct disk_request *req)
{
  char *line;
  int length = asprintf (&line, "%s\t%s\t%s\t%s\t%s\t%s\t%d\n", req->vm,
                         *req->snapshot ? req->snapshot : "-", req->file,
                         req->user, req->password, req->thumbprint,
                         req->read_only);
  bool sent;

  if (length < 0)
    return false;
  sent = send (socket, line, (size_t) length, MSG_NOSIGNAL) == length;
  explicit_bzero (line, (size_t) length); /* It holds the password. */
  free (line);
  return sent;
}

static bool
receive_line (int socket, char *line, size_t size)
{
  size_t got = 0;

  while (got < size - 1) {
    ssize_t n = recv (socket, line + got, size - 1 - got, 0);
    char *end;

    if (n <= 0)
      return false;
    got += (size_t) n;
    line[got] = '\0';
    if ((end = strchr (line, '\n')) != NULL) {
      *end = '\0';
      return true;
    }
  }
  return false;
}

/* Splits at tabs in place. */
static size_t
split (char *line, char *fields[], size_t max)
{
  size_t n = 0;
  char *field;

  while (n < max && (field = strsep (&line, "\t")) != NULL)
    fields[n++] = field;
  return n;
}

static bool
read_answer (char *line, struct disk_answer *answer)
{
  char *fields[6];
  size_t n = split (line, fields, 6);

  if (n >= 3 && strcmp (fields[0], "ERR") == 0)
    return refuse (answer, strtoull (fields[1], NULL, 10), fields[2]);
  if (n != 6 || strcmp (fields[0], "OK") != 0)
    return refuse (answer, VIX_FAIL, "the resolver's answer is malformed");
  snprintf (answer->path, sizeof answer->path, "%s", fields[1]);
  answer->capacity = strtoull (fields[2], NULL, 10);
  answer->latency_us = (unsigned) strtoul (fields[3], NULL, 10);
  answer->failing_sector = strtoll (fields[4], NULL, 10);
  answer->no_extents = strcmp (fields[5], "1") == 0;
  return true;
}

bool
resolver_ask (const struct disk_request *req, struct disk_answer *answer)
{
  char line[8192];

  memset (answer, 0, sizeof *answer);
  answer->failing_sector = -1;
  answer->socket = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (answer->socket < 0 ||
      connect (answer->socket, (struct sockaddr *) &resolver_address,
               sizeof resolver_address) != 0)
    return refuse (answer, VIX_FAIL, "the resolver does not answer");
  if (!send_request (answer->socket, req) ||
      !receive_line (answer->socket, line, sizeof line))
    return refuse (answer, VIX_FAIL, "the resolver hung up");
  return read_answer (line, answer);
}
