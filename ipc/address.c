/* SPDX-License-Identifier: MIT */
/*
 * Addresses: what the text means, and how a socket gets there.
 *
 * A socket file outlives a listener that is killed, and nothing but a refused connection tells such
 * a file from a live one. So whoever binds does it under a lock on the directory (flock), from
 * before bind() until after listen(): then "refused" cannot mean "bound, about to listen". Under
 * the same lock a dead file is removed and bound anew. The lock is the kernel's and goes with its
 * holder; it leaves no file of its own. A directory that another program keeps locked, or that may
 * not be read, costs a second and then only the replacement: an existing file is -EADDRINUSE.
 *
 * A file is removed through a descriptor of its directory, by device and inode, so that neither a
 * chdir() nor a successor under the same name is hit.
 *
 * A path longer than a socket address holds goes through /proc/self/fd/N of that directory.
 */
#include "ipc/address.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <tine/time.h>

#include "lib/auto.h"
#include "lib/sys.h"

#define UNIX_PREFIX    "unix:"
#define TCP_PREFIX     "tcp://"
#define HOST_MAX       256
#define PORT_DIGITS    5
#define DIRECTORY_MAX  4000
#define LOCK_PATIENCE  TINE_SEC(1)
#define LOCK_PAUSE_NS  1000000
#define KEEPALIVE_S    60 /* TCP: seconds of silence until the peer is asked, */
#define KEEPALIVE_STEP 10 /* between questions, */
#define KEEPALIVE_MAX  6  /* and how many may stay unanswered */

_Static_assert(sizeof(((struct tine__address_file *)0)->name) ==
                   sizeof(((struct sockaddr_un *)0)->sun_path),
               "any name that a socket address holds");

/* ---- text ------------------------------------------------------------------------------------ */

static int parse_abstract(const char *name, struct tine__address *address)
{
    struct sockaddr_un *socket = (struct sockaddr_un *)&address->sockets[0];
    size_t length = strlen(name);

    if (length == 0)
        return -EINVAL;
    if (length >= sizeof socket->sun_path)
        return -ENAMETOOLONG;
    socket->sun_family = AF_UNIX;
    memcpy(socket->sun_path + 1, name, length);
    address->sizes[0] = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
    address->count = 1;
    return 0;
}

static int parse_unix(const char *text, struct tine__address *address)
{
    size_t length = strlen(text);

    address->family = AF_UNIX;
    if (text[0] == '@')
        return parse_abstract(text + 1, address);
    if (length == 0 || text[length - 1] == '/')
        return -EINVAL;
    address->path = text;
    return 0;
}

/* "HOST:PORT" or "[HOST]:PORT" → host; where the port begins, or NULL. */
static const char *split(const char *text, char host[HOST_MAX])
{
    bool bracket = text[0] == '[';
    const char *end = bracket ? strchr(text, ']') : strrchr(text, ':');
    size_t length;

    if (end == NULL || (bracket && end[1] != ':'))
        return NULL;
    text += bracket;
    length = (size_t)(end - text);
    if (length == 0 || length >= HOST_MAX || (!bracket && memchr(text, ':', length) != NULL))
        return NULL;
    memcpy(host, text, length);
    host[length] = '\0';
    return end + bracket + 1;
}

static bool is_port(const char *text)
{
    size_t digits = strspn(text, "0123456789");

    return digits > 0 && digits <= PORT_DIGITS && text[digits] == '\0' && atoi(text) <= UINT16_MAX;
}

static int resolver_code(int rc)
{
    switch (rc) {
    case 0:
        return 0;
    case EAI_MEMORY:
        return -ENOMEM;
    case EAI_SYSTEM:
        return -errno;
    case EAI_AGAIN:
        return -EHOSTUNREACH;
    default:
        return -ENXIO;
    }
}

static int look_up(const char *host, const char *port, struct addrinfo **found)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    int rc;

    if (strcmp(host, "localhost") == 0) /* as Python's AF_INET has it */
        host = "127.0.0.1";
    rc = getaddrinfo(host, port, &hints, found);
    if (rc == EAI_NONAME) {
        hints.ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV;
        rc = getaddrinfo(host, port, &hints, found);
    }
    return resolver_code(rc);
}

static int parse_tcp(const char *text, struct tine__address *address)
{
    struct addrinfo *found;
    char host[HOST_MAX];
    const char *port = split(text, host);
    int rc;

    if (port == NULL || !is_port(port))
        return -EINVAL;
    rc = look_up(host, port, &found);
    if (rc < 0)
        return rc;
    for (const struct addrinfo *one = found; one != NULL && address->count < TINE__ADDRESSES_MAX;
         one = one->ai_next) {
        memcpy(&address->sockets[address->count], one->ai_addr, one->ai_addrlen);
        address->sizes[address->count++] = one->ai_addrlen;
    }
    address->family = found->ai_family;
    freeaddrinfo(found);
    return 0;
}

int tine__address_parse(const char *text, struct tine__address *address)
{
    memset(address, 0, sizeof *address);
    if (text == NULL)
        return -EINVAL;
    if (strncmp(text, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0)
        return parse_unix(text + strlen(UNIX_PREFIX), address);
    if (strncmp(text, TCP_PREFIX, strlen(TCP_PREFIX)) == 0)
        return parse_tcp(text + strlen(TCP_PREFIX), address);
    return -EINVAL;
}

/* ---- socket files ---------------------------------------------------------------------------- */

/* Opens the directory of a path, and gives the name within it. */
static int open_directory(const char *path, struct tine__address_file *file)
{
    const char *slash = strrchr(path, '/'), *name = slash == NULL ? path : slash + 1;
    size_t length = slash == NULL ? 0 : (size_t)(slash - path);
    char directory[DIRECTORY_MAX] = ".";

    if (strlen(name) >= sizeof file->name || length >= sizeof directory)
        return -ENAMETOOLONG;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return -EINVAL;
    strcpy(file->name, name);
    if (slash != NULL)
        snprintf(directory, sizeof directory, "%.*s", length == 0 ? 1 : (int)length, path);
    file->directory = tine__sys_open_directory(directory);
    return file->directory < 0 ? file->directory : 0;
}

/* Through the directory where the path is too long for an address. */
static int address_of_file(const struct tine__address_file *file, const char *path,
                           struct sockaddr_un *socket)
{
    memset(socket, 0, sizeof *socket);
    socket->sun_family = AF_UNIX;
    if (strlen(path) < sizeof socket->sun_path) {
        strcpy(socket->sun_path, path);
        return 0;
    }
    if (snprintf(socket->sun_path, sizeof socket->sun_path, "/proc/self/fd/%d/%s", file->directory,
                 file->name) >= (int)sizeof socket->sun_path)
        return -ENAMETOOLONG;
    return 0;
}

static bool is_file(const struct tine__address_file *file, struct stat *status)
{
    return fstatat(file->directory, file->name, status, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISSOCK(status->st_mode);
}

static bool lock(int directory)
{
    tine__deadline deadline = tine__deadline_after(LOCK_PATIENCE);
    const struct timespec pause = {.tv_nsec = LOCK_PAUSE_NS};
    int rc;

    while ((rc = tine__sys_try_lock(directory)) == -EAGAIN && !tine__deadline_passed(deadline))
        nanosleep(&pause, NULL);
    return rc == 0;
}

void tine__address_file_forget(struct tine__address_file *file)
{
    if (file->directory >= 0)
        close(file->directory);
    file->directory = -1;
}

void tine__address_file_remove(struct tine__address_file *file)
{
    struct stat status;
    bool locked;

    if (file->directory < 0)
        return;
    locked = lock(file->directory);
    if (is_file(file, &status) && status.st_dev == file->device && status.st_ino == file->inode)
        (void)unlinkat(file->directory, file->name, 0);
    if (locked)
        tine__sys_unlock(file->directory);
    tine__address_file_forget(file);
}

/* ---- listening ------------------------------------------------------------------------------- */

static int bind_and_listen(const struct sockaddr *address, socklen_t size,
                           const struct tine__address_wish *wish)
{
    TINE__AUTO_FD fd = tine__sys_socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK);
    const int on = 1;

    if (fd < 0)
        return fd;
    /* A socket file takes the mode of its socket, less the umask. */
    if (address->sa_family == AF_UNIX && fchmod(fd, wish->mode) < 0)
        return -errno;
    if (address->sa_family != AF_UNIX)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, address, size) < 0 || listen(fd, wish->backlog) < 0)
        return -errno;
    return tine__take_fd(&fd);
}

/* Under the lock: does the file bear the name of a listener that is gone? */
static bool is_dead(const struct sockaddr_un *socket)
{
    TINE__AUTO_FD fd = tine__sys_socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK);

    return fd >= 0 && connect(fd, (const struct sockaddr *)socket, sizeof *socket) < 0 &&
           errno == ECONNREFUSED;
}

static int listen_locked(const struct tine__address_file *file, const struct sockaddr_un *socket,
                         const struct tine__address_wish *wish)
{
    const struct sockaddr *address = (const struct sockaddr *)socket;
    int fd = bind_and_listen(address, sizeof *socket, wish);
    struct stat before, after;

    if (fd != -EADDRINUSE || !is_file(file, &before) || !is_dead(socket) ||
        !is_file(file, &after) || before.st_ino != after.st_ino)
        return fd;
    if (unlinkat(file->directory, file->name, 0) < 0)
        return fd;
    return bind_and_listen(address, sizeof *socket, wish);
}

static int listen_at_file(const struct tine__address_file *file, const struct sockaddr_un *socket,
                          const struct tine__address_wish *wish)
{
    int fd;

    if (!lock(file->directory))
        return bind_and_listen((const struct sockaddr *)socket, sizeof *socket, wish);
    fd = listen_locked(file, socket, wish);
    tine__sys_unlock(file->directory);
    return fd;
}

static int listen_at_path(const char *path, const struct tine__address_wish *wish,
                          struct tine__address_file *file)
{
    struct sockaddr_un socket;
    struct stat status;
    int fd, rc = open_directory(path, file);

    if (rc < 0)
        return rc;
    rc = address_of_file(file, path, &socket);
    fd = rc < 0 ? rc : listen_at_file(file, &socket, wish);
    if (fd < 0 || !is_file(file, &status)) {
        tine__address_file_forget(file);
        return fd;
    }
    file->device = status.st_dev;
    file->inode = status.st_ino;
    return fd;
}

int tine__address_listen(const struct tine__address *address, const struct tine__address_wish *wish,
                         struct tine__address_file *file)
{
    file->directory = -1;
    if (address->path != NULL)
        return listen_at_path(address->path, wish, file);
    return bind_and_listen((const struct sockaddr *)&address->sockets[0], address->sizes[0], wish);
}

/* ---- connecting ------------------------------------------------------------------------------ */

/*
 * AF_UNIX: a socket that does not block would say EAGAIN where the listener's queue is full, and
 * nothing to poll for. One that blocks waits for room, as long as its send timeout says.
 */
static int connect_unix(const struct sockaddr *address, socklen_t size, tine__deadline deadline)
{
    TINE__AUTO_FD fd = tine__sys_socket(AF_UNIX, SOCK_STREAM);

    if (fd < 0)
        return fd;
    for (;;) {
        int64_t left = tine__deadline_left(deadline);
        struct timeval limit = {.tv_sec = left / TINE_SEC(1),
                                .tv_usec = left % TINE_SEC(1) / TINE_US(1)};

        if (left == 0)
            return -ETIMEDOUT;
        if (deadline == TINE__NEVER)
            limit = (struct timeval){.tv_sec = 0};
        else if (left < TINE_US(1))
            limit.tv_usec = 1; /* zero would be for ever */
        if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0)
            return -errno;
        if (connect(fd, address, size) == 0)
            break;
        if (errno != EINTR && errno != EAGAIN)
            return -errno;
    }
    if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        return -errno;
    return tine__take_fd(&fd);
}

static int connect_path(const char *path, tine__deadline deadline)
{
    struct tine__address_file file = {.directory = -1};
    struct sockaddr_un socket;
    int rc = open_directory(path, &file);

    if (rc < 0)
        return rc;
    rc = address_of_file(&file, path, &socket);
    if (rc == 0)
        rc = connect_unix((const struct sockaddr *)&socket, sizeof socket, deadline);
    tine__address_file_forget(&file);
    return rc;
}

static int await_connected(int fd, tine__deadline deadline)
{
    int64_t left = deadline == TINE__NEVER ? -1 : tine__deadline_left(deadline);
    int error, rc = tine__sys_poll_out(fd, left);
    socklen_t size = sizeof error;

    if (rc <= 0)
        return rc == 0 ? -ETIMEDOUT : rc;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        return -errno;
    return -error;
}

static int connect_tcp(const struct sockaddr *address, socklen_t size, tine__deadline deadline)
{
    TINE__AUTO_FD fd = tine__sys_socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK);
    int rc;

    if (fd < 0)
        return fd;
    if (connect(fd, address, size) < 0) {
        /* EINTR: it goes on by itself, as after EINPROGRESS */
        rc = errno == EINPROGRESS || errno == EINTR ? await_connected(fd, deadline) : -errno;
        if (rc < 0)
            return rc;
    }
    return tine__take_fd(&fd);
}

int tine__address_connect(const struct tine__address *address, tine__deadline deadline)
{
    int fd = -EINVAL;

    if (address->path != NULL)
        return connect_path(address->path, deadline);
    for (uint32_t i = 0; i < address->count; i++) {
        const struct sockaddr *one = (const struct sockaddr *)&address->sockets[i];

        fd = one->sa_family == AF_UNIX ? connect_unix(one, address->sizes[i], deadline)
                                       : connect_tcp(one, address->sizes[i], deadline);
        if (fd >= 0 || fd == -ETIMEDOUT)
            break;
    }
    return fd;
}

void tine__address_tune(int fd)
{
    const int on = 1, idle = KEEPALIVE_S, step = KEEPALIVE_STEP, questions = KEEPALIVE_MAX;

    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0)
        return; /* AF_UNIX */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &step, sizeof step);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &questions, sizeof questions);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

/* ---- what a socket is connected to ----------------------------------------------------------- */

void tine__address_text(int fd, bool peer, char text[TINE__ADDRESS_TEXT])
{
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    socklen_t size = sizeof address;
    char host[INET6_ADDRSTRLEN + 20], port[PORT_DIGITS + 1];
    bool six;

    text[0] = '\0';
    if ((peer ? getpeername : getsockname)(fd, (struct sockaddr *)&address, &size) < 0 ||
        (address.ss_family != AF_INET && address.ss_family != AF_INET6) ||
        getnameinfo((struct sockaddr *)&address, size, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return;
    six = address.ss_family == AF_INET6;
    snprintf(text, TINE__ADDRESS_TEXT, six ? "tcp://[%s]:%s" : "tcp://%s:%s", host, port);
}

static bool is_loopback(const struct sockaddr_storage *address)
{
    const struct in6_addr *six = &((const struct sockaddr_in6 *)address)->sin6_addr;
    const struct in_addr *four = &((const struct sockaddr_in *)address)->sin_addr;

    if (address->ss_family == AF_INET)
        return ntohl(four->s_addr) >> 24 == IN_LOOPBACKNET;
    return IN6_IS_ADDR_LOOPBACK(six) || (IN6_IS_ADDR_V4MAPPED(six) && six->s6_addr[12] == 127);
}

bool tine__address_is_local(int fd)
{
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    socklen_t size = sizeof address;

    if (getpeername(fd, (struct sockaddr *)&address, &size) < 0)
        return false;
    return address.ss_family == AF_UNIX || is_loopback(&address);
}

static int peer_credentials(int fd, struct ucred *peer)
{
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    socklen_t size = sizeof address, peer_size = sizeof *peer;

    if (getsockname(fd, (struct sockaddr *)&address, &size) < 0)
        return -errno;
    if (address.ss_family != AF_UNIX)
        return -ENOTSUP;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, peer, &peer_size) < 0 ? -errno : 0;
}

int tine__address_peer_user(int fd, uid_t *user)
{
    struct ucred peer;
    int rc = peer_credentials(fd, &peer);

    if (rc == 0)
        *user = peer.uid;
    return rc;
}

static uint64_t peer_host(int fd)
{
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&address;
    socklen_t size = sizeof address;
    uint64_t network;

    if (getpeername(fd, (struct sockaddr *)&address, &size) < 0)
        return 0;
    if (address.ss_family == AF_INET)
        return ((const struct sockaddr_in *)&address)->sin_addr.s_addr;
    if (address.ss_family != AF_INET6)
        return 0;
    memcpy(&network, six->sin6_addr.s6_addr, sizeof network);
    return network;
}

uint64_t tine__address_peer(int fd)
{
    struct ucred peer;

    return peer_credentials(fd, &peer) == 0 ? (uint64_t)peer.pid : peer_host(fd);
}
